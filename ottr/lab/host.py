# SPDX-License-Identifier: Apache-2.0
"""One machine of the lab: an address where an sshd and a web server of its own answer."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import ClassVar

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

    @property
    def address(self) -> str:
        """Its loopback address."""
        return self.nginx.address

    @property
    def port(self) -> int:
        """Where it serves its certificate."""
        return self.nginx.port

    def fetch_served_pem(self) -> str:
        """The leaf it serves now, by a handshake from outside that trusts anything."""
        return ssl.get_server_certificate((self.address, self.port), timeout=10)
