# SPDX-License-Identifier: Apache-2.0
"""``ottr ca``, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.envelope import Passphrase, opens
from ottr.ca.exporting import export_key
from ottr.ca.opening import open_authority
from ottr.ca.passphrase import VARIABLE
from ottr.ca.schema import certificate
from ottr.cli import main
from ottr.report import ExitStatus
from tests.ca.conftest import run_openssl, write_pem
from tests.ca.requests import build_csr
from tests.ca.test_transfer import INDEX, Elsewhere

SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTR_CA", str(folder))
    monkeypatch.setenv(VARIABLE, SECRET)


class Typed:
    """What one command said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path, status: int = 0) -> str:
        found = main.run(["ca", *map(str, words)])
        said = self._capsys.readouterr()
        assert found == status, said.out + said.err
        return said.out + said.err

    def json(self, *words: str | Path, status: int = 0) -> dict[str, Any]:
        found = main.run(["ca", *map(str, words), "-o", "json"])
        said = self._capsys.readouterr()
        assert found == status, said.out + said.err
        content = json.loads(said.out)
        assert content.pop("version")
        return dict(content)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


def newest(typed: Typed) -> str:
    return str(typed.json("list")["certificates"][0]["serial"])


def test_IO_01_IO_02_a_CA_is_made_and_what_it_issues_verifies(typed: Typed, tmp_path: Path) -> None:
    place = ("--dir", tmp_path / "new")
    said = typed("init", *place, "--organization", "Example", "--base-url", "http://pki.test", "--key-type", "ec384")
    assert "root-1" in said
    assert "active" in said
    typed("issue", "www.example.test", "192.0.2.1", *place, "--out", tmp_path / "chain.pem")
    typed("export", *place, "--out", tmp_path / "roots.pem")
    chain = x509.load_pem_x509_certificates((tmp_path / "chain.pem").read_bytes())
    leaf, rest = write_pem(tmp_path / "leaf.pem", chain[0]), write_pem(tmp_path / "rest.pem", *chain[1:])
    assert "OK" in run_openssl("verify", "-CAfile", tmp_path / "roots.pem", "-untrusted", rest, leaf)
    assert "has a CA already" in typed("init", *place, status=ExitStatus.ERROR)


