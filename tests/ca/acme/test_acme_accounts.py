# SPDX-License-Identifier: Apache-2.0
"""RFC 8555 section 7.3: accounts."""

from __future__ import annotations

from typing import Any

import pytest

from ottr.ca.acme.accounts import create_binding
from ottr.ca.acme.settings import Limits, Rate
from ottr.ca.authority import Authority
from ottr.ca.names import NameRules
from ottr.errors import RequestRefused
from tests.ca.acme.client import BASE, Client, make_key, write_binding, write_jwk, write_jws
from tests.ca.acme.conftest import Serve
from tests.ca.acme.test_acme_requests import kind
from tests.ca.conftest import MovableClock

URL = BASE + "/new-account"


def test_the_same_key_gets_the_same_account(client: Client) -> None:
    again = client.post("/new-account", {"contact": ["mailto:a@example.com"]}, jwk=write_jwk(client.key), kid=None)
    assert (again.status, again.headers["Location"]) == (200, client.kid)
    assert again.document["contact"] == []


def test_only_an_existing_account_is_returned_when_asked(serve: Serve) -> None:
    client = Client(serve())
    assert kind(client.post("/new-account", {"onlyReturnExisting": True})) == (400, "accountDoesNotExist")
    client.register()
    found = client.post("/new-account", {"onlyReturnExisting": True}, jwk=write_jwk(client.key), kid=None)
    assert (found.status, found.headers["Location"]) == (200, client.kid)


def test_contacts_change(client: Client) -> None:
    changed = client.post(client.kid, {"contact": ["mailto:ops@example.com"]})
    assert changed.document["contact"] == ["mailto:ops@example.com"]
    assert client.post(client.kid).document["contact"] == ["mailto:ops@example.com"]


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ("mailto:a@example.com", "malformed"),
        ([1], "malformed"),
        (["tel:+123"], "unsupportedContact"),
        (["mailto:a@example.com,b@example.com"], "invalidContact"),
        (["mailto:a@example.com?subject=x"], "invalidContact"),
        (["mailto:nobody"], "invalidContact"),
        (["mailto:a@example.com"] * 11, "invalidContact"),
    ],
)
def test_contacts_are_single_mail_addresses(client: Client, contact: Any, expected: str) -> None:
    assert kind(client.post(client.kid, {"contact": contact})) == (400, expected)


def test_a_deactivated_account_does_nothing_more(client: Client) -> None:
    order = client.order("www.lab.test")
    assert kind(client.post(client.kid, {"status": "revoked"})) == (400, "malformed")
    assert client.post(client.kid, {"status": "deactivated"}).document["status"] == "deactivated"
    for reply in (
        client.try_order("www.lab.test"),
        client.post(order.headers["Location"]),
        client.post(client.kid, {"status": "valid"}),
        client.post("/new-account", {}, jwk=write_jwk(client.key), kid=None),
    ):
        assert kind(reply) == (403, "unauthorized")


def test_terms_must_be_agreed_to(serve: Serve) -> None:
    server = serve(terms_of_service="https://ca.example.test/terms")
    refused = Client(server).post("/new-account", {})
    assert kind(refused) == (403, "userActionRequired")
    assert refused.headers["Link"] == '<https://ca.example.test/terms>;rel="terms-of-service"'
    client = Client(server).register(termsOfServiceAgreed=True)
    assert client.post(client.kid).document["termsOfServiceAgreed"] is True


def roll(client: Client, new: Any, **inner_changes: Any) -> Any:
    url = BASE + "/key-change"
    header = {"alg": "ES256", "jwk": write_jwk(new), "url": url, **inner_changes.pop("header", {})}
    payload = {"account": client.kid, "oldKey": write_jwk(client.key), **inner_changes}
    return client.post(url, write_jws(new, header, payload))


def test_an_account_gets_another_key(client: Client) -> None:
    new, old = make_key(), client.key
    assert roll(client, new).status == 200
    client.key = old
    assert kind(client.post(client.kid)) == (400, "malformed")
    client.key = new
    assert client.post(client.kid).document["key"] == write_jwk(new)


