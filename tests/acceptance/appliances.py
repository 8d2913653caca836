# SPDX-License-Identifier: Apache-2.0
"""A simulated device in an operator's inventory, and what must be true of it whatever went wrong."""

from __future__ import annotations

import hashlib
import sqlite3
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ottr.model import Outcome, RotationResult
from ottr.orchestrator.runner import Rollout
from tests.acceptance import killing
from tests.acceptance.faults import Counter, Site
from tests.acceptance.watcher import Watcher

ZONE = "lab.test"
API_PORT = 8443
_AWAY = ("ConnectionRefusedError", "ConnectionResetError", "BrokenPipeError")
_CUT = ("SSLEOFError", "SSLZeroReturnError")
_PAUSE_S = 0.05
"""Of the watcher: a handshake costs a simulator more than it does a server."""


@dataclass(frozen=True)
class Appliance:
    """Where one is, and what the inventory calls it."""

    name: str
    platform: str
    address: str
    port: int
    """Where the certificate is served that is rotated."""
    os_version: str
    api_port: int = API_PORT

    def fetch_served_pem(self) -> str:
        return ssl.get_server_certificate((self.address, self.port), timeout=10)

    def fetch_sha256(self) -> str:
        return sha256(self.fetch_served_pem())


@dataclass(frozen=True)
class Left:
    """What there is of Ottr on a device, and of others."""

    labels: frozenset[str]
    """Every object of ours, in whatever configuration of the device."""
    pending: int
    """Changes of ours that are neither committed nor undone."""
    sessions: int
    """Tokens or API keys of ours that are still good."""
    keys_given_away: int


def give(site: Site, options: Mapping[str, Any], *appliances: Appliance) -> None:
    """Make appliances of one platform the devices of a site."""
    platform = appliances[0].platform
    site.route = {
        "match": {"host_platform": platform},
        "driver": platform,
        "options": {**options, "ca_bundle": str(site.lab.trust)},
        "endpoints": [{"port": appliances[0].port}],
        "verify_timeout": "5s",
    }
    hosts = {appliance.name: _describe(appliance) for appliance in appliances}
    folder = site.folder / "inventory"
    folder.mkdir()
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    site.settings["inventory"] = [str(folder)]
    site.settings["credentials"] = {platform: {"username": "ottr", "password": "simulated"}}


def _describe(appliance: Appliance) -> Mapping[str, Any]:
    api = ssl.get_server_certificate((appliance.address, appliance.api_port), timeout=10)
    return {
        "ansible_host": appliance.address,
        "ansible_port": appliance.api_port,
        "host_platform": appliance.platform,
        "os_version": appliance.os_version,
        "common_name": appliance.name,
        "ottr_tls_fingerprint": f"SHA256:{sha256(api)}",
    }


@dataclass
class Sweep:
    """Runs that are killed, each followed by one that resumes, and the same end every time."""

    site: Site
    appliance: Appliance
    look: Callable[[], Left]
    most_sessions: int

    def run(self, shard: int, shards: int) -> None:
        """Be killed at the acts of a shard."""
        settings, log = self.site.write(), self.site.folder / "log"
        good = {self.appliance.fetch_sha256()}
        for _ in range(3):  # from the third one on there is something to clean up
            log.write_text("")
            assert killing.run(settings, killing.rotate, log) == 0, log.read_text()
        acts = killing.choose_acts(log, shard, shards)
        assert len(acts) > 40 / shards
        where, killed = (self.appliance.address, self.appliance.port, self.appliance.name), 0
        with Watcher(*where, pause_s=_PAUSE_S) as watcher:
            for at in acts:
                before, counter = self._current(), Counter(self.site.lab)
                log.write_text(f"--- killed at {at}\n")
                status = killing.run(settings, killing.rotate, log, at)
                assert status in (-9, 0), log.read_text()
                killed += status == -9
                assert killing.run(settings, killing.resume, log) == 0, log.read_text()
                self._check(at, before, counter.issued)
        assert killed > len(acts) / 2  # a run may have fewer acts than the one that they were chosen of
        check_watched(watcher, good | list_issued(self.site))
        assert watcher.handshakes > len(acts)

    def _check(self, at: int, before: str, issued: int) -> None:
        labels = self._labels()
        after, left = self._current(), self.look()
        assert issued <= 1, at
        assert (before != after) == (issued == 1), at
        assert set(labels.values()) == {"rotated"}, at
        assert self.appliance.fetch_sha256() == after, at
        assert self.site.lab.bind.txt(f"_acme-challenge.{self.appliance.name}") == frozenset(), at
        assert left.labels <= set(list(labels)[-2:]), at
        assert (left.pending, left.keys_given_away) == (0, 0), at
        assert left.sessions <= self.most_sessions, at
        recorded = self.site.folder / "inventory" / "host_vars" / self.appliance.name / "certificate.yml"
        assert f'certificate_sha256: "{after}"' in recorded.read_text(), at

    def _labels(self) -> dict[str, str]:
        """Every rotation's label and state, the oldest first."""
        return dict(select(self.site.database, "SELECT label, state FROM rotation ORDER BY started_at"))

    def _current(self) -> str:
        """SHA-256 of the certificate that the state database says is served."""
        where = "served_at IS NOT NULL AND superseded_at IS NULL"
        [(leaf_pem,)] = select(self.site.database, f"SELECT leaf_pem FROM certificate WHERE {where}")
        return sha256(leaf_pem)


