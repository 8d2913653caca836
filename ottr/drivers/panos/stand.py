# SPDX-License-Identifier: Apache-2.0
"""Simulated firewalls for the contract: the certificate of the web interface, which is also where the API is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ottr.drivers.panos.simulator import Admin, PanosSimulator, Settings
from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DriverError, KeyLost, UnsupportedDevice
from ottr.model import Credentials, Device, Endpoint, Secret
from ottr.simulation.faults import ANY
from ottr.simulation.line import SimulatedLine
from ottr.simulation.pair import write_private_key
from ottr.testing.stand import Access, Fault

VERSIONS = ("8.1.26", "9.1.17", "10.2.4", "11.1.2")

_REST_S = 10.0
_NAMES = ("fw1.example.com", "vpn.example.com")
_LIMITED = "limited"
_OPTIONS: Mapping[str, Any] = {
    "ssl_tls_service_profile": "management",
    "bind": "management",
    "poll_interval": 0.02,
    "restart_timeout": 5,
}
_HASTY: Mapping[str, Any] = {"busy_timeout": 0.1, "commit_timeout": 0.1, "restart_timeout": 0.1}
"""For a device that will not get well, however long one waits."""


@contextmanager
def start(version: str, folder: Path, roots: Path) -> Iterator[Firewall]:
    """Run a firewall of a release."""
    del folder
    admins = {"alice": Admin("alice-simulated"), _LIMITED: Admin("limited-simulated", frozenset({"config", "op"}))}
    settings = Settings(os_version=version, other_admins=admins, commit_s=0.02, restart_s=0.02, reboot_s=0.05)
    with PanosSimulator(settings=settings) as simulator:
        yield Firewall(simulator, roots)


class Firewall:
    """See ``ottr.testing.stand.Subject``."""

    def __init__(self, simulator: PanosSimulator, roots: Path) -> None:
        self._simulator = simulator
        self.line = SimulatedLine(simulator.faults, simulator.requests, simulator.state_hash)
        self.endpoint = Endpoint(simulator.address, simulator.port, _NAMES[0])
        self._first = simulator.served_fingerprint()
        self._options = {**_OPTIONS, "ca_bundle": str(roots)}

    @property
    def access(self) -> Access:
        """The first certificate is known by its fingerprint, the others by the roots."""
        pinned = self._simulator.served_fingerprint() == self._first
        hasty = _HASTY if self.line.severed else {}
        return self._reach({"ottr_tls_fingerprint": f"SHA256:{self._first}"} if pinned else {}, **hasty)

    @property
    def strangers(self) -> Mapping[str, Access]:
        """Once it shows a certificate of the CA."""
        return {
            "a wrong pin": self._reach({"ottr_tls_fingerprint": f"SHA256:{'00' * 32}"}, ca_bundle=""),
            "a name it has no certificate for": self._reach({"ottr_tls_name": "fw2.example.com"}),
            "roots that have not signed it": self._reach({}, ca_bundle=""),
        }

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those of the simulator that stop a rotation, and wrong logins and options."""
        return (
            self._fault("busy", DeviceBusy),
            self._fault("lock_held_by", DeviceBusy, "alice"),
            self._fault("config_lock_held_by", DeviceBusy, "alice"),
            self._fault("job_never_ends", DeviceBusy),
            self._fault("job_fails", DeviceRejected),
            self._fault("commit_refused", DeviceRejected, "certificate is not valid"),
            self._fault("import_fails", DeviceRejected),
            *(self._fault("reject", DeviceRejected, what) for what in ("request certificate generate", "set")),
            self._fault("revert_candidate", KeyLost, "show jobs all"),
            self._fault("token_expires", AuthenticationFailed),
            self._fault("foreign_change", DeviceBusy, "show config list changes"),
            Fault("a wrong password", AuthenticationFailed, access=self._log_in("ottr", "wr0ng-and-secret")),
            Fault(
                "an account without rights", AuthenticationFailed, access=self._log_in(_LIMITED, "limited-simulated")
            ),
            Fault(
                "no such profile",
                UnsupportedDevice,
                access=self._reach({}, ssl_tls_service_profile="x", bind="profile"),
            ),
        )

    def settle(self) -> None:
        """Wait for jobs and the web server."""
        self._simulator.wait_until_idle(_REST_S)

    def state_hash(self) -> str:
        """The simulator's own."""
        return self._simulator.state_hash()

    def labels(self) -> frozenset[str]:
        """Names in the candidate that have our form."""
        return frozenset(name for name in self._simulator.certificate_names if name.startswith("ottr-"))

    def private_keys(self) -> tuple[str, ...]:
        """All it holds."""
        return tuple(write_private_key(key) for key in self._simulator.private_keys)

    def secrets(self) -> frozenset[str]:
        """Passwords and API keys."""
        return self._simulator.secrets

    def _fault(self, name: str, error: type[DriverError], value: str = ANY) -> Fault:
        begin = partial(self._simulator.faults.arm, name, value, times=None)
        access = self._reach({}, **_HASTY)
        return Fault(f"{name} {value}", error, begin, self._simulator.repair, access)

    def _reach(self, variables: Mapping[str, Any], **options: Any) -> Access:
        variables = {"ansible_port": self._simulator.port, "ottr_tls_name": _NAMES[0], **variables}
        device = Device("fw1", "panos", self._simulator.address, _NAMES, variables=variables)
        secret = Secret(self._simulator.password)
        return Access(device, {**self._options, **options}, Credentials(self._simulator.username, secret))

    def _log_in(self, username: str, password: str) -> Access:
        return replace(self.access, credentials=Credentials(username, Secret(password)))
