# SPDX-License-Identifier: Apache-2.0
"""One simulated PAN-OS firewall, or a Panorama with its firewalls, as a context manager."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from ottr.drivers.panos.simulator.api import Api, foreign_change
from ottr.drivers.panos.simulator.commits import commit_now
from ottr.drivers.panos.simulator.forms import SECRETS
from ottr.drivers.panos.simulator.services import MANAGEMENT, Services
from ottr.drivers.panos.simulator.settings import Settings
from ottr.drivers.panos.simulator.state import FAULTS, State
from ottr.simulation.application import Application
from ottr.simulation.faults import Faults
from ottr.simulation.pair import PrivateKey
from ottr.simulation.requests import RequestLog
from ottr.simulation.server import wait_until


class PanosSimulator:
    """Listens on ``address`` while the block lasts; port 0 takes a free one.

    ``os_version`` and ``settings`` say what it is. A Panorama gives templates to ``managed``, simulators of
    firewalls that run already.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        os_version: str | None = None,
        settings: Settings | None = None,
        managed: Sequence[PanosSimulator] = (),
    ) -> None:
        settings = settings or Settings()
        self.settings = replace(settings, os_version=os_version) if os_version else settings
        self.address = address
        self.username, self.password = self.settings.username, self.settings.password
        self.faults = Faults(FAULTS)
        self.requests = RequestLog(SECRETS)
        self.state = State(self.settings, self.faults)
        self.state.managed = {firewall.settings.serial: firewall.state for firewall in managed}
        self._services = Services(self.state, address, port, Application(Api(self.state), self.faults, self.requests))
        self.state.refresh_services = self._services.refresh
        self.state.reboot = self.reboot

    def start(self) -> PanosSimulator:
        """Listen. Raises OSError when the port is taken."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._services.start()
            undo.pop_all()
        return self

    def stop(self) -> None:
        """End every server, thread and job."""
        self.state.jobs.stop()
        self._services.stop()

    def __enter__(self) -> PanosSimulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port of the API and of the management certificate."""
        return self.ports[MANAGEMENT]

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each TLS service: ``management``, and portals and gateways by their names."""
        return self._services.ports

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"https://{self.address}:{self.port}/api/"

    def served_fingerprint(self, service: str = MANAGEMENT) -> str:
        """SHA-256 (lower-case hex) of the certificate a client sees now; empty when it sees none."""
        return self._services.server(service).fingerprint

    def state_hash(self) -> str:
        """SHA-256 over configurations, pending changes, locks, jobs and what is served; API keys do not count."""
        with self.state.lock:
            served = [self.served_fingerprint(name) for name in self.ports]
            return f"{self.state.hash()}:{':'.join(served)}"

    @property
    def exported_keys(self) -> Sequence[str]:
        """Names of certificates whose private key was asked for, granted or not."""
        return tuple(self.state.exported_keys)

    @property
    def private_keys(self) -> Sequence[PrivateKey]:
        """Every key it holds."""
        return self.state.keys.all()

    @property
    def certificate_names(self) -> frozenset[str]:
        """Names of the certificates and CSRs in the candidate configuration, wherever they are."""
        with self.state.lock:
            entries = self.state.configuration.candidate.iterfind(".//certificate/entry")
            return frozenset(entry.get("name", "") for entry in entries)

    @property
    def sessions(self) -> int:
        """How many API keys are valid."""
        return len(self.state.accounts.keys)

    @property
    def secrets(self) -> frozenset[str]:
        """Passwords and valid API keys: what may appear in no log and no error text."""
        passwords = {admin.password for admin in self.settings.admins.values()}
        return frozenset(passwords | set(self.state.accounts.keys))

    def wait_until_idle(self, deadline_s: float = 10.0) -> bool:
        """Wait until no job runs and the web server is back."""
        return wait_until(lambda: not self.state.jobs.busy and bool(self.served_fingerprint()), deadline_s)

    def finish_job(self) -> None:
        """End the active job now, however long it was to take: for tests that look at a running one."""
        self.state.jobs.finish_now()

    def foreign_change(self, user: str = "") -> None:
        """Another administrator leaves a change pending."""
        with self.state.lock:
            foreign_change(self.state, user)

    def foreign_commit(self, user: str = "") -> None:
        """Another administrator commits everything, ours included."""
        with self.state.lock:
            commit_now(self.state, user or self.state.foreigner)

    def foreign_lock(self, user: str = "") -> None:
        """Another administrator takes the commit lock."""
        with self.state.lock:
            self.state.commit_locks.add(user or self.state.foreigner, "shared", "")

    def revert(self) -> None:
        """Another administrator reverts everybody's pending changes."""
        with self.state.lock:
            self.state.configuration.revert(None)

    def repair(self) -> None:
        """End every fault, and what faults have left behind: a job that never ends, locks, pending changes."""
        self.faults.clear()
        with self.state.lock:
            self.state.jobs.forget()
            self.state.commit_locks.held.clear()
            self.state.config_locks.held.clear()
            self.state.configuration.revert(None)

    def reboot(self) -> None:
        """Lose jobs, locks and (unless set otherwise) the candidate; be away for a while."""
        with self.state.lock:
            self.state.jobs.forget()
            self.state.commit_locks.held.clear()
            self.state.config_locks.held.clear()
            configuration = self.state.configuration
            if not self.settings.unconfirmed.candidate_survives_reboot:
                configuration.candidate = copy.deepcopy(configuration.running)
                configuration.changes.clear()
            self._services.reboot()
