# SPDX-License-Identifier: Apache-2.0
"""What a CA, or what stands in front of it, can do wrong, and what becomes of it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.errors import AcmeProblem, ChallengeFailed, IssuerUnavailable, RateLimited, WrongCertificate
from tests.acme.conftest import MemoryLog, make_request
from tests.acme.proxy import Reply, answer, drop, edit, problem

POINTS = ["/order-plz", "/authZ/", "/chalZ/", "/finalize-order/", "/my-order/", "/certZ/"]


@pytest.mark.parametrize("path", POINTS)
@pytest.mark.parametrize("status", [429, 503])
def test_short_pause_is_waited_for(proxy, issuer, name, log, waits, path, status):
    proxy.on("POST", path, problem(status, "rateLimited", Retry_After="7"))
    assert issuer.issue(make_request(name), log)
    assert waits.asked.count(7.0) == 1
    assert proxy.count("POST /order-plz") == (2 if path == "/order-plz" else 1)


@pytest.mark.parametrize("path", ["/dir", "/nonce-plz"])
def test_short_pause_before_there_is_an_account(proxy, issuer, waits, path):
    proxy.on("GET" if path == "/dir" else "HEAD", path, answer(503, b"", Retry_After="7"))
    assert issuer.account_url()
    assert 7.0 in waits.asked


def test_pause_until_a_date(proxy, issuer, name, log, waits):
    at = datetime.now(UTC) + timedelta(seconds=30)
    proxy.on("POST", "/order-plz", problem(429, "rateLimited", Retry_After=format_datetime(at, usegmt=True)))
    assert issuer.issue(make_request(name), log)
    assert any(20 < seconds <= 30 for seconds in waits.asked)


def test_pause_of_no_seconds_is_still_a_pause(proxy, issuer, name, log, waits):
    proxy.on("POST", "/order-plz", problem(503, "serverInternal", Retry_After="0"))
    assert issuer.issue(make_request(name), log)
    assert 1.0 in waits.asked


@pytest.mark.parametrize("status", [429, 503])
def test_long_pause_frees_the_worker(proxy, issuer, name, log, waits, status):
    proxy.on("POST", "/order-plz", problem(status, "rateLimited", "too many certificates", Retry_After="3600"))
    before = datetime.now(UTC)
    with pytest.raises(RateLimited, match="too many certificates") as raised:
        issuer.issue(make_request(name), log)
    assert timedelta(seconds=3600) <= raised.value.retry_at - before < timedelta(seconds=3660)
    assert not waits.asked


def test_pause_longer_than_the_order_may_take_frees_the_worker(proxy, make_issuer, name, log):
    proxy.on("POST", "/order-plz", problem(429, "rateLimited", Retry_After="20"))
    with pytest.raises(RateLimited):
        make_issuer(proxy, order_timeout_s=10).issue(make_request(name), log)


def test_too_many_without_a_time_names_one_itself(proxy, issuer, name, log):
    proxy.on("POST", "/order-plz", problem(429, "rateLimited"))
    with pytest.raises(RateLimited) as raised:
        issuer.issue(make_request(name), log)
    assert raised.value.retry_at > datetime.now(UTC)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_broken_ca_may_be_tried_again(proxy, issuer, name, log, status):
    proxy.on("POST", "/order-plz", answer(status, b"<html>Bad gateway</html>"))
    with pytest.raises(IssuerUnavailable, match=rf"\({status}\).*Bad gateway") as raised:
        issuer.issue(make_request(name), log)
    assert raised.value.retryable
    assert raised.value.hint


def test_broken_connection_is_no_trouble_where_a_request_may_be_repeated(proxy, issuer, name, log):
    for path in ("/order-plz", "/authZ/", "/my-order/", "/certZ/"):
        proxy.on("POST", path, drop)
    proxy.on("GET", "/dir", drop)
    proxy.on("HEAD", "/nonce-plz", drop)
    assert issuer.issue(make_request(name), log)


@pytest.mark.parametrize("path", ["/chalZ/", "/finalize-order/"])
def test_broken_connection_is_told_where_nobody_knows_what_was_done(proxy, issuer, name, log, path):
    proxy.on("POST", path, drop)
    with pytest.raises(IssuerUnavailable):
        issuer.issue(make_request(name), log)
    assert log.open == []
    assert issuer.issue(make_request(name), log)


def test_server_that_stays_away(make_issuer, proxy, name, log):
    proxy.on("POST", "/order-plz", drop, times=2)
    with pytest.raises(IssuerUnavailable, match=f"https://{proxy.host}"):
        make_issuer(proxy).issue(make_request(name), log)


def test_server_that_nobody_vouches_for(make_issuer, proxy, pebble, name, log):
    with pytest.raises(IssuerUnavailable, match="CERTIFICATE_VERIFY_FAILED") as raised:
        make_issuer(proxy, ca_bundle=pebble.ca_bundle).issue(make_request(name), log)
    assert "ca_bundle" in raised.value.hint
    assert proxy.seen == []


def test_endless_bad_nonces_come_to_an_end(proxy, issuer, name, log):
    proxy.on("POST", "/order-plz", problem(400, "badNonce", Replay_Nonce="b2xk"), times=999)
    with pytest.raises(IssuerUnavailable, match="nonces in a row"):
        issuer.issue(make_request(name), log)


def test_old_nonces_are_thrown_away_together(proxy, issuer, name, log):
    """A server that was restarted knows none of the nonces it gave before, and some give no new one with a refusal."""

    def without_nonce(request):
        reply = request.forward()
        assert b"badNonce" in reply.body
        return Reply(reply.status, reply.body, {"Content-Type": reply.headers["Content-Type"]})

    proxy.on("POST", "/order-plz", without_nonce)
    issuer.account_url()
    issuer._network._nonces.extend(f"b2xk{number:02}" for number in range(99))
    assert issuer.issue(make_request(name), log)
    assert proxy.count("POST /order-plz") == 2


def test_nonce_missing_from_a_refusal_is_fetched(proxy, issuer, name, log):
    proxy.on("POST", "/order-plz", problem(400, "badNonce"), times=3)
    assert issuer.issue(make_request(name), log)


def test_server_without_nonces(proxy, issuer):
    proxy.on("HEAD", "/nonce-plz", answer(200, b""))
    with pytest.raises(IssuerUnavailable, match="no nonce in the answer"):
        issuer.account_url()


def test_slow_issuance_is_waited_for(proxy, issuer, name, log, waits):
    busy = edit(lambda jobj: jobj.update(status="processing"), Retry_After="4")
    proxy.on("POST", "/my-order/", busy, times=3)
    assert issuer.issue(make_request(name), log)
    assert waits.asked.count(4.0) == 3


def test_order_that_is_valid_at_once_is_not_looked_at(proxy, issuer, name, log):
    """A CA may answer finalize with the certificate's URL."""

    def finalize_and_wait(request):
        url = json.loads(request.forward().body)["finalize"].replace("finalize-order", "certZ")
        return answer(200, {"status": "valid", "finalize": "x", "certificate": url})(request)

    proxy.on("POST", "/finalize-order/", finalize_and_wait)
    proxy.on("POST", "/certZ/", problem(404, "malformed", "the URL above is not Pebble's"))
    with pytest.raises(AcmeProblem, match="not Pebble's"):
        issuer.issue(make_request(name), log)
    assert proxy.count("POST /my-order/") == 0


