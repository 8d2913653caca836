# SPDX-License-Identifier: Apache-2.0
"""From an inventory's words to an open session."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.driver import TrafficDevice
from ottr.drivers.f5.group import Group
from ottr.drivers.f5.management import ManagementDevice
from ottr.drivers.f5.messages import LOGIN_HINT
from ottr.drivers.f5.options import Options, parse_options
from ottr.drivers.f5.patience import Patience
from ottr.drivers.f5.rest import Rest
from ottr.drivers.f5.shell import RestShell
from ottr.drivers.f5.wire import Wire
from ottr.errors import AuthenticationFailed, DeviceRejected, DeviceUnreachable, DriverError, UnsupportedDevice
from ottr.model import Credentials, Device, Waiter
from ottr.transports.http import HttpClient

_FINGERPRINT = re.compile(r"SHA256:((?:[0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2})")
_OLDEST = (14, 1)


@contextmanager
def open_device(
    device: Device, options: Mapping[str, Any], credentials: Credentials, *, wait: Waiter = time.sleep
) -> Iterator[TrafficDevice | ManagementDevice]:
    """Log in and look what the device is. Raises DriverError."""
    try:
        parsed = parse_options(options)
        pin = _parse_fingerprint(device.variables.get("ottr_tls_fingerprint", ""))
    except ValueError as error:
        raise DeviceRejected(f"{device.name}: {error}", hint="nothing was sent to the device") from error
    if not credentials.username or credentials.password is None:
        raise AuthenticationFailed(f"{device.name}: a user name and a password are needed", hint=LOGIN_HINT)
    patience = Patience(parsed, wait)
    with ExitStack() as stack:
        wire = _open_wire(device, parsed, pin)
        stack.callback(wire.close)
        rest = Rest(wire, credentials.username, credentials.password, wait, parsed.restart_timeout_s)
        stack.callback(rest.close)
        try:
            session = _open_session(device, parsed, rest, patience, pin)
        except DeviceUnreachable as error:
            if parsed.profiles or not parsed.ssh_port:
                raise
            try:
                session = _open_by_ssh(device, parsed, credentials, rest, patience, stack)
            except DriverError as refused:
                raise DeviceUnreachable(f"{error}; by SSH: {refused}", hint=refused.hint) from error
        yield session


def _open_session(
    device: Device, options: Options, rest: Rest, patience: Patience, pin: str
) -> TrafficDevice | ManagementDevice:
    if not pin and _is_unchecked(device.variables.get("certificate_validation")):
        _trust_on_sight(rest.wire)
    patience.ride_out_start(rest.open)
    client, shell = Client(rest), RestShell(rest)
    version, _ = client.fetch_unit()
    if _parse_version(version) < _OLDEST:
        raise UnsupportedDevice(f"{device.name} runs BIG-IP {version or 'of an unknown version'}; 14.1 is the oldest")
    if not options.profiles:
        return ManagementDevice(rest.wire, shell, client, patience, version)
    group = Group(client, patience, options)
    return TrafficDevice(client, shell, group, options, device.dns_names, version)


def _open_by_ssh(
    device: Device, options: Options, credentials: Credentials, rest: Rest, patience: Patience, stack: ExitStack
) -> ManagementDevice:
    """Come in by SSH. Raises DriverError."""
    from ottr.drivers.f5.tmsh import open_tmsh  # netmiko is slow to import, and seldom needed

    shell = stack.enter_context(open_tmsh(device, credentials, options.ssh_port, options.request_timeout_s))
    return ManagementDevice(rest.wire, shell, None, patience, device.os_version)


def _open_wire(device: Device, options: Options, pin: str) -> Wire:
    host, port = device.address, str(device.variables.get("ansible_port") or 443)
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    server_name = _choose_server_name(device, options)

    def open_client(fingerprint: str) -> HttpClient:
        return HttpClient(
            ca_bundle=options.ca_bundle,
            timeout_s=options.request_timeout_s,
            pool_size=2,
            server_name=server_name,
            fingerprint=fingerprint,
        )

    wire = Wire(device.name, url, open_client, options.request_timeout_s)
    if pin:
        wire.trust(pin)
    return wire


def _trust_on_sight(wire: Wire) -> None:
    """Hold on to the certificate that is seen first. Raises DeviceUnreachable."""
    seen = wire.look()
    if not seen:
        raise DeviceUnreachable(f"{wire.name} shows no certificate")
    wire.trust(seen)


def _choose_server_name(device: Device, options: Options) -> str:
    """The name its certificate must have; an address says nothing where the certificate is for names."""
    named = device.variables.get("ottr_tls_name")
    if isinstance(named, str) and named:
        return named
    try:
        ipaddress.ip_address(device.address)
    except ValueError:
        return device.address
    if options.profiles:
        return device.address
    return next((name for name in device.dns_names if not name.startswith("*.")), device.address)


def _is_unchecked(value: object) -> bool:
    return value is False or (isinstance(value, str) and value.lower() in ("false", "no"))


def _parse_fingerprint(value: object) -> str:
    """``SHA256:`` and 64 hex digits, with colons between them or not. Raises ValueError."""
    if value in ("", None):
        return ""
    found = _FINGERPRINT.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"ottr_tls_fingerprint must be SHA256: and 64 hex digits, not {value!r}")
    return found[1].replace(":", "").lower()


def _parse_version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
