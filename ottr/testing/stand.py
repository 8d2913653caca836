# SPDX-License-Identifier: Apache-2.0
"""What a driver brings to be tested: a stand, which starts devices of its kind, real or simulated ones.

The stand is the module ``stand`` of the driver's package. It has no base class to inherit and imports the values
from here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from ottr.drivers import DriverModule
from ottr.errors import ConfigurationError, DriverError
from ottr.model import Credentials, Device, Endpoint


@dataclass(frozen=True, slots=True)
class Access:
    """How a device is reached: the three arguments of ``connect``."""

    device: Device
    options: Mapping[str, Any]
    credentials: Credentials


def do_nothing() -> None:
    """Begin or end a fault that needs nothing done."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong on a device, and the class of the error that the driver must make of it."""

    name: str
    error: type[DriverError]
    begin: Callable[[], object] = do_nothing
    end: Callable[[], object] = do_nothing
    access: Access | None = None
    """Another way in, where that is what is wrong; its password counts as a secret."""
    at_install: bool = False
    """Begins when the CSR has been made, not before the session."""


class Line(Protocol):
    """What is between the driver and one device. A request is what the driver can be cut off between."""

    def requests(self) -> Sequence[str]:
        """Each request, oldest first, as logs of the device show it: URL with query, or command line."""

    def received(self) -> bytes:
        """Everything the device has sent to us, decrypted."""

    def begin_watch(self) -> None:
        """From now on look which requests change the device."""

    def end_watch(self) -> Sequence[bool]:
        """For each request since then, whether it has; True for all where that cannot be told."""

    def cut_before(self, number: int) -> None:
        """Neither do nor answer the request of this number, counted from now on, and all after it.

        As when the driver's process dies before it sends that request.
        """

    def lose_answer(self, number: int) -> None:
        """Do the request of this number, and end the connection in the place of its answer; go on after that."""

    def mend(self) -> bool:
        """End the cut; tell whether there was a request of that number."""


class Subject(Protocol):
    """One running device. What it says of itself it says without the driver."""

    @property
    def access(self) -> Access:
        """How it is reached, now and after each rotation."""

    @property
    def endpoint(self) -> Endpoint:
        """Where its certificate is served; the server name is one of the device's names."""

    @property
    def line(self) -> Line:
        """What is between it and the driver."""

    @property
    def faults(self) -> Sequence[Fault]:
        """What can go wrong on it."""

    @property
    def strangers(self) -> Mapping[str, Access]:
        """Ways in that must be refused because the device does not show who it is said to be.

        For instance a wrong pin, a TLS name it has no certificate for, another host key.
        """

    def settle(self) -> None:
        """Wait until nothing goes on by itself: jobs, restarts. Not for longer than some seconds."""

    def state_hash(self) -> str:
        """Anything that differs when the device does: configurations, files, keys, jobs; sessions do not count."""

    def labels(self) -> Collection[str]:
        """The labels of Ottr's that have an object on it."""

    def private_keys(self) -> Sequence[str]:
        """The private keys it has made, as PEM."""

    def secrets(self) -> Collection[str]:
        """Passwords, tokens and the like: what may be in no log, no error and no URL."""


class Stand(Protocol):
    """A module that starts devices."""

    @property
    def VERSIONS(self) -> Sequence[str]:
        """The releases it knows."""

    def start(self, version: str, folder: Path, roots: Path) -> AbstractContextManager[Subject]:
        """Run a device of a release, with its files below ``folder``, which is empty.

        ``roots`` is a PEM file of the root that certificates are going to be issued under.
        """


def load_stand(driver: DriverModule, name: str) -> Stand:
    """Import the stand of a driver. Raises ConfigurationError when it has none."""
    module = f"{getattr(driver, '__name__', name)}.stand"
    try:
        return cast(Stand, importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name not in (module, module.rpartition(".")[0]):
            raise
        raise ConfigurationError(
            f"the driver {name} has no stand: there is no module {module}",
            hint="docs/adding-a-driver.md says what a stand is",
        ) from error
