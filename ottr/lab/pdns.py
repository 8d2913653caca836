# SPDX-License-Identifier: Apache-2.0
"""A private PowerDNS with its HTTP API: stands for the DNS services of cloud providers."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.message
import dns.query
import dns.rdatatype

from ottr.errors import LabError
from ottr.lab.process import Process

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
"""Comes with the backend's Debian package, and fits its version."""

_CONFIGURATION = """\
launch=gsqlite3
gsqlite3-database={folder}/zones.sqlite3
gsqlite3-pragma-journal-mode=WAL
local-address={address}
local-port={port}
socket-dir={folder}
webserver=yes
webserver-address={address}
webserver-port={api_port}
webserver-allow-from=127.0.0.0/8
api=yes
api-key={api_key}
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
distributor-threads=2
receiver-threads=1
security-poll-suffix=
version-string=anonymous
"""


class PowerDns:
    """An authoritative server for ``zones`` whose records are changed through its HTTP API."""

    def __init__(
        self,
        folder: Path,
        address: str,
        port: int = 53 if os.geteuid() == 0 else 5300,
        *,
        api_port: int = 8081,
        zones: Sequence[str] = ("cloud.test",),
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.zones = tuple(zones)
        self.api = f"http://{address}:{api_port}"
        self.api_key = secrets.token_urlsafe(24)
        self._api_port = api_port
        command = ("pdns_server", f"--config-dir={folder}", "--daemon=no", "--guardian=no", "--disable-syslog=yes")
        self.process = Process(command, log=folder / "pdns.log", listens=[(address, api_port)], folder=folder)

    def __enter__(self) -> Self:
        self.prepare()
        self.process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()

    @property
    def server(self) -> str:
        """``address:port`` of the DNS side."""
        return f"{self.address}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration and the database with its zones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "pdns.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                address=self.address,
                port=self.port,
                api_port=self._api_port,
                api_key=self.api_key,
            )
        )
        with closing(sqlite3.connect(self.folder / "zones.sqlite3")) as database, database:
            database.executescript(_read_schema())
            for number, zone in enumerate(self.zones, start=1):
                _add_zone(database, number, zone, self.address)

    def txt(self, name: str) -> frozenset[str]:
        """The TXT values the server has at a name."""
        query = dns.message.make_query(name, dns.rdatatype.TXT)
        answer = dns.query.udp_with_fallback(query, self.address, port=self.port, timeout=10)[0]
        return frozenset(
            b"".join(value.strings).decode()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.TXT
            for value in rrset
        )


def _read_schema() -> str:
    try:
        return _SCHEMA.read_text()
    except FileNotFoundError as error:
        raise LabError(f"{_SCHEMA} is missing", hint="`make setup` installs what the lab needs") from error


def _add_zone(database: sqlite3.Connection, number: int, zone: str, address: str) -> None:
    database.execute("INSERT INTO domains (id, name, type) VALUES (?, ?, 'NATIVE')", (number, zone))
    database.executemany(
        "INSERT INTO records (domain_id, name, type, content, ttl) VALUES (?, ?, ?, ?, 60)",
        (
            (number, zone, "SOA", f"ns1.{zone} hostmaster.{zone} 1 60 60 3600 1"),
            (number, zone, "NS", f"ns1.{zone}"),
            (number, f"ns1.{zone}", "A", address),
        ),
    )
