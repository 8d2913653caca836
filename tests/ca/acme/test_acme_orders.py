# SPDX-License-Identifier: Apache-2.0
"""RFC 8555 section 7: from an account to a certificate."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottr.ca.acme.exchange import Reply
from ottr.ca.authority import Authority
from tests.ca.acme.client import BASE, Client, make_csr
from tests.ca.acme.conftest import Prove, Publish, Serve


def read_chain(reply: Reply) -> list[x509.Certificate]:
    assert reply.status == 200, reply.document
    return x509.load_pem_x509_certificates(reply.body)


def read_names(certificate: x509.Certificate) -> list[str]:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def test_a_proven_order_gives_a_certificate_with_chain(client: Client, prove: Prove, authority: Authority) -> None:
    order = client.order("www.lab.test", "api.lab.test")
    assert order.document["status"] == "pending"
    assert order.headers["Location"].startswith(f"{BASE}/order/")
    prove(client, order)
    assert client.post(order.headers["Location"]).document["status"] == "ready"

    done = client.finalize(order, make_csr("api.lab.test", "www.lab.test"))
    assert done.document["status"] == "valid"
    leaf, *chain = read_chain(client.post(done.document["certificate"]))
    assert sorted(read_names(leaf)) == ["api.lab.test", "www.lab.test"]
    leaf.verify_directly_issued_by(chain[0])
    issuer = authority.active_issuer()
    found = authority.find(issuer.id, format(leaf.serial_number, "x"))
    assert found is not None
    assert found.der == leaf.public_bytes(Encoding.DER)
    assert found.requester == "acme:" + client.kid.rpartition("/")[2]


def test_a_wildcard_is_proven_at_the_name_below(client: Client, prove: Prove) -> None:
    order = client.order("*.lab.test", "lab.test")
    wild, plain = client.authorizations(order)
    assert wild["identifier"] == plain["identifier"] == {"type": "dns", "value": "lab.test"}
    assert wild["wildcard"] is True
    assert "wildcard" not in plain
    assert [one["type"] for one in wild["challenges"]] == ["dns-01"]
    prove(client, order)
    done = client.finalize(order, make_csr("*.lab.test", "lab.test"))
    assert sorted(read_names(read_chain(client.post(done.document["certificate"]))[0])) == ["*.lab.test", "lab.test"]


def test_an_alias_of_the_challenge_name_is_followed(client: Client, publish: Publish) -> None:
    order = client.order("away.lab.test")
    challenge = client.challenge(client.authorizations(order)[0])
    digest = hashlib.sha256(client.key_authorization(challenge).encode()).digest()
    publish("proof.lab.test", base64.urlsafe_b64encode(digest).rstrip(b"=").decode())
    client.post(challenge["url"], {})
    assert client.wait(challenge["url"])["status"] == "valid"


def test_a_wrong_value_makes_order_and_authorization_invalid(client: Client, publish: Publish) -> None:
    order = client.order("www.lab.test")
    publish("_acme-challenge.www.lab.test", "somebody-elses")
    challenge = client.challenge(client.authorizations(order)[0])
    client.post(challenge["url"], {})
    failed = client.wait(challenge["url"])
    assert failed["status"] == "invalid"
    assert failed["error"]["type"].endswith(":unauthorized")
    assert client.authorizations(order)[0]["status"] == "invalid"
    shown = client.post(order.headers["Location"]).document
    assert shown["status"] == "invalid"
    assert shown["error"] == failed["error"]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("www.lab.test", "more.lab.test"), "badCSR"),
        (("other.lab.test",), "badCSR"),
        ((), "badCSR"),
    ],
)
def test_a_csr_has_exactly_the_names_of_the_order(
    client: Client, prove: Prove, names: tuple[str, ...], kind: str
) -> None:
    order = client.order("www.lab.test")
    prove(client, order)
    refused = client.finalize(order, make_csr(*names))
    assert (refused.status, refused.document["type"].rpartition(":")[2]) == (400, kind)
    assert client.post(order.headers["Location"]).document["status"] == "ready"


def test_an_unproven_order_is_not_finalized(client: Client) -> None:
    order = client.order("www.lab.test")
    refused = client.finalize(order, make_csr("www.lab.test"))
    assert (refused.status, refused.document["type"].rpartition(":")[2]) == (403, "orderNotReady")


def test_the_key_of_an_account_is_not_certified(client: Client, prove: Prove) -> None:
    order = client.order("www.lab.test")
    prove(client, order)
    other = Client(client.server).register()
    for key in (client.key, other.key):
        refused = client.finalize(order, make_csr("www.lab.test", key=key))
        assert refused.document["type"].endswith(":badCSR")


def test_a_csr_that_asks_for_a_ca_gets_none_of_it(client: Client, prove: Prove) -> None:
    order = client.order("www.lab.test")
    prove(client, order)
    wishes = ((x509.BasicConstraints(ca=True, path_length=3), True),)
    done = client.finalize(order, make_csr("www.lab.test", extensions=wishes))
    leaf = read_chain(client.post(done.document["certificate"]))[0]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.fixture
def proven(serve: Serve, prove: Prove) -> Client:
    """A client whose orders for www.lab.test are ready at once."""
    client = Client(serve(reuse_authorizations=True)).register()
    prove(client, client.order("www.lab.test"))
    return client


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    names=st.lists(
        st.sampled_from(["www.lab.test", "WWW.lab.test.", "*.lab.test", "lab.test", "192.0.2.1"]), max_size=3
    ),
    with_account_key=st.booleans(),
    damage=st.none() | st.tuples(st.integers(0, 400), st.integers(1, 255)),
)
def test_whatever_the_csr_nothing_but_the_order_is_certified(
    proven: Client, names: list[str], with_account_key: bool, damage: tuple[int, int] | None
) -> None:
    csr = bytearray(make_csr(*names, key=proven.key if with_account_key else None))
    if damage is not None:
        csr[damage[0] % len(csr)] ^= damage[1]
    done = proven.finalize(proven.order("www.lab.test"), bytes(csr))
    assert done.status in (200, 400, 403), done.document
    if done.status == 200:
        leaf = read_chain(proven.post(done.document["certificate"]))[0]
        assert read_names(leaf) == ["www.lab.test"]
        assert leaf.public_key() != proven.key.public_key()
    else:
        assert names != ["www.lab.test"] or with_account_key or damage is not None


def test_orders_are_listed_in_pages(serve: Serve) -> None:
    client = Client(serve(orders_per_page=2)).register()
    made = {client.order(f"n{number}.lab.test").headers["Location"] for number in range(3)}
    account = client.post(client.kid)
    first = client.post(account.document["orders"])
    following = next(link for link in first.links if 'rel="next"' in link)
    second = client.post(following.partition(">")[0].lstrip("<"))
    assert len(first.document["orders"]) == 2
    assert {*first.document["orders"], *second.document["orders"]} == made
    assert not any('rel="next"' in link for link in second.links)