def test_looks_become_rarer(proxy, issuer, name, log, waits):
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="processing")), times=14)
    assert issuer.issue(make_request(name), log)
    looks = waits.asked[2:]
    assert looks == sorted(looks)
    assert (looks[0], looks[-1]) == (0.03, 2.0)


def test_first_look_at_a_finalized_order_is_not_at_once(proxy, issuer, name, log, waits):
    issuer.issue(make_request(name), log)
    order = [request for request in proxy.seen if "order/" in request]
    assert next(request.split("/")[1] for request in order) == "finalize-order"
    assert 0.05 in waits.asked


def test_issuance_that_takes_too_long(proxy, make_issuer, name, log):
    now = [datetime.now(UTC)]

    def wait(seconds):
        now[0] += timedelta(seconds=seconds)

    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="processing")), times=99)
    issuer = make_issuer(proxy, clock=lambda: now[0], wait=wait, order_timeout_s=20)
    with pytest.raises(IssuerUnavailable, match=r"is processing, and 20 s are over") as raised:
        issuer.issue(make_request(name), log)
    assert "order_timeout of the issuer" in raised.value.hint
    assert log.url


def test_ca_that_asks_for_hours_between_two_looks(proxy, issuer, name, log):
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="processing"), Retry_After="7200"))
    with pytest.raises(RateLimited):
        issuer.issue(make_request(name), log)
    assert log.url


