# SPDX-License-Identifier: Apache-2.0
"""Simulated BIG-IPs for the contract: a client-ssl profile, and the management certificate, of each version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ottr.drivers.f5.simulator import F5Simulator, Settings
from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DeviceUnreachable, DriverError, KeyLost
from ottr.model import Credentials, Device, Endpoint, Secret
from ottr.simulation.faults import ANY
from ottr.simulation.line import SimulatedLine
from ottr.simulation.pair import write_private_key
from ottr.testing.stand import Access, Fault

_MANAGEMENT = " management"
_RELEASES = ("14.1.4", "15.1.8", "16.1.2", "17.1.1")
VERSIONS = (*_RELEASES, *(f"{release}{_MANAGEMENT}" for release in _RELEASES))

_REST_S = 10.0
_NAMES = ("site.example.com", "www.example.com")
_OPTIONS: Mapping[str, Any] = {"poll_interval": 0.02, "restart_timeout": 5, "sync_timeout": 5, "ssh_port": 0}
_HASTY: Mapping[str, Any] = {"restart_timeout": 0.1, "sync_timeout": 0.1}
"""For a device that will not get well, however long one waits."""


@contextmanager
def start(version: str, folder: Path, roots: Path) -> Iterator[BigIp]:
    """Run a BIG-IP of a release, for one of its two kinds of certificate."""
    del folder
    release = version.removesuffix(_MANAGEMENT)
    settings = Settings(os_version=release, restart_s=0.02, reboot_s=0.02, sync_s=0.01, task_s=0.01)
    with F5Simulator(settings=settings) as simulator:
        yield BigIp(simulator, roots, management=release != version)


class BigIp:
    """See ``ottr.testing.stand.Subject``."""

    def __init__(self, simulator: F5Simulator, roots: Path, *, management: bool) -> None:
        self._simulator = simulator
        self._management = management
        self._first = simulator.served_fingerprint()
        kind = {"management": True} if management else {"client_ssl": "site"}
        self._options = {**_OPTIONS, **kind, "ca_bundle": str(roots)}
        self.line = SimulatedLine(simulator.faults, simulator.requests, simulator.state_hash)
        port = simulator.ports["management" if management else "web"]
        self.endpoint = Endpoint(simulator.address, port, _NAMES[0])

    @property
    def access(self) -> Access:
        """The first certificate is known by its fingerprint, the others by the roots."""
        return self._reach(self._pin(), **(_HASTY if self.line.severed else {}))

    @property
    def strangers(self) -> Mapping[str, Access]:
        """By what the web server shows."""
        wrong = {"a wrong pin": self._reach({"ottr_tls_fingerprint": f"SHA256:{'00' * 32}"}, ca_bundle="")}
        if not self._management:
            return {**wrong, "a certificate nobody knows": self._reach({})}
        return {**wrong, "a name it has no certificate for": self._reach({"ottr_tls_name": "other.example.com"})}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those of the simulator that stop a rotation, and a wrong login."""
        common = (
            self._fault("reject", DeviceRejected, "POST tm/sys/crypto/key"),
            self._fault("reject", DeviceRejected, "POST tm/sys/crypto/csr"),
            self._fault("busy", DeviceUnreachable, "POST tm/sys/crypto/key"),
            self._fault("disk_full", DeviceRejected),
            self._fault("upload_broken", DeviceRejected),
            self._fault("token_expires", AuthenticationFailed),
            Fault("a reboot before anything was saved", KeyLost, begin=self._reboot, at_install=True),
            Fault("a wrong password", AuthenticationFailed, access=self._log_in("admin", "wr0ng-and-secret")),
            Fault(
                "an account that may only look", AuthenticationFailed, access=self._log_in("guest", "guest-simulated")
            ),
        )
        if self._management:
            return (*common, self._fault("httpd_stays_down", DeviceUnreachable))
        return (
            *common,
            self._fault("transaction_refused", DeviceRejected, "it is not valid"),
            self._fault("transaction_lost", DeviceBusy),
            self._fault("save_fails", DeviceRejected),
        )

    def settle(self) -> None:
        """Wait for httpd, and for tasks."""
        self._simulator.wait_until_idle(_REST_S)

    def state_hash(self) -> str:
        """The simulator's own."""
        return self._simulator.state_hash()

    def labels(self) -> frozenset[str]:
        """Of the keys, CSRs and certificates that have our form."""
        names = self._simulator.certificate_names
        return frozenset(name.partition(".")[0] for name in names if name.startswith("ottr-"))

    def private_keys(self) -> tuple[str, ...]:
        """All it holds."""
        return tuple(write_private_key(key) for key in self._simulator.private_keys)

    def secrets(self) -> frozenset[str]:
        """Passwords and tokens."""
        return self._simulator.secrets

    def _reboot(self) -> None:
        self._simulator.reboot()
        self.settle()
        self._simulator.state.not_ready = 0

    def _fault(self, name: str, error: type[DriverError], value: str = ANY) -> Fault:
        begin = partial(self._simulator.faults.arm, name, value, times=None)
        return Fault(f"{name} {value}", error, begin, self._simulator.repair, self._reach(self._pin(), **_HASTY))

    def _pin(self) -> Mapping[str, str]:
        pinned = self._simulator.served_fingerprint() == self._first
        return {"ottr_tls_fingerprint": f"SHA256:{self._first}"} if pinned else {}

    def _reach(self, variables: Mapping[str, Any], **options: Any) -> Access:
        variables = {"ansible_port": self._simulator.port, "ottr_tls_name": _NAMES[0], **variables}
        device = Device("lb1", "bigip", self._simulator.address, _NAMES, variables=variables)
        secret = Secret(self._simulator.password)
        return Access(device, {**self._options, **options}, Credentials(self._simulator.username, secret))

    def _log_in(self, username: str, password: str) -> Access:
        return replace(self.access, credentials=Credentials(username, Secret(password)))
