# SPDX-License-Identifier: Apache-2.0
"""One operator's folder against a lab that many share, and things that go wrong around it.

A ``Site`` has settings, routes and a state database of its own, so that tests of one lab know nothing of one another;
the lab, its hosts and its inventory are real and shared.
"""

from __future__ import annotations

import os
import pickle
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

import ottr.app
from ottr.app import Options
from ottr.inventory import Inventory
from ottr.lab import Lab
from ottr.lab.host import Host
from ottr.lab.process import Process
from ottr.logins import Logins
from ottr.model import Outcome, RotationResult, Step, VerifyResult
from ottr.orchestrator.runner import Rollout, Stop
from ottr.orchestrator.target import Surroundings
from ottr.policy import Reason
from ottr.report import ExitStatus, exit_status
from ottr.service import Selection, ignore
from ottr.state.journal import State
from ottr.x509 import Certificate, parse_certificate

T = TypeVar("T")


class App(ottr.app.App):
    """The whole of Ottr, except that it does not wait long before it tries a device again."""

    def _surround(self, inventory: Inventory, logins: Logins) -> Surroundings:
        """As ever, with short waits."""
        around = super()._surround(inventory, logins)
        return replace(around, wait=lambda seconds: time.sleep(min(seconds, 0.05)))


@dataclass
class Site:
    """What one operator has: ``settings`` is ottr.yaml and ``route`` the one route of routing.yaml."""

    lab: Lab
    folder: Path
    settings: dict[str, Any] = field(init=False)
    route: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.settings = yaml.safe_load(self.lab.settings.read_text())
        self.settings["known_hosts"] = [str(self.lab.known_hosts)]
        self.settings["inventory"] = [str(self.lab.inventory)]
        self.issuer["trust"] = str(self.lab.trust)
        self.solver["options"]["key_secret"] = {"file": str(self.lab.folder / "tsig.secret")}
        self.solver["propagation_timeout"] = "3s"
        [self.route] = yaml.safe_load(self.lab.routing.read_text())["routes"]
        self.route |= {"verify_timeout": "1s"}

    @property
    def issuer(self) -> dict[str, Any]:
        """Settings of the one CA."""
        issuer: dict[str, Any] = self.settings["issuers"]["lab"]
        return issuer

    @property
    def solver(self) -> dict[str, Any]:
        """Settings of the one DNS solver."""
        solver: dict[str, Any] = self.settings["solvers"]["lab"]
        return solver

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "state" / "state.db"

    def write(self) -> Path:
        """Write the operator's files; return the path of ottr.yaml."""
        (self.folder / "routing.yaml").write_text(yaml.safe_dump({"routes": [self.route]}))
        path = self.folder / "ottr.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return path

    def change_inventory(self, changes: Mapping[str, Mapping[str, Any]]) -> Path:
        """Give the site an inventory of its own, the lab's with variables of hosts changed; return its folder."""
        inventory = yaml.safe_load((self.lab.inventory / "hosts.yml").read_text())
        for name, values in changes.items():
            inventory["linux"]["hosts"][name] |= values
        folder = self.folder / "inventory"
        folder.mkdir(exist_ok=True)
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        self.settings["inventory"] = [str(folder)]
        return folder

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment Ottr is run with: the cache of the inventory is the lab's."""
        return {**os.environ, "XDG_CACHE_HOME": str(self.lab.folder / "cache")}

    @contextmanager
    def opened(self) -> Iterator[App]:
        """All parts of one run, in this process."""
        app = App(Options(config=self.write()), self.environment)
        try:
            yield app
        finally:
            app.close()
            if "stores" in app.__dict__:
                app.stores.journal._database.close()

    def rotate(
        self,
        *hosts: Host,
        forced: bool = False,
        rollout: Rollout | None = None,
        watch: Callable[[str, Step], None] = ignore,
    ) -> list[RotationResult]:
        """Run ``ottr rotate`` for these hosts; return what was said of each of them."""
        selection = Selection(",".join(host.name for host in hosts) or "all")
        with self.opened() as app:
            return list(app.service.rotate(selection, rollout or Rollout(forks=4), Stop(), forced=forced, watch=watch))

    def resume(self) -> list[RotationResult]:
        """Run ``ottr resume``."""
        with self.opened() as app:
            return list(app.service.resume(Rollout(forks=4), Stop()))

    def verify(self, host: Host) -> VerifyResult:
        """Run ``ottr verify`` for a host with one endpoint."""
        with self.opened() as app:
            [result] = app.service.verify(Selection(host.name), Rollout(forks=4), Stop())
            return result

    def release(self, host: Host) -> tuple[str, ...]:
        """Run ``ottr release``."""
        with self.opened() as app:
            return app.service.release(host.name)

    def plan(self, host: Host) -> str:
        """The reason code that ``ottr plan`` shows for a host."""
        with self.opened() as app:
            [candidate] = app.service.plan(Selection(host.name))
            return candidate.reason

    def labels(self, host: Host, state: State | None = None) -> list[str]:
        """Labels of the host's rotations, of one state or of all, the oldest first."""
        with self.opened() as app:
            history = app.stores.journal.history(host.name)
            return [record.label for record in history if state in (None, record.state)]

    def current(self, host: Host) -> Certificate:
        """What the state database says a host serves."""
        with self.opened() as app:
            certificates = app.stores.certificates
            issued = certificates.pem(host.name, certificates.current(host.name)[host.name].sha256)
        assert issued is not None
        return parse_certificate(issued.leaf_pem)

    def add_unproven_name(self, host: Host) -> None:
        """From now on the host has a name that must be proven: Pebble may reuse what was proven before."""
        fresh = f"{secrets.token_hex(4)}.{host.name}"
        self.change_inventory({host.name: {"subject_alternative_name": [host.name, fresh]}})

    def begin(self, host: Host) -> Certificate:
        """Rotate a host well, so that it serves a certificate of the lab's CA; return it."""
        results = self.rotate(host, forced=True)
        check_rotated(results)
        current = self.current(host)
        await_served(host, current)
        return current