@pytest.mark.parametrize(
    ("code", "error", "hint"),
    [
        ("badCSR", AcmeProblem, "key_type"),
        ("caa", AcmeProblem, "CAA record"),
        ("rateLimited", RateLimited, "before the time"),
        ("serverInternal", IssuerUnavailable, "next run"),
    ],
)
def test_failed_order_says_why(proxy, issuer, name, log, code, error, hint):
    reason = {"type": f"urn:ietf:params:acme:error:{code}", "detail": "not like this"}
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="invalid", error=reason)))
    with pytest.raises(error, match="not like this") as raised:
        issuer.issue(make_request(name), log)
    assert hint in raised.value.hint


def test_refused_csr(proxy, issuer, name, log):
    proxy.on("POST", "/finalize-order/", problem(400, "badCSR", "weak key"))
    with pytest.raises(AcmeProblem, match="weak key") as raised:
        issuer.issue(make_request(name), log)
    assert "key_type" in raised.value.hint


def test_failed_order_without_reason(proxy, issuer, name, log):
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="invalid")))
    with pytest.raises(AcmeProblem, match="the order is invalid and the CA does not say why"):
        issuer.issue(make_request(name), log)


@pytest.mark.parametrize(("code", "error"), [("serverInternal", IssuerUnavailable), ("rateLimited", RateLimited)])
def test_failed_challenge_that_is_not_about_the_name(proxy, issuer, name, log, code, error):
    entry = {"type": "dns-01", "error": {"type": f"urn:ietf:params:acme:error:{code}", "detail": "busy"}}
    proxy.on("POST", "/authZ/", edit(lambda jobj: jobj.update(status="invalid", challenges=[entry])), after=1)
    with pytest.raises(error, match="busy"):
        issuer.issue(make_request(name), log)
    assert log.open == []


@pytest.mark.parametrize("code", ["dns", "connection", "unauthorized", "caa", "tls", "unknownHost", "neverHeardOf"])
def test_failed_challenge_has_a_hint(proxy, issuer, name, log, code):
    entry = {"type": "dns-01", "error": {"type": f"urn:ietf:params:acme:error:{code}", "detail": "sorry"}}
    proxy.on("POST", "/authZ/", edit(lambda jobj: jobj.update(status="invalid", challenges=[entry])), after=1)
    with pytest.raises(ChallengeFailed, match=rf"{name}: sorry \({code}\); its TXT record was at") as raised:
        issuer.issue(make_request(name), log)
    assert raised.value.hint


def test_each_name_of_a_refused_order_is_told(proxy, issuer, name, log):
    body = {
        "type": "urn:ietf:params:acme:error:compound",
        "detail": "two names",
        "subproblems": [
            {
                "type": "urn:ietf:params:acme:error:caa",
                "detail": "forbidden",
                "identifier": {"type": "dns", "value": "a.example"},
            },
            {"type": "urn:ietf:params:acme:error:dns", "detail": "nothing there"},
        ],
    }
    proxy.on("POST", "/order-plz", answer(403, body))
    with pytest.raises(AcmeProblem) as raised:
        issuer.issue(make_request(name), log)
    assert raised.value.subproblems == ("a.example: forbidden (caa)", "nothing there (dns)")
    assert "a.example: forbidden (caa)" in str(raised.value)
    assert (raised.value.type, raised.value.status) == ("urn:ietf:params:acme:error:compound", 403)


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b'{"type": 7, "subproblems": 3}', b'{"identifier": {"type": "x"}}']
)
def test_refusal_that_is_no_problem_document(proxy, issuer, name, log, body):
    proxy.on("POST", "/order-plz", answer(418, body))
    with pytest.raises(AcmeProblem, match=r"\(418\)"):
        issuer.issue(make_request(name), log)


def test_redirect_is_not_followed(proxy, issuer):
    proxy.on("GET", "/dir", answer(302, b"", Location="https://elsewhere.invalid/dir"))
    with pytest.raises(AcmeProblem, match=r"\(302\)"):
        issuer.directory()


@pytest.mark.parametrize("lost", ["finalize", "certificate"])
def test_order_without_its_urls(proxy, issuer, name, log, lost):
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.pop(lost)), times=9)
    with pytest.raises(AcmeProblem, match="an order without its URLs"):
        issuer.issue(make_request(name), log)


def test_order_without_location(proxy, issuer, name, log):
    proxy.on("POST", "/order-plz", edit(lambda jobj: None, Location=""))
    with pytest.raises(AcmeProblem, match="an order without its URLs"):
        issuer.issue(make_request(name), log)


