# SPDX-License-Identifier: Apache-2.0
"""F5 BIG-IP, 14.1 to 17.x: client-ssl profiles of virtual servers, and the management certificate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ottr.model import Credentials, Device

if TYPE_CHECKING:
    from ottr.drivers.f5.driver import TrafficDevice
    from ottr.drivers.f5.management import ManagementDevice


@contextmanager
def connect(
    device: Device, options: Mapping[str, Any], credentials: Credentials
) -> Iterator[TrafficDevice | ManagementDevice]:
    """Open a session. Raises DriverError."""
    from ottr.drivers.f5.session import open_device

    with open_device(device, options, credentials) as session:
        yield session


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that cannot be used."""
    from ottr.drivers.f5.options import parse_options

    parse_options(options)


def default_endpoint(options: Mapping[str, Any]) -> tuple[int, str] | None:
    """Port and protocol of the management interface; a virtual server has an address of its own, which is not known."""
    return (443, "tls") if options.get("management") else None
