# SPDX-License-Identifier: Apache-2.0
"""Linux hosts over SSH, without an agent: sh and openssl are all they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ottr.model import Credentials, Device

if TYPE_CHECKING:
    from ottr.drivers.linux_ssh.driver import LinuxHost


@contextmanager
def connect(device: Device, options: Mapping[str, Any], credentials: Credentials) -> Iterator[LinuxHost]:
    """Open a session. Raises DriverError."""
    from ottr.drivers.linux_ssh.driver import open_host

    with open_host(device, options, credentials) as host:
        yield host


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that cannot be used."""
    from ottr.drivers.linux_ssh.options import parse_options

    parse_options(options)
