# SPDX-License-Identifier: Apache-2.0
"""The public keys for tokens: which are in the set, for how long, and whether a token is verified through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import jwt
import pytest
import sqlalchemy as sa
from starlette.responses import Response

from ottr.ca.authority import Authority
from ottr.ca.csr import Request
from ottr.ca.jwks import _EXPOSED, JwksSettings, build_jwks_route, list_exposed, read_jwks_settings
from ottr.ca.keyed import issue_with_key, take_key
from ottr.ca.model import Certificate, KeyAlgorithm, Names, Reason
from ottr.ca.opening import open_authority
from ottr.ca.renewal import renew_certificate
from ottr.ca.rollover import start_rollover
from ottr.ca.settings import parse_settings
from ottr.errors import SettingsError, StoreError
from tests.ca.conftest import PASSPHRASE, SETTINGS, MovableClock
from tests.ca.requests import CLIENT, build_name

ALGORITHMS = {
    KeyAlgorithm.RSA2048: "RS256",
    KeyAlgorithm.EC256: "ES256",
    KeyAlgorithm.EC384: "ES384",
    KeyAlgorithm.EC521: "ES512",
    KeyAlgorithm.ED25519: "EdDSA",
}
GRACE_S = JwksSettings().grace_s


def make_signer(
    authority: Authority, algorithm: KeyAlgorithm = KeyAlgorithm.EC256, *, exposed: bool = True
) -> Certificate:
    return issue_with_key(authority, Names(), build_name("tokens"), CLIENT, algorithm=algorithm, exposed=exposed)


def sign(authority: Authority, row: Certificate, algorithm: str) -> str:
    return jwt.encode({"sub": "alice"}, take_key(authority, row, "operator"), algorithm, headers={"kid": row.key_id})


def read_kids(authority: Authority, grace_s: float = GRACE_S) -> list[str]:
    return [one["kid"] for one in list_exposed(authority, grace_s)]


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def get(
    authority: Authority, pool: Executor, method: str = "GET", known: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """Ask the route as an ASGI server does."""
    headers = [(b"if-none-match", known.encode())] if known else []
    path = "/.well-known/jwks.json"
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        sent.append(event)

    anyio.run(build_jwks_route(authority, pool).handle, scope, receive, send)
    start, *rest = sent
    answered = Response(status_code=start["status"])
    answered.raw_headers = list(start["headers"])
    return answered.status_code, dict(answered.headers), b"".join(one.get("body", b"") for one in rest)


@pytest.mark.parametrize("kind", list(ALGORITHMS), ids=lambda kind: kind.value)
def test_OT_61_a_token_signed_with_an_exposed_key_is_verified_through_the_set(
    authority: Authority, pool: Executor, kind: KeyAlgorithm
) -> None:
    for other in ALGORITHMS:
        if other is not kind and other is not KeyAlgorithm.RSA2048:
            make_signer(authority, other)
    row = make_signer(authority, kind)
    token = sign(authority, row, ALGORITHMS[kind])
    keys = jwt.PyJWKSet.from_dict(json.loads(get(authority, pool)[2]))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=[ALGORITHMS[kind]]) == {"sub": "alice"}
    stranger = sign(authority, make_signer(authority, kind), ALGORITHMS[kind])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(stranger, key, algorithms=[ALGORITHMS[kind]])


def test_OT_61_the_set_has_exposed_keys_only_and_of_them_public_members_only(
    authority: Authority, pool: Executor
) -> None:
    make_signer(authority, exposed=False)
    rows = {kind: make_signer(authority, kind) for kind in ALGORITHMS}
    keys = {one["kid"]: one for one in json.loads(get(authority, pool)[2])["keys"]}
    assert set(keys) == {row.key_id for row in rows.values()}
    expected = {
        KeyAlgorithm.RSA2048: {"kty", "n", "e"},
        KeyAlgorithm.ED25519: {"kty", "crv", "x", "alg"},
    }
    for kind, row in rows.items():
        usual = {"kty", "crv", "x", "y", "alg"}
        assert set(keys[row.key_id]) == expected.get(kind, usual) | {"kid", "use"}


def test_OT_62_one_entry_for_each_key_for_signatures_with_an_algorithm_where_the_key_has_but_one(
    authority: Authority,
) -> None:
    rows = [make_signer(authority, kind) for kind in ALGORITHMS]
    keys = {one["kid"]: one for one in list_exposed(authority, GRACE_S)}
    assert len(keys) == len(rows) == len(list(list_exposed(authority, GRACE_S)))
    assert {one["use"] for one in keys.values()} == {"sig"}
    assert [keys[row.key_id].get("alg") for row in rows] == [None, "ES256", "ES384", "ES512", "EdDSA"]


def test_OT_60_the_set_is_read_with_get_and_may_be_kept_for_a_while(authority: Authority, pool: Executor) -> None:
    make_signer(authority)
    status, headers, body = get(authority, pool)
    assert (status, headers["content-type"]) == (200, "application/jwk-set+json")
    assert headers["cache-control"] == "public, max-age=300"
    assert get(authority, pool, "HEAD")[1]["etag"] == headers["etag"]
    assert get(authority, pool, known=f'"other", W/{headers["etag"]}') == (304, {**pick(headers)}, b"")
    assert get(authority, pool, known='"other"')[2] == body
    assert get(authority, pool, "POST")[0] == 405
    make_signer(authority)
    assert get(authority, pool, known=headers["etag"])[0] == 200


def pick(headers: dict[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("etag", "cache-control")}


@pytest.mark.parametrize("reason", [Reason.KEY_COMPROMISE, Reason.SUPERSEDED, Reason.CERTIFICATE_HOLD])
def test_OT_51_a_revoked_key_leaves_the_set_at_once(authority: Authority, reason: Reason) -> None:
    row, other = make_signer(authority), make_signer(authority)
    authority.revoke(row.issuer_id, row.serial, reason, "operator")
    assert read_kids(authority) == [other.key_id]


def test_a_key_that_was_on_hold_comes_back(authority: Authority) -> None:
    row = make_signer(authority)
    authority.hold(row.issuer_id, row.serial, "operator")
    authority.release(row.issuer_id, row.serial, "operator")
    assert read_kids(authority) == [row.key_id]


def test_OT_51_a_compromised_CA_takes_the_keys_out_of_the_set(authority: Authority) -> None:
    make_signer(authority)
    issuer = authority.active_issuer()
    authority.revoke(issuer.parent_id, issuer.serial, Reason.CA_COMPROMISE, "operator")
    assert read_kids(authority) == []


def test_OT_63_a_replaced_key_stays_until_its_tokens_have_expired(authority: Authority, clock: MovableClock) -> None:
    old = make_signer(authority)
    token = sign(authority, old, "ES256")
    clock.move(days=200)
    new = renew_certificate(authority, old).new
    assert read_kids(authority) == [new.key_id, old.key_id]
    clock.move(seconds=GRACE_S - 1)
    keys = jwt.PyJWKSet.from_dict({"keys": list(list_exposed(authority, GRACE_S))})
    assert jwt.decode(token, keys[old.key_id], algorithms=["ES256"])
    clock.move(seconds=1)
    assert read_kids(authority) == [new.key_id]


def test_OT_63_an_expired_key_leaves_after_the_same_time(authority: Authority, clock: MovableClock) -> None:
    row = make_signer(authority)
    clock.now = row.not_after + timedelta(seconds=GRACE_S - 1)
    assert read_kids(authority) == [row.key_id]
    clock.move(seconds=1)
    assert read_kids(authority) == []


def test_the_id_of_a_key_stays_the_same_when_the_CA_is_opened_again(authority: Authority) -> None:
    row = make_signer(authority)
    before = list(list_exposed(authority, GRACE_S))
    start_rollover(authority)
    with open_authority(authority.settings.folder, PASSPHRASE, clock=authority.clock) as again:
        assert list(list_exposed(again, GRACE_S)) == before
    assert before[0]["kid"] == row.key_id


def test_a_key_with_a_second_certificate_stays_while_that_is_valid(authority: Authority, clock: MovableClock) -> None:
    row = make_signer(authority)
    clock.move(days=300)
    request = Request(take_key(authority, row, "operator").public_key(), Names(), build_name("tokens"))
    authority.issue(request, replace(CLIENT, key_id=row.key_id))
    clock.now = row.not_after + timedelta(days=30)
    assert read_kids(authority) == [row.key_id]


def test_the_settings_of_the_set(authority: Authority) -> None:
    def read(text: str) -> JwksSettings:
        return read_jwks_settings(parse_settings(SETTINGS + text, authority.settings.folder))

    assert read("") == JwksSettings() == JwksSettings(7 * 86400.0, 300.0)
    assert read("jwks: {grace: 1h, max_age: 10s}") == JwksSettings(3600.0, 10.0)
    with pytest.raises(SettingsError, match="jwks: keep: no such key"):
        read("jwks: {keep: 1h}")


def test_a_database_that_fails_is_an_error_for_later(
    authority: Authority, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> Any:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(type(authority.database), "read", fail)
    assert get(authority, pool)[0] == 503


def test_keys_are_found_by_an_index(authority: Authority) -> None:
    with authority.database.read() as connection:
        text = str(_EXPOSED.compile(dialect=connection.dialect))
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {text}")).all()
    assert any("certificate_held" in row[-1] for row in plan), plan