def served(host: Host) -> Certificate:
    """The leaf a host serves. TLS itself proves that it has the key."""
    return parse_certificate(host.fetch_served_pem())


def await_served(host: Host, expected: Certificate) -> None:
    """A worker of nginx that is about to go may take one more connection with the former certificate."""
    await_true(lambda: served(host) == expected, f"{host.name} serves something else")


def await_true(condition: Callable[[], bool], otherwise: str, timeout_s: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def check_rotated(results: Iterable[RotationResult]) -> None:
    """Every device was rotated."""
    results = list(results)
    assert results
    assert {result.outcome for result in results} == {Outcome.ROTATED}, results
    assert exit_status(results) is ExitStatus.OK


def check_failed(results: list[RotationResult], outcome: Outcome, kind: str, status: ExitStatus) -> str:
    """One device came out so, for a reason of this class that says what to do; return the reason's words."""
    [result] = results
    assert result.outcome is outcome, result
    assert result.error is not None
    assert result.error.kind == kind, result
    assert result.error.message
    assert result.error.hint, result
    assert exit_status(results) is status
    return f"{result.error.message}\n{result.error.hint}"


def check_recovers(site: Site, host: Host, former: Certificate, results: list[RotationResult]) -> None:
    """After the fault: the host has been rotated by the same run's rotation, and nothing is left behind."""
    check_rotated(results)
    assert parse_certificate_of(results, host) == site.current(host).sha256 != former.sha256
    await_served(host, site.current(host))
    assert site.lab.bind.txt(f"_acme-challenge.{host.name}") == frozenset()
    assert site.plan(host) == Reason.NOT_DUE


def parse_certificate_of(results: Iterable[RotationResult], host: Host) -> str:
    """SHA-256 of the certificate a run gave to a host."""
    [found] = [result.new_sha256 for result in results if result.device == host.name]
    return found


class Counter:
    """Counts what the lab's CA issues and what it is asked for, from now on."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._start = self._log_size()

    @property
    def issued(self) -> int:
        """Certificates."""
        return self._log().count("Issued certificate serial")

    @property
    def orders(self) -> int:
        """Orders."""
        return self._log().count("Added order")

    def _log(self) -> str:
        return self._lab.pebble.process.log.read_bytes()[self._start :].decode()

    def _log_size(self) -> int:
        return self._lab.pebble.process.log.stat().st_size


def at(step: Step, act: Callable[[], object]) -> Callable[[str, Step], None]:
    """A watcher of a run that does something once, when a device begins a step."""
    done: list[Step] = []

    def watch(device: str, now: Step) -> None:
        if now is step and not done:
            done.append(now)
            act()

    return watch


def write_script(path: Path, text: str) -> None:
    """Write a shell script at once: another process may be running the former one."""
    new = path.with_suffix(".new")
    new.write_text(f"#!/bin/sh\n{text}\n")
    new.chmod(0o755)
    new.replace(path)


def reload_script(host: Host) -> Path:
    """The host's command to reload its service, which a test may change; see ``use_scripts``."""
    return host.nginx.folder / "reload"


def use_scripts(lab: Lab) -> None:
    """Let every host be reloaded by a script of its own."""
    path = lab.inventory / "hosts.yml"
    inventory = yaml.safe_load(path.read_text())
    for host in lab.hosts:
        restore_reload(host)
        inventory["linux"]["hosts"][host.name]["ottr_options"]["reload_command"] = [str(reload_script(host))]
    path.write_text(yaml.safe_dump(inventory))


def restore_reload(host: Host) -> None:
    """Let the host's service be reloaded as it should be."""
    write_script(reload_script(host), "exec " + " ".join(host.nginx.reload_command))


@contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    """A file with other content for a while."""
    former = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(former)


@contextmanager
def down(*processes: Process) -> Iterator[None]:
    """Servers that do not run for a while."""
    for process in processes:
        process.stop()
    try:
        yield
    finally:
        for process in processes:
            with suppress(Exception):
                process.start()
        for process in processes:
            process.wait_ready()


_LEASE = """
import pathlib, sys, time
from ottr.app import utc_now
from ottr.model import Secret
from ottr.state.database import Database
from ottr.state.leases import Leases, current_owner
Leases(Database(Secret(sys.argv[1])), current_owner(), utc_now).take(sys.argv[2])
pathlib.Path(sys.argv[3]).touch()
time.sleep(1000)
"""


def lease_holder(site: Site, key: str) -> Process:
    """Another orchestrator that has a lease and never ends by itself."""
    ready = site.folder / "leased"
    arguments = (f"sqlite:///{site.database}", key, str(ready))
    return Process((sys.executable, "-c", _LEASE, *arguments), log=site.folder / "lease.log", ready=ready)


def in_child(action: Callable[[], T]) -> T:
    """Do something in a process that has ended afterwards, as a run of the command has: its leases are nobody's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(action(), pipe)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    os.waitpid(child, 0)
    assert sent, "the child failed, see its traceback"
    result: T = pickle.loads(sent)
    return result
