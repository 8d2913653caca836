# SPDX-License-Identifier: Apache-2.0
"""The authoritative servers of a zone."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ottr.dns.resolver import Resolver, parse_servers
from ottr.dns.servers import ServerAddress
from ottr.dns.zones import clean_name
from ottr.errors import DnsError
from ottr.settings import SolverSettings


@dataclass(frozen=True, slots=True)
class NameServer:
    """One authoritative server, with every address it has."""

    name: str
    addresses: tuple[ServerAddress, ...]


class Authorities:
    """Knows the servers of each zone, looked up once. Safe to share among threads."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._lock = threading.Lock()
        self._servers: dict[str, tuple[NameServer, ...]] = {}

    def find(self, settings: SolverSettings, zone: str) -> tuple[NameServer, ...]:
        """Return the servers that settings name, else those of the zone's NS records. Raises DnsError."""
        # Held while looking up: fifty threads that start together are to ask once.
        with self._lock:
            if zone not in self._servers:
                self._servers[zone] = _configured(settings) or self._fetch(zone)
            return self._servers[zone]

    def _fetch(self, zone: str) -> tuple[NameServer, ...]:
        records = self._resolver.fetch(zone, "NS")
        if not records:
            raise DnsError(
                f"{zone} has no NS records",
                hint="name the zone itself in `zones` (its apex), or its servers in `nameservers`",
            )
        return tuple(self._fetch_server(clean_name(str(record.target))) for record in records)

    def _fetch_server(self, name: str) -> NameServer:
        addresses = tuple(
            ServerAddress(str(record.address))
            for kind in ("A", "AAAA")
            for record in self._resolver.fetch(name, kind) or ()
        )
        if not addresses:
            raise DnsError(f"the name server {name} has no address", hint="correct the NS records of the zone")
        return NameServer(name, addresses)


def _configured(settings: SolverSettings) -> tuple[NameServer, ...]:
    servers = parse_servers(settings.nameservers, f"solver {settings.name!r}: nameservers")
    return tuple(NameServer(str(server), (server,)) for server in servers)
