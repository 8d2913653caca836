# SPDX-License-Identifier: Apache-2.0
"""Whole orders against Pebble and BIND."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ottr import x509
from ottr.errors import ChallengeFailed, DnsError, WrongCertificate
from ottr.model import KeyType, SigningRequest
from tests.acme.conftest import MemoryLog, make_request
from tests.acme.proxy import answer, edit


def test_order_proves_the_name_and_leaves_no_record(pebble, bind, make_issuer, name, log):
    request = make_request(name)
    issued = make_issuer(pebble).issue(request, log)
    leaf = x509.parse_certificate(issued.leaf_pem)
    assert leaf.spki_der == x509.parse_request(request.csr.pem).spki_der
    assert leaf.dns_names == (name,)
    assert x509.is_chain(issued.leaf_pem, issued.chain_pem + pebble.roots()[0])
    assert log.events == ["ordered", "presenting", "removed"]
    assert log.url.startswith("https://")
    assert bind.txt(f"_acme-challenge.{name}") == frozenset()


def test_name_and_its_wildcard_share_a_record_name_with_two_values(pebble, bind, publisher, make_issuer, name, log):
    seen = []

    class Watching:
        locate, present, cleanup = publisher.locate, publisher.present, publisher.cleanup

        def wait(self, record):
            publisher.wait(record)
            seen.append(bind.txt(record.name))

    issued = make_issuer(pebble, publisher=Watching()).issue(make_request(name, f"*.{name}"), log)
    assert set(x509.parse_certificate(issued.leaf_pem).dns_names) == {name, f"*.{name}"}
    assert [len(values) for values in seen] == [2, 2]
    assert bind.txt(f"_acme-challenge.{name}") == frozenset()


@pytest.mark.parametrize("key_type", [KeyType.EC384, KeyType.RSA2048])
def test_other_keys(pebble, make_issuer, name, log, key_type):
    issued = make_issuer(pebble).issue(make_request(name, key_type=key_type), log)
    assert x509.parse_certificate(issued.leaf_pem).key_type is key_type


def test_server_with_its_default_habits(start_pebble, make_issuer, name, log):
    pebble = start_pebble(nosleep=False, nonce_reject=5, authz_reuse=50)
    issuer = make_issuer(pebble)
    assert issuer.issue(make_request(name), log).chain_pem
    assert issuer.issue(make_request(name), MemoryLog()).chain_pem


def test_every_order_survives_a_server_that_refuses_every_second_nonce(start_pebble, make_issuer, name):
    issuer = make_issuer(start_pebble(nonce_reject=50))
    requests = [make_request(f"n{number}.{name}") for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        issued = list(threads.map(lambda request: issuer.issue(request, MemoryLog()), requests))
    assert [x509.parse_certificate(one.leaf_pem).dns_names for one in issued] == [one.dns_names for one in requests]


def test_fifty_threads_share_one_account_and_one_look_at_the_directory(proxy, make_issuer, name):
    issuer = make_issuer(proxy)
    together = threading.Barrier(50)

    def issue(number):
        together.wait()
        return issuer.issue(make_request(f"n{number}.{name}"), MemoryLog())

    with ThreadPoolExecutor(50) as threads:
        issued = list(threads.map(issue, range(50)))
    assert len({x509.parse_certificate(one.leaf_pem).serial for one in issued}) == 50
    assert (proxy.count("POST /sign-me-up"), proxy.count("GET /dir"), proxy.count("POST /order-plz")) == (1, 1, 50)


def test_requests_name_the_program(proxy, issuer, name, log):
    from ottr import __version__

    agents = []

    def remember(request):
        agents.append(request.agent)
        return request.forward()

    proxy.on("POST", "/", remember, times=99)
    issuer.issue(make_request(name), log)
    assert set(agents) == {f"ottr/{__version__}"}


def test_authorizations_that_are_valid_already_need_no_record(start_pebble, make_issuer, name, log):
    issuer = make_issuer(start_pebble(authz_reuse=100))
    issuer.issue(make_request(name), MemoryLog())
    issuer.issue(make_request(name), log)
    assert log.events == ["ordered"]


def test_preferred_chain_is_taken_from_the_alternates(start_pebble, make_issuer, name, caplog):
    pebble = start_pebble(alternate_roots=2, chain_length=2)
    roots = pebble.roots()
    wanted = x509.parse_certificate(roots[2]).subject.removeprefix("CN=")
    first = x509.parse_certificate(roots[0]).subject.removeprefix("CN=")
    for chosen, root in ((wanted, roots[2]), (first, roots[0]), ("", roots[0])):
        issued = make_issuer(pebble, preferred_chain=chosen).issue(make_request(name), MemoryLog())
        assert x509.is_chain(issued.leaf_pem, issued.chain_pem + root)
        assert len(x509.split_pem(issued.chain_pem)) == 2
    assert not caplog.records
    issued = make_issuer(pebble, preferred_chain="Nobody's Root").issue(make_request(name), MemoryLog())
    assert x509.is_chain(issued.leaf_pem, issued.chain_pem + roots[0])
    assert "Nobody's Root" in caplog.text


def test_csr_with_other_names_is_refused_before_anything_is_asked(proxy, issuer, name, log):
    request = make_request(name, f"more.{name}")
    with pytest.raises(WrongCertificate, match=f"is for {name}, not for"):
        issuer.issue(type(request)(make_request(name).csr, request.dns_names, request.key_type), log)
    assert proxy.seen == []


def test_csr_with_another_kind_of_key_is_refused(proxy, issuer, name, log):
    request = make_request(name)
    with pytest.raises(WrongCertificate, match="is ec256, not rsa2048"):
        issuer.issue(type(request)(request.csr, request.dns_names, KeyType.RSA2048), log)
    assert proxy.seen == []


def test_csr_that_cannot_be_read_is_refused(issuer, name, log):
    request = make_request(name)
    with pytest.raises(WrongCertificate, match="cannot be used"):
        issuer.issue(type(request)(SigningRequest("nonsense"), request.dns_names, request.key_type), log)


def test_wrong_record_value_is_explained_in_the_words_of_the_ca(pebble, bind, publisher, make_issuer, name, log):
    class Forgetful:
        locate, cleanup = publisher.locate, publisher.cleanup

        def present(self, record):
            pass

        def wait(self, record):
            pass

    with pytest.raises(ChallengeFailed) as raised:
        make_issuer(pebble, publisher=Forgetful()).issue(make_request(name), log)
    assert name in str(raised.value)
    assert f"its TXT record was at _acme-challenge.{name}" in str(raised.value)
    assert "TXT" in raised.value.hint
    assert log.events == ["ordered", "presenting", "removed", "given up"]


def test_record_that_cannot_be_written_is_removed_all_the_same(pebble, publisher, make_issuer, name, log):
    class Broken:
        locate, wait, cleanup = publisher.locate, publisher.wait, publisher.cleanup

        def present(self, record):
            raise DnsError("refused")

    with pytest.raises(DnsError, match="refused"):
        make_issuer(pebble, publisher=Broken()).issue(make_request(name), log)
    assert log.open == []


@pytest.mark.parametrize("fails", [True, False])
def test_failed_cleanup_changes_no_outcome(pebble, publisher, make_issuer, name, log, caplog, fails):
    class Sticky:
        locate, present = publisher.locate, publisher.present

        def wait(self, record):
            if fails:
                raise DnsError("not seen anywhere")

        def cleanup(self, record):
            raise DnsError("server went away")

    issuer = make_issuer(pebble, publisher=Sticky())
    if fails:
        with pytest.raises(DnsError, match="not seen anywhere"):
            issuer.issue(make_request(name), log)
    else:
        assert issuer.issue(make_request(name), log)
    assert len(log.open) == 1
    assert "server went away" in caplog.text


def test_refused_name_says_so(start_pebble, make_issuer, log):
    pebble = start_pebble(blocked_domains=["blocked.lab.test"])
    with pytest.raises(Exception, match="rejectedIdentifier") as raised:
        make_issuer(pebble).issue(make_request("blocked.lab.test"), log)
    assert raised.value.hint == "the CA does not issue for this name: check the name, or choose another issuer"


def test_challenges_nobody_knows_are_left_alone(proxy, issuer, name, log):
    strange = [
        7,
        {"type": "dns-persist-01", "issuer-domain-names": ["ca.test"]},
        {"type": "dns-account-01", "token": 7},
    ]
    proxy.on("POST", "/authZ/", edit(lambda jobj: jobj["challenges"].__setitem__(slice(0, 0), strange)), times=9)
    assert issuer.issue(make_request(name), log)


def test_ca_without_dns01_is_refused(proxy, issuer, name, log):
    proxy.on("POST", "/authZ/", edit(lambda jobj: jobj.update(challenges=[{"type": "http-01"}])))
    with pytest.raises(ChallengeFailed, match="offers no dns-01 challenge, but http-01"):
        issuer.issue(make_request(name), log)
    proxy.on("POST", "/authZ/", edit(lambda jobj: jobj.pop("challenges")))
    with pytest.raises(ChallengeFailed, match="but nothing"):
        issuer.issue(make_request(name), log)


def test_answers_without_sense_are_named(proxy, issuer, name, log):
    def spoil(change):
        proxy.on("POST", "/authZ/", edit(change))

    for change, words in (
        (lambda jobj: jobj["challenges"].__setitem__(slice(0, 9), [{"type": "dns-01", "token": "!"}]), "usable token"),
        (lambda jobj: jobj.pop("identifier"), "without identifier"),
        (lambda jobj: jobj["identifier"].update(value=7), "without identifier"),
    ):
        spoil(change)
        with pytest.raises(Exception, match=words):
            issuer.issue(make_request(name), log)
    for body, words in ((b"<html>", "is not JSON"), (b"[]", "is not a JSON object")):
        proxy.on("POST", "/authZ/", answer(200, body))
        with pytest.raises(Exception, match=words):
            issuer.issue(make_request(name), MemoryLog())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "deactivated", "challenges": []}, "the authorization is deactivated"),
        (
            {"status": "invalid", "challenges": [{"error": {"type": "urn:x:caa", "detail": "CAA forbids"}}]},
            "CAA forbids",
        ),
    ],
)
def test_dead_authorization_gives_the_order_up(proxy, issuer, name, log, change, words):
    proxy.on("POST", "/authZ/", edit(lambda jobj: jobj.update(change)))
    with pytest.raises(ChallengeFailed, match=words) as raised:
        issuer.issue(make_request(name), log)
    assert raised.value.hint
    assert log.url == ""


def test_challenge_another_order_answered_first(proxy, issuer, name, log):
    def somebody_else_first(request):
        request.forward()
        return answer(400, {"type": "urn:ietf:params:acme:error:malformed", "detail": "not pending"})(request)

    proxy.on("POST", "/chalZ/", somebody_else_first)
    assert issuer.issue(make_request(name), log)


def test_challenge_the_ca_does_not_take(proxy, issuer, name, log):
    proxy.on("POST", "/chalZ/", answer(400, {"type": "urn:ietf:params:acme:error:malformed", "detail": "gibberish"}))
    with pytest.raises(Exception, match="gibberish"):
        issuer.issue(make_request(name), log)
    assert log.open == []
