# SPDX-License-Identifier: Apache-2.0
"""What a lab is made of, whichever programs are behind it: the real lab's or the embedded one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ottr.lab.appliance import Appliance

ZONE = "lab.test"
TLS_PORT = 8443
FIRST_HOST = 10
"""Number, in the lab's network, of the first device's address."""


class Dns(Protocol):
    """The primary of the lab's zones, and the key that may change them."""

    @property
    def server(self) -> str:
        """``address:port``."""

    @property
    def zones(self) -> tuple[str, ...]:
        """What it is authoritative for."""

    @property
    def tsig_name(self) -> str:
        """Of the key."""

    @property
    def tsig_algorithm(self) -> str:
        """Such as hmac-sha256."""

    @property
    def tsig_secret(self) -> str:
        """Base64."""


class Ca(Protocol):
    """An ACME server."""

    @property
    def directory(self) -> str:
        """Its URL."""

    @property
    def ca_bundle(self) -> Path:
        """Roots of its own HTTPS certificate, PEM."""

    @property
    def eab(self) -> Mapping[str, str]:
        """Key ids and HMAC keys (base64url) of external accounts; empty where none is asked for."""

    def roots(self) -> Sequence[str]:
        """PEM of every root it issues under."""


class LinuxHost(Protocol):
    """A machine with an SSH server and a web server of its own."""

    @property
    def name(self) -> str:
        """Its DNS name."""

    @property
    def address(self) -> str:
        """Its loopback address."""

    @property
    def ssh_port(self) -> int:
        """Where to log in."""

    @property
    def user(self) -> str:
        """As whom."""

    @property
    def usual_options(self) -> Mapping[str, Any]:
        """What the route says to the driver linux_ssh; the inventory says what is otherwise on this host."""

    @property
    def fullchain(self) -> Path:
        """The path its web server reads certificates at."""

    @property
    def key(self) -> Path:
        """The path its web server reads the key at."""

    @property
    def test_command(self) -> Sequence[str]:
        """The service's own test."""

    @property
    def reload_command(self) -> Sequence[str]:
        """Has the service read its files."""


class ServingDevice(Protocol):
    """Any device, as its clients see it."""

    @property
    def name(self) -> str:
        """Its DNS name."""

    @property
    def platform(self) -> str:
        """``host_platform``."""

    @property
    def os_version(self) -> str:
        """Its release."""

    @property
    def address(self) -> str:
        """Its loopback address."""

    @property
    def port(self) -> int:
        """Where it serves its certificate."""

    def fetch_served_pem(self) -> str:
        """The leaf it serves now, by a handshake from outside that trusts anything."""


class OpenLab(Protocol):
    """A lab that runs: what the command line needs of it."""

    @property
    def folder(self) -> Path:
        """Where everything of it is."""

    @property
    def settings(self) -> Path:
        """Its ottr.yaml."""

    @property
    def routing(self) -> Path:
        """Its routing.yaml."""

    @property
    def inventory(self) -> Path:
        """Its inventory."""

    @property
    def devices(self) -> Sequence[ServingDevice]:
        """All of them."""

    @property
    def appliances(self) -> Sequence[Appliance]:
        """Those that are simulated."""

    @property
    def dns(self) -> Dns:
        """Its DNS."""

    @property
    def ca(self) -> Ca:
        """Its CA."""

    @property
    def described(self) -> str:
        """Which programs are its DNS and its CA, and where they are."""
