# SPDX-License-Identifier: Apache-2.0
"""What a run works on, and the seams it needs around one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from ottr import x509
from ottr.acme import Issuer
from ottr.dns import Publisher
from ottr.drivers import Driver
from ottr.model import Clock, Device, RotationResult, Route, Waiter
from ottr.policy import Decision
from ottr.probe import Probe
from ottr.settings import RotationSettings
from ottr.state.certificates import Certificates
from ottr.state.journal import Journal, device_key, group_key
from ottr.state.leases import Leases
from ottr.state.schedules import Schedules

HA_STANDBY: Final = "ha_standby"
"""Why a device was skipped: the other member of its HA pair has it now."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device with its route."""

    device: Device
    route: Route


@dataclass(frozen=True, slots=True)
class Authority:
    """What a run needs of one CA."""

    issuer: Issuer
    probe: Probe
    issuer_names: tuple[str, ...] = ()


class Recorder(Protocol):
    """Writes the facts of a verified certificate into the inventory."""

    def record(self, device: Device, certificate: x509.Certificate) -> str:
        """Return a warning where nothing could be written, else nothing."""


class Hooks(Protocol):
    """Commands before and after a device."""

    def before(self, target: Target) -> None:
        """Raise HookFailed: the device is not touched."""

    def after(self, target: Target, result: RotationResult) -> str:
        """Return a warning where a command failed, else nothing."""


Decide = Callable[[Target], Decision]
"""Asks the policy again with what the state database says now."""

Connect = Callable[[Target], AbstractContextManager[Driver]]
"""Opens a session; already knows the credentials, which nobody else ever sees."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The state database, by what is kept."""

    journal: Journal
    leases: Leases
    certificates: Certificates
    schedules: Schedules


@contextmanager
def leased(target: Target, leases: Leases) -> Iterator[None]:
    """The device is ours, and no other member of its HA group is anybody's. Raises DeviceLeased."""
    with leases.held(group_key(target.device.ha_group)), leases.held(device_key(target.device.name)):
        yield


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside one device that its rotation needs."""

    stores: Stores
    authorities: Mapping[str, Authority]
    publisher: Publisher
    connect: Connect
    recorder: Recorder
    hooks: Hooks
    settings: RotationSettings
    clock: Clock
    wait: Waiter
