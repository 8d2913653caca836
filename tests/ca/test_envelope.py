# SPDX-License-Identifier: Apache-2.0
"""Keys at rest: sealed, bound to their name, in folders nobody else may enter."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given
from hypothesis import strategies as st

from ottr.ca import folder
from ottr.ca.envelope import Kdf, Passphrase, opens, rewrap, seal, unseal
from ottr.ca.files import read_file, write_file
from ottr.ca.keys import generate_key
from ottr.ca.model import KeyAlgorithm
from ottr.ca.passphrase import CREDENTIAL, VARIABLE, find_passphrase
from ottr.ca.signer import FileKeyring
from ottr.errors import AuthorityError, KeyUnavailable

RIGHT, WRONG = Passphrase(b"right"), Passphrase(b"wrong")


@pytest.fixture(scope="module", autouse=True)
def cheap_derivations() -> None:
    """What a derivation costs is part of what these tests state."""


@given(st.binary(max_size=200))
def test_a_secret_comes_back(secret: bytes) -> None:
    assert unseal(seal(secret, "root-1", RIGHT), "root-1", RIGHT) == secret


@pytest.mark.parametrize("kdf", list(Kdf), ids=lambda kdf: kdf.value)
def test_both_ways_to_derive_a_key_open_in_another_process(kdf: Kdf) -> None:
    text = seal(b"secret", "root-1", Passphrase(b"right", kdf))
    assert json.loads(text)["kdf"] == kdf.value
    assert unseal(text, "root-1", Passphrase(b"right")) == b"secret"


def test_the_costs_are_those_of_the_RFCs() -> None:
    argon, scrypt = (json.loads(seal(b"", "x", Passphrase(b"p", kdf))) for kdf in (Kdf.ARGON2ID, Kdf.SCRYPT))
    assert (argon["cost"], argon["size"], argon["lanes"]) == (65536, 3, 4)
    assert (scrypt["cost"], scrypt["size"], scrypt["lanes"]) == (131072, 8, 1)


def test_keys_are_derived_by_the_named_functions() -> None:
    argon = json.loads(seal(b"", "x", Passphrase(b"p")))
    import base64

    salt = base64.b64decode(argon["salt"])
    passphrase = Passphrase(b"p")
    unseal(json.dumps(argon), "x", passphrase)
    expected = Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=65536).derive(b"p")
    assert passphrase.derive(passphrase.derivation) == expected
    scrypt = Passphrase(b"p", Kdf.SCRYPT)
    derivation = scrypt.derivation
    assert scrypt.derive(derivation) == Scrypt(salt=derivation.salt, length=32, n=2**17, r=8, p=1).derive(b"p")


def test_the_wrong_passphrase_opens_nothing() -> None:
    text = seal(b"secret", "root-1", RIGHT)
    with pytest.raises(KeyUnavailable, match="does not open") as caught:
        unseal(text, "root-1", WRONG)
    assert "wrong" not in str(caught.value)
    assert opens(text, "root-1", RIGHT)
    assert not opens(text, "root-1", WRONG)


def test_an_envelope_does_not_stand_in_for_another(tmp_path: Path) -> None:
    text = seal(b"secret", "root-1", RIGHT)
    with pytest.raises(KeyUnavailable, match="another object"):
        unseal(text, "root-2", RIGHT)
    renamed = json.dumps({**json.loads(text), "name": "root-2"})
    with pytest.raises(KeyUnavailable, match="does not open"):
        unseal(renamed, "root-2", RIGHT)


def test_parts_of_two_envelopes_do_not_fit() -> None:
    one, two = (json.loads(seal(secret, "root-1", RIGHT)) for secret in (b"one", b"two"))
    with pytest.raises(KeyUnavailable, match="does not open"):
        unseal(json.dumps({**one, "secret": two["secret"]}), "root-1", RIGHT)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ottr_envelope": 2}, "version 2"),
        ({"kdf": "md5"}, "damaged"),
        ({"salt": "!"}, "damaged"),
        ({"cost": "much"}, "damaged"),
        ({"cost": 2**40}, "damaged"),
        ({"cost": 5 * 2**20}, "damaged"),  # 5 GiB, which the function itself would take
        ({"size": -1}, "damaged"),
        ({"lanes": None}, "damaged"),
        ({"wrapped_key": None}, "does not open"),
        ({"wrapped_key": "AAAA"}, "does not open"),
        ({"secret": 7}, "does not open"),
    ],
)
def test_damaged_envelopes(change: dict[str, Any], complaint: str) -> None:
    content = {**json.loads(seal(b"secret", "root-1", RIGHT)), **change}
    with pytest.raises(KeyUnavailable, match=complaint):
        unseal(json.dumps(content), "root-1", RIGHT)


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", "not json"])
def test_what_is_no_envelope(text: str) -> None:
    with pytest.raises(KeyUnavailable, match="no envelope"):
        unseal(text, "root-1", RIGHT)


def test_a_new_passphrase_leaves_the_sealed_secret_as_it_is() -> None:
    text = seal(b"secret", "root-1", RIGHT)
    again = rewrap(text, "root-1", RIGHT, WRONG)
    assert json.loads(again)["secret"] == json.loads(text)["secret"]
    assert unseal(again, "root-1", WRONG) == b"secret"
    assert not opens(again, "root-1", RIGHT)


def test_a_passphrase_is_never_empty_nor_shown() -> None:
    with pytest.raises(KeyUnavailable, match="empty"):
        Passphrase(b"")
    assert "right" not in repr(RIGHT)
    assert RIGHT.reveal() == b"right"


def test_a_passphrase_is_asked_for_once_and_only_when_it_is_needed() -> None:
    answers = iter([b"", b"right"])
    asked = Passphrase(lambda: next(answers), Kdf.SCRYPT)
    with pytest.raises(KeyUnavailable, match="empty"):
        asked.reveal()
    assert asked.reveal() == b"right"
    assert asked.reveal() == b"right"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_keys_are_this_users_alone(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        FileKeyring(tmp_path / "keys", RIGHT).create("root-1", KeyAlgorithm.EC256)
    finally:
        os.umask(former)
    assert mode_of(tmp_path / "keys") == 0o700
    assert mode_of(tmp_path / "keys" / "root-1.key") == 0o400
    assert b"PRIVATE" not in (tmp_path / "keys" / "root-1.key").read_bytes()


def test_a_strict_umask_does_not_lock_the_owner_out(tmp_path: Path) -> None:
    former = os.umask(0o777)
    try:
        folder.write_key_file(tmp_path / "a.key", "text")
    finally:
        os.umask(former)
    assert mode_of(tmp_path / "a.key") == 0o400


@pytest.mark.parametrize("mode", [0o600, 0o440, 0o404, 0o444, 0o500])
def test_IO_17_a_looser_key_is_refused(tmp_path: Path, mode: int) -> None:
    FileKeyring(tmp_path / "keys", RIGHT).create("root-1", KeyAlgorithm.EC256)
    (tmp_path / "keys" / "root-1.key").chmod(mode)
    with pytest.raises(KeyUnavailable, match=f"mode {mode:04o}, which is looser than 0400") as caught:
        FileKeyring(tmp_path / "keys", RIGHT).load("root-1")
    assert "chmod 0400" in caught.value.hint


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_IO_17_a_looser_folder_is_refused(tmp_path: Path, mode: int) -> None:
    keyring = FileKeyring(tmp_path / "keys", RIGHT)
    keyring.create("root-1", KeyAlgorithm.EC256)
    (tmp_path / "keys").chmod(mode)
    for attempt in (
        lambda: FileKeyring(tmp_path / "keys", RIGHT).load("root-1"),
        lambda: keyring.create("root-2", KeyAlgorithm.EC256),
    ):
        with pytest.raises(KeyUnavailable, match="looser than 0700"):
            attempt()


def test_a_key_is_never_overwritten_and_links_are_not_followed(tmp_path: Path) -> None:
    keyring = FileKeyring(tmp_path / "keys", RIGHT)
    keyring.create("root-1", KeyAlgorithm.EC256)
    before = (tmp_path / "keys" / "root-1.key").read_bytes()
    with pytest.raises(KeyUnavailable, match="exists"):
        keyring.create("root-1", KeyAlgorithm.EC256)
    assert (tmp_path / "keys" / "root-1.key").read_bytes() == before
    (tmp_path / "keys" / "link.key").symlink_to(tmp_path / "keys" / "root-1.key")
    with pytest.raises(KeyUnavailable, match="cannot be opened"):
        FileKeyring(tmp_path / "keys", RIGHT).load("link")


def test_somebody_elses_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.make_folder(tmp_path / "keys")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(KeyUnavailable, match="another user"):
        folder.check_folder(tmp_path / "keys")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyUnavailable, match="cannot be made"):
        folder.make_folder(tmp_path / "file" / "keys")


def test_a_key_is_opened_once_and_taken_in_from_elsewhere(tmp_path: Path) -> None:
    key = generate_key(KeyAlgorithm.RSA2048)
    FileKeyring(tmp_path / "keys", RIGHT).add("imported-1", key)
    keyring = FileKeyring(tmp_path / "keys", RIGHT)
    signer = keyring.load("imported-1")
    assert signer.public_key == key.public_key()
    (tmp_path / "keys" / "imported-1.key").unlink()
    assert keyring.load("imported-1") is signer
    assert "PrivateKey" not in repr(signer)


@pytest.mark.parametrize("key_id", ["", "../root", "a/b", "a.b"])
def test_key_ids_are_no_paths(tmp_path: Path, key_id: str) -> None:
    with pytest.raises(KeyUnavailable, match="not the id"):
        FileKeyring(tmp_path / "keys", RIGHT).load(key_id)


def test_an_interrupted_rewrap_is_finished(tmp_path: Path) -> None:
    keyring = FileKeyring(tmp_path / "keys", RIGHT)
    for name in ("root-1", "root-2"):
        keyring.create(name, KeyAlgorithm.EC256)
    file = tmp_path / "keys" / "root-1.key"
    folder.replace_key_file(file, rewrap(folder.read_key_file(file), "root-1", RIGHT, WRONG))
    assert keyring.rewrap(WRONG) == ("root-2",)
    again = FileKeyring(tmp_path / "keys", WRONG)
    assert again.load("root-1").public_key == keyring.load("root-1").public_key
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["root-1.key", "root-2.key"]
    assert mode_of(file) == 0o400


def test_the_passphrase_comes_from_the_first_place_that_has_one(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"from the file\r\nmore\n")
    file.chmod(0o400)
    credential = tmp_path / CREDENTIAL
    credential.write_text("from systemd\n")
    credential.chmod(0o440)
    environment = {VARIABLE: "from the environment", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_passphrase(file, environment, None) == b"from the file"
    assert find_passphrase(None, environment, None) == b"from the environment"
    del environment[VARIABLE]
    assert find_passphrase(None, environment, None) == b"from systemd"
    credential.unlink()
    assert find_passphrase(None, environment, lambda: "typed") == b"typed"
    with pytest.raises(KeyUnavailable, match="nobody is there"):
        find_passphrase(None, environment, None)


def test_a_passphrase_others_could_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        find_passphrase(file, {}, None)
    file.write_text("\nsecond line")
    file.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="mode 0640"):
        find_passphrase(file, {}, None)
    file.chmod(0o600)
    with pytest.raises(KeyUnavailable, match="empty"):
        find_passphrase(file, {}, None)


def test_files_of_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "a", b"one")
    write_file(tmp_path / "a", b"two", secret=True)
    assert read_file(tmp_path / "a") == b"two"
    assert mode_of(tmp_path / "a") == 0o600
    with pytest.raises(AuthorityError, match="cannot be read"):
        read_file(tmp_path / "b")
    with pytest.raises(AuthorityError, match="cannot be written"):
        write_file(tmp_path / "no" / "where", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AuthorityError, match="cannot be written"):
        write_file(tmp_path / "folder", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]
    monkeypatch.setattr("ottr.ca.files._MOST_BYTES", 2)
    with pytest.raises(AuthorityError, match="too large"):
        read_file(tmp_path / "a")


@pytest.mark.parametrize(("algorithm", "is_quick"), [(KeyAlgorithm.EC256, True), (KeyAlgorithm.RSA2048, False)])
def test_a_key_is_quick_once_it_was_opened_unless_it_is_of_RSA(
    tmp_path: Path, algorithm: KeyAlgorithm, is_quick: bool
) -> None:
    FileKeyring(tmp_path / "keys", RIGHT).create("root-1", algorithm)
    keyring = FileKeyring(tmp_path / "keys", RIGHT)
    assert not keyring.is_quick("root-1")
    keyring.load("root-1")
    assert keyring.is_quick("root-1") == is_quick
    keyring.close()
    assert not keyring.is_quick("root-1")
