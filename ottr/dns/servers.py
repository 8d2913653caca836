# SPDX-License-Identifier: Apache-2.0
"""Addresses of DNS servers, and what goes wrong on the way to one."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import dns.exception

QUERY_TIMEOUT_S = 2.0

TRANSPORT_ERRORS = (OSError, EOFError, dns.exception.DNSException)
"""What is raised when a question gets no usable answer."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a DNS server listens."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def parse_server(text: str) -> ServerAddress:
    """Parse ``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1`` or ``[2001:db8::1]:5353``.

    Raises ValueError with one clear sentence.
    """
    host, port = _split_port(text)
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IP address, ADDRESS:PORT or [IPV6]:PORT") from error
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} has no valid port")
    return ServerAddress(address, int(port))


def _split_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and (not rest or rest.startswith(":")):
            return host, rest[1:] if rest else "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, "53"


def describe_error(error: BaseException) -> str:
    """Return a few words for one of ``TRANSPORT_ERRORS``."""
    if isinstance(error, dns.exception.Timeout | TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error) or type(error).__name__
