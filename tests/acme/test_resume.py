# SPDX-License-Identifier: Apache-2.0
"""A run is killed at any point; the next one goes on with the same order."""

from __future__ import annotations

import pytest

from ottr import x509
from ottr.errors import AcmeProblem, IssuerUnavailable, WrongCertificate
from tests.acme.conftest import MemoryLog, make_request
from tests.acme.proxy import answer, drop, edit, lose, problem


class Killed(BaseException):
    pass


class MortalLog(MemoryLog):
    """Dies at one of its events, after or before it was written; dead until ``revive``."""

    def die(self, event, *, before=False):
        self.fatal, self.before, self.dead = event, before, False
        return self

    def _write(self, event, write, argument):
        if self.fatal == event and self.before:
            self.dead = True
            raise Killed
        write(argument)
        if self.fatal == event:
            self.dead = True
            raise Killed

    def ordered(self, url):
        self._write("ordered", super().ordered, url)

    def presenting(self, record):
        self._write("presenting", super().presenting, record)

    def removed(self, record):
        self._write("removed", super().removed, record)


def mortal_publisher(publisher, log, kill_at=""):
    """A dead process removes no record."""

    class Mortal:
        locate = publisher.locate

        def _act(self, word, act, record):
            if log.dead:
                raise Killed
            act(record)
            if word == kill_at:
                log.dead = True
                raise Killed

        def present(self, record):
            self._act("present", publisher.present, record)

        def wait(self, record):
            self._act("wait", publisher.wait, record)

        def cleanup(self, record):
            self._act("cleanup", publisher.cleanup, record)

    return Mortal()


def certified(issued, request):
    return x509.parse_certificate(issued.leaf_pem).spki_der == x509.parse_request(request.csr.pem).spki_der


@pytest.mark.parametrize(
    ("event", "before", "orders"),
    [
        ("ordered", True, 2),  # nobody knows that order: the one a CA forgets by itself
        ("ordered", False, 1),
        ("presenting", True, 1),
        ("presenting", False, 1),
        ("removed", True, 1),
        ("removed", False, 1),
    ],
)
def test_killed_at_the_log(proxy, publisher, make_issuer, name, event, before, orders):
    log = MortalLog().die(event, before=before)
    request = make_request(name)
    with pytest.raises(Killed):
        make_issuer(proxy, publisher=mortal_publisher(publisher, log)).issue(request, log)
    log.die("")
    assert certified(make_issuer(proxy).issue(request, log), request)
    assert proxy.count("POST /order-plz") == orders


@pytest.mark.parametrize("act", ["present", "wait", "cleanup"])
def test_killed_while_publishing(proxy, publisher, make_issuer, name, act):
    log = MortalLog().die("")
    request = make_request(name)
    with pytest.raises(Killed):
        make_issuer(proxy, publisher=mortal_publisher(publisher, log, act)).issue(request, log)
    log.dead = False
    assert certified(make_issuer(proxy).issue(request, log), request)
    assert proxy.count("POST /order-plz") == 1


@pytest.mark.parametrize("path", ["/chalZ/", "/finalize-order/"])
def test_answer_lost(proxy, issuer, name, log, path):
    """The server did it, nobody heard: the same order comes to its end, with one certificate."""
    request = make_request(name)
    proxy.on("POST", path, lose)
    with pytest.raises(IssuerUnavailable):
        issuer.issue(request, log)
    assert log.open == []
    assert certified(issuer.issue(request, log), request)
    assert (proxy.count("POST /order-plz"), proxy.count("POST /finalize-order/")) == (1, 1)


def test_certificate_is_downloaded_again(proxy, issuer, name, log):
    request = make_request(name)
    proxy.on("POST", "/certZ/", problem(500, "serverInternal"))
    with pytest.raises(IssuerUnavailable):
        issuer.issue(request, log)
    first = issuer.issue(request, log)
    assert certified(first, request)
    assert issuer.issue(request, log) == first
    assert proxy.count("POST /finalize-order/") == 1


