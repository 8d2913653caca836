# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the CA and with DNS: no host is touched, and the same key and CSR are used when it is over."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from ottr.lab.bind import Bind
from ottr.lab.host import Host
from ottr.lab.pebble import Pebble
from ottr.model import Outcome, SigningRequest, Step
from ottr.policy import Reason
from ottr.report import ExitStatus
from ottr.x509 import parse_request
from tests.acceptance.faults import (
    Counter,
    Site,
    at,
    await_served,
    check_failed,
    check_recovers,
    down,
    served,
)
from tests.acme.proxy import Proxy, Reply, Request, drop, problem

FOR_EVER = 10**9


@pytest.fixture
def proxy(site: Site, tmp_path: Path) -> Iterator[Proxy]:
    """Stands before the lab's CA for this site."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    pebble = site.lab.pebble
    with Proxy(folder, pebble.directory, pebble.ca_bundle) as proxy:
        site.issuer["directory"] = proxy.directory
        site.issuer["ca_bundle"] = str(proxy.ca_bundle)
        yield proxy


class Outage:
    """As long as it is set, the CA behind the proxy cannot be reached."""

    def __init__(self, proxy: Proxy, path: str = "/") -> None:
        self._event = threading.Event()
        for method in ("GET", "HEAD", "POST"):
            proxy.on(method, path, self._act, times=FOR_EVER)
        self.begin, self.end = self._event.set, self._event.clear

    def _act(self, request: Request) -> Reply:
        return drop(request) if self._event.is_set() else request.forward()


def public_key_of_csr(site: Site, host: Host) -> bytes:
    """Of the host's newest rotation."""
    with site.opened() as app:
        record = app.stores.journal.history(host.name)[-1]
        [csr] = [entry.value for entry in app.stores.journal.entries(record.id) if entry.step is Step.CSR]
    assert csr is not None
    return parse_request(SigningRequest(**csr).pem).spki_der


@pytest.mark.parametrize("path", ["/", "/order-plz", "/authZ", "/finalize-order", "/certZ"])
def test_a_ca_that_goes_down_gets_the_same_csr_when_it_is_back(site: Site, host: Host, proxy: Proxy, path: str) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)
    outage = Outage(proxy, path)

    results = site.rotate(host, forced=True, watch=at(Step.ORDER, outage.begin))
    words = check_failed(results, Outcome.FAILED, "IssuerUnavailable", ExitStatus.FAILED)
    assert proxy.host in words
    await_served(host, former)
    csr = public_key_of_csr(site, host)

    outage.end()
    check_recovers(site, host, former, site.rotate(host))
    assert site.current(host).spki_der == csr
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_ca_that_is_down_stops_nothing_but_the_order(site: Site, host: Host) -> None:
    former = site.begin(host)
    directory = site.issuer["directory"]

    site.issuer["directory"] = directory.replace(":14000", ":14001")
    results = site.rotate(host, forced=True)
    check_failed(results, Outcome.FAILED, "IssuerUnavailable", ExitStatus.FAILED)
    await_served(host, former)

    site.issuer["directory"] = directory
    check_recovers(site, host, former, site.rotate(host))


def test_a_ca_that_has_forgotten_the_account_is_asked_anew(site: Site, host: Host, tmp_path: Path) -> None:
    """Pebble forgets accounts and orders when it restarts, and issues under another root."""
    trust = tmp_path / "roots.pem"
    with Pebble(tmp_path / "pebble", site.lab.network.address(300), site.lab.bind.server) as pebble:
        use_ca(site, pebble, trust)
        former = site.begin(host)
        pebble.restart()
        trust.write_text("".join(pebble.roots()))

        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.FAILED, "AcmeProblem", ExitStatus.FAILED)
        assert "account.json" in words
        await_served(host, former)

        [account] = (site.folder / "state").rglob("account.json")
        account.unlink()
        check_recovers(site, host, former, site.resume())


def test_a_rate_limit_defers_a_device_and_nobody_asks_before(site: Site, host: Host, proxy: Proxy) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)
    asked = proxy.count("POST /order-plz")

    limited = problem(429, "rateLimited", "too many certificates for lab.test", Retry_After="3600")
    proxy.on("POST", "/order-plz", limited)
    words = check_failed(site.rotate(host, forced=True), Outcome.DEFERRED, "RateLimited", ExitStatus.OK)
    assert "too many certificates for lab.test" in words
    await_served(host, former)

    [result] = site.rotate(host)
    assert (result.outcome, result.reason) == (Outcome.NOT_DUE, Reason.DEFERRED)
    assert proxy.count("POST /order-plz") == asked + 1

    assert "the wait until" in site.release(host)[0]
    check_recovers(site, host, former, site.rotate(host))
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_name_the_ca_refuses_is_the_ca_s_word(site: Site, host: Host, tmp_path: Path) -> None:
    address, trust = site.lab.network.address(301), tmp_path / "roots.pem"
    with Pebble(tmp_path / "pebble1", address, site.lab.bind.server, blocked_domains=[host.name]) as pebble:
        former = served(host)
        use_ca(site, pebble, trust)
        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.FAILED, "AcmeProblem", ExitStatus.FAILED)
        assert "rejectedIdentifier" in words
        await_served(host, former)

    with Pebble(tmp_path / "pebble2", address, site.lab.bind.server) as pebble:
        use_ca(site, pebble, trust)
        shutil.rmtree(site.folder / "state" / "accounts")
        check_recovers(site, host, former, site.resume())


