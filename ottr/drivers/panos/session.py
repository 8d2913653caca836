# SPDX-License-Identifier: Apache-2.0
"""From an inventory's words to an open session."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ottr.drivers.panos.client import Client
from ottr.drivers.panos.driver import PanosDevice
from ottr.drivers.panos.messages import LOGIN_HINT
from ottr.drivers.panos.options import Options, parse_options
from ottr.drivers.panos.patience import Patience
from ottr.drivers.panos.wire import Wire
from ottr.drivers.panos.xapi import Xapi
from ottr.errors import AuthenticationFailed, DeviceRejected, DeviceUnreachable, UnsupportedDevice
from ottr.model import Credentials, Device, Waiter
from ottr.transports.http import HttpClient, HttpError, fetch_fingerprint
from ottr.transports.recognition import choose_server_name, is_unchecked, parse_fingerprint

_OLDEST = (8, 1)
_KEY_IN_HEADER = (9, 0)


@contextmanager
def open_device(
    device: Device, options: Mapping[str, Any], credentials: Credentials, *, wait: Waiter = time.sleep
) -> Iterator[PanosDevice]:
    """Log in and look what the device is. Raises DriverError."""
    try:
        parsed = parse_options(options)
        pin = parse_fingerprint(device)
    except ValueError as error:
        raise DeviceRejected(f"{device.name}: {error}", hint="nothing was sent to the device") from error
    if not credentials.username or credentials.password is None:
        raise AuthenticationFailed(f"{device.name}: a user name and a password are needed", hint=LOGIN_HINT)
    wire = _open_wire(device, parsed, pin)
    try:
        header = _parse_version(device.os_version) >= _KEY_IN_HEADER
        login = (credentials.username, credentials.password)
        xapi = Xapi(wire, *login, key_in_header=header, kept=credentials.kept)
        client = Client(device.name, xapi, parsed.template)
        version = _fetch_version(client, xapi)
        xapi.key_in_header = _parse_version(version) >= _KEY_IN_HEADER
        yield PanosDevice(client, wire, Patience(client, parsed, wait), parsed, version)
    finally:
        wire.close()


def _fetch_version(client: Client, xapi: Xapi) -> str:
    """Ask for the release; an inventory that is wrong about it costs one request more."""
    command = "<show><system><info></info></system></show>"
    try:
        root = client.operate(command)
    except (AuthenticationFailed, DeviceRejected):
        if not xapi.key_in_header or xapi.api_key is None:
            raise
        xapi.key_in_header = False
        root = client.operate(command)
    version = root.findtext("result/system/sw-version", "")
    if _parse_version(version) < _OLDEST:
        raise UnsupportedDevice(f"{client.name} runs PAN-OS {version or 'of an unknown release'}; 8.1 is the oldest")
    return version


def _open_wire(device: Device, options: Options, pin: str) -> Wire:
    host, port = _split_host(options.panorama) if options.panorama else (device.address, "")
    port = port or str(device.variables.get("ansible_port") or 443) if not options.panorama else port or "443"
    plain = host.strip("[]")
    url = f"https://[{plain}]:{port}/api/" if ":" in plain else f"https://{plain}:{port}/api/"
    server_name = choose_server_name(device, plain, rotated=options.management and not options.panorama)

    def open_client(fingerprint: str) -> HttpClient:
        return HttpClient(
            ca_bundle=options.ca_bundle,
            timeout_s=options.request_timeout_s,
            pool_size=2,
            server_name=server_name,
            fingerprint=fingerprint,
        )

    wire = Wire(device.name, url, open_client)
    if pin:
        wire.trust(pin)
    elif is_unchecked(device) and not options.panorama:
        try:
            wire.trust(fetch_fingerprint(url, options.request_timeout_s))
        except HttpError as error:
            raise DeviceUnreachable(f"{device.name}: {error}") from error
    return wire


def _split_host(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", text)
    return (found[1], found[2] or "") if found else (text, "")


def _parse_version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
