# SPDX-License-Identifier: Apache-2.0
"""From an inventory's words to an open session."""

from __future__ import annotations

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
from ottr.transports.recognition import choose_server_name, is_unchecked, parse_fingerprint

_OLDEST = (14, 1)


@contextmanager
def open_device(
    device: Device, options: Mapping[str, Any], credentials: Credentials, *, wait: Waiter = time.sleep
) -> Iterator[TrafficDevice | ManagementDevice]:
    """Log in and look what the device is. Raises DriverError."""
    try:
        parsed = parse_options(options)
        pin = parse_fingerprint(device)
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
    if not pin and is_unchecked(device):
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
    server_name = choose_server_name(device, device.address, rotated=not options.profiles)

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


def _parse_version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