def spoiled(change):
    """Pass a download on with its text changed."""

    def act(request):
        reply = request.forward()
        return Reply(reply.status, change(reply.body.decode()).encode(), reply.headers)

    return act


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda pem: "nothing", AcmeProblem, "no certificate"),
        (lambda pem: pem.replace("MII", "AAA", 1), WrongCertificate, "cannot be read"),
        (lambda pem: pem + pem[: pem.index("-----END")] + "-----END CERTIFICATE-----\n", WrongCertificate, "in order"),
    ],
)
def test_spoiled_certificate_is_refused(proxy, issuer, name, log, change, error, words):
    proxy.on("POST", "/certZ/", spoiled(change))
    with pytest.raises(error, match=words):
        issuer.issue(make_request(name), log)


def test_spoiled_issuer_is_never_the_preferred_one(proxy, make_issuer, name, log):
    proxy.on("POST", "/certZ/", spoiled(lambda pem: "AAA".join(pem.rsplit("MII", 1))))
    with pytest.raises(WrongCertificate, match="in order"):
        make_issuer(proxy, preferred_chain="Some Root").issue(make_request(name), log)


@pytest.mark.parametrize(
    ("ahead", "words"), [(timedelta(hours=-30), "30.0 hours behind"), (timedelta(days=4000), "4000 days ahead of")]
)
def test_a_clock_that_is_wrong_here_orders_nothing_and_says_so(proxy, make_issuer, name, log, ahead, words):
    """The certificate would look not valid yet, or due again at once: one more order at every run."""
    key = ec.generate_private_key(ec.SECP256R1())
    request, clock = make_request(name, key=key), [timedelta()]
    now = lambda: datetime.now(UTC) + clock[0]  # noqa: E731
    issuer = make_issuer(proxy, clock=now)
    issued = issuer.issue(request, log)
    clock[0], ordered = ahead, log.url
    with pytest.raises(IssuerUnavailable, match=words) as raised:
        issuer.issue(request, log)
    assert "NTP" in raised.value.hint
    with pytest.raises(IssuerUnavailable, match="nothing is ordered"):
        make_issuer(proxy, clock=now).check_clock()
    clock[0] = timedelta()
    assert (log.url, issuer.issue(request, log)) == (ordered, issued)
    assert proxy.count("POST /order-plz") == 1


LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "times"),
    [
        ({"Date": LONG_AGO, "Age": "800000000"}, 9),
        ({"Date": "yesterday"}, 9),
        ({"Date": f"Thu, 01 Jan {'9' * 30} 00:00:00 GMT"}, 9),
        ({"Date": LONG_AGO}, 1),
    ],
    ids=["a cache", "no date", "no year", "once"],
)
def test_a_clock_is_wrong_only_when_the_ca_says_so_twice(proxy, issuer, caplog, headers, times):
    """Of an answer that came before the machine slept it looks so too."""

    def dated(request):
        reply = request.forward()
        return Reply(reply.status, reply.body, reply.headers | headers)

    proxy.on("GET", "/dir", dated, times=times)
    with caplog.at_level(logging.DEBUG, "ottr.acme.network"):
        issuer.check_clock()
    assert caplog.text.count("/dir: 200") == proxy.count("GET /dir") == 3 - min(times, 2)


@pytest.mark.parametrize("since", [timedelta(days=-9), timedelta(days=3)], ids=["expired", "future"])
def test_certificate_out_of_its_time_is_refused(proxy, issuer, name, log, since):
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.now(UTC) + since
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    leaf = x509.CertificateBuilder(subject, subject, key.public_key(), 1, begin, begin + timedelta(days=1))
    leaf = leaf.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = leaf.sign(key, SHA256()).public_bytes(Encoding.PEM)
    proxy.on("POST", "/certZ/", answer(200, pem))
    with pytest.raises(WrongCertificate, match="and now is"):
        issuer.issue(make_request(name, key=key), log)
    assert log.url == ""


def test_certificate_with_other_names_is_refused(proxy, issuer, name, log):
    key = ec.generate_private_key(ec.SECP256R1())
    both = issuer.issue(make_request(name, f"www.{name}", key=key), MemoryLog())
    proxy.on("POST", "/certZ/", answer(200, both.fullchain_pem.encode()))
    with pytest.raises(WrongCertificate, match=f"certified {name}, www.{name}, not {name}"):
        issuer.issue(make_request(name, key=key), log)
