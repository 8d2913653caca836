# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a host: it keeps serving a good certificate, and once it is well again nothing is done twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ottr.lab.host import Host
from ottr.model import Outcome, Step
from ottr.policy import Reason
from ottr.report import ExitStatus
from tests.acceptance.faults import (
    Counter,
    Site,
    at,
    await_served,
    await_true,
    check_failed,
    check_recovers,
    check_rotated,
    down,
    parse_certificate_of,
    reload_script,
    replaced,
    restore_reload,
    served,
    write_script,
)


def test_a_host_that_is_down_is_unreachable_and_rotated_when_it_is_back(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with down(host.sshd.process):
        results = site.rotate(host, forced=True)
        check_failed(results, Outcome.UNREACHABLE, "DeviceUnreachable", ExitStatus.UNREACHABLE)
        await_served(host, former)
    assert counter.orders == 0

    check_recovers(site, host, former, site.rotate(host))
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_host_that_goes_down_during_the_order_gets_that_certificate_later(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    results = site.rotate(host, forced=True, watch=at(Step.ORDER, host.sshd.process.stop))
    try:
        check_failed(results, Outcome.UNREACHABLE, "DeviceUnreachable", ExitStatus.UNREACHABLE)
        assert counter.issued == 1
        again = site.rotate(host)
        check_failed(again, Outcome.UNREACHABLE, "DeviceUnreachable", ExitStatus.UNREACHABLE)
        await_served(host, former)
    finally:
        host.sshd.process.__enter__()

    check_recovers(site, host, former, site.rotate(host))
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_host_that_goes_down_while_it_installs_is_set_right_by_the_next_run(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    results = site.rotate(host, forced=True, watch=at(Step.INSTALL, host.sshd.process.stop))
    try:
        check_failed(results, Outcome.UNREACHABLE, "DeviceUnreachable", ExitStatus.UNREACHABLE)
        assert served(host).dns_names == former.dns_names
    finally:
        host.sshd.process.__enter__()

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_another_host_key_is_refused_with_both_fingerprints(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    host.sshd.change_host_key()
    results = site.rotate(host, forced=True)
    site.lab.write_known_hosts()

    words = check_failed(results, Outcome.FAILED, "HostKeyRefused", ExitStatus.FAILED)
    assert words.count("SHA256:") == 2
    await_served(host, former)
    assert site.plan(host) == Reason.DEFERRED
    assert site.release(host)
    check_recovers(site, host, former, site.rotate(host))
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_service_whose_own_test_fails_is_not_reloaded(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with replaced(host.nginx.configuration, f"{host.nginx.configuration.read_text()}\nnonsense;\n"):
        results = site.rotate(host, forced=True)
    words = check_failed(results, Outcome.ROLLED_BACK, "DeviceRejected", ExitStatus.FAILED)
    assert "nonsense" in words
    await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_reload_that_fails_once_is_rolled_back(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with reloaded_by(host, f'rm "{reload_script(host)}.once" 2>/dev/null && {{ echo no such day >&2; exit 1; }}'):
        reload_script(host).with_suffix(".once").touch()
        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.ROLLED_BACK, "DeviceRejected", ExitStatus.FAILED)
        assert "no such day" in words
        await_served(host, former)

        check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_reload_that_always_fails_needs_a_human_and_breaks_nothing(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with reloaded_by(host, "echo no such day >&2; exit 1"):
        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.STRANDED, "RollbackFailed", ExitStatus.STRANDED)
        assert "no such day" in words
        await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_service_that_goes_on_with_the_old_certificate_is_found_out(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with reloaded_by(host, "exit 0"):
        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.ROLLED_BACK, "VerificationError", ExitStatus.FAILED)
        assert f"{host.address}:{host.nginx.port}" in words
        await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_service_that_hangs_at_its_reload_serves_a_good_certificate(site: Site, host: Host) -> None:
    """nginx's master is stopped: the reload is taken, nothing comes of it, and its worker goes on."""
    former = site.begin(host)
    counter = Counter(site.lab)

    with stopped(host.nginx.process.pid):
        results = site.rotate(host, forced=True)
        check_failed(results, Outcome.ROLLED_BACK, "VerificationError", ExitStatus.FAILED)
        await_served(host, former)
    await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_chain_that_clients_do_not_trust_is_rolled_back(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)
    trust = site.issuer["trust"]

    site.issuer["trust"] = str(site.lab.pebble.ca_bundle)
    results = site.rotate(host, forced=True)
    words = check_failed(results, Outcome.ROLLED_BACK, "VerificationError", ExitStatus.FAILED)
    assert "unable to get" in words
    await_served(host, former)

    site.issuer["trust"] = trust
    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_key_that_is_lost_begins_anew(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    def lose_key() -> None:
        for path in host.nginx.key.parent.glob(f"*.ottr/{site.labels(host)[-1]}/privkey.pem"):
            path.unlink()

    results = site.rotate(host, forced=True, watch=at(Step.ORDER, lose_key))
    words = check_failed(results, Outcome.ROLLED_BACK, "KeyLost", ExitStatus.FAILED)
    assert "privkey.pem is gone" in words
    await_served(host, former)

    site.release(host)
    again = site.rotate(host, forced=True)
    check_rotated(again)
    assert again[0].rotation_id != results[0].rotation_id
    await_true(lambda: served(host).sha256 == parse_certificate_of(again, host), "it serves something else")
    assert counter.issued == 2


@contextmanager
def reloaded_by(host: Host, text: str) -> Iterator[None]:
    """The host's service is reloaded in another way for a while."""
    write_script(reload_script(host), f"{text}\nexec {' '.join(host.nginx.reload_command)}")
    try:
        yield
    finally:
        restore_reload(host)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
