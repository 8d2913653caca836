# SPDX-License-Identifier: Apache-2.0
"""``ottr ca crl`` and ``publish``, as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509

from ottr.ca.authority import Authority
from ottr.ca.issuance import Issuance
from ottr.ca.model import Certificate, Reason
from ottr.ca.passphrase import VARIABLE
from ottr.ca.settings import parse_settings
from tests.ca.requests import SERVER, build_request
from tests.ca.test_cli import SECRET, Typed


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.setenv("OTTR_CA", str(folder))
    monkeypatch.setenv(VARIABLE, SECRET)
    return Typed(capsys)


def test_JL_05_a_CRL_is_written(typed: Typed, authority: Authority, row: Certificate, tmp_path: Path) -> None:
    first = x509.load_pem_x509_crl(typed("crl").encode())
    assert first.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 1
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    file = tmp_path / "a.crl"
    assert typed("crl", row.issuer_id, "--out", file, "--format", "der") == f"wrote {file}: CRL 2, 1 entries\n"
    assert x509.load_der_x509_crl(file.read_bytes()).get_revoked_certificate_by_serial_number(int(row.serial, 16))
    assert typed("crl", "--out", file) == f"wrote {file}: CRL 2, 1 entries\n"
    assert len(x509.load_pem_x509_crl(file.read_bytes())) == 1


def test_a_CRL_as_JSON(typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "a.crl"
    found = typed.json("crl", "root-1", "--new", "--out", file)["crl"]
    assert found["issuer"] == "CN=Example Root CA 1,O=Example"
    assert (found["number"], found["entries"], found["file"]) == (1, 0, str(file))
    assert typed.json("crl", "root-1", "--new")["crl"]["number"] == 2
    assert typed.json("crl", "root-1", "--delta")["crl"]["number"] == 3
    assert found["this_update"] < found["next_update"]


def test_the_CRL_of_nobody(typed: Typed) -> None:
    assert "no such issuer" in typed("crl", "root-9", status=1)


def test_publishing(typed: Typed, row: Certificate, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    said = typed("publish", tree, "--responder", "127.0.0.1:14080")
    assert said == f"{tree}: 2 CRLs, 2 issuers, 4 OCSP answers signed, 0 kept, 0 removed\n"
    assert "127.0.0.1:14080" in (tree / "nginx.conf").read_text()
    done = typed.json("publish", tree)
    assert done["published"] == {"crls": 2, "issuers": 2, "signed": 0, "kept": 4, "removed": 0}
    assert "proxy_pass" not in (tree / "nginx.conf").read_text()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("base_url: http://pki.test", 2),
        ("base_url: http://pki.test\nocsp: {enabled: true}", 2),
        ("base_url: http://pki.test\nocsp: {enabled: false}", 1),
        ("base_url: http://pki.test\nocsp: nonsense", 2),
    ],
)
def test_CK_05_certificates_do_not_point_to_a_responder_that_is_off(
    authority: Authority, folder: Path, text: str, count: int
) -> None:
    issuance = Issuance(parse_settings(text, folder), authority.keyring)
    with authority.database.read() as connection:
        prepared = issuance.prepare(connection, build_request("a.test"), SERVER, authority.clock())
    access: Sequence[object] = list(
        prepared.linted.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    )
    assert len(access) == count
