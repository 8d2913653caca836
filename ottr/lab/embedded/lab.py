# SPDX-License-Identifier: Apache-2.0
"""The lab of a bare machine: Linux hosts, DNS and CA are programs of Ottr, and appliances are simulated as ever."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.appliance import SSH_PORT, Appliance, Model, build_appliances
from ottr.lab.embedded.ca import PrivateCa
from ottr.lab.embedded.machines import EmbeddedDns, EmbeddedHost, Machines, build_dns, build_host
from ottr.lab.files import Files
from ottr.lab.network import Network, claim_network
from ottr.lab.parts import FIRST_HOST, TLS_PORT, ZONE
from ottr.lab.process import Process, start_all, stop_all
from ottr.lab.sessions import end_sessions
from ottr.lab.sshd import write_key_pair

REVOKING = ("linux", "f5")
"""Platforms whose routes ask for superseded certificates to be revoked."""
_DNS_PORT = 5353


class EmbeddedLab:
    """A fleet with what is needed to rotate it, all of it below ``folder``: see ``ottr.lab.Lab``.

    It needs no root, and of the machine only /bin/sh with its usual programs and openssl.
    """

    network: Network
    dns: EmbeddedDns
    ca: PrivateCa
    hosts: tuple[EmbeddedHost, ...]
    appliances: tuple[Appliance, ...]

    def __init__(self, folder: Path, count: int = 3, *, simulated: Sequence[Model] = ()) -> None:
        self.folder = folder.resolve()
        self.count = count
        self._files = Files(self.folder)
        self.settings = self._files.settings
        self.routing = self._files.routing
        self.inventory = self._files.inventory
        self.ssh_key = self._files.ssh_key
        self.known_hosts = self._files.known_hosts
        self.trust = self._files.trust
        self._simulated = tuple(simulated)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.network = stack.enter_context(claim_network())
            self._build()
            stack.callback(end_sessions, str(self.folder))
            stack.callback(stop_all, self._processes)
            start_all(self._processes)
            self._write_files()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    @property
    def devices(self) -> tuple[EmbeddedHost | Appliance, ...]:
        """All of them."""
        return (*self.hosts, *self.appliances)

    @property
    def described(self) -> str:
        """Which programs are its DNS and its CA, and where they are."""
        return f"its own DNS at {self.dns.server}, the private CA at {self.ca.directory}"

    def _build(self) -> None:
        """Write what every server needs; start nothing."""
        self.ssh_key.parent.mkdir(parents=True)
        addresses = map(self.network.address, count(FIRST_HOST))
        self.dns = build_dns(self.network.address(0), _DNS_PORT, (ZONE,))
        self.ca = PrivateCa(self.folder / "pki", self.network.address(0), self.dns.server)
        names = [f"web{number}" for number in range(1, self.count + 1)]
        self.hosts = tuple(
            build_host(
                self.folder / "hosts" / name, next(addresses), f"{name}.{ZONE}", ssh_port=SSH_PORT, tls_port=TLS_PORT
            )
            for name in names
        )
        self._machines = Machines(
            self.folder / "machines", self.dns, self.hosts, write_key_pair(self.ssh_key), str(self.folder)
        )
        appliances = self.folder / "appliances"
        appliances.mkdir()
        self.appliances = tuple(build_appliances(self._simulated, addresses, ZONE, appliances))
        self._machines.prepare()
        self.ca.prepare()

    @property
    def _processes(self) -> list[Process]:
        simulators = dict.fromkeys(appliance.process for appliance in self.appliances)
        return [*simulators, self.ca.process, self._machines.process]

    def _write_files(self) -> None:
        self._files.write_trust(self.ca)
        self._files.write_known_hosts((host.known_hosts for host in self.hosts), self.appliances)
        self._files.write(self.hosts, self.appliances, self.dns, self.ca, revoking=REVOKING)
