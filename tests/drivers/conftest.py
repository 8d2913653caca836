# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ottr.drivers.linux_ssh import connect
from ottr.drivers.linux_ssh.driver import LinuxHost
from ottr.lab.namespace import NamespaceHost, run_namespace_host
from ottr.lab.network import Network
from ottr.lab.nginx import Nginx
from ottr.lab.sshd import Sshd, write_key_pair
from ottr.model import Credentials, Device
from tests.drivers.linux import NAMES, served_serial


@dataclass
class Machine:
    """An sshd to log in to and an nginx that serves, as one route sees them."""

    sshd: Sshd
    nginx: Nginx
    key: Path
    known_hosts: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> Device:
        return Device("web1", "linux", self.nginx.address, NAMES, variables={"ansible_port": self.sshd.port})

    @property
    def credentials(self) -> Credentials:
        return Credentials(username=self.sshd.user, private_key_file=str(self.key))

    def served(self) -> int:
        return served_serial(self.nginx.address, self.nginx.port)


def nginx_options(nginx: Nginx, **others: Any) -> dict[str, Any]:
    return {
        "service": "nginx",
        "fullchain": str(nginx.fullchain),
        "key": str(nginx.key),
        "test_command": list(nginx.test_command),
        "reload_command": list(nginx.reload_command),
        **others,
    }


@pytest.fixture(scope="session")
def sshd_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("ssh") / "id_ed25519"
    write_key_pair(key)
    return key


@pytest.fixture(scope="session")
def sshd(network: Network, sshd_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    public = sshd_key.with_name(f"{sshd_key.name}.pub").read_text()
    addresses = [network.address(number) for number in range(200, 216)]
    with Sshd(tmp_path_factory.mktemp("sshd"), addresses, 2222, public) as running:
        yield running


@pytest.fixture
def machine(sshd: Sshd, sshd_key: Path, tmp_path: Path) -> Iterator[Machine]:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(sshd.known_hosts)
    with Nginx(tmp_path / "nginx", sshd.addresses[0], 8443, NAMES[0]) as nginx:
        options = nginx_options(nginx, known_hosts=[str(known_hosts)])
        yield Machine(sshd, nginx, sshd_key, known_hosts, options)
        end_timers(tmp_path)


def end_timers(folder: Path) -> None:
    """End dead-man timers that a failed test has left behind."""
    for record in folder.rglob("*.ottr/*/timer"):
        with suppress(ProcessLookupError):
            os.killpg(int(record.read_text()), signal.SIGTERM)


@pytest.fixture
def log_in(machine: Machine) -> Iterator[Callable[..., LinuxHost]]:
    """Opens sessions with the machine; they end with the test."""
    with ExitStack() as stack:

        def enter(options: Mapping[str, Any] | None = None, credentials: Credentials | None = None) -> LinuxHost:
            merged = {**machine.options, **(options or {})}
            return stack.enter_context(connect(machine.device, merged, credentials or machine.credentials))

        yield enter


@pytest.fixture
def host(log_in: Callable[..., LinuxHost]) -> LinuxHost:
    return log_in()


@pytest.fixture(scope="module")
def guarded(network: Network, sshd_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceHost]:
    """A host with sudo rules, passwords and a small disk of its own."""
    public = sshd_key.with_name(f"{sshd_key.name}.pub").read_text()
    folder = tmp_path_factory.mktemp("guarded")
    with run_namespace_host(folder, network.address(230), NAMES[0], public) as running:
        yield running
