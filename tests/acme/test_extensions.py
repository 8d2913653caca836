# SPDX-License-Identifier: Apache-2.0
"""Renewal information, replacement and profiles, which Debian's Pebble lacks: the program in front of it has them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from ottr import x509
from ottr.acme.renewal import build_certificate_id
from ottr.errors import AcmeProblem, IssuerUnavailable, WrongCertificate
from ottr.model import RenewalInfo
from tests.acme.conftest import MemoryLog, make_request
from tests.acme.proxy import answer, edit, problem

# RFC 9773 section 4.1: the example certificate's key identifier and serial number, and what they come to
EXAMPLE_AKI = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
WINDOW = {"start": "2026-01-02T04:00:00Z", "end": "2026-01-03T04:00:00+00:00"}


@pytest.fixture
def modern(proxy):
    """The server announces renewal information and two profiles."""
    more = {"renewalInfo": f"https://{proxy.host}/renewal-info/"}
    profiles = {"classic": "the usual", "shortlived": "six days"}

    def announce(jobj):
        jobj.update(more)
        jobj["meta"]["profiles"] = profiles

    proxy.on("GET", "/dir", edit(announce), times=9)
    return proxy


def placed(proxy):
    return [request.payload() for request in proxy.requests if request.path == "/order-plz"]


def info(proxy, body, **headers):
    proxy.on("GET", "/renewal-info/", answer(200, body, **headers))


@pytest.fixture
def old(modern, issuer, name):
    """A certificate to be replaced."""
    pem = issuer.issue(make_request(name), MemoryLog()).leaf_pem
    modern.requests.clear()
    return pem


class TestRenewalInfo:
    def test_window(self, modern, issuer, old):
        info(modern, {"suggestedWindow": WINDOW, "explanationURL": "https://ca.test/why"}, Retry_After="21600")
        assert issuer.renewal_info(old) == RenewalInfo(
            start=datetime(2026, 1, 2, 4, tzinfo=UTC),
            end=datetime(2026, 1, 3, 4, tzinfo=UTC),
            retry_after_s=21600.0,
            explanation_url="https://ca.test/why",
        )
        asked = modern.requests[-1]
        assert asked.path == f"/renewal-info/{build_certificate_id(x509.parse_certificate(old))}"
        assert asked.body == b""

    @pytest.mark.parametrize(("told", "kept"), [("5", 60.0), ("9999999", 86400.0), ("soon", 21600.0), ("0", 60.0)])
    def test_time_until_the_next_look_is_bounded(self, modern, issuer, old, told, kept):
        info(modern, {"suggestedWindow": WINDOW}, Retry_After=told)
        assert issuer.renewal_info(old).retry_after_s == kept

    def test_no_time_named(self, modern, issuer, old):
        info(modern, {"suggestedWindow": WINDOW})
        assert issuer.renewal_info(old).retry_after_s == 21600.0

    @pytest.mark.parametrize(
        "window",
        [
            None,
            {},
            "soon",
            {"start": 7, "end": 8},
            {"start": "soon", "end": "later"},
            {"start": WINDOW["end"], "end": WINDOW["start"]},
            {"start": WINDOW["start"], "end": WINDOW["start"]},
            {"start": "2026-01-02T04:00:00", "end": "2026-01-03T04:00:00"},
            {"start": "2026-01-02T04:00:00", "end": "2026-01-03T04:00:00Z"},
            {"start": "0001-01-01T00:00:00+14:00", "end": "2026-01-03T04:00:00Z"},
        ],
    )
    def test_window_without_sense(self, modern, issuer, old, window, caplog):
        info(modern, {"suggestedWindow": window})
        assert issuer.renewal_info(old) is None
        assert "makes no sense" in caplog.text

    def test_whether_the_ca_has_it(self, modern, pebble, issuer, make_issuer, tmp_path):
        assert issuer.offers_renewal_info()
        assert not make_issuer(pebble, state_dir=tmp_path / "other").offers_renewal_info()

    def test_ca_in_trouble(self, modern, issuer, old):
        modern.on("GET", "/renewal-info/", answer(500, b"oops"))
        with pytest.raises(IssuerUnavailable, match="oops"):
            issuer.renewal_info(old)

    def test_ca_without(self, proxy, issuer, name, log):
        leaf_pem = issuer.issue(make_request(name), log).leaf_pem
        assert issuer.renewal_info(leaf_pem) is None

    def test_certificate_that_cannot_be_read(self, modern, issuer):
        with pytest.raises(WrongCertificate):
            issuer.renewal_info("nonsense")

    def test_certificate_without_key_identifier(self, modern, issuer, own_certificate):
        assert issuer.renewal_info(own_certificate) is None

    def test_identifier_of_the_rfc(self, own_certificate):
        leaf = x509.parse_certificate(own_certificate)
        example = dataclasses.replace(leaf, authority_key_id=EXAMPLE_AKI, serial="87654321")
        assert build_certificate_id(example) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


class TestReplaces:
    def test_named_in_the_order(self, modern, issuer, old, name, log):
        assert issuer.issue(make_request(name, replaces_pem=old), log)
        (payload,) = placed(modern)
        assert payload["replaces"] == build_certificate_id(x509.parse_certificate(old))

    def test_not_named_to_a_ca_without_renewal_information(self, proxy, issuer, name, log):
        old = issuer.issue(make_request(name), MemoryLog()).leaf_pem
        assert issuer.issue(make_request(name, replaces_pem=old), log)
        assert all("replaces" not in payload for payload in placed(proxy))

    @pytest.mark.parametrize(
        "refusal",
        [
            problem(409, "alreadyReplaced"),
            problem(409, "conflict"),
            problem(404, "malformed", "certificate not found"),
            problem(400, "malformed", "parsing ARI CertID failed"),
            problem(403, "unauthorized", "requester account did not request the certificate being replaced"),
        ],
    )
    def test_left_out_when_the_ca_does_not_take_it(self, modern, issuer, old, name, log, refusal):
        modern.on("POST", "/order-plz", refusal)
        assert issuer.issue(make_request(name, replaces_pem=old), log)
        assert ["replaces" in payload for payload in placed(modern)] == [True, False]

    def test_left_out_only_once(self, modern, issuer, old, name, log):
        modern.on("POST", "/order-plz", problem(409, "alreadyReplaced"), times=2)
        with pytest.raises(AcmeProblem):
            issuer.issue(make_request(name, replaces_pem=old), log)

    def test_kept_when_the_trouble_is_another(self, modern, issuer, old, name, log):
        modern.on("POST", "/order-plz", problem(403, "rejectedIdentifier"))
        with pytest.raises(AcmeProblem, match="rejectedIdentifier"):
            issuer.issue(make_request(name, replaces_pem=old), log)
        assert len(placed(modern)) == 1

    @pytest.mark.parametrize("kind", ["without key identifier", "unreadable"])
    def test_certificate_without_a_name_is_not_named(self, modern, issuer, own_certificate, name, log, kind):
        old = own_certificate if kind == "without key identifier" else "nonsense"
        assert issuer.issue(make_request(name, replaces_pem=old), log)
        assert "replaces" not in placed(modern)[-1]


class TestProfiles:
    def test_asked_for(self, modern, make_issuer, name, log):
        assert make_issuer(modern, profile="shortlived").issue(make_request(name), log)
        assert placed(modern)[0]["profile"] == "shortlived"

    def test_of_the_route_goes_first(self, modern, make_issuer, name, log):
        assert make_issuer(modern, profile="shortlived").issue(make_request(name, profile="classic"), log)
        assert placed(modern)[0]["profile"] == "classic"

    def test_preferred_and_not_offered(self, modern, make_issuer, name, log, caplog):
        assert make_issuer(modern, profile="eternal").issue(make_request(name), log)
        assert "profile" not in placed(modern)[0]
        assert "(it offers: classic, shortlived)" in caplog.text

    def test_required_and_not_offered(self, proxy, make_issuer, name, log):
        with pytest.raises(AcmeProblem, match=r"eternal \(it offers: none\)") as raised:
            make_issuer(proxy, profile="eternal", profile_required=True).issue(make_request(name), log)
        assert raised.value.type.endswith(":invalidProfile")
        assert placed(proxy) == []

    @pytest.mark.parametrize(
        "refusal",
        [
            problem(400, "invalidProfile"),
            problem(400, "malformed", "unknown field"),
            problem(403, "unauthorized", "account is not allowed the profile shortlived"),
        ],
    )
    @pytest.mark.parametrize("required", [True, False])
    def test_refused_in_the_order(self, modern, make_issuer, name, log, refusal, required):
        modern.on("POST", "/order-plz", refusal)
        issuer = make_issuer(modern, profile="shortlived", profile_required=required)
        if required:
            with pytest.raises(AcmeProblem):
                issuer.issue(make_request(name), log)
        else:
            assert issuer.issue(make_request(name), log)
            assert ["profile" in payload for payload in placed(modern)] == [True, False]

    def test_replacement_is_left_out_before_the_profile(self, modern, make_issuer, old, name, log):
        modern.on("POST", "/order-plz", problem(400, "malformed"))
        assert make_issuer(modern, profile="shortlived").issue(make_request(name, replaces_pem=old), log)
        assert [sorted(payload) for payload in placed(modern)] == [
            ["identifiers", "profile", "replaces"],
            ["identifiers", "profile"],
        ]