@pytest.mark.parametrize(
    "changes",
    [
        {"account": BASE + "/acct/other"},
        {"oldKey": write_jwk(make_key())},
        {"oldKey": None},
        {"header": {"url": BASE + "/elsewhere"}},
        {"header": {"nonce": "bm9uY2U"}},
        {"header": {"kid": "x"}},
        {"header": {"jwk": write_jwk(make_key())}},
    ],
)
def test_a_key_change_is_proven_by_both_keys(client: Client, changes: dict[str, Any]) -> None:
    assert kind(roll(client, make_key(), **changes)) == (400, "malformed")
    assert client.post(client.kid).status == 200


def test_a_key_that_has_an_account_is_not_taken(client: Client) -> None:
    other = Client(client.server).register()
    refused = roll(client, other.key)
    assert kind(refused) == (409, "conflict")
    assert refused.headers["Location"] == other.kid


def test_a_binding_gives_its_account_its_names_and_no_others(serve: Serve, authority: Authority) -> None:
    server = serve(eab_required=True)
    kid, mac_key = create_binding(authority, NameRules(dns=("*.team.lab.test",)))
    assert kind(Client(server).post("/new-account", {})) == (400, "externalAccountRequired")
    client = Client(server)
    client.register(externalAccountBinding=write_binding(kid, mac_key, URL, client.key))
    client.order("www.team.lab.test")
    assert kind(client.try_order("www.lab.test")) == (403, "rejectedIdentifier")
    both = client.try_order("a.lab.test", "b.lab.test", "c.team.lab.test")
    assert [one["identifier"]["value"] for one in both.document["subproblems"]] == ["a.lab.test", "b.lab.test"]


def test_a_binding_is_for_one_account(serve: Serve, authority: Authority) -> None:
    server = serve(eab_required=True)
    kid, mac_key = create_binding(authority, NameRules(dns=("*",)), "team-1")
    first, second = Client(server), Client(server)
    first.register(externalAccountBinding=write_binding(kid, mac_key, URL, first.key))
    binding = write_binding(kid, mac_key, URL, second.key)
    assert kind(second.post("/new-account", {"externalAccountBinding": binding})) == (403, "unauthorized")
    with pytest.raises(RequestRefused):
        create_binding(authority, NameRules(), "team-1")
    with pytest.raises(RequestRefused):
        create_binding(authority, NameRules(), "no spaces")


def test_a_wrong_binding_is_refused(serve: Serve, authority: Authority) -> None:
    server = serve()
    kid, mac_key = create_binding(authority, NameRules(dns=("*",)))
    client = Client(server)
    good = write_binding(kid, mac_key, URL, client.key)
    wrong = [
        write_binding(kid, b"another key", URL, client.key),
        write_binding("another", mac_key, URL, client.key),
        write_binding(kid, mac_key, BASE + "/elsewhere", client.key),
        write_binding(kid, mac_key, URL, make_key()),
        {**good, "signature": ""},
        {**good, "extra": ""},
        write_jws(client.key, {"alg": "ES256", "kid": kid, "url": URL}, write_jwk(client.key)),
        "binding",
    ]
    for binding in wrong:
        reply = client.post("/new-account", {"externalAccountBinding": binding})
        assert kind(reply) == (403, "unauthorized"), binding
    client.register(externalAccountBinding=good)


def test_accounts_from_one_address_are_limited(serve: Serve, clock: MovableClock) -> None:
    server = serve(limits=Limits(accounts=Rate(2, 3600)))
    for _ in range(2):
        Client(server).register()
        clock.move(minutes=10)
    refused = Client(server).post("/new-account", {})
    assert kind(refused) == (429, "rateLimited")
    assert refused.headers["Retry-After"] == str(3600 - 1200 + 1)
    Client(server, address="192.0.2.8").register()
    clock.move(seconds=2401)
    Client(server).register()
