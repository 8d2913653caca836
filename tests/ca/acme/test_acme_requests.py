# SPDX-License-Identifier: Apache-2.0
"""RFC 8555 section 6: what a request must be, and what comes of one that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottr.ca.acme.exchange import MOST_BYTES, Message, Reply
from ottr.ca.acme.nonces import LIFETIME_S, Nonces
from ottr.ca.acme.server import AcmeServer
from ottr.ca.jose import decode, encode
from tests.ca.acme.client import BASE, Client, b64, b64_json, make_key, sign, write_jwk, write_jws
from tests.ca.acme.conftest import Serve
from tests.ca.conftest import MovableClock

ACCOUNT = "/new-account"


def kind(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.document["type"].rpartition(":")[2]


def test_the_directory_names_every_resource(server: AcmeServer) -> None:
    reply = server.handle(Message("GET", "/directory", BASE))
    assert reply.status == 200
    directory = reply.document
    assert {name: url.removeprefix(BASE) for name, url in directory.items() if name != "meta"} == {
        "newNonce": "/new-nonce",
        "newAccount": "/new-account",
        "newOrder": "/new-order",
        "revokeCert": "/revoke-cert",
        "keyChange": "/key-change",
        "renewalInfo": "/renewal-info",
    }
    assert directory["meta"]["profiles"] == {"server": "TLS servers"}


@pytest.mark.parametrize("base", [BASE, "https://other.test/acme"])
def test_where_the_address_is_configured_it_is_the_one_that_counts(serve: Serve, base: str) -> None:
    reply = serve(url="https://other.test/acme").handle(Message("GET", "/directory", base))
    assert reply.document["newOrder"] == "https://other.test/acme/new-order"
    assert reply.links == ('<https://other.test/acme/directory>;rel="index"',)


def test_nonces_come_with_head_get_and_every_answer_to_a_post(server: AcmeServer) -> None:
    replies = [server.handle(Message(method, "/new-nonce", BASE)) for method in ("HEAD", "GET")]
    assert [reply.status for reply in replies] == [200, 204]
    failed = server.handle(Message("POST", "/new-order", BASE, b"nonsense"))
    nonces = [reply.headers["Replay-Nonce"] for reply in (*replies, failed)]
    assert len(set(nonces)) == 3
    assert f'<{BASE}/directory>;rel="index"' in failed.links


def test_a_nonce_counts_once(client: Client) -> None:
    nonce = client.nonce()
    assert client.post(client.kid, nonce=nonce).status == 200
    replayed = client.post(client.kid, nonce=nonce)
    assert kind(replayed) == (400, "badNonce")
    assert client.post(client.kid, nonce=replayed.headers["Replay-Nonce"]).status == 200


def test_a_nonce_of_a_failed_signature_is_not_used_up(client: Client) -> None:
    nonce = client.nonce()
    stranger = Client(client.server, kid=client.kid)
    assert kind(stranger.post(client.kid, nonce=nonce)) == (400, "malformed")
    assert client.post(client.kid, nonce=nonce).status == 200


def test_an_old_nonce_does_not_count(client: Client, clock: MovableClock) -> None:
    nonce = client.nonce()
    clock.move(hours=2)
    assert kind(client.post(client.kid, nonce=nonce)) == (400, "badNonce")


def test_a_used_nonce_is_remembered_until_none_of_its_age_can_still_be_judged(clock: MovableClock) -> None:
    nonces = Nonces(clock)
    body = nonces.read(nonces.give()) or b""
    assert nonces.use(body)
    clock.move(seconds=LIFETIME_S + 30)  # as if a signature that came with it again took half a minute to check
    nonces.give()
    assert not nonces.use(body)
    clock.move(seconds=60)
    nonces.give()
    assert nonces.use(body), "it takes memory forever"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nonce": None}, (400, "malformed")),
        ({"nonce": "!!!"}, (400, "badNonce")),
        ({"nonce": "QUFBQQ"}, (400, "badNonce")),
        ({"url": BASE + "/other"}, (403, "unauthorized")),
        ({"url": None}, (403, "unauthorized")),
        ({"alg": "none"}, (400, "badSignatureAlgorithm")),
        ({"alg": "HS256"}, (400, "badSignatureAlgorithm")),
        ({"alg": "PS256"}, (400, "badSignatureAlgorithm")),
        ({"alg": "ES384"}, (400, "malformed")),
        ({"alg": None}, (400, "malformed")),
        ({"alg": 7}, (400, "malformed")),
        ({"kid": BASE + "/acct/1"}, (400, "malformed")),
        ({"jwk": None}, (400, "malformed")),
        ({"jwk": None, "kid": BASE + "/acct/1"}, (400, "malformed")),
        ({"jwk": "key"}, (400, "malformed")),
        ({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}, (400, "malformed")),
        ({"jwk": {"kty": "EC", "crv": "secp256k1", "x": "", "y": ""}}, (400, "badSignatureAlgorithm")),
        ({"jwk": {"kty": "EC", "crv": "P-256", "x": b64(b"1" * 32), "y": b64(b"1" * 32)}}, (400, "malformed")),
        ({"crit": ["b64"], "b64": False}, (400, "malformed")),
        ({"x5c": []}, (400, "malformed")),
    ],
)
def test_a_header_is_as_the_rfc_says(server: AcmeServer, changes: dict[str, Any], expected: tuple[int, str]) -> None:
    assert kind(Client(server).post(ACCOUNT, {}, **changes)) == expected


def test_a_refused_algorithm_comes_with_those_that_are_not(server: AcmeServer) -> None:
    reply = Client(server).post(ACCOUNT, {}, alg="none")
    assert "ES256" in reply.document["algorithms"]


@pytest.mark.parametrize(
    "change",
    [
        lambda jws: {**jws, "header": {"alg": "ES256"}},
        lambda jws: {**jws, "signatures": []},
        lambda jws: {key: value for key, value in jws.items() if key != "payload"},
        lambda jws: {**jws, "signature": jws["signature"][:-2]},
        lambda jws: {**jws, "signature": ""},
        lambda jws: {**jws, "signature": jws["signature"] + "=="},
        lambda jws: {**jws, "payload": b64_json({"onlyReturnExisting": True})},
        lambda jws: {**jws, "protected": 1},
        lambda jws: {**jws, "protected": b64(b'{"alg": "ES256", "alg": "none"}')},
        lambda jws: [jws],
        lambda jws: "jws",
    ],
)
def test_a_body_is_one_flattened_jws(server: AcmeServer, change: Callable[[dict[str, str]], Any]) -> None:
    client = Client(server)
    jws = write_jws(client.key, client.header(BASE + ACCOUNT), {})
    assert kind(client.send(ACCOUNT, change(jws))) == (400, "malformed")


def test_a_der_signature_is_not_a_jose_one(server: AcmeServer) -> None:
    client = Client(server)
    protected, payload = b64_json(client.header(BASE + ACCOUNT)), b64_json({})
    der = client.key.sign(f"{protected}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    refused = client.send(ACCOUNT, {"protected": protected, "payload": payload, "signature": b64(der)})
    assert kind(refused) == (400, "malformed")


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain"])
def test_the_type_is_jose_json(server: AcmeServer, content_type: str) -> None:
    client = Client(server)
    jws = write_jws(client.key, client.header(BASE + ACCOUNT), {})
    assert kind(client.send(ACCOUNT, jws, content_type)) == (415, "malformed")


def test_a_body_is_not_endless(server: AcmeServer) -> None:
    assert kind(Client(server).send(ACCOUNT, b" " * (MOST_BYTES + 1))) == (413, "malformed")
    assert kind(Client(server).send(ACCOUNT, b" " * MOST_BYTES)) == (400, "malformed")


@pytest.mark.parametrize("path", ["/order/1", "/acct/1", "/authz/1", "/chall/1/dns-01", "/cert/a/b", "/new-order"])
def test_resources_are_read_with_post(client: Client, path: str) -> None:
    assert kind(client.get(path)) == (405, "malformed")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/new-order"), ("POST", "/directory"), ("DELETE", "/acct/1")])
def test_other_methods_are_refused(server: AcmeServer, method: str, path: str) -> None:
    assert kind(server.handle(Message(method, path, BASE))) == (405, "malformed")


@pytest.mark.parametrize("path", ["/nothing", "/order/1/nothing/more", "/acct/1/2/3"])
def test_there_is_nothing_elsewhere(client: Client, path: str) -> None:
    assert kind(client.post(path)) == (404, "malformed")
    assert kind(client.get("/nothing")) == (404, "malformed")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/order/none", (404, "malformed")),
        ("/order/none/finalize", (400, "malformed")),
        ("/order/none/begin", (404, "malformed")),
        ("/authz/none", (404, "malformed")),
        ("/cert/none/none", (404, "malformed")),
        ("/acct/none", (403, "unauthorized")),
        ("/acct/none/orders", (403, "unauthorized")),
        ("/acct/none/others", (404, "malformed")),
    ],
)
def test_what_is_not_there_is_said_so(client: Client, path: str, expected: tuple[int, str]) -> None:
    assert kind(client.post(path)) == expected


def test_an_account_does_not_see_what_is_anothers(client: Client) -> None:
    order = client.order("www.lab.test")
    stranger = Client(client.server).register()
    authorization = client.authorizations(order)[0]
    for url in (
        order.headers["Location"],
        order.document["authorizations"][0],
        authorization["challenges"][0]["url"],
        client.kid,
        f"{client.kid}/orders",
    ):
        assert kind(stranger.post(url)) == (403, "unauthorized")
    assert kind(stranger.post(order.document["finalize"], {"csr": ""})) == (400, "badCSR")


def test_an_unknown_kid_is_no_account(server: AcmeServer) -> None:
    for kid in (f"{BASE}/acct/none", "https://elsewhere.test/acct/1", 7):
        client = Client(server, kid="x")
        assert kind(client.post("/new-order", {}, kid=kid)) == (400, "accountDoesNotExist")


def test_where_only_reading_is_meant_a_payload_is_refused(client: Client) -> None:
    order = client.order("www.lab.test")
    for url in (order.headers["Location"], f"{client.kid}/orders"):
        assert kind(client.post(url, {})) == (400, "malformed")


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_keys_may_sign(server: AcmeServer, bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": b64(numbers.n.to_bytes(bits // 8, "big")), "e": "AQAB"}
    client = Client(server)
    header = client.header(BASE + ACCOUNT, alg="RS256", jwk=jwk)
    protected, payload = b64_json(header), b64_json({})
    signature = key.sign(f"{protected}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    reply = client.send(ACCOUNT, {"protected": protected, "payload": payload, "signature": b64(signature)})
    assert reply.status == 201
    assert reply.document["key"] == jwk


def test_ed25519_keys_may_sign(server: AcmeServer) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}
    client = Client(server)
    protected, payload = b64_json(client.header(BASE + ACCOUNT, alg="EdDSA", jwk=jwk)), b64_json({})
    signature = b64(key.sign(f"{protected}.{payload}".encode()))
    assert client.send(ACCOUNT, {"protected": protected, "payload": payload, "signature": signature}).status == 201


def test_the_order_of_members_makes_no_other_key(server: AcmeServer) -> None:
    client = Client(server).register()
    shuffled = dict(reversed(write_jwk(client.key).items()))
    assert client.post(ACCOUNT, {}, jwk={**shuffled, "use": "sig"}, kid=None).headers["Location"] == client.kid


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_comes_is_answered_without_an_error_of_the_server(client: Client, data: st.DataObject) -> None:
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
        max_leaves=8,
    )
    known = st.sampled_from(["identifiers", "csr", "contact", "status", "certificate", "reason", "replaces", "profile"])
    payload = data.draw(st.dictionaries(known, json_values, max_size=4))
    path = data.draw(st.sampled_from(["/new-order", "/new-account", "/key-change", "/revoke-cert", client.kid]))
    reply = client.post(path, payload)
    assert reply.status < 500, reply.document


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | st.just(b"[" * 5000),
    path=st.text(alphabet="abc/%0.-é", max_size=30),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
)
def test_noise_is_answered_too(server: AcmeServer, body: bytes, path: str, method: str) -> None:
    assert server.handle(Message(method, f"/{path}", BASE, body, "application/jose+json")).status < 500


def test_a_signature_over_other_bytes_does_not_count(server: AcmeServer) -> None:
    client, other = Client(server), make_key()
    protected, payload = b64_json(client.header(BASE + ACCOUNT)), b64_json({})
    jws = {"protected": protected, "payload": payload, "signature": sign(other, f"{protected}.{payload}")}
    assert kind(client.send(ACCOUNT, jws)) == (400, "malformed")


@pytest.mark.parametrize("path", ["/new-order", "/key-change", "/acct/1", "/order/1", "/authz/1", "/chall/1/dns-01"])
def test_who_carries_a_key_where_an_account_must_sign_is_refused(server: AcmeServer, path: str) -> None:
    reply = Client(server).post(path, {})
    assert kind(reply) == (400, "malformed")
    assert "kid, not jwk" in reply.document["detail"]


def test_what_goes_back_is_a_document_or_bytes() -> None:
    assert Reply(document={"a": [1, None]}).content == b'{"a":[1,null]}'
    assert Reply(body=b"-----BEGIN").content == b"-----BEGIN"


def test_a_nonce_is_good_as_it_was_given_by_whom_and_for_its_time(clock: MovableClock) -> None:
    nonces = Nonces(clock)
    given = nonces.give()
    raw = decode(given, "it")
    changed = [raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :] for place in range(len(raw))]
    for other in (*changed, raw[:-1], raw + b"\0", raw[:16], b""):
        assert nonces.read(encode(other)) is None
    assert Nonces(clock).read(given) is None, "of another process, or the one before"
    clock.move(seconds=LIFETIME_S)
    assert nonces.read(given) is not None
    clock.move(seconds=1)
    assert nonces.read(given) is None
