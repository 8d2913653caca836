# SPDX-License-Identifier: Apache-2.0
"""Machines with users, sudo rules and a small disk of their own: sudo that refuses, a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ottr.lab import Lab
from ottr.lab.host import Host
from ottr.lab.namespace import ASKED_USER, REFUSED_USER, SUDO_USER, NamespaceHost, run_namespace_host
from ottr.model import Outcome, RotationResult, Step
from ottr.report import ExitStatus
from tests.acceptance.faults import Counter, Site, at, await_served, check_failed, check_recovers

NAME = "machine.lab.test"


@pytest.fixture(scope="module")
def machine(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceHost]:
    public = shared_lab.ssh_key.with_suffix(".pub").read_text().strip()
    folder = tmp_path_factory.mktemp("machine")
    with run_namespace_host(folder, shared_lab.network.address(200), NAME, public) as running:
        yield running


@pytest.fixture(scope="module")
def site(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One for all tests here: two operators' generations have no room on the small disk."""
    return Site(shared_lab, tmp_path_factory.mktemp("machine") / "site")


@pytest.fixture(scope="module")
def rotated(machine: NamespaceHost, site: Site) -> Host:
    """The machine, in an inventory and among known hosts of its own, rotated once."""
    known_hosts = site.folder / "known_hosts"
    known_hosts.write_text(machine.sshd.known_hosts)
    site.settings["known_hosts"] = [str(known_hosts)]
    site.settings["inventory"] = [str(site.folder / "inventory")]
    host = Host(NAME, machine.sshd, machine.nginx)
    log_in(site, host, SUDO_USER)
    site.begin(host)
    return host


@pytest.fixture
def host(rotated: Host, site: Site) -> Host:
    log_in(site, rotated, SUDO_USER)
    return rotated


def log_in(site: Site, host: Host, user: str, **more: Any) -> None:
    """Write the inventory: the machine, by this user and sudo."""
    nginx = host.nginx
    variables = {
        "ansible_host": host.address,
        "ansible_port": host.sshd.port,
        "ansible_user": user,
        "ansible_ssh_private_key_file": str(site.lab.ssh_key),
        "ansible_become": True,
        "host_platform": "linux",
        "certificate_authority": "lab",
        "common_name": NAME,
        "ottr_options": {
            "fullchain": str(nginx.fullchain),
            "key": str(nginx.key),
            "test_command": list(nginx.test_command),
            "reload_command": list(nginx.reload_command),
        },
        **more,
    }
    folder = site.folder / "inventory"
    folder.mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {NAME: variables}}}))


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        (ASKED_USER, "", "no password was given"),
        (ASKED_USER, "not the right one", "the password is wrong"),
        (REFUSED_USER, "", "refused"),
        (REFUSED_USER, "correct horse battery staple", "refused"),
    ],
)
def test_sudo_that_refuses_stops_a_rotation_before_it_begins(
    site: Site, host: Host, user: str, password: str, words: str
) -> None:
    former = site.current(host)
    counter = Counter(site.lab)

    log_in(site, host, user, **({"ansible_become_password": password} if password else {}))
    results = site.rotate(host, forced=True)
    said = check_failed(results, Outcome.FAILED, "AuthenticationFailed", ExitStatus.FAILED)
    assert words in said
    assert "ansible_become_password" in said
    assert not password or password not in said
    await_served(host, former)

    log_in(site, host, ASKED_USER, ansible_become_password="correct horse battery staple")
    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_login_that_may_not_write_is_told_so(site: Site, host: Host) -> None:
    former = site.current(host)
    counter = Counter(site.lab)

    log_in(site, host, SUDO_USER, ansible_become=False)
    results = site.rotate(host, forced=True)
    words = check_failed(results, Outcome.FAILED, "DeviceRejected", ExitStatus.FAILED)
    assert "ansible_become" in words
    await_served(host, former)

    log_in(site, host, SUDO_USER)
    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


@pytest.mark.parametrize("step", [Step.PREFLIGHT, Step.CSR, Step.ORDER, Step.INSTALL])
def test_a_disk_that_is_full_leaves_a_good_certificate(
    site: Site, host: Host, machine: NamespaceHost, step: Step
) -> None:
    former = site.current(host)
    counter = Counter(site.lab)
    with filled(site, machine, host, step) as results:
        before_install = step in (Step.PREFLIGHT, Step.CSR)
        outcome = Outcome.FAILED if before_install else Outcome.ROLLED_BACK
        words = check_failed(results, outcome, "DeviceRejected", ExitStatus.FAILED)
        assert "space" in words
        await_served(host, former)
    assert counter.issued == (0 if before_install else 1)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_disk_that_stays_full_fails_again_and_again_without_another_order(
    site: Site, host: Host, machine: NamespaceHost
) -> None:
    former = site.current(host)
    counter = Counter(site.lab)
    with filled(site, machine, host, Step.ORDER) as results:
        check_failed(results, Outcome.ROLLED_BACK, "DeviceRejected", ExitStatus.FAILED)
        again = site.resume()
        check_failed(again, Outcome.ROLLED_BACK, "DeviceRejected", ExitStatus.FAILED)
        assert again[0].rotation_id == results[0].rotation_id
        await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert (counter.orders, counter.issued) == (1, 1)


def test_a_disk_that_fills_up_after_the_install_stops_nothing(site: Site, host: Host, machine: NamespaceHost) -> None:
    former = site.current(host)

    with filled(site, machine, host, Step.VERIFY) as results:
        check_recovers(site, host, former, results)


@contextmanager
def filled(site: Site, machine: NamespaceHost, host: Host, step: Step) -> Iterator[list[RotationResult]]:
    """Rotate, fill the disk when this step begins, and give what came of it while the disk is still full."""
    fillers: list[Path] = []
    fill = lambda: fillers.append(machine.namespace.fill(host.nginx.fullchain.parent))  # noqa: E731
    try:
        results = site.rotate(host, forced=True, watch=at(step, fill))
        assert fillers
        yield results
    finally:
        for filler in fillers:
            filler.unlink()
