# SPDX-License-Identifier: Apache-2.0
"""The lab: real Linux hosts (sshd and nginx on loopback addresses), simulated appliances, a real BIND and Pebble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.appliance import SSH_PORT, Appliance, Model, build_appliances
from ottr.lab.bind import Bind
from ottr.lab.files import Files
from ottr.lab.host import Host
from ottr.lab.network import Network, claim_network
from ottr.lab.nginx import Nginx
from ottr.lab.parts import FIRST_HOST, TLS_PORT, ZONE
from ottr.lab.pebble import Pebble
from ottr.lab.process import Process, start_all, stop_all
from ottr.lab.sessions import end_sessions
from ottr.lab.sshd import ADDRESSES_PER_SSHD, Sshd, write_key_pair


class Lab:
    """A fleet with what is needed to rotate it, all of it below ``folder``.

    It has ``count`` Linux hosts, and the appliances that ``simulated`` names, each in a program of its own.

    Writes the operator's files there (``ottr.yaml``, ``routing.yaml``, ``inventory/``) with the SSH key, the known
    hosts and the issuing roots they speak of. Every process ends with the block, or with the thread that opened it.
    ``build_pebble`` makes another CA, for instance ``partial(Pebble, nonce_reject=50)``. Raises LabError.
    """

    network: Network
    bind: Bind
    pebble: Pebble
    sshds: tuple[Sshd, ...]
    hosts: tuple[Host, ...]
    appliances: tuple[Appliance, ...]

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        *,
        build_pebble: Callable[[Path, str, str], Pebble] = Pebble,
        hosts_per_sshd: int = ADDRESSES_PER_SSHD,
        simulated: Sequence[Model] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.count = count
        self._files = Files(self.folder)
        self.settings = self._files.settings
        self.routing = self._files.routing
        self.inventory = self._files.inventory
        self.ssh_key = self._files.ssh_key
        self.known_hosts = self._files.known_hosts
        self.trust = self._files.trust
        self._build_pebble = build_pebble
        self._hosts_per_sshd = hosts_per_sshd
        self._simulated = tuple(simulated)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.network = stack.enter_context(claim_network())
            self._build()
            stack.enter_context(self.bind)
            stack.callback(end_sessions, str(self.folder))
            stack.callback(stop_all, self._processes)
            start_all(self._processes)
            self._write_files()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    @property
    def devices(self) -> tuple[Host | Appliance, ...]:
        """All of them."""
        return (*self.hosts, *self.appliances)

    @property
    def dns(self) -> Bind:
        """Its DNS."""
        return self.bind

    @property
    def ca(self) -> Pebble:
        """Its CA."""
        return self.pebble

    @property
    def described(self) -> str:
        """Which programs are its DNS and its CA, and where they are."""
        return f"BIND at {self.bind.server}, Pebble at {self.pebble.directory}"

    def write_trust(self) -> None:
        """Write the roots Pebble issues under; to be called again after it was restarted."""
        self._files.write_trust(self.pebble)

    def write_known_hosts(self) -> None:
        """Write the host keys; to be called again after one was changed, unless that is what is tried out."""
        self._files.write_known_hosts((sshd.known_hosts for sshd in self.sshds), self.appliances)

    def _build(self) -> None:
        """Write every server's configuration; start nothing."""
        self.ssh_key.parent.mkdir(parents=True)
        self.bind = Bind(self.folder / "bind", "127.0.0.1", self.network.port(0), zones=(ZONE,))
        self.pebble = self._build_pebble(self.folder / "pebble", self.network.address(0), self.bind.server)
        self.sshds = tuple(self._build_sshds(write_key_pair(self.ssh_key)))
        self.hosts = tuple(self._build_hosts())
        self.appliances = tuple(self._build_appliances())
        self.pebble.prepare()
        for sshd in self.sshds:
            sshd.prepare()
        for host in self.hosts:
            host.nginx.prepare()

    def _build_sshds(self, authorized_key: str) -> Iterator[Sshd]:
        addresses = [self.network.address(number) for number in range(FIRST_HOST, FIRST_HOST + self.count)]
        for first in range(0, self.count, self._hosts_per_sshd):
            some = addresses[first : first + self._hosts_per_sshd]
            folder = self.folder / "ssh" / f"sshd{first + 1}"
            yield Sshd(folder, some, SSH_PORT, authorized_key, mark=str(self.folder))

    def _build_hosts(self) -> Iterator[Host]:
        places = [(sshd, address) for sshd in self.sshds for address in sshd.addresses]
        for number, (sshd, address) in enumerate(places, start=1):
            name = f"web{number}.{ZONE}"
            yield Host(name, sshd, Nginx(self.folder / "hosts" / f"web{number}", address, TLS_PORT, name))

    def _build_appliances(self) -> Iterator[Appliance]:
        addresses = map(self.network.address, count(FIRST_HOST + self.count))
        folder = self.folder / "appliances"
        folder.mkdir()
        return build_appliances(self._simulated, addresses, ZONE, folder)

    @property
    def _processes(self) -> list[Process]:
        hosts = [host.nginx.process for host in self.hosts]
        simulators = dict.fromkeys(appliance.process for appliance in self.appliances)
        return [*simulators, *self.pebble.processes, *(sshd.process for sshd in self.sshds), *hosts]

    def _write_files(self) -> None:
        self.write_trust()
        self.write_known_hosts()
        self._files.write(self.hosts, self.appliances, self.bind, self.pebble)
