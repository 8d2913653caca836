# SPDX-License-Identifier: Apache-2.0
"""By what an appliance's HTTPS server is recognized: words of the inventory, the same for every driver."""

from __future__ import annotations

import ipaddress
import re

from ottr.model import Device

_FINGERPRINT = re.compile(r"SHA256:((?:[0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2})")


def parse_fingerprint(device: Device) -> str:
    """``ottr_tls_fingerprint``, ``SHA256:`` and 64 hex digits with or without colons, as 64 lower-case digits.

    Empty where there is none. Raises ValueError.
    """
    value = device.variables.get("ottr_tls_fingerprint", "")
    if value in ("", None):
        return ""
    found = _FINGERPRINT.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"ottr_tls_fingerprint must be SHA256: and 64 hex digits, not {value!r}")
    return found[1].replace(":", "").lower()


def is_unchecked(device: Device) -> bool:
    """Whether the operator said ``certificate_validation: false``: the certificate seen first is trusted."""
    value = device.variables.get("certificate_validation")
    return value is False or (isinstance(value, str) and value.lower() in ("false", "no"))


def choose_server_name(device: Device, host: str, *, rotated: bool) -> str:
    """The name that the certificate of this server must have (RFC 9525).

    ``ottr_tls_name``, else the host; an address says nothing where the server's own certificate is what is ``rotated``,
    for that is for names: then it is the first of the device's DNS names that is no wildcard.
    """
    named = device.variables.get("ottr_tls_name")
    if isinstance(named, str) and named:
        return named
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    names = device.dns_names if rotated else ()
    return next((name for name in names if not name.startswith("*.")), host)