def test_an_order_that_becomes_invalid_is_given_up_and_the_key_is_not(site: Site, host: Host, proxy: Proxy) -> None:
    """Somebody takes the TXT value away before the CA looks."""
    former = site.begin(host)
    site.add_unproven_name(host)
    counter = Counter(site.lab)

    def take_away(request: Request) -> Reply:
        remove_txt(site.lab.bind, f"_acme-challenge.{host.name}")
        return request.forward()

    proxy.on("POST", "/chalZ", take_away)
    results = site.rotate(host, forced=True)
    words = check_failed(results, Outcome.FAILED, "ChallengeFailed", ExitStatus.FAILED)
    assert f"_acme-challenge.{host.name}" in words
    await_served(host, former)
    csr = public_key_of_csr(site, host)

    assert site.plan(host) == Reason.DEFERRED
    check_recovers(site, host, former, site.resume())
    assert site.current(host).spki_der == csr
    assert (counter.orders, counter.issued) == (2, 1)


def test_a_dns_server_that_is_down_is_named(site: Site, host: Host) -> None:
    former = site.begin(host)
    site.add_unproven_name(host)
    counter = Counter(site.lab)
    bind = site.lab.bind

    with down(bind.process):
        results = site.rotate(host, forced=True)
    bind.wait_loaded()
    words = check_failed(results, Outcome.FAILED, "DnsError", ExitStatus.FAILED)
    assert bind.server in words or bind.address in words
    await_served(host, former)

    check_recovers(site, host, former, site.rotate(host))
    assert counter.issued == 1


def test_a_dns_server_that_refuses_the_key_is_named(site: Site, host: Host) -> None:
    former = site.begin(host)
    site.add_unproven_name(host)
    counter = Counter(site.lab)
    good = dict(site.solver["options"])

    site.solver["options"]["key_name"] = "somebody-else"
    results = site.rotate(host, forced=True)
    words = check_failed(results, Outcome.FAILED, "DnsRefused", ExitStatus.FAILED)
    assert "BADKEY" in words
    await_served(host, former)

    site.solver["options"] = good
    check_recovers(site, host, former, site.resume())
    assert counter.issued == 1


def test_a_server_that_never_gets_the_value_is_named(site: Site, host: Host, tmp_path: Path) -> None:
    former = site.begin(host)
    site.add_unproven_name(host)
    counter = Counter(site.lab)
    bind = site.lab.bind

    with Bind(tmp_path / "second", "127.0.0.1", site.lab.network.port(1)) as second:
        site.solver["nameservers"] = [bind.server, second.server]
        site.solver["propagation_timeout"] = "0.5"
        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.FAILED, "DnsError", ExitStatus.FAILED)
        assert f"{second.server} " in words
        assert "1 of 2" in words
        await_served(host, former)
        assert bind.txt(f"_acme-challenge.{host.name}") == frozenset()

    site.solver["nameservers"] = [bind.server]
    check_recovers(site, host, former, site.rotate(host))
    assert (counter.orders, counter.issued) == (1, 1)


def test_what_a_dead_dns_server_kept_is_removed_by_the_next_run(site: Site, host: Host, proxy: Proxy) -> None:
    """BIND ends when the TXT value is there, and keeps it; the CA sees nothing, the next order has another value."""
    former = site.begin(host)
    site.add_unproven_name(host)
    counter = Counter(site.lab)
    bind = site.lab.bind

    def stop(request: Request) -> Reply:
        bind.process.stop()
        return request.forward()

    proxy.on("POST", "/chalZ", stop)
    results = site.rotate(host, forced=True)
    bind.process.__enter__()
    bind.wait_loaded()
    check_failed(results, Outcome.FAILED, "ChallengeFailed", ExitStatus.FAILED)
    assert len(bind.txt(f"_acme-challenge.{host.name}")) == 1
    await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (2, 1)


def use_ca(site: Site, pebble: Pebble, trust: Path) -> None:
    """Let the site's issuer be another CA."""
    trust.write_text("".join(pebble.roots()))
    site.issuer.update(directory=pebble.directory, ca_bundle=str(pebble.ca_bundle), trust=str(trust))


def remove_txt(bind: Bind, name: str) -> None:
    """Remove every TXT value at a name."""
    keyring = dns.tsigkeyring.from_text({bind.tsig_name: bind.tsig_secret})
    update = dns.update.UpdateMessage("lab.test", keyring=keyring, keyalgorithm=bind.tsig_algorithm)
    update.delete(f"{name}.", "TXT")
    assert dns.query.tcp(update, bind.address, 10, bind.port).rcode() == dns.rcode.NOERROR
