# SPDX-License-Identifier: Apache-2.0
"""Keys the CA holds: sealed in the database, their public side for the JWKS."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from ottr.ca import held_keys
from ottr.ca.authority import Authority
from ottr.ca.envelope import Passphrase
from ottr.ca.keys import generate_key
from ottr.ca.model import KeyAlgorithm
from ottr.ca.schema import held_key
from ottr.errors import KeyUnavailable, UnknownCertificate


def keep(authority: Authority, algorithm: KeyAlgorithm, *, exposed: bool = False) -> str:
    with authority.database.write() as connection:
        key = generate_key(algorithm)
        return held_keys.insert_key(connection, key, authority.passphrase, authority.clock(), exposed=exposed)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.EC256, KeyAlgorithm.RSA2048, KeyAlgorithm.ED25519])
def test_a_key_comes_back_as_it_was(authority: Authority, algorithm: KeyAlgorithm) -> None:
    key_id = keep(authority, algorithm)
    with authority.database.read() as connection:
        key = held_keys.load_key(connection, key_id, authority.passphrase)
        (listed,) = held_keys.list_keys(connection)
    assert (listed.id, listed.public_key) == (key_id, key.public_key())
    assert not listed.exposed


def test_OT_61_only_exposed_keys_are_for_the_JWKS(authority: Authority) -> None:
    keep(authority, KeyAlgorithm.EC256)
    shown = keep(authority, KeyAlgorithm.EC256, exposed=True)
    with authority.database.read() as connection:
        assert [one.id for one in held_keys.list_keys(connection, held_key.c.exposed)] == [shown]


def test_what_is_stored_is_sealed_under_its_own_name(authority: Authority) -> None:
    one, two = keep(authority, KeyAlgorithm.EC256), keep(authority, KeyAlgorithm.EC256)
    with authority.database.write() as connection:
        text = connection.execute(sa.select(held_key.c.envelope).where(held_key.c.id == one)).scalar_one()
        assert json.loads(text)["name"] == f"held/{one}"
        connection.execute(held_key.update().where(held_key.c.id == two).values(envelope=text))
        with pytest.raises(KeyUnavailable, match="another object"):
            held_keys.load_key(connection, two, authority.passphrase)
        with pytest.raises(KeyUnavailable, match="does not open"):
            held_keys.load_key(connection, one, Passphrase(b"wrong"))
        with pytest.raises(UnknownCertificate, match="holds no key"):
            held_keys.load_key(connection, "nobody", authority.passphrase)


def test_a_new_passphrase_for_all_and_again_after_an_interruption(authority: Authority) -> None:
    key_id, new = keep(authority, KeyAlgorithm.EC256), Passphrase(b"another")
    for changed in (1, 0):
        with authority.database.write() as connection:
            assert held_keys.rewrap_keys(connection, authority.passphrase, new) == changed
    with authority.database.read() as connection:
        assert held_keys.load_key(connection, key_id, new)
        with pytest.raises(KeyUnavailable, match="does not open"):
            held_keys.load_key(connection, key_id, authority.passphrase)
