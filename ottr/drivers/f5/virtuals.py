# SPDX-License-Identifier: Apache-2.0
"""The virtual servers that show a profile's certificate to their clients."""

from __future__ import annotations

import ipaddress
import logging
import re

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.rest import Answer
from ottr.model import Endpoint

_log = logging.getLogger(__name__)

# IPv4 has its port behind a colon, IPv6 behind a dot; %N is a route domain.
_DESTINATION = re.compile(r"(?:/[^/]+)*/(?P<host>[^/%]+?)(?P<domain>%\d+)?[:.](?P<port>\d+)")
_WILDCARDS = frozenset({"0.0.0.0", "::", "any", "any6"})  # noqa: S104 nothing listens here


def find_endpoints(client: Client, profiles: tuple[str, ...], dns_names: tuple[str, ...]) -> tuple[Endpoint, ...]:
    """Where the certificate of these profiles is served; virtuals without an address of their own are left out."""
    found = []
    for virtual in client.fetch_virtuals():
        used = {str(each.get("fullPath") or each.get("name")) for each in virtual["profiles"] if _is_clientside(each)}
        if virtual.get("disabled") is True or not used & set(profiles):
            continue
        place = _parse_destination(str(virtual.get("destination", "")))
        if place is None:
            _log.info("%s: %s has no single address and is not verified", client.name, virtual.get("fullPath"))
            continue
        found.append(Endpoint(*place, server_name=_choose_name(client, used & set(profiles), dns_names)))
    return tuple(dict.fromkeys(found))


def _is_clientside(profile: Answer) -> bool:
    return profile.get("context", "clientside") in ("clientside", "all")


def _parse_destination(text: str) -> tuple[str, int] | None:
    """Address and port; None for a wildcard, for all ports, and for another route domain than 0."""
    found = _DESTINATION.fullmatch(text)
    if not found or found["host"] in _WILDCARDS or found["domain"] not in (None, "%0") or int(found["port"]) == 0:
        return None
    try:
        return str(ipaddress.ip_address(found["host"])), int(found["port"])
    except ValueError:
        return None


def _choose_name(client: Client, profiles: set[str], dns_names: tuple[str, ...]) -> str | None:
    """What a client asks for to be shown this profile: its own server name where the certificate has that."""
    plain = [name for name in dns_names if not name.startswith("*.")]
    for path in sorted(profiles):
        wanted = str((client.find_profile(path) or {}).get("serverName", "")).lower()
        if wanted in plain:
            return wanted
    under_wildcard = [f"ottr-probe{name[1:]}" for name in dns_names]
    return next(iter((*plain, *under_wildcard)), None)
