# SPDX-License-Identifier: Apache-2.0
"""Waiting until every authoritative server answers with a TXT value, over UDP and over TCP.

A CA may ask any of the servers, and over TCP too (RFC 7766), so none is left out.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode

from ottr.dns.authority import NameServer
from ottr.dns.question import ask, find_answer
from ottr.dns.servers import QUERY_TIMEOUT_S, TRANSPORT_ERRORS, ServerAddress, describe_error
from ottr.errors import DnsError
from ottr.model import TxtRecord, Waiter

_FIRST_INTERVAL_S = 0.03
_GROWTH = 1.6
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Errors of this machine, not of the server."""


@dataclass(slots=True)
class _Watch:
    """One address of one server: asked over UDP until the value is there, then over TCP."""

    server: NameServer
    address: ServerAddress
    transports: list[str] = field(default_factory=lambda: ["UDP", "TCP"])
    """Those that have not shown the value yet."""
    unreachable: bool = False
    said: str = "was not asked in time"

    def look(self, record: TxtRecord, timeout_s: float) -> None:
        while self.transports:
            self.said = self._ask(record, self.transports[0] == "TCP", timeout_s)
            if self.said:
                return
            del self.transports[0]

    def _ask(self, record: TxtRecord, tcp: bool, timeout_s: float) -> str:
        """Return what is wrong with the answer; empty when it holds the value."""
        try:
            answer = ask(self.address, record.name, "TXT", tcp=tcp, timeout_s=timeout_s)
            self.unreachable = False
            return "" if answer.shows(record.value) else _judge(answer.parse(), record)
        except TRANSPORT_ERRORS as error:
            self.unreachable = isinstance(error, OSError) and error.errno in _NO_WAY
            return f"gave no answer ({describe_error(error)})"

    def __str__(self) -> str:
        address = str(self.address)
        where = address if self.server.name == address else f"{self.server.name} ({address})"
        return f"{where} {self.said} over {self.transports[0]}"


def _judge(response: dns.message.Message, record: TxtRecord) -> str:
    values = [b"".join(rdata.strings).decode("utf-8", "replace") for rdata in find_answer(response) or ()]
    if record.value in values:
        return ""
    if response.flags & dns.flags.TC and not values:
        return ""  # Many values: what did not fit into UDP is seen over TCP, as the CA sees it.
    if response.rcode() != dns.rcode.NOERROR:
        return f"answers {dns.rcode.to_text(response.rcode())}"
    return f"has {len(values)} other TXT value(s)" if values else "has no TXT there"


def _missing(watches: Iterable[_Watch]) -> list[_Watch]:
    """Return who does not have the value; no way to one address (no IPv6 here) is forgiven if another has it."""
    watches = list(watches)
    shown = {watch.server for watch in watches if not watch.transports}
    return [watch for watch in watches if watch.transports and not (watch.unreachable and watch.server in shown)]


def wait_for_value(
    record: TxtRecord,
    servers: Sequence[NameServer],
    *,
    timeout_s: float,
    interval_s: float,
    waiter: Waiter = time.sleep,
) -> None:
    """Return when every server has the value. Raises DnsError that names those without it and what they said."""
    watches = [_Watch(server, address) for server in servers for address in server.addresses]
    deadline = time.monotonic() + timeout_s
    interval = min(_FIRST_INTERVAL_S, interval_s)
    missing = watches
    while True:
        for watch in missing:
            left = deadline - time.monotonic()
            watch.look(record, max(min(left, QUERY_TIMEOUT_S), 0.1))
        missing = _missing(watches)
        left = deadline - time.monotonic()
        if not missing or left <= 0:
            break
        waiter(min(interval, left))
        interval = min(interval * _GROWTH, interval_s)
    if missing:
        raise DnsError(_describe(record, missing, len(servers), timeout_s), hint=_HINT)


_HINT = (
    "check that these servers get the zone's changes (NOTIFY, transfers); "
    "if they are only slow, raise `propagation_timeout_s`; name the right servers in `nameservers`"
)


def _describe(record: TxtRecord, missing: Sequence[_Watch], servers: int, timeout_s: float) -> str:
    without = len({watch.server for watch in missing})
    words = "; ".join(str(watch) for watch in missing[:3])
    return (
        f"the value at {record.name} is missing on {without} of {servers} authoritative server(s) "
        f"after {timeout_s:g} s: {words}"
    )
