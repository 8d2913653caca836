# SPDX-License-Identifier: Apache-2.0
"""One machine of the lab: an address where an sshd and a web server of its own answer."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from ottr.lab.nginx import Nginx
from ottr.lab.sshd import Sshd


@dataclass(frozen=True, slots=True)
class Host:
    """A Linux host as the inventory describes it."""

    name: str
    sshd: Sshd
    nginx: Nginx

    platform: ClassVar[str] = "linux"
    os_version: ClassVar[str] = "12"
    usual_options: ClassVar[Mapping[str, Any]] = MappingProxyType({"service": "nginx"})

    @property
    def address(self) -> str:
        """Its loopback address."""
        return self.nginx.address

    @property
    def port(self) -> int:
        """Where it serves its certificate."""
        return self.nginx.port

    @property
    def ssh_port(self) -> int:
        """Where to log in."""
        return self.sshd.port

    @property
    def user(self) -> str:
        """As whom."""
        return self.sshd.user

    @property
    def fullchain(self) -> Path:
        """The path nginx reads certificates at."""
        return self.nginx.fullchain

    @property
    def key(self) -> Path:
        """The path nginx reads its key at."""
        return self.nginx.key

    @property
    def test_command(self) -> Sequence[str]:
        """nginx's own test."""
        return self.nginx.test_command

    @property
    def reload_command(self) -> Sequence[str]:
        """Has nginx read its files."""
        return self.nginx.reload_command

    def fetch_served_pem(self) -> str:
        """The leaf it serves now, by a handshake from outside that trusts anything."""
        return fetch_served_pem(self.address, self.port)


def fetch_served_pem(address: str, port: int) -> str:
    """The leaf that is served there now; anything is trusted."""
    return ssl.get_server_certificate((address, port), timeout=10)