def test_challenge_answered_by_the_dead_run_is_not_answered_again(proxy, publisher, make_issuer, name, log):
    request = make_request(name)
    proxy.on("POST", "/chalZ/", lose)
    with pytest.raises(IssuerUnavailable):
        make_issuer(proxy).issue(request, log)

    def still_processing(jobj):
        jobj.update(status="pending")
        for challenge in jobj["challenges"]:
            challenge.update(status="processing", type="dns-01")

    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="pending")))
    proxy.on("POST", "/authZ/", edit(still_processing), times=2)
    assert certified(make_issuer(proxy).issue(request, log), request)
    assert proxy.count("POST /chalZ/") == 1
    assert log.events == ["ordered", *["presenting", "removed"] * 2]


def test_names_proved_by_the_dead_run_are_not_proved_again(proxy, issuer, name, log):
    request = make_request(name)
    proxy.on("POST", "/finalize-order/", drop)
    with pytest.raises(IssuerUnavailable):
        issuer.issue(request, log)
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="pending")))
    assert certified(issuer.issue(request, log), request)
    assert proxy.count("POST /chalZ/") == 1
    assert log.events == ["ordered", "presenting", "removed"]


@pytest.mark.parametrize("status", ["invalid", "expired"])
def test_dead_order_is_followed_by_a_new_one(proxy, issuer, name, log, status):
    request = make_request(name)
    issuer.issue(request, log)
    old = log.url
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status=status)))
    assert certified(issuer.issue(request, log), request)
    assert log.url != old


def test_forgotten_order_is_followed_by_a_new_one(proxy, issuer, name, log):
    log.url = proxy.directory.replace("/dir", "/my-order/never-heard-of")
    assert issuer.issue(make_request(name), log)
    assert "never-heard-of" not in log.url


def test_order_that_cannot_be_looked_at_is_not_forgotten(proxy, issuer, name, log):
    issuer.issue(make_request(name), log)
    old = log.url
    proxy.on("POST", "/my-order/", problem(400, "accountDoesNotExist"))
    with pytest.raises(AcmeProblem):
        issuer.issue(make_request(name), log)
    assert log.url == old


def test_order_that_somebody_else_finalized_is_given_up_once(pebble, make_issuer, name, log):
    """Boulder hands one order to two requests for the same names; the device must get its own key."""
    issuer = make_issuer(pebble)
    issuer.issue(make_request(name), log)
    request = make_request(name)
    assert certified(issuer.issue(request, log), request)
    assert log.events[-4:] == ["given up", "ordered", "presenting", "removed"]


def test_order_finalized_by_somebody_else_in_between(proxy, issuer, name, log):
    """Both got the same pending order, and the other one's finalize was first."""
    other = MemoryLog()
    issuer.issue(make_request(name), other)
    location = {"Location": other.url}
    proxy.on("POST", "/order-plz", edit(lambda jobj: jobj.update(status="ready"), **location))
    proxy.on("POST", "/finalize-order/", problem(403, "orderNotReady"))
    request = make_request(name)
    assert certified(issuer.issue(request, log), request)
    assert log.events[:2] == ["ordered", "given up"]


def test_order_always_finalized_by_somebody_else(proxy, issuer, name, log):
    other = MemoryLog()
    issuer.issue(make_request(name), other)
    proxy.on("POST", "/order-plz", edit(lambda jobj: jobj.update(status="ready"), Location=other.url), times=2)
    proxy.on("POST", "/finalize-order/", problem(403, "orderNotReady"), times=2)
    with pytest.raises(WrongCertificate, match="somebody else"):
        issuer.issue(make_request(name), log)
    assert log.url == ""


def test_another_key_in_an_order_of_our_own_is_an_error(proxy, issuer, name, log):
    foreign = issuer.issue(make_request(name), MemoryLog())
    proxy.on("POST", "/certZ/", answer(200, foreign.fullchain_pem.encode()))
    with pytest.raises(WrongCertificate, match="another key"):
        issuer.issue(make_request(name), log)
    assert log.url == ""
    assert proxy.count("POST /order-plz") == 2


def test_order_not_ready_at_once(proxy, issuer, name, log):
    """A CA may be slower in noticing that all authorizations are valid."""
    proxy.on("POST", "/finalize-order/", problem(403, "orderNotReady"))
    proxy.on("POST", "/my-order/", edit(lambda jobj: jobj.update(status="pending")))
    assert issuer.issue(make_request(name), log)
    assert proxy.count("POST /finalize-order/") == 2
