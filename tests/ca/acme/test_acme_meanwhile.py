# SPDX-License-Identifier: Apache-2.0
"""What changes while a request is worked on, what a CA cannot do now, and requests that are wrong in rarer ways."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.acme.exchange import Message, Reply
from ottr.ca.acme.schema import account, authorization
from ottr.ca.authority import Authority
from ottr.ca.certificates import list_certificates
from ottr.ca.model import Reason
from ottr.ca.names import NameRules
from ottr.errors import StoreError
from tests.ca.acme.client import BASE, Client, b64, make_csr, make_key, write_jwk, write_jws
from tests.ca.acme.conftest import Prove, Serve
from tests.ca.acme.test_acme_requests import kind
from tests.ca.conftest import MovableClock

NAME = "www.lab.test"
Meanwhile = Callable[[Callable[[], Any]], None]


@pytest.fixture
def meanwhile(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Let something happen between what the next request reads and what it writes."""
    write = authority.database.write

    def arrange(act: Callable[[], Any]) -> None:
        def first(**options: Any) -> Any:
            monkeypatch.setattr(authority.database, "write", write)
            act()
            return write(**options)

        monkeypatch.setattr(authority.database, "write", first)

    return arrange


@pytest.fixture
def ready(client: Client, prove: Prove) -> Reply:
    """A ready order of ``client``."""
    order = client.order(NAME)
    prove(client, order)
    return order


def change(authority: Authority, statement: sa.Update) -> None:
    with authority.database.write() as connection:
        connection.execute(statement)


DEACTIVATED = sa.update(account).values(status="deactivated")


def test_an_account_deactivated_meanwhile_gets_nothing(
    client: Client, ready: Reply, meanwhile: Meanwhile, authority: Authority
) -> None:
    meanwhile(lambda: change(authority, DEACTIVATED))
    assert kind(client.finalize(ready, make_csr(NAME))) == (403, "unauthorized")


def test_of_two_who_finalize_at_once_one_gets_a_certificate(
    client: Client, ready: Reply, authority: Authority, meanwhile: Meanwhile
) -> None:
    done = list[Reply]()
    meanwhile(lambda: done.append(client.finalize(ready, make_csr(NAME))))
    late = client.finalize(ready, make_csr(NAME))
    assert (kind(late), late.document["detail"]) == ((403, "orderNotReady"), "the order is being finalized")
    assert (done[0].status, done[0].document["status"]) == (200, "valid")
    with authority.database.read() as connection:
        issued = [row for row in list_certificates(connection) if row.requester.startswith("acme:")]
    assert len(issued) == 1


def test_an_account_deactivated_meanwhile_is_not_changed(
    client: Client, meanwhile: Meanwhile, authority: Authority
) -> None:
    meanwhile(lambda: change(authority, DEACTIVATED))
    assert kind(client.post(client.kid, {"contact": ["mailto:a@b.test"]})) == (403, "unauthorized")


def test_a_key_changed_meanwhile_is_not_changed_again(
    client: Client, meanwhile: Meanwhile, authority: Authority
) -> None:
    new, url = make_key(), f"{BASE}/key-change"
    content = {"account": client.kid, "oldKey": write_jwk(client.key)}
    inner = write_jws(new, {"alg": "ES256", "jwk": write_jwk(new), "url": url}, content)
    meanwhile(lambda: change(authority, sa.update(account).values(thumbprint="of-another-key")))
    assert kind(client.post(url, inner)) == (400, "malformed")


def test_an_authorization_deactivated_meanwhile_proves_nothing(
    client: Client, ready: Reply, meanwhile: Meanwhile, authority: Authority
) -> None:
    meanwhile(lambda: change(authority, sa.update(authorization).values(status="deactivated")))
    assert kind(client.finalize(ready, make_csr(NAME))) == (403, "orderNotReady")
    found = client.post(ready.headers["Location"]).document
    assert "certificate" not in found


def test_a_key_that_became_known_meanwhile_is_not_certified(
    client: Client, ready: Reply, prove: Prove, meanwhile: Meanwhile, authority: Authority
) -> None:
    key = make_key()
    other = client.order("other.lab.test")
    prove(client, other)
    done = client.finalize(other, make_csr("other.lab.test", key=key))
    issuer, serial = done.document["certificate"].split("/")[-2:]
    meanwhile(lambda: authority.revoke(issuer, serial, Reason.KEY_COMPROMISE, "operator"))
    assert kind(client.finalize(ready, make_csr(NAME, key=key))) == (400, "badCSR")
    assert client.finalize(ready, make_csr(NAME)).status == 200


