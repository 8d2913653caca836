# SPDX-License-Identifier: Apache-2.0
"""Revocation (RFC 8555 section 7.6), renewal information (RFC 9773), profiles, reuse, limits, times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.acme.settings import Limits, Rate
from ottr.ca.authority import Authority
from ottr.ca.model import Certificate, Reason, Status
from tests.ca.acme.client import Client, b64, make_csr, make_key
from tests.ca.acme.conftest import Prove, Serve
from tests.ca.acme.test_acme_requests import kind
from tests.ca.conftest import MovableClock

NAME = "www.lab.test"


@dataclass
class Issued:
    leaf: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> str:
        return b64(self.leaf.public_bytes(Encoding.DER))

    @property
    def cert_id(self) -> str:
        identifier = self.leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        serial = self.leaf.serial_number
        return f"{b64(identifier or b'')}.{b64(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


def issue(client: Client, prove: Prove, *names: str, **fields: Any) -> Issued:
    key = make_key()
    order = client.order(*names, **fields)
    prove(client, order)
    done = client.finalize(order, make_csr(*names, key=key))
    assert done.status == 200, done.document
    return Issued(x509.load_pem_x509_certificates(client.post(done.document["certificate"]).body)[0], key)


def look_up(authority: Authority, issued: Issued) -> Certificate:
    found = authority.find_serial(format(issued.leaf.serial_number, "x"))
    assert found is not None
    return found


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 9])
def test_the_account_revokes_with_the_reasons_it_can_know(
    client: Client, prove: Prove, authority: Authority, code: int
) -> None:
    issued = issue(client, prove, NAME)
    assert client.post("/revoke-cert", {"certificate": issued.der, "reason": code}).status == 200
    found = look_up(authority, issued)
    assert (found.status, found.reason) == (Status.REVOKED, Reason.of_code(code))
    again = client.post("/revoke-cert", {"certificate": issued.der, "reason": code})
    assert kind(again) == (400, "alreadyRevoked")


@pytest.mark.parametrize("code", [2, 6, 7, 8, 10, 11, -1, "1", True, 1.0, None])
def test_other_reasons_are_refused(client: Client, prove: Prove, authority: Authority, code: Any) -> None:
    issued = issue(client, prove, NAME)
    reply = client.post("/revoke-cert", {"certificate": issued.der, "reason": code})
    assert kind(reply) == (400, "badRevocationReason")
    assert look_up(authority, issued).status is Status.VALID


def test_the_key_of_the_certificate_revokes_it(client: Client, prove: Prove, authority: Authority) -> None:
    issued = issue(client, prove, NAME)
    stranger = Client(client.server)
    assert kind(stranger.post("/revoke-cert", {"certificate": issued.der})) == (403, "unauthorized")
    holder = Client(client.server, key=issued.key)
    assert holder.post("/revoke-cert", {"certificate": issued.der, "reason": 1}).status == 200
    assert look_up(authority, issued).reason is Reason.KEY_COMPROMISE


def test_a_compromised_key_is_not_certified_again(client: Client, prove: Prove) -> None:
    issued = issue(client, prove, NAME)
    client.post("/revoke-cert", {"certificate": issued.der, "reason": 1})
    order = client.order(NAME)
    prove(client, order)
    assert kind(client.finalize(order, make_csr(NAME, key=issued.key))) == (400, "badCSR")
    assert client.finalize(order, make_csr(NAME)).status == 200


def test_an_account_that_holds_every_name_revokes(client: Client, prove: Prove, authority: Authority) -> None:
    issued = issue(client, prove, NAME, "api.lab.test")
    other = Client(client.server).register()
    prove(other, other.order(NAME))
    assert kind(other.post("/revoke-cert", {"certificate": issued.der})) == (403, "unauthorized")
    prove(other, other.order("api.lab.test"))
    assert other.post("/revoke-cert", {"certificate": issued.der}).status == 200


@pytest.mark.parametrize("certificate", ["", "!", None, b64(b"no certificate")])
def test_what_is_no_certificate_is_not_revoked(client: Client, certificate: Any) -> None:
    assert kind(client.post("/revoke-cert", {"certificate": certificate})) == (400, "malformed")


def test_a_certificate_of_another_ca_is_not_found(client: Client, prove: Prove) -> None:
    issued = issue(client, prove, NAME)
    key = make_key()
    forged = (
        x509.CertificateBuilder()
        .subject_name(issued.leaf.subject)
        .issuer_name(issued.leaf.issuer)
        .public_key(key.public_key())
        .serial_number(issued.leaf.serial_number)
        .not_valid_before(issued.leaf.not_valid_before_utc)
        .not_valid_after(issued.leaf.not_valid_after_utc)
        .sign(key, issued.leaf.signature_hash_algorithm)
    )
    forger = Client(client.server, key=key)
    reply = forger.post("/revoke-cert", {"certificate": b64(forged.public_bytes(Encoding.DER))})
    assert kind(reply) == (404, "malformed")


def read_window(client: Client, cert_id: str) -> tuple[datetime, datetime]:
    reply = client.get(f"/renewal-info/{cert_id}")
    assert reply.status == 200, reply.document
    assert int(reply.headers["Retry-After"]) == 6 * 3600
    window = reply.document["suggestedWindow"]
    start, end = (datetime.fromisoformat(window[key]) for key in ("start", "end"))
    return start, end


def test_windows_are_around_two_thirds_and_spread(client: Client, prove: Prove) -> None:
    windows = []
    for number in range(4):
        leaf = (issued := issue(client, prove, f"n{number}.lab.test")).leaf
        start, end = read_window(client, issued.cert_id)
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert (
            0.60 < (start - leaf.not_valid_before_utc) / lifetime < (end - leaf.not_valid_before_utc) / lifetime < 0.73
        )
        windows.append(start)
    assert len(set(windows)) == 4


def test_revocation_moves_the_window_into_the_past(client: Client, prove: Prove, clock: MovableClock) -> None:
    issued = issue(client, prove, NAME)
    client.post("/revoke-cert", {"certificate": issued.der})
    start, end = read_window(client, issued.cert_id)
    assert start < end <= clock.now


@pytest.mark.parametrize(
    ("cert_id", "expected"),
    [("", 400), ("abc", 400), ("abc.", 400), (".abc", 400), ("a=.b", 400), ("AAAA.AAAA", 404), ("AAAA.AAAA.AAAA", 400)],
)
def test_an_id_that_names_nothing(client: Client, cert_id: str, expected: int) -> None:
    assert client.get(f"/renewal-info/{cert_id}").status == expected


def test_an_order_replaces_a_certificate_once(client: Client, prove: Prove) -> None:
    first = issue(client, prove, NAME, "api.lab.test")
    order = client.order(NAME, replaces=first.cert_id)
    assert order.document["replaces"] == first.cert_id
    assert kind(client.try_order(NAME, replaces=first.cert_id)) == (409, "alreadyReplaced")


def test_an_order_that_came_to_nothing_does_not_replace(client: Client, prove: Prove, clock: MovableClock) -> None:
    first = issue(client, prove, NAME)
    client.order(NAME, replaces=first.cert_id)
    clock.move(days=2)
    client.order(NAME, replaces=first.cert_id)


def test_replaces_is_for_ones_own_certificates_with_a_common_name(client: Client, prove: Prove) -> None:
    first = issue(client, prove, NAME)
    other = Client(client.server).register()
    assert kind(other.try_order(NAME, replaces=first.cert_id)) == (400, "malformed")
    assert kind(client.try_order("other.lab.test", replaces=first.cert_id)) == (400, "malformed")
    for cert_id in ("AAAA.AAAA", "x", 7):
        assert kind(client.try_order(NAME, replaces=cert_id)) == (400, "malformed")


def test_a_profile_is_chosen_from_those_offered(serve: Serve, prove: Prove) -> None:
    client = Client(serve(profiles=MappingProxyType({"server": "servers", "client": "clients"}))).register()
    issued = issue(client, prove, NAME, profile="client")
    usages = issued.leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    for profile in ("root", "ocsp", "sub_ca", "none", 7, ["server"]):
        assert kind(client.try_order(NAME, profile=profile)) == (400, "invalidProfile")


def test_open_orders_and_proofs_are_given_again_when_switched_on(serve: Serve, prove: Prove) -> None:
    client = Client(serve(reuse_orders=True, reuse_authorizations=True)).register()
    first = client.order("a.lab.test", "b.lab.test")
    assert client.order("b.lab.test", "a.lab.test").headers["Location"] == first.headers["Location"]
    prove(client, first)
    assert client.order("a.lab.test", "b.lab.test").document["status"] == "ready"
    client.finalize(first, make_csr("a.lab.test", "b.lab.test"))
    second = client.order("a.lab.test", "b.lab.test")
    assert second.headers["Location"] != first.headers["Location"]
    assert second.document["status"] == "ready"
    assert second.document["authorizations"] == first.document["authorizations"]
    assert client.order("a.lab.test", "c.lab.test").document["status"] == "pending"


def test_without_the_switch_everything_is_new(client: Client, prove: Prove) -> None:
    first = client.order(NAME)
    prove(client, first)
    second = client.order(NAME)
    assert second.document["status"] == "pending"
    assert not set(second.document["authorizations"]) & set(first.document["authorizations"])


def test_a_deactivated_authorization_proves_nothing(client: Client, prove: Prove) -> None:
    order = client.order(NAME)
    prove(client, order)
    url = order.document["authorizations"][0]
    assert kind(client.post(url, {"status": "valid"})) == (400, "malformed")
    assert client.post(url, {"status": "deactivated"}).document["status"] == "deactivated"
    assert kind(client.finalize(order, make_csr(NAME))) == (403, "orderNotReady")


def test_orders_and_proofs_expire(client: Client, prove: Prove, clock: MovableClock) -> None:
    order = client.order(NAME)
    clock.move(days=2)
    assert client.post(order.headers["Location"]).document["status"] == "invalid"
    authorization = client.authorizations(order)[0]
    assert authorization["status"] == "invalid"
    assert kind(client.post(client.challenge(authorization)["url"], {})) == (400, "malformed")
    assert client.post(f"{client.kid}/orders").document["orders"] == []


def test_dates_of_an_order_are_kept_within_the_profile(client: Client, prove: Prove, clock: MovableClock) -> None:
    start, end = clock.now + timedelta(hours=1), clock.now + timedelta(days=3)
    dates = {"notBefore": start.isoformat(), "notAfter": end.isoformat()}
    issued = issue(client, prove, NAME, **dates)
    assert issued.leaf.not_valid_after_utc == end.astimezone(UTC)
    assert issued.leaf.not_valid_before_utc <= start


@pytest.mark.parametrize(
    "dates",
    [
        {"notBefore": "tomorrow"},
        {"notAfter": 7},
        {"notAfter": "2030-01-01T00:00:00"},
        {"notBefore": "2031-01-01T00:00:00Z", "notAfter": "2030-01-01T00:00:00Z"},
    ],
)
def test_dates_that_are_none_are_refused(client: Client, dates: dict[str, Any]) -> None:
    assert kind(client.try_order(NAME, **dates)) == (400, "malformed")


@pytest.mark.parametrize(
    ("identifiers", "expected"),
    [
        (None, "malformed"),
        ([], "malformed"),
        ("www.lab.test", "malformed"),
        ([{"type": "dns"}], "malformed"),
        ([{"type": "dns", "value": 1}], "malformed"),
        ([{"type": "email", "value": "a@example.com"}], "unsupportedIdentifier"),
        ([{"type": "dns", "value": "no spaces.test"}], "rejectedIdentifier"),
        ([{"type": "dns", "value": "127.0.0.1"}], "rejectedIdentifier"),
        ([{"type": "dns", "value": "a.*.test"}], "rejectedIdentifier"),
        ([{"type": "ip", "value": "www.lab.test"}], "rejectedIdentifier"),
        ([{"type": "ip", "value": "2001:DB8::1"}], "malformed"),
        ([{"type": "dns", "value": f"n{number}.test"} for number in range(101)], "malformed"),
    ],
)
def test_identifiers_are_dns_names_and_addresses(client: Client, identifiers: Any, expected: str) -> None:
    assert client.post("/new-order", {"identifiers": identifiers}).document["type"].endswith(f":{expected}")


def test_a_name_no_challenge_can_prove_is_refused(serve: Serve) -> None:
    client = Client(serve(validation={"challenges": ("http-01",)})).register()
    assert kind(client.try_order("*.lab.test")) == (403, "rejectedIdentifier")


def test_orders_are_limited(serve: Serve, clock: MovableClock) -> None:
    client = Client(serve(limits=Limits(orders=Rate(2, 600)))).register()
    client.order("a.lab.test")
    client.order("b.lab.test")
    refused = client.try_order("c.lab.test")
    assert (kind(refused), refused.headers["Retry-After"]) == ((429, "rateLimited"), "601")
    clock.move(seconds=601)
    client.order("c.lab.test")


def test_certificates_for_the_same_names_are_limited_but_not_replacements(serve: Serve, prove: Prove) -> None:
    client = Client(serve(limits=Limits(certificates=Rate(1, 600)))).register()
    first = issue(client, prove, NAME)
    assert kind(client.try_order(NAME)) == (429, "rateLimited")
    client.order("other.lab.test")
    client.order(NAME, replaces=first.cert_id)


def test_failed_validations_are_limited(serve: Serve) -> None:
    client = Client(serve(limits=Limits(failures=Rate(1, 600)))).register()
    challenges = [client.challenge(client.authorizations(client.order("none.lab.test"))[0]) for _ in range(2)]
    assert client.post(challenges[0]["url"], {}).document["status"] == "invalid"
    assert kind(client.post(challenges[1]["url"], {})) == (429, "rateLimited")
