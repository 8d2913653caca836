# SPDX-License-Identifier: Apache-2.0
"""From a host of the inventory to a device, or to the reason why there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ottr.inventory import InventoryHost
from ottr.inventory.names import AddressRefused, NameRefused, parse_alternative_names, parse_names
from ottr.model import Device

# Variables that only inform: a template error in one of them stops nothing.
_INFORMATION: Final = frozenset(
    {
        "data_center",
        "origin",
        "certificate_expiration",
        "certificate_issuer",
        "certificate_serial",
        "certificate_sha256",
        "certificate_validation",
    }
)
# What a host name, an address or an IPv6 zone is made of; nothing a shell or a command line could take amiss.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.:%\[\]-]*", re.ASCII)
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host that is no device, with one reason code."""

    host: str
    reason: str
    """``bad_variable``, ``no_platform``, ``no_common_name``, ``bad_name``, ``ip_needs_other_challenge``,
    ``bad_version`` or ``bad_address``."""
    detail: str
    hint: str = ""


class _Refused(ValueError):
    def __init__(self, reason: str, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.hint = hint


def build_device(host: InventoryHost) -> Device | Refusal:
    """Make a device of a host; the first reason found stands for all."""
    try:
        return _build(host)
    except _Refused as error:
        return Refusal(host.name, error.reason, str(error), error.hint)


def _build(host: InventoryHost) -> Device:
    values = host.variables
    for name, problem in host.problems.items():
        if name not in _INFORMATION:
            raise _Refused("bad_variable", f"{name} cannot be rendered: {problem}")
    platform = _text(values, "host_platform")
    if not platform:
        raise _Refused("no_platform", "host_platform is not set", "set it in the group's variables, e.g. linux")
    _check_port(values)
    return Device(
        name=host.name,
        platform=platform,
        address=_address(host),
        dns_names=_names(values),
        os_version=_version(values),
        model=_text(values, "device_model"),
        certificate_authority=_text(values, "certificate_authority"),
        ha_group=_text(values, "ottr_ha_group") or _text(values, "ha_group"),
        groups=host.groups,
        variables=values,
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _Refused("bad_variable", f"{name} is {value!r}, not text", "put it in quotes")


def _version(values: Mapping[str, Any]) -> str:
    value = values.get("os_version")
    if isinstance(value, float):
        raise _Refused(
            "bad_version",
            f"os_version is the number {value!r}: YAML drops a zero at its end",
            'put it in quotes: os_version: "9.10"',
        )
    return _text(values, "os_version")


def _names(values: Mapping[str, Any]) -> tuple[str, ...]:
    common_name = values.get("common_name")
    if common_name is None or common_name == "":
        raise _Refused("no_common_name", "common_name is not set", 'e.g. common_name: "{{ inventory_hostname }}"')
    try:
        return parse_names(common_name, parse_alternative_names(values.get("subject_alternative_name")))
    except AddressRefused as error:
        raise _Refused(
            "ip_needs_other_challenge", f"{error}: dns-01 cannot prove it", "name the device by DNS names only"
        ) from error
    except NameRefused as error:
        raise _Refused("bad_name", str(error)) from error


def _address(host: InventoryHost) -> str:
    address = next(
        (text for name in ("ansible_ssh_host", "ansible_host") if (text := _text(host.variables, name))), host.name
    )
    if not _ADDRESS.fullmatch(address):
        raise _Refused("bad_address", f"{address!r} is not an address or a host name", "set ansible_host")
    return address


def _check_port(values: Mapping[str, Any]) -> None:
    for name in ("ansible_ssh_port", "ansible_port"):
        text = _text(values, name)
        if text and not (text.isascii() and text.isdigit() and 0 < int(text) <= _MAX_PORT):
            raise _Refused("bad_variable", f"{name} is {text!r}, not a port")