def test_a_request_the_database_fails_is_to_be_asked_again(client: Client, meanwhile: Meanwhile) -> None:
    def fail() -> None:
        raise StoreError("the disk is full")

    meanwhile(fail)
    refused = client.try_order(NAME)
    assert kind(refused) == (503, "serverInternal")
    assert "disk" not in refused.document["detail"]
    assert client.try_order(NAME).status == 201


def test_a_look_that_cannot_be_recorded_is_to_be_asked_for_again(client: Client, meanwhile: Meanwhile) -> None:
    def fail() -> None:
        raise StoreError("the disk is full")

    challenge = client.challenge(client.authorizations(client.order(NAME))[0])
    meanwhile(fail)
    assert kind(client.post(challenge["url"], {})) == (500, "serverInternal")
    client.post(challenge["url"], {})
    assert client.wait(challenge["url"])["status"] == "invalid"


def test_what_was_seen_of_an_authorization_that_has_ended_changes_nothing(client: Client, meanwhile: Meanwhile) -> None:
    [url] = client.order(NAME).document["authorizations"]
    challenge = client.challenge(client.post(url).document)
    meanwhile(lambda: (client.post(url, {"status": "deactivated"}), client.post(url)))
    client.post(challenge["url"], {})
    assert client.wait(url)["status"] == "deactivated"