def test_a_CA_from_a_ca_yaml_of_ones_own(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("organization: Mine\n")
    place = ("--dir", tmp_path / "new", "--settings", tmp_path / "mine.yaml")
    content = typed.json("init", *place, "--kdf", "scrypt")
    assert content["issuers"][0]["subject"] == "CN=Mine Root CA 1,O=Mine"
    assert "leave --organization" in typed("init", *place, "--organization", "X", status=ExitStatus.USAGE)


def test_OT_34_the_list_says_what_there_is(typed: Typed) -> None:
    typed("issue", "www.example.test")
    typed("issue", "--profile", "client", "--subject", "CN=alice,O=Example")
    said = typed("list")
    assert said.splitlines()[0].split() == ["SERIAL", "STATUS", "UNTIL", "PROFILE", "TYPE", "NAMES"]
    assert "www.example.test" in said
    assert "CN=alice,O=Example" in said
    assert [row["subject"] for row in typed.json("list", "--name", "alice")["certificates"]] == ["CN=alice,O=Example"]
    assert [row["profile"] for row in typed.json("list", "--profile", "client")["certificates"]] == ["client"]
    assert typed("list", "--status", "revoked", "--expired").strip() == "none"
    assert "intermediate-1" in typed("list", "--issuers")
    assert typed.json("list", "--issuers")["issuers"][0]["phase"] == "active"


def test_OT_32_one_certificate_is_shown_decoded(typed: Typed) -> None:
    typed("issue", "www.example.test")
    serial = newest(typed)
    said = typed("show", serial)
    assert "names: www.example.test" in said
    assert "expired: no" in said
    assert "BEGIN CERTIFICATE" in said
    colons = ":".join(serial[place : place + 2] for place in range(0, len(serial), 2)).upper()
    assert typed.json("show", colons if len(serial) % 2 == 0 else serial)["certificate"]["serial"] == serial
    assert typed.json("show", f"0x{serial}")["certificate"]["pem"].startswith("-----BEGIN")
    assert "no certificate with the serial abc" in typed("show", "0abc", status=ExitStatus.ERROR)


def test_status_from_valid_to_revoked(typed: Typed) -> None:
    typed("issue", "www.example.test")
    serial = newest(typed)
    assert "held since" in typed("hold", serial)
    assert typed("release", serial).strip().endswith("valid")
    assert "revoked since" in typed("revoke", serial, "--reason", "key_compromise", "--issuer", "intermediate-1")
    again = typed.json("revoke", serial, status=ExitStatus.ERROR)
    assert "revoked already" in str(again)
    (row,) = typed.json("list", "--status", "revoked")["certificates"]
    assert (row["reason"], row["status"]) == ("key_compromise", "revoked")
    assert "key_compromise" in typed("list")


def test_OT_15_a_CSR_is_certified_with_a_life_and_a_subject(typed: Typed, tmp_path: Path) -> None:
    csr = tmp_path / "a.csr"
    csr.write_bytes(build_csr("www.example.test").public_bytes(Encoding.PEM))
    content = typed.json("issue", "--csr", csr, "--days", "1")["certificate"]
    assert not content["key_held"]
    assert not content["auto_renew"]
    client = ("--profile", "client", "--subject", "CN=bob")
    assert typed.json("issue", "--csr", csr, *client)["certificate"]["subject"] == "CN=bob"


def test_options_that_do_not_go_together(typed: Typed, tmp_path: Path) -> None:
    for words in (
        ("issue",),
        ("issue", "a.test", "--csr", "x"),
        ("issue", "--csr", "x", "--exposed"),
        ("renew",),
        ("renew", "abc", "--due"),
        ("rollover", "--prepare", "--retire"),
        ("rollover", "--retire", "--key-type", "ec384"),
        ("import", "a", "b", "--index", "root-1"),
        ("export", "--format", "der"),
        ("export", "abc", "--format", "pkcs12"),
        ("export", "abc", "--key"),
        ("export", "--key", "--out", "x", "--password-file", "y"),
        ("nonsense",),
    ):
        assert "hint:" in typed(*words, status=ExitStatus.USAGE)
    assert "not a subject" in typed("issue", "--subject", "alice", "--profile", "client", status=ExitStatus.ERROR)
    assert "cannot be read" in typed("issue", "--csr", tmp_path / "missing", status=ExitStatus.ERROR)


def test_without_words_it_says_what_there_is(typed: Typed) -> None:
    said = typed("--help")
    for command in ("init", "issue", "list", "show", "revoke", "hold", "release", "renew", "import", "export"):
        assert command in said


def test_OT_44_renewal_by_hand_and_of_all_that_is_due(typed: Typed) -> None:
    typed("issue", "www.example.test", "--exposed", "--days", "30")
    serial = newest(typed)
    assert f"replaces {serial}" in typed("renew", serial)
    assert "nothing is due" in typed("renew", "--due")
    assert typed.json("renew", "--due") == {"issuers": [], "renewed": [], "failed": []}
    assert "replaced already" in typed("renew", serial, status=ExitStatus.ERROR)


def test_OT_43_what_is_due_is_told_one_by_one(typed: Typed, folder: Path) -> None:
    for name in ("a.test", "b.test"):
        typed("issue", name, "--days", "30")
    with open_authority(folder, Passphrase(SECRET.encode())) as authority, authority.database.write() as connection:
        table = certificate.update().where(certificate.c.auto_renew)
        long_ago = authority.clock().replace(year=2020)
        connection.execute(table.values(not_before=long_ago, not_after=long_ago.replace(year=2021)))
        gone = certificate.update().where(certificate.c.subject == "CN=a.test").values(profile="gone")
        connection.execute(gone)
    said = typed("renew", "--due", status=ExitStatus.FAILED)
    assert "it had expired" in said
    assert "no profile 'gone'" in said
    content = typed.json("renew", "--due", status=ExitStatus.FAILED)
    assert len(content["failed"]) == 1
    assert "expired" in typed("list", "--expired", "--status", "valid")


def test_a_rollover_step_by_step(typed: Typed, tmp_path: Path) -> None:
    assert "made root-2 and intermediate-2" in typed("rollover", "--prepare")
    assert "retiring: root-1, intermediate-1" in typed("rollover", "--activate")
    typed("export", "--out", tmp_path / "roots.pem")
    assert (tmp_path / "roots.pem").read_text().count("BEGIN") == 2
    assert "retired: root-1, intermediate-1" in typed("rollover", "--retire")
    assert "retired: nothing" in typed("rollover", "--retire")
    assert typed("export").count("BEGIN") == 1
    assert "made root-3" in typed("rollover", "--key-type", "rsa2048")
    assert len(typed.json("rollover", "--retire")["issuers"]) == 6


def test_a_certificate_goes_out_in_every_form(typed: Typed, tmp_path: Path) -> None:
    typed("issue", "www.example.test")
    serial, password = newest(typed), tmp_path / "password"
    secret = ("--password-file", password)
    assert typed("export", serial).count("BEGIN CERTIFICATE") == 2
    typed("export", serial, "--format", "der", "--out", tmp_path / "a.der")
    assert x509.load_der_x509_certificate((tmp_path / "a.der").read_bytes())
    said = typed("export", serial, "--format", "pkcs12", "--preset", "strong", "--out", tmp_path / "a.p12", *secret)
    assert "made a password" in said
    given = f"file:{password}"
    assert "BEGIN PRIVATE KEY" in run_openssl("pkcs12", "-in", tmp_path / "a.p12", "-nodes", "-passin", given)
    typed("export", serial, "--key", "--out", tmp_path / "a.pem", *secret)
    assert "ENCRYPTED PRIVATE KEY" in (tmp_path / "a.pem").read_text()
    typed("export", "--format", "java", "--out", tmp_path / "trust.p12", *secret)
    typed("export", serial, "--format", "java", "--out", tmp_path / "one.p12", *secret)
    assert "BEGIN" in run_openssl("pkcs12", "-in", tmp_path / "trust.p12", "-passin", given)
    for file in ("a.p12", "a.pem", "password"):
        assert (tmp_path / file).stat().st_mode & 0o077 == 0


def test_OT_30_OT_31_what_comes_from_elsewhere(typed: Typed, tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    leaf, key = elsewhere.issue("a.test")
    bundle, password = tmp_path / "bundle.pem", tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o400)
    bundle.write_bytes(
        write_pem(tmp_path / "x.pem", elsewhere.intermediate, leaf).read_bytes() + export_key(key, b"secret")
    )
    assert "with its key" in typed("import", bundle, "--password-file", password)
    foreign = newest(typed)
    assert typed("export", foreign).count("BEGIN") == 1
    roots = tmp_path / "root.pem"
    roots.write_bytes(write_pem(tmp_path / "x.pem", elsewhere.root).read_bytes() + export_key(elsewhere.root_key, None))
    assert "root-2: taken in" in typed("import", roots, "--ca")
    other, _ = elsewhere.issue("b.test")
    content = typed.json("import", write_pem(tmp_path / "b.pem", other))
    assert content["certificates"][0]["issuer"].startswith("foreign-")


def test_JL_08_an_index_and_its_certificates(typed: Typed, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "index.txt").write_text(INDEX.format(end="300101000000Z"))
    (tmp_path / "certs").mkdir()
    words = ("import", tmp_path / "index.txt", "--index", "intermediate-1")
    assert "6 taken in, 0 were known" in typed(*words, "--certificates", tmp_path / "certs")
    assert typed.json(*words)["index"] == [{"added": 0, "known": 6}]
    assert "subject: /CN=compromised.test" in typed("show", "1001")
    leaf, _ = Elsewhere().issue("a.test", serial=0xABC)
    write_pem(tmp_path / "certs" / "0ABC.pem", leaf)
    (tmp_path / "index.txt").write_text("V\t300101000000Z\t\t0ABC\tunknown\t/CN=a.test\n")
    assert "did not sign" in typed(*words, "--certificates", tmp_path / "certs", status=ExitStatus.ERROR)


def test_JL_08_an_index_without_its_certificates(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "index.txt").write_text("V\t300101000000Z\t\t0ABC\tunknown\t/CN=a.test\n")
    assert "1 taken in, 0 were known" in typed("import", tmp_path / "index.txt", "--index", "intermediate-1")
    assert "subject: /CN=a.test" in typed("show", "ABC")


def assert_all_open(folder: Path, passphrase: Passphrase) -> None:
    """Whatever is sealed in the database, in tables of any part."""
    engine = sa.create_engine(f"sqlite:///{folder / 'ca.db'}")
    metadata = sa.MetaData()
    metadata.reflect(engine)
    columns = [table.c.envelope for table in metadata.tables.values() if "envelope" in table.c]
    with engine.connect() as connection:
        texts = [text for column in columns for text in connection.execute(sa.select(column)).scalars()]
    engine.dispose()
    assert len(texts) == 2
    assert all(opens(text, json.loads(text)["name"], passphrase) for text in texts)


def test_a_new_passphrase(typed: Typed, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed("issue", "www.example.test")
    typed("eab", "*.example.test")
    serial, file = newest(typed), tmp_path / "new"
    file.write_text("another one\n")
    file.chmod(0o400)
    assert typed("rewrap", "--new-passphrase-file", file).startswith("2 keys of issuers, 1 others and 1 bindings")
    assert_all_open(folder, Passphrase(b"another one"))
    assert "does not open" in typed("issue", "b.test", status=ExitStatus.ERROR)
    monkeypatch.delenv(VARIABLE)
    given = ("--passphrase-file", file)
    assert typed.json("rewrap", "--new-passphrase-file", file, *given) == {
        "issuer_keys": [],
        "held_keys": 0,
        "bindings": 0,
    }
    typed("renew", serial, *given)
    assert "nobody is there to ask" in typed("issue", "b.test", status=ExitStatus.ERROR)


def test_who_only_looks_or_revokes_is_not_asked_for_the_passphrase(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = str(typed.json("issue", "a.test")["certificate"]["serial"])
    monkeypatch.delenv(VARIABLE)
    assert newest(typed) == serial
    for words in (("show",), ("hold",), ("release",), ("revoke",), ("export",)):
        typed(*words, serial)
    for words in (("export",), ("rollover", "--retire"), ("list", "--issuers")):
        typed(*words)
    for words in (("issue", "b.test"), ("renew", "--due"), ("rollover",), ("serve",), ("eab", "a.test"), ("rewrap",)):
        assert "nobody is there to ask" in typed(*words, status=ExitStatus.ERROR)


def test_where_there_is_no_CA_that_is_what_is_said(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    for words in (("list",), ("issue", "a.test")):
        said = typed(*words, "--dir", tmp_path / "none", status=ExitStatus.ERROR)
        assert f"there is no CA in {tmp_path / 'none'}" in said
        assert "ottr ca init" in said


@pytest.mark.parametrize("days", ["0", "-1"])
def test_a_life_of_no_days_is_no_life(typed: Typed, days: str) -> None:
    for words in (("issue", "a.test"), ("est-user", "devices", "a.test")):
        assert "--days is more than 0" in typed(*words, "--days", days, status=ExitStatus.USAGE)


def test_the_passphrase_is_asked_for_and_not_shown(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["one", "two", "same", "same"])
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert "differ" in typed("init", "--dir", tmp_path / "new", status=ExitStatus.ERROR)
    assert not (tmp_path / "new").exists()
    assert "same" not in typed("init", "--dir", tmp_path / "new")
    assert (tmp_path / "new" / "keys").exists()


def test_keys_in_a_token_have_no_passphrase_to_change(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottr.ca.opening.open_keyring", lambda settings, passphrase: Token())
    assert "are in a token" in typed("rewrap", status=ExitStatus.ERROR)


class Token:
    """Stands for a keyring that is not in files."""

    def close(self) -> None:
        """Nothing."""


def test_the_key_of_an_account_binding_is_shown_once(typed: Typed) -> None:
    first, second, _ = typed("eab", "*.dev.test", "--kid", "one").splitlines()
    assert first == "kid:      one"
    assert second.startswith("hmac key: ")
    assert "there is a binding 'one' already" in typed("eab", "*.dev.test", "--kid", "one", status=ExitStatus.ERROR)


def test_other_commands_do_not_load_the_CA() -> None:
    code = "import sys; from ottr.cli.main import build; build(); print('ottr.ca' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "False"
