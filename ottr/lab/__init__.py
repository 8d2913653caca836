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
from ottr.lab.files import write_inventory, write_routing, write_settings
from ottr.lab.host import Host
from ottr.lab.network import Network, claim_network
from ottr.lab.nginx import Nginx
from ottr.lab.pebble import Pebble
from ottr.lab.process import Process
from ottr.lab.sessions import end_sessions
from ottr.lab.sshd import ADDRESSES_PER_SSHD, Sshd, write_key_pair

_ZONE = "lab.test"
_TLS_PORT = 8443
_FIRST_HOST = 10


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
        self.settings = self.folder / "ottr.yaml"
        self.routing = self.folder / "routing.yaml"
        self.inventory = self.folder / "inventory"
        self.ssh_key = self.folder / "ssh" / "id_ed25519"
        self.known_hosts = self.folder / "ssh" / "known_hosts"
        self.trust = self.folder / "roots.pem"
        self._build_pebble = build_pebble
        self._hosts_per_sshd = hosts_per_sshd
        self._simulated = tuple(simulated)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.network = stack.enter_context(claim_network())
            self._build()
            stack.enter_context(self.bind)
            stack.callback(self._stop)
            self._start()
            self._write_files()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    @property
    def devices(self) -> tuple[Host | Appliance, ...]:
        """All of them."""
        return (*self.hosts, *self.appliances)

    def write_trust(self) -> None:
        """Write the roots Pebble issues under; to be called again after it was restarted."""
        self.trust.write_text("".join(self.pebble.roots()))

    def write_known_hosts(self) -> None:
        """Write the host keys; to be called again after one was changed, unless that is what is tried out."""
        lines = [sshd.known_hosts for sshd in self.sshds]
        for appliance in self.appliances:
            if key := appliance.read_start().get("ssh_host_key"):
                lines.append(f"[{appliance.address}]:{SSH_PORT} {key}\n")
        self.known_hosts.write_text("".join(lines))

    def _build(self) -> None:
        """Write every server's configuration; start nothing."""
        self.ssh_key.parent.mkdir(parents=True)
        self.bind = Bind(self.folder / "bind", "127.0.0.1", self.network.port(0), zones=(_ZONE,))
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
        addresses = [self.network.address(number) for number in range(_FIRST_HOST, _FIRST_HOST + self.count)]
        for first in range(0, self.count, self._hosts_per_sshd):
            some = addresses[first : first + self._hosts_per_sshd]
            folder = self.folder / "ssh" / f"sshd{first + 1}"
            yield Sshd(folder, some, SSH_PORT, authorized_key, mark=str(self.folder))

    def _build_hosts(self) -> Iterator[Host]:
        places = [(sshd, address) for sshd in self.sshds for address in sshd.addresses]
        for number, (sshd, address) in enumerate(places, start=1):
            name = f"web{number}.{_ZONE}"
            yield Host(name, sshd, Nginx(self.folder / "hosts" / f"web{number}", address, _TLS_PORT, name))

    def _build_appliances(self) -> Iterator[Appliance]:
        addresses = map(self.network.address, count(_FIRST_HOST + self.count))
        folder = self.folder / "appliances"
        folder.mkdir()
        return build_appliances(self._simulated, addresses, _ZONE, folder)

    @property
    def _processes(self) -> list[Process]:
        hosts = [host.nginx.process for host in self.hosts]
        simulators = dict.fromkeys(appliance.process for appliance in self.appliances)
        return [*simulators, *self.pebble.processes, *(sshd.process for sshd in self.sshds), *hosts]

    def _start(self) -> None:
        for process in self._processes:
            process.start()
        for process in self._processes:
            process.wait_ready()

    def _stop(self) -> None:
        for process in self._processes:
            process.begin_stop()
        for process in self._processes:
            process.stop()
        end_sessions(str(self.folder))

    def _write_files(self) -> None:
        self.write_trust()
        self.write_known_hosts()
        products = tuple(dict.fromkeys(appliance.model.product for appliance in self.appliances))
        write_inventory(self.inventory / "hosts.yml", self.hosts, self.appliances, self.ssh_key)
        write_routing(self.routing, products, self.trust, _TLS_PORT)
        write_settings(self.settings, self.bind, self.pebble, products)