def test_a_look_that_dies_is_a_failed_one(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("ottr.ca.acme.looks.validate", die)
    challenge = client.challenge(client.authorizations(client.order(NAME))[0])
    client.post(challenge["url"], {})
    found = client.wait(challenge["url"])
    assert (found["status"], found["error"]["type"].rpartition(":")[2]) == ("invalid", "serverInternal")


def test_looks_of_an_account_that_ended_come_to_nothing(client: Client, serve: Serve, authority: Authority) -> None:
    url = client.order(NAME).document["authorizations"][0]
    kinds = ("http-01", "dns-01")
    challenges = {one: {"status": "processing" if one == "dns-01" else "pending"} for one in kinds}
    change(authority, sa.update(authorization).values(status="processing", challenges=challenges))
    change(authority, DEACTIVATED)
    serve().close()
    change(authority, sa.update(account).values(status="valid"))
    found = client.post(url).document
    assert found["status"] == "invalid"
    assert found["challenges"][0]["error"]["type"].endswith(":unauthorized")
    assert found["challenges"][0]["error"]["detail"] == "the account is not valid any more"


def test_no_issuer_no_certificate(client: Client, ready: Reply, authority: Authority) -> None:
    issuer = authority.active_issuer()
    authority.revoke(issuer.parent_id, issuer.serial, Reason.CESSATION_OF_OPERATION, "operator")
    assert kind(client.finalize(ready, make_csr(NAME))) == (503, "serverInternal")


def test_rules_that_changed_since_the_order_hold(client: Client, ready: Reply, serve: Serve) -> None:
    client.server = serve(rules=NameRules(dns=("other.lab.test",)))
    assert kind(client.finalize(ready, make_csr(NAME))) == (403, "rejectedIdentifier")


@pytest.mark.parametrize("csr", ["!!", b64(b"no CSR"), 7, None])
def test_what_is_no_csr(client: Client, ready: Reply, csr: Any) -> None:
    refused = client.post(ready.document["finalize"], {"csr": csr})
    assert kind(refused) == (400, "badCSR" if csr == b64(b"no CSR") else "malformed")


def test_times_of_an_order(client: Client, prove: Prove, clock: MovableClock) -> None:
    def text(**ahead: float) -> str:
        return (clock() + timedelta(**ahead)).isoformat()

    for wrong in (
        {"notBefore": "0001-01-01T00:00:00+14:00"},
        {"notAfter": "9999-12-31T23:59:59-14:00"},
        {"notBefore": text(days=31)},
        {"notBefore": text(days=2), "notAfter": text(days=1)},
    ):
        assert kind(client.try_order(NAME, **wrong)) == (400, "malformed")
    past, short = client.order(NAME, notBefore=text(days=-3)), client.order(NAME, notAfter=text(hours=1))
    for order in (past, short):
        prove(client, order)
    clock.move(hours=2)
    assert kind(client.finalize(past, make_csr(NAME))) == (400, "badCSR")
    assert kind(client.finalize(short, make_csr(NAME))) == (400, "malformed")


def test_a_list_of_orders_begins_where_there_is_one(client: Client) -> None:
    client.order(NAME)
    for cursor in ("9" * 40, "-1", "x", "\u0663"):
        assert len(client.post(f"{client.kid}/orders?cursor={cursor}").document["orders"]) == 1


def test_a_certificate_is_for_its_account_and_has_so_many_chains(client: Client, ready: Reply) -> None:
    url = client.finalize(ready, make_csr(NAME)).document["certificate"]
    assert client.post(f"{url}/0").status == 200
    for chain in ("1", "9" * 5000, "x", "\u0660"):
        assert kind(client.post(f"{url}/{chain}")) == (404, "malformed")
    assert kind(Client(client.server).register().post(url)) == (403, "unauthorized")


def test_an_id_of_a_certificate_that_was_never_issued(client: Client, authority: Authority) -> None:
    identifier = b64(bytes.fromhex(authority.active_issuer().key_identifier))
    assert kind(client.get(f"/renewal-info/{identifier}.{b64(b'never')}")) == (404, "malformed")


def test_a_challenge_that_is_not_offered(client: Client) -> None:
    url = client.challenge(client.authorizations(client.order("*.lab.test"))[0])["url"]
    assert kind(client.post(url.replace("dns-01", "http-01"), {})) == (404, "malformed")


def test_a_request_of_accounts_is_not_signed_with_a_key_alone(client: Client) -> None:
    refused = client.post("/new-order", {"identifiers": []}, jwk=write_jwk(client.key), kid=None)
    assert kind(refused) == (400, "malformed")


def test_a_key_change_is_not_signed_without_a_key(client: Client) -> None:
    new, url = make_key(), f"{BASE}/key-change"
    inner = write_jws(new, {"alg": "none", "jwk": write_jwk(new), "url": url}, {})
    assert kind(client.post(url, inner)) == (400, "badSignatureAlgorithm")


def test_the_directory_tells_about_the_server(serve: Serve) -> None:
    server = serve(
        website="https://ca.example.test",
        terms_of_service="https://ca.example.test/terms",
        eab_required=True,
        validation={"caa_identities": ("ca.example",)},
    )
    meta = server.handle(Message("GET", "/directory", BASE)).document["meta"]
    assert meta == {
        "profiles": {"server": "TLS servers"},
        "website": "https://ca.example.test",
        "termsOfService": "https://ca.example.test/terms",
        "externalAccountRequired": True,
        "caaIdentities": ["ca.example"],
    }


def test_an_open_order_that_came_to_nothing_is_not_given_again(serve: Serve) -> None:
    client = Client(serve(reuse_orders=True)).register()
    first = client.order(NAME)
    client.post(first.document["authorizations"][0], {"status": "deactivated"})
    second = client.order(NAME)
    assert second.headers["Location"] != first.headers["Location"]
    assert client.order(NAME).headers["Location"] == second.headers["Location"]


def issue(client: Client, prove: Prove, key: Any) -> bytes:
    """A certificate's DER."""
    order = client.order(NAME)
    prove(client, order)
    chain = client.post(client.finalize(order, make_csr(NAME, key=key)).document["certificate"]).body
    return x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)


def revoke(client: Client, der: bytes, reason: int, **header: Any) -> Reply:
    return client.post("/revoke-cert", {"certificate": b64(der), "reason": reason}, **header)


def test_who_only_holds_the_names_does_not_condemn_the_key(client: Client, prove: Prove) -> None:
    key = make_key()
    der = issue(client, prove, key)
    other = Client(client.server).register()
    issue(other, prove, make_key())
    assert kind(revoke(other, der, 1)) == (400, "badRevocationReason")
    assert revoke(other, der, 4).status == 200
    issue(client, prove, key)


def test_a_key_that_leaks_after_the_revocation_is_not_certified_again(client: Client, prove: Prove) -> None:
    key = make_key()
    der = issue(client, prove, key)
    assert revoke(client, der, 4).status == 200
    assert kind(revoke(client, der, 5)) == (400, "alreadyRevoked")
    owner = Client(client.server, key=key)
    assert revoke(owner, der, 1).status == 200
    assert kind(revoke(owner, der, 1)) == (400, "alreadyRevoked")
    order = client.order(NAME)
    prove(client, order)
    assert kind(client.finalize(order, make_csr(NAME, key=key))) == (400, "badCSR")
