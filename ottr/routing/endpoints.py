# SPDX-License-Identifier: Apache-2.0
"""Where a device's certificate is served."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ottr.drivers import DriverModule
from ottr.files.document import Entry
from ottr.files.fields import read_text
from ottr.model import Device, Endpoint, EndpointProtocol
from ottr.routing.rules import EndpointRule

PORTS: Mapping[EndpointProtocol, int] = {
    EndpointProtocol.TLS: 443,
    EndpointProtocol.SMTP: 25,
    EndpointProtocol.LMTP: 24,
    EndpointProtocol.IMAP: 143,
    EndpointProtocol.POP3: 110,
    EndpointProtocol.FTP: 21,
    EndpointProtocol.LDAP: 389,
    EndpointProtocol.POSTGRES: 5432,
}
"""Well-known port of each protocol."""

_TLS_FROM_THE_START: Mapping[str, int] = {"https": 443, "smtps": 465, "imaps": 993, "pop3s": 995, "ldaps": 636}
_FIELDS = frozenset({"port", "address", "protocol", "server_name"})
_PROBE_LABEL = "ottr-probe"
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


def read_endpoints(entry: Entry) -> tuple[EndpointRule, ...]:
    """Return one endpoint or several. Raises the entry's error."""
    endpoints = tuple(_read_endpoint(item) for item in entry.entries())
    if not endpoints:
        raise entry.expected("one endpoint or more")
    return endpoints


def _read_endpoint(entry: Entry) -> EndpointRule:
    fields = entry.fields(_FIELDS)
    protocol, port = _read_protocol(fields["protocol"]) if "protocol" in fields else (None, None)
    name = fields.get("server_name")
    return EndpointRule(
        port=_read_port(fields["port"]) if "port" in fields else port,
        protocol=protocol,
        address=_read_host(fields["address"]) if "address" in fields else "",
        server_name=None if name is None else _read_server_name(name),
    )


def _read_protocol(entry: Entry) -> tuple[EndpointProtocol, int]:
    text = read_text(entry)
    if text in _TLS_FROM_THE_START:
        return EndpointProtocol.TLS, _TLS_FROM_THE_START[text]
    if text not in list(EndpointProtocol):
        raise entry.expected(f"one of {', '.join((*EndpointProtocol, *_TLS_FROM_THE_START))}")
    return EndpointProtocol(text), PORTS[EndpointProtocol(text)]


def _read_port(entry: Entry) -> int:
    """A port; text of digits too, as templates of the inventory give it."""
    if isinstance(entry.value, bool) or not re.fullmatch("[0-9]{1,5}", entry.written):
        raise entry.expected("a port from 1 to 65535")
    if not 1 <= int(entry.written) <= 65535:
        raise entry.expected("a port from 1 to 65535")
    return int(entry.written)


def _read_server_name(entry: Entry) -> str:
    return "" if entry.value in ("", None) else _read_host(entry).rstrip(".").lower()


def _read_host(entry: Entry) -> str:
    text = read_text(entry, "an address or a name")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise entry.expected("an address or a name") from None
    return text


def apply_driver(
    rules: tuple[EndpointRule, ...], module: DriverModule, options: Mapping[str, Any]
) -> tuple[EndpointRule, ...]:
    """Fill in port and protocol that the operator left open: the driver's, if it has a word, else TLS at 443.

    A driver may have a function ``default_endpoint(options)`` that returns port and protocol; or None, when a device
    does not serve at its own address what these options rotate: then an endpoint that says nothing is none.
    """
    ordinary = (PORTS[EndpointProtocol.TLS], EndpointProtocol.TLS)
    default = getattr(module, "default_endpoint", lambda _: ordinary)(options)
    port, protocol = default or ordinary
    return tuple(
        EndpointRule(
            port=rule.port or (PORTS[rule.protocol] if rule.protocol else port),
            protocol=rule.protocol or EndpointProtocol(protocol),
            address=rule.address,
            server_name=rule.server_name,
        )
        for rule in rules
        if default or rule.address or rule.port or rule.protocol
    )


def resolve_endpoints(rules: tuple[EndpointRule, ...], device: Device) -> tuple[Endpoint, ...]:
    """Return the endpoints of a device; rules have port and protocol."""
    return tuple(
        Endpoint(
            host=rule.address or device.address,
            port=rule.port or PORTS[EndpointProtocol.TLS],
            server_name=choose_server_name(device) if rule.server_name is None else rule.server_name or None,
            protocol=rule.protocol or EndpointProtocol.TLS,
        )
        for rule in rules
    )


def choose_server_name(device: Device) -> str | None:
    """Return the first name that can be asked for; one under the first wildcard when there is no other."""
    for name in device.dns_names:
        if not name.startswith("*."):
            return name
    return f"{_PROBE_LABEL}{device.common_name[1:]}" if device.dns_names else None
