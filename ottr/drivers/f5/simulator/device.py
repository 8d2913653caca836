# SPDX-License-Identifier: Apache-2.0
"""One simulated BIG-IP as a context manager; two of them make a device group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType

from ottr.drivers.f5.simulator.answers import full_path, name_of
from ottr.drivers.f5.simulator.api import Api, foreign_change
from ottr.drivers.f5.simulator.calls import SECRETS
from ottr.drivers.f5.simulator.cluster import mark_in_sync, sync_by_itself
from ottr.drivers.f5.simulator.configuration import CERTIFICATE, KEY, VIRTUAL
from ottr.drivers.f5.simulator.console import Console
from ottr.drivers.f5.simulator.disk import CSR_FOLDER, Disk
from ottr.drivers.f5.simulator.folder import Folder
from ottr.drivers.f5.simulator.material import read_key
from ottr.drivers.f5.simulator.sandbox import Sandbox
from ottr.drivers.f5.simulator.settings import Settings
from ottr.drivers.f5.simulator.shell import DeviceShell
from ottr.drivers.f5.simulator.state import FAULTS, State
from ottr.drivers.f5.simulator.traffic import Traffic
from ottr.drivers.f5.simulator.webserver import WebServer
from ottr.simulation.application import Application
from ottr.simulation.faults import Faults
from ottr.simulation.pair import PrivateKey
from ottr.simulation.requests import RequestLog
from ottr.simulation.server import wait_until

MANAGEMENT = "management"
_TOKEN_IN_PATH = re.compile(r"(?<=/shared/authz/tokens/)[^/]+")


class F5Simulator:
    """Listens on ``address`` while the block lasts; port 0 takes a free one.

    ``os_version`` and ``settings`` say what it is. With ``peer``, a simulator that runs already, it is the
    standby unit of the same device group, with the same virtual servers.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        ssh_port: int = 0,
        os_version: str | None = None,
        settings: Settings | None = None,
        peer: F5Simulator | None = None,
    ) -> None:
        settings = settings or Settings()
        self.settings = replace(settings, os_version=os_version) if os_version else settings
        self.settings.version  # noqa: B018 raises ValueError for what is no version
        self.address = address
        self.username, self.password = self.settings.username, self.settings.password
        self.faults = Faults(FAULTS)
        self.requests = RequestLog(SECRETS, _TOKEN_IN_PATH)
        self._folder = Folder()
        self.state = State(self.settings, self.faults, Disk(self._folder.path))
        self.state.address = address
        self._web = WebServer(self.state, address, port, Application(Api(self.state), self.faults, self.requests))
        self._traffic = Traffic(self.state, address)
        self._shell = DeviceShell(self.state, Sandbox(self._folder.path, self.settings.hostname))
        self._console = Console(self.state, self._shell, address, ssh_port)
        self._connect()
        if peer:
            self._join(peer)

    def _connect(self) -> None:
        state = self.state
        state.refresh_traffic = self._traffic.refresh
        state.restart_httpd = self.restart_httpd
        state.stop_httpd = self._web.halt
        state.test_httpd = self._web.test
        state.reboot = self.reboot
        state.run_bash = self._shell.run
        if self.settings.auto_sync:
            state.share = partial(sync_by_itself, state)
        state.changed()
        state.configuration.save()

    def _join(self, peer: F5Simulator) -> None:
        self.state.active = False
        self.state.configuration.receive(peer.state.configuration.synced())
        self.state.configuration.save()
        self.state.peers.append(peer.state)
        peer.state.peers.append(self.state)
        mark_in_sync(self.state)

    def start(self) -> F5Simulator:
        """Listen. Raises OSError when the port is taken."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._web.start()
            self._traffic.start()
            self._console.start()
            mark_in_sync(self.state)
            undo.pop_all()
        return self

    def stop(self) -> None:
        """End every server, thread and process, and remove the device's disk."""
        self.state.end_timers()
        self._web.stop()
        self._traffic.stop()
        self._shell.stop()
        self._console.stop()
        self._folder.remove()

    def __enter__(self) -> F5Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port of REST and of the management certificate."""
        return self._web.server.port

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each TLS service: ``management``, and virtual servers by their names."""
        virtuals = self.state.configuration.of(VIRTUAL)
        served = {name_of(path): int(v["destination"].rpartition(":")[2]) for path, v in virtuals.items()}
        return {MANAGEMENT: self.port, **served}

    @property
    def ssh_port(self) -> int:
        """The port of SSH."""
        return self._console.port

    @property
    def ssh_host_key(self) -> str:
        """SSH's public key, as in known_hosts after the host's name."""
        return self._console.host_key

    @property
    def url(self) -> str:
        """Where REST is."""
        return f"https://{self.address}:{self.port}/mgmt"

    def served_fingerprint(self, service: str = MANAGEMENT) -> str:
        """SHA-256 (lower-case hex) of the certificate a client without SNI sees now; empty when it sees none."""
        if service == MANAGEMENT:
            return self._web.server.fingerprint
        return self._traffic.fingerprint(full_path(service))

    def state_hash(self) -> str:
        """SHA-256 over configurations, files and what is served; tokens do not count."""
        with self.state.lock:
            served = [self.served_fingerprint(), *map(self._traffic.fingerprint, self.state.configuration.of(VIRTUAL))]
            return f"{self.state.configuration.hash()}:{self.state.disk.hash()}:{':'.join(served)}"

    @property
    def exported_keys(self) -> Sequence[str]:
        """Operations whose answer held a private key."""
        return tuple(self.state.exported_keys)

    @property
    def private_keys(self) -> Sequence[PrivateKey]:
        """Every key it holds, as an object or in a file."""
        with self.state.lock:
            texts = [found["_pem"] for found in self.state.configuration.of(KEY).values()]
        texts += self.state.disk.contents()
        return tuple(key for key in map(read_key, texts) if key is not None)

    @property
    def certificate_names(self) -> frozenset[str]:
        """Names of keys, certificates and CSRs, without partitions."""
        with self.state.lock:
            paths = [*self.state.configuration.of(KEY), *self.state.configuration.of(CERTIFICATE)]
            return frozenset({*map(name_of, paths), *self.state.disk.names(CSR_FOLDER)})

    @property
    def sessions(self) -> int:
        """How many tokens are valid."""
        return len(self.state.accounts.tokens)

    @property
    def secrets(self) -> frozenset[str]:
        """Passwords and valid tokens: what may appear in no log and no error text."""
        return self.state.accounts.passwords | set(self.state.accounts.tokens)

    def read(self, path: str) -> bytes | None:
        """A file of the device; None when it is not there."""
        return self.state.disk.read(path)

    def advance(self, seconds: float) -> None:
        """Let time pass for tokens and transactions."""
        self.state.clock_offset_s += seconds

    def wait_until_idle(self, deadline_s: float = 10.0) -> bool:
        """Wait until httpd is back and no sync or task runs."""
        return wait_until(
            lambda: bool(self.served_fingerprint()) and not any(timer.is_alive() for timer in self.state.timers),
            deadline_s,
        )

    def restart_httpd(self) -> None:
        """Restart the web server; it reads its files again."""
        if not self.settings.unconfirmed.tokens_survive_httpd:
            self.state.accounts.expire_tokens()
        self._web.restart()

    def foreign_change(self) -> None:
        """Another administrator changes a profile and does not save."""
        with self.state.lock:
            foreign_change(self.state)

    def failover(self) -> None:
        """Let the other unit be the active one."""
        for unit in (self.state, *self.state.peers):
            unit.active = False
            unit.refresh_traffic()
        for unit in self.state.peers[:1]:
            unit.active = True
            unit.refresh_traffic()

    def repair(self) -> None:
        """End every fault, and what faults have left behind: httpd that is away, a group that is not in sync."""
        self.faults.clear()
        with self.state.lock:
            self.state.transactions.clear()
            mark_in_sync(self.state)
        if not self._web.server.fingerprint:
            self._web.restart()
        self._traffic.show_all()

    def reboot(self) -> None:
        """Lose what was not saved, tokens (unless set otherwise) and processes; be away for a while."""
        state = self.state
        self._console.end_sessions()
        self._shell.sandbox.end_processes()
        with state.lock:
            state.transactions.clear()
            state.tasks.clear()
            state.uploads.clear()
            if not self.settings.unconfirmed.tokens_survive_reboot:
                state.accounts.expire_tokens()
            state.disk.reboot()
            configuration = state.configuration
            if self.settings.unconfirmed.unsaved_objects_survive_reboot:
                for collection in (KEY, CERTIFICATE):
                    configuration.saved[collection] = dict(configuration.of(collection))
            configuration.load()
            self._traffic.restart(self.settings.reboot_s)
            self._web.restart(self.settings.reboot_s)
