# SPDX-License-Identifier: Apache-2.0
"""The contract of a driver, and how one is found by its name.

A driver is a package ``ottr.drivers.<name>`` (or an entry point of group ``ottr.drivers``) with two
functions: ``connect(device, options, credentials)``, a context manager that gives one open session, and
``check_options(options)``, which raises ``ValueError`` with one clear sentence for options it does not take.
No driver imports another.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast, runtime_checkable

from ottr.errors import RoutingError
from ottr.model import CertificateRequest, Credentials, Device, Endpoint, Facts, IssuedCertificate, SigningRequest


class Driver(Protocol):
    """One open session with one device.

    Every method may be called again after a crash, also by another process, and must then finish the job:
    all names on the device derive from ``request.label``. Only ``DriverError`` is raised.
    """

    def inspect(self) -> Facts:
        """Look; change nothing."""

    def create_csr(self, request: CertificateRequest) -> SigningRequest:
        """Make the key on the device, where it stays, and return the CSR; the same one when asked again."""

    def install(self, request: CertificateRequest, issued: IssuedCertificate) -> None:
        """Import, bind, commit. Ends when the device says success. Raises KeyLost when the key is gone."""

    def rollback(self, request: CertificateRequest, before: Facts) -> None:
        """Bind what was bound before; the new key and certificate stay on the device, unbound."""

    def cleanup(self, labels: frozenset[str]) -> None:
        """Remove exactly the objects of these labels, as far as nothing uses them."""


@runtime_checkable
class DeadMan(Protocol):
    """Optional: the device goes back to its former certificate by itself unless told otherwise in time."""

    def arm(self, request: CertificateRequest, before: Facts, seconds: int) -> None:
        """Before binding: go back to ``before`` in so many seconds. Arming again starts the time anew.

        It may be carried out by the next ``install``, as long as that is before anything is bound.
        """

    def disarm(self, request: CertificateRequest) -> None:
        """After verification: stay. Harmless when nothing is armed."""


@runtime_checkable
class Reusable(Protocol):
    """Optional: a session that is cheap to hold while an order runs."""

    def alive(self) -> bool:
        """Whether the session can still be used, as far as this side knows."""


@runtime_checkable
class Labelled(Protocol):
    """Optional: can list what Ottr has left on the device."""

    def labels(self) -> frozenset[str]:
        """Every label of Ottr's form that has an object on the device. Read only."""


@runtime_checkable
class Preflight(Protocol):
    """Optional: what ``--check`` can find out without changing anything."""

    def check(self) -> tuple[str, ...]:
        """Everything that would stop a rotation, one sentence each; empty when the device is ready."""


@runtime_checkable
class Noticing(Protocol):
    """Optional: what the operator should know of the device, though it stops nothing."""

    def notices(self) -> tuple[str, ...]:
        """What the last ``check`` or ``install`` of this session met, one sentence each. Asks nothing of the device."""


@runtime_checkable
class Serving(Protocol):
    """Optional: the device knows where it serves what was installed."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        """After ``install``: endpoints that are verified besides the route's. Read only."""


class DriverModule(Protocol):
    """What a driver's package offers."""

    def connect(
        self, device: Device, options: Mapping[str, Any], credentials: Credentials
    ) -> AbstractContextManager[Driver]:
        """Open a session."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options the driver does not take."""


_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def load(name: str) -> DriverModule:
    """Find a driver by name: a package of ours first, else an entry point of group ``ottr.drivers``.

    Raises RoutingError when there is none.
    """
    if not _NAME.fullmatch(name):
        raise RoutingError(f"{name!r} is not a driver's name", hint="a letter, then a-z, 0-9 and _")
    module = f"{__name__}.{name}"
    try:
        return cast(DriverModule, importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    from importlib import metadata  # dear, and mostly not needed

    for entry in metadata.entry_points(group="ottr.drivers", name=name):
        return cast(DriverModule, entry.load())
    raise RoutingError(f"there is no driver {name!r}", hint="`ottr drivers list` shows those there are")
