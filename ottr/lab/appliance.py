# SPDX-License-Identifier: Apache-2.0
"""Devices of the lab that are simulated: programs of their own, which speak the device's protocol over real TLS."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ottr.errors import LabError
from ottr.lab.host import fetch_served_pem
from ottr.lab.process import Process

API_PORT = 8443
SSH_PORT = 2222
_VIRTUAL_PORT = 9443
_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """A route of the lab: which certificate of a product is rotated, and how."""

    versions: str
    """Range of ``os_version``."""
    options: Mapping[str, Any] = field(hash=False)
    """Of the driver, in addition to ``ca_bundle``."""
    port: int = API_PORT
    """Where the certificate is served."""
    key_type: str = ""


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of device: how its simulator is run and how the operator's files speak of it."""

    platform: str
    """``host_platform``, and the name of the driver whose simulator it is."""
    prefix: str
    """Names are prefix and number."""
    variables: Mapping[str, Any] = field(hash=False)
    ways: tuple[Way, ...]
    arguments: tuple[str, ...]
    """Of the simulator."""
    username: str
    password: str = "simulated"  # noqa: S105 of devices that do not exist, and what their simulators take

    @property
    def program(self) -> tuple[str, ...]:
        """The command that simulates it."""
        module = f"ottr.drivers.{self.platform}.simulator"
        return (sys.executable, "-m", module, "--username", self.username, *self.arguments)


_PANOS = MappingProxyType({"ssl_tls_service_profile": "management", "bind": "management", "poll_interval": 0.5})
PANOS = Product(
    platform="panos",
    prefix="fw",
    variables=MappingProxyType({"device_model": "PA-850", "origin": "API"}),
    ways=(Way("<9", _PANOS, key_type="rsa2048"), Way(">=9", _PANOS)),
    arguments=("--commit-s", "1", "--restart-s", "0.5"),
    username="ottr",
)
F5 = Product(
    platform="f5",
    prefix="lb",
    variables=MappingProxyType({"device_model": "BIG-IP VE", "origin": "API"}),
    ways=(
        Way("<17", MappingProxyType({"client_ssl": "site", "poll_interval": 0.5}), _VIRTUAL_PORT),
        Way(">=17", MappingProxyType({"management": True, "poll_interval": 0.5, "ssh_port": SSH_PORT})),
    ),
    arguments=("--virtual", f"web:{_VIRTUAL_PORT}=site", "--ssh-port", str(SSH_PORT), "--restart-s", "0.5"),
    username="admin",
)


@dataclass(frozen=True, slots=True)
class Model:
    """So many devices of one kind and release, all in one process, and the way they are rotated."""

    product: Product
    os_version: str
    way: Way
    count: int = 1


MIXED = (
    Model(PANOS, "8.1.26", PANOS.ways[0]),
    Model(PANOS, "10.2.4", PANOS.ways[1]),
    Model(PANOS, "11.1.2", PANOS.ways[1]),
    Model(F5, "14.1.4", F5.ways[0]),
    Model(F5, "16.1.2", F5.ways[0]),
    Model(F5, "17.1.1", F5.ways[1]),
)
"""What the real lab has beside Linux hosts."""

_BARE_F5 = replace(F5, ways=(replace(F5.ways[0], versions=">=14"),), arguments=(*F5.arguments, "--no-bash"))
"""In Appliance mode: the device's shell needs a real bash in namespaces, and with it its own certificate does."""
BARE = (
    *(model for model in MIXED if model.product is PANOS),
    *(Model(_BARE_F5, model.os_version, _BARE_F5.ways[0]) for model in MIXED if model.product is F5),
)
"""The same devices on a machine that has no more than Python."""


@dataclass(frozen=True, slots=True)
class Appliance:
    """One simulated device as the inventory describes it."""

    name: str
    model: Model
    address: str
    process: Process
    """Of all devices of the model."""

    @property
    def platform(self) -> str:
        """``host_platform``."""
        return self.model.product.platform

    @property
    def os_version(self) -> str:
        """Its release."""
        return self.model.os_version

    @property
    def port(self) -> int:
        """Where it serves its certificate."""
        return self.model.way.port

    def fetch_served_pem(self) -> str:
        """The leaf it serves now, by a handshake from outside that trusts anything."""
        return fetch_served_pem(self.address, self.port)

    def read_start(self) -> Mapping[str, Any]:
        """What its simulator has said of it: the fingerprint of its API's first certificate, its SSH host key, ...

        Raises LabError.
        """
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            for line in self.process.log.read_text().splitlines():
                said: Mapping[str, Any] = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
                if said.get("address") == self.address:
                    return said
            time.sleep(0.01)
        raise LabError(f"the simulator of {self.name} says nothing; see {self.process.log}")


def build_appliances(models: Sequence[Model], addresses: Iterator[str], zone: str, folder: Path) -> Iterator[Appliance]:
    """Give every device a name and an address; start nothing."""
    numbers: dict[str, int] = {}
    for model in models:
        prefix = model.product.prefix
        first = numbers.get(prefix, 0) + 1
        numbers[prefix] = first + model.count - 1
        names = [f"{prefix}{number}.{zone}" for number in range(first, first + model.count)]
        places = [next(addresses) for _ in names]
        hosts = [argument for address in places for argument in ("--host", address)]
        own = ("--port", str(API_PORT), "--os-version", model.os_version, "--hostname", names[0])
        process = Process(
            (*model.product.program, *hosts, *own),
            log=folder / f"{prefix}{first}.log",
            listens=[(address, port) for address in places for port in sorted({API_PORT, model.way.port})],
        )
        yield from (Appliance(name, model, address, process) for name, address in zip(names, places, strict=True))