@dataclass
class Fleet:
    """Simulated devices of one site, of which each meets a fault at another request."""

    site: Site
    members: Mapping[Appliance, Any]
    """Each with its simulator."""
    options: Mapping[str, Any]
    look: Callable[[Any], Left]
    most_sessions: int

    def __post_init__(self) -> None:
        give(self.site, self.options, *self.members)

    def rotate(self, *, forced: bool = False) -> list[RotationResult]:
        with self.site.opened() as app:
            for appliance in self.members:
                app.service.release(appliance.name)
        return self.site.rotate(forced=forced, rollout=Rollout(forks=16))

    def rotate_with(self, arm: Callable[[int, Any], None]) -> list[RotationResult]:
        """Arm each member's simulator by its number, rotate; none serves anything bad afterwards."""
        before = {appliance: appliance.fetch_sha256() for appliance in self.members}
        for number, simulator in enumerate(self.members.values()):
            arm(number, simulator)
        results = self.rotate(forced=True)
        issued = list_issued(self.site)
        for appliance, simulator in self.members.items():
            assert simulator.wait_until_idle()
            assert appliance.fetch_sha256() in issued | {before[appliance]}
        for result in results:
            assert result.outcome is not Outcome.STRANDED or "ottr resume" in result.error.hint
        return results

    def sweep(self, fault: str, first: int = 0, step: int = 1) -> list[RotationResult]:
        """The n-th member meets the fault at request number ``first`` + n * ``step``, the last one never."""
        results = self.rotate_with(lambda number, simulator: simulator.faults.arm(fault, skip=first + number * step))
        assert list(self.members.values())[-1].faults.armed(fault)
        self.disarm()
        return results

    def disarm(self) -> None:
        """All is well from now on."""
        for simulator in self.members.values():
            simulator.faults.clear()

    def repair(self) -> None:
        """Another run goes on with what is open, and one after that begins anew where a key was lost."""
        self.disarm()
        self.rotate()
        last = self.rotate()
        assert {result.outcome for result in last} <= {Outcome.ROTATED, Outcome.NOT_DUE}, last
        with self.site.opened() as app:
            for appliance, simulator in self.members.items():
                assert app.service.cleanup(appliance.name, remove=False) == ()
                current = app.stores.certificates.current(appliance.name)[appliance.name]
                assert appliance.fetch_sha256() == current.sha256
                assert self.site.lab.bind.txt(f"_acme-challenge.{appliance.name}") == frozenset()
                left = self.look(simulator)
                assert (left.pending, left.keys_given_away) == (0, 0)
                assert left.sessions <= self.most_sessions
                assert len(left.labels) <= 2


def list_issued(site: Site) -> set[str]:
    """SHA-256 of every certificate the site knows of."""
    return {sha256(leaf_pem) for (leaf_pem,) in select(site.database, "SELECT leaf_pem FROM certificate")}


def select(database: Path, statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as state:
        return state.execute(statement).fetchall()


def sha256(leaf_pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf_pem)).hexdigest()


def check_watched(watcher: Watcher, good: set[str]) -> None:
    """A client met certificates it could use and a web server that restarts, nothing else.

    A restart cuts a handshake off now and then; a pair that does not match cuts off every one.
    """
    assert set(watcher.served) <= good
    assert [line for line in watcher.failures if not line.startswith((*_AWAY, *_CUT))] == []
    assert sum(line.startswith(_CUT) for line in watcher.failures) <= 2 * len(watcher.served)


@contextmanager
def watched(site: Site, appliance: Appliance) -> Iterator[None]:
    """A client that never meets anything but what was served first and what the site has been issued."""
    first = appliance.fetch_sha256()
    with Watcher(appliance.address, appliance.port, appliance.name, pause_s=_PAUSE_S) as watcher:
        yield
    check_watched(watcher, {first} | list_issued(site))
