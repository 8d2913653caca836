# SPDX-License-Identifier: Apache-2.0
"""PAN-OS firewalls and Panorama, 8.1 to 11.x, over their XML API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ottr.model import Credentials, Device

if TYPE_CHECKING:
    from ottr.drivers.panos.driver import PanosDevice


@contextmanager
def connect(device: Device, options: Mapping[str, Any], credentials: Credentials) -> Iterator[PanosDevice]:
    """Open a session. Raises DriverError."""
    from ottr.drivers.panos.session import open_device

    with open_device(device, options, credentials) as session:
        yield session


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that cannot be used."""
    from ottr.drivers.panos.options import parse_options

    parse_options(options)
