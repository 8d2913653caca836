# SPDX-License-Identifier: Apache-2.0
"""Loopback addresses of our own: blocks of 127.0.0.0/8 that no other lab on this machine uses."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ottr.errors import LabError

_HOSTS_PER_24 = 250
_CAPACITY = 16 * _HOSTS_PER_24
_ATTEMPTS = 1000
_FIRST_PORT = 10000  # 10000 to 26383: below every system's ephemeral ports
_PORTS = 4


@dataclass(frozen=True, slots=True)
class Network:
    """A /20 of 127.0.0.0/8."""

    second: int
    third: int

    def address(self, n: int) -> str:
        """Address number ``n``, from 0 to 3999; never one that ends in .0 or above .250."""
        if not 0 <= n < _CAPACITY:
            raise LabError(f"a lab network has addresses 0 to {_CAPACITY - 1}, not {n}")
        return f"127.{self.second}.{self.third + n // _HOSTS_PER_24}.{n % _HOSTS_PER_24 + 1}"

    def port(self, n: int) -> int:
        """Port number ``n``, from 0 to 3, that no other lab network uses: for servers that must be on 127.0.0.1."""
        return _FIRST_PORT + _PORTS * (self.second * 16 + self.third // 16) + n % _PORTS

    def __str__(self) -> str:
        return f"127.{self.second}.{self.third}.0/20"


@contextmanager
def claim_network() -> Iterator[Network]:
    """Take a block that is free until the block ends or this process dies. Raises LabError when all are taken.

    The claim is an abstract Unix socket: like the addresses it belongs to the network namespace, and it
    goes with the process however that ends. 127.0.0.0/16 is left alone, since systems use it themselves.
    """
    for _ in range(_ATTEMPTS):
        network = Network(random.randrange(1, 255), random.randrange(0, 256, 16))  # noqa: S311 not a secret
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(f"\0ottr-lab-{network}")
            except OSError:
                continue
            yield network
            return
    raise LabError("every lab network is taken", hint="end the labs that still run on this machine")


@contextmanager
def assign_address(address: str) -> Iterator[None]:
    """Give the loopback interface an address of its own, for a server that looks at interfaces before it listens.

    127.0.0.1 is there anyway; for any other the right to configure the network is needed. Raises LabError.
    """
    if address == "127.0.0.1":
        yield
        return
    _configure("replace", address)
    try:
        yield
    finally:
        _configure("del", address)


def _configure(verb: str, address: str) -> None:
    done = subprocess.run(
        ["ip", "address", verb, f"{address}/32", "dev", "lo"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(
            f"the loopback interface does not take {address}: {done.stderr.strip()}",
            hint="this needs root with CAP_NET_ADMIN; 127.0.0.1 with a port of its own works without",
        )
