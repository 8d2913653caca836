# SPDX-License-Identifier: Apache-2.0
"""A private BIND: authoritative for a few zones, with dynamic updates (RFC 2136) under one TSIG key."""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from ottr.errors import LabError
from ottr.lab.network import assign_address
from ottr.lab.process import Process, find_program

_OPTIONS = """\
options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    lock-file none;
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    query-source address {address};
    recursion no;
    dnssec-validation no;
    notify explicit;
    notify-delay 0;
    serial-query-rate 1000;
    startup-notify-rate 1000;
    notify-rate 1000;
    tcp-clients 500;
    max-cache-size 8M;
    version none;
}};
controls {{ }};
key "{tsig_name}" {{ algorithm {tsig_algorithm}; secret "{tsig_secret}"; }};
"""

_PRIMARY = """\
zone "{zone}" {{
    type primary;
    file "{zone}.zone";
    allow-update {{ key "{tsig_name}"; }};
    allow-transfer {{ any; }};
    also-notify {{ {secondaries} }};
}};
"""

_SECONDARY = """\
zone "{zone}" {{
    type secondary;
    file "{zone}.zone";
    masterfile-format text;
    primaries {{ {primary}; }};
    allow-notify {{ any; }};
    min-refresh-time 1;
    min-retry-time 1;
}};
"""

_ZONE = """\
$TTL 60
@ IN SOA ns1 hostmaster ( 1 60 1 3600 1 )
@ IN NS ns1
ns1 IN A {address}
{secondaries}
{records}
"""


class Bind:
    """A primary server for ``zones`` or, with ``primary`` (``address:port``), a secondary of that server.

    BIND listens only where an interface has the address: 127.0.0.1 always works (with a port from
    ``Network.port``), another loopback address is assigned to the interface meanwhile, which needs root.
    ``records`` are zone file lines with absolute owner names; each goes to the zone with the longest match.
    ``secondaries`` (``address:port``) become further NS and are told of every change.
    """

    tsig_name = "ottr-lab"
    tsig_algorithm = "hmac-sha256"

    def __init__(
        self,
        folder: Path,
        address: str,
        port: int = 53,
        *,
        zones: Sequence[str] = ("lab.test",),
        records: Sequence[str] = (),
        secondaries: Sequence[str] = (),
        primary: str = "",
        tsig_secret: str = "",
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.zones = tuple(zones)
        self.tsig_secret = tsig_secret or base64.b64encode(os.urandom(32)).decode()
        self._records = tuple(records)
        self._secondaries = tuple(secondaries)
        self._primary = primary
        command = (_unconfined_named(folder), "-g", "-4", "-n", "1", "-c", str(folder / "named.conf"))
        self.process = Process(command, log=folder / "named.log", listens=[(address, port)], folder=folder)

        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(assign_address(self.address))
            self.prepare()
            stack.enter_context(self.process)
            self.wait_loaded()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Restart and wait until the zones are served; dynamic updates are kept."""
        self.process.restart()
        self.wait_loaded()

    @property
    def server(self) -> str:
        """``address:port``."""
        return f"{self.address}:{self.port}"

    def prepare(self) -> None:
        """Write configuration, key and zone files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = {
            "folder": str(self.folder),
            "address": self.address,
            "tsig_name": self.tsig_name,
            "tsig_algorithm": self.tsig_algorithm,
            "tsig_secret": self.tsig_secret,
            "secondaries": "".join(f"{_in_configuration(server)}; " for server in self._secondaries),
            "primary": _in_configuration(self._primary),
        }
        zone = _SECONDARY if self._primary else _PRIMARY
        configuration = self.folder / "named.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            _OPTIONS.format(port=self.port, **words) + "".join(zone.format(zone=name, **words) for name in self.zones)
        )
        if not self._primary:
            self._write_zones()

    def wait_loaded(self, timeout_s: float = 30.0) -> None:
        """Return when every zone answers with authority. Raises LabError."""
        deadline = time.monotonic() + timeout_s
        while not all(self._has_authority(zone) for zone in self.zones):
            if time.monotonic() > deadline:
                raise LabError(f"named at {self.server} does not serve {', '.join(self.zones)}; see {self.process.log}")
            time.sleep(0.02)

    def txt(self, name: str) -> frozenset[str]:
        """The TXT values the server has at a name."""
        answer = dns.query.udp_with_fallback(
            dns.message.make_query(name, dns.rdatatype.TXT), self.address, port=self.port, timeout=10
        )[0]
        return frozenset(
            b"".join(value.strings).decode()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.TXT
            for value in rrset
        )

    def _has_authority(self, zone: str) -> bool:
        query = dns.message.make_query(zone, dns.rdatatype.SOA)
        try:
            answer = dns.query.udp(query, self.address, port=self.port, timeout=0.5)
        except (OSError, dns.exception.DNSException):
            return False
        return bool(answer.flags & dns.flags.AA and answer.answer)

    def _write_zones(self) -> None:
        extra: dict[str, list[str]] = {zone: [] for zone in self.zones}
        for record in self._records:
            extra[self._zone_of(record.split()[0])].append(record)
        names = [(f"ns{number}", server.partition(":")[0]) for number, server in enumerate(self._secondaries, start=2)]
        secondaries = "\n".join(f"@ IN NS {name}\n{name} IN A {address}" for name, address in names)
        for zone, records in extra.items():
            text = _ZONE.format(address=self.address, secondaries=secondaries, records="\n".join(records))
            (self.folder / f"{zone}.zone").write_text(f"$ORIGIN {zone}.\n{text}")

    def _zone_of(self, owner: str) -> str:
        matches = [zone for zone in self.zones if f".{owner}".endswith(f".{zone}.")]
        if not matches:
            raise LabError(f"{owner} is not an absolute name in any of {', '.join(self.zones)}")
        return max(matches, key=len)


def _in_configuration(server: str) -> str:
    address, _, port = server.partition(":")
    return f"{address} port {port}"


def _unconfined_named(folder: Path) -> str:
    """named itself, or a copy of it where AppArmor's profile for its path would keep it out of our folder."""
    named = find_program("named")
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or not Path("/etc/apparmor.d/usr.sbin.named").exists():
        return named
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(named, f"{folder}/named"))
