# SPDX-License-Identifier: Apache-2.0
"""Linux hosts and the DNS of a lab without any program but this one: all of them in one process.

``python -m ottr.lab.embedded.machines FILE`` runs what ``Machines.prepare`` has written down, until SIGTERM.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import resource
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import dns.name
import dns.tsig

from ottr.lab.embedded.dns import DnsServer, Zones
from ottr.lab.embedded.site import Site, Sites
from ottr.lab.host import fetch_served_pem
from ottr.lab.process import Process
from ottr.lab.sshd import write_key_pair
from ottr.lab.x509 import write_self_signed

_READY = "ready"


@dataclass(frozen=True, slots=True)
class EmbeddedDns:
    """The lab's zones and the key that may change them."""

    address: str
    port: int
    zones: tuple[str, ...]
    tsig_secret: str
    """Base64."""

    tsig_name: ClassVar[str] = "ottr-lab"
    tsig_algorithm: ClassVar[str] = "hmac-sha256"

    @property
    def server(self) -> str:
        """``address:port``."""
        return f"{self.address}:{self.port}"


def build_dns(address: str, port: int, zones: Sequence[str]) -> EmbeddedDns:
    """With a new key."""
    return EmbeddedDns(address, port, tuple(zones), base64.b64encode(os.urandom(32)).decode())


@dataclass(frozen=True, slots=True)
class EmbeddedHost:
    """A Linux host as the inventory describes it; its files are in ``site.folder``, which is its home too."""

    site: Site
    ssh_port: int
    user: str

    platform: ClassVar[str] = "linux"
    os_version: ClassVar[str] = "12"
    usual_options: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"service": "files", "fullchain": "/etc/site/tls/fullchain.pem", "key": "/etc/site/tls/privkey.pem"}
    )

    @property
    def name(self) -> str:
        """Its DNS name."""
        return self.site.name

    @property
    def address(self) -> str:
        """Its loopback address."""
        return self.site.address

    @property
    def port(self) -> int:
        """Where it serves its certificate."""
        return self.site.port

    @property
    def fullchain(self) -> Path:
        """The path its service reads its certificates at."""
        return self.site.fullchain

    @property
    def key(self) -> Path:
        """The path its service reads its key at."""
        return self.site.key

    @property
    def test_command(self) -> Sequence[str]:
        """The service's own test."""
        return self.site.test_command

    @property
    def reload_command(self) -> Sequence[str]:
        """Has the service read its files."""
        return self.site.reload_command

    @property
    def host_key(self) -> Path:
        """Its SSH host key."""
        return self.site.folder / "host_key"

    @property
    def known_hosts(self) -> str:
        """Its line for a known_hosts file."""
        public = self.host_key.with_name(f"{self.host_key.name}.pub").read_text().strip()
        return f"[{self.address}]:{self.ssh_port} {public}\n"

    def fetch_served_pem(self) -> str:
        """The leaf it serves now, by a handshake from outside that trusts anything."""
        return fetch_served_pem(self.address, self.port)


def build_host(folder: Path, address: str, name: str, *, ssh_port: int, tls_port: int) -> EmbeddedHost:
    """A host of the user who runs the lab."""
    return EmbeddedHost(Site(folder, address, tls_port, name), ssh_port, pwd.getpwuid(os.geteuid()).pw_name)


class Machines:
    """The process of the DNS and all hosts. ``authorized_key`` is a public line; what logins start has the mark."""

    def __init__(
        self, folder: Path, dns_server: EmbeddedDns, hosts: Sequence[EmbeddedHost], authorized_key: str, mark: str
    ) -> None:
        self.folder = folder
        self._dns, self._hosts = dns_server, tuple(hosts)
        self._authorized_key, self._mark = authorized_key, mark
        self._file = folder / "machines.json"
        self.process = Process(
            (sys.executable, "-m", "ottr.lab.embedded.machines", str(self._file)),
            log=folder / "machines.log",
            announces=f"{_READY}\n",
        )

    def prepare(self) -> None:
        """Write keys, first certificates, and what the process is going to run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for host in self._hosts:
            host.fullchain.parent.mkdir(parents=True)
            write_key_pair(host.host_key)
            write_self_signed(host.fullchain, host.key, host.name)
            host.site.write_script()
        self._file.touch(mode=0o600)
        self._file.write_text(json.dumps(self._describe()))

    def _describe(self) -> dict[str, Any]:
        server = self._dns
        return {
            "dns": [server.address, server.port, server.zones, server.tsig_secret],
            "hosts": [
                [str(host.site.folder), host.address, host.name, host.ssh_port, host.port] for host in self._hosts
            ],
            "authorized_key": self._authorized_key,
            "mark": self._mark,
        }


def run(told: dict[str, Any]) -> None:
    """Run it all until SIGTERM. Raises OSError when an address is taken."""
    _allow_many_files()
    hosts = [
        build_host(Path(folder), address, name, ssh_port=ssh_port, tls_port=tls_port)
        for folder, address, name, ssh_port, tls_port in told["hosts"]
    ]
    with ExitStack() as stack:
        sites = Sites()
        stack.callback(sites.stop)
        for host in hosts:
            sites.start(host.site)
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        stack.enter_context(_build_server(*told["dns"]))
        _open_doors(hosts, told, stack)
        print(_READY, flush=True)
        ended.wait()


def _build_server(address: str, port: int, zones: Sequence[str], secret: str) -> DnsServer:
    key = dns.tsig.Key(dns.name.from_text(EmbeddedDns.tsig_name), secret, EmbeddedDns.tsig_algorithm)
    return DnsServer(address, port, Zones(zones, address), key)


def _open_doors(hosts: Sequence[EmbeddedHost], told: dict[str, Any], stack: ExitStack) -> None:
    from ottr.lab.embedded.ssh import build_door  # after the sites' processes, which need none of it

    for host in hosts:
        door = build_door(
            host.site.folder, host.address, host.ssh_port, host.host_key, told["authorized_key"], told["mark"]
        )
        door.start()
        stack.callback(door.stop)


def _allow_many_files() -> None:
    with suppress(OSError, ValueError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
