# SPDX-License-Identifier: Apache-2.0
"""Leases: at most one orchestrator works on a device, an HA group or a set of names at a time.

A lease is kept by confirming it, which every journal write of its holder does as well. It ends when it
is given back, when it runs out, or at once when its owner is seen to be dead on this machine. It says nothing once
its owner is gone, and so need not outlive the machine.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ottr.errors import DeviceLeased, JournalError, LeaseLost
from ottr.model import Clock, Waiter
from ottr.state.database import Database, insert_new
from ottr.state.schema import lease
from ottr.statement import Statement

TTL = timedelta(seconds=120)
HEARTBEAT_S = 20.0
POLL_S = 0.25


# Made once: these run for every write of every device.
_THIS = lease.c.key == sa.bindparam("this")
_MINE = _THIS & (lease.c.owner == sa.bindparam("me"))
_LOOK = Statement(sa.select(lease).where(_THIS).with_for_update())
_OURS = Statement(sa.select(lease.c.expires_at).where(_MINE).with_for_update())
_PROLONG = Statement(lease.update().where(_MINE).values(expires_at=sa.bindparam("until")))
_GIVE_BACK = Statement(lease.delete().where(_MINE))
_REMOVE = Statement(lease.delete().where(_THIS))


@dataclass(frozen=True, slots=True)
class Owner:
    """One orchestrator process, told apart from every other one that ever was."""

    token: str
    machine: str
    pid: int
    process_started: str
    host_name: str


def current_owner() -> Owner:
    """Describe this process. The machine is a boot and a PID namespace; empty where /proc has neither."""
    return Owner(secrets.token_hex(8), _machine(), os.getpid(), _process_started(os.getpid()), socket.gethostname())


class Leases:
    """The leases of one owner."""

    def __init__(self, database: Database, owner: Owner, clock: Clock) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._row = asdict(owner)
        self._row["owner"] = self._row.pop("token")

    def take(self, key: str) -> None:
        """Get a lease, also one whose owner is dead or late. Raises DeviceLeased."""
        now = self._clock()
        with self._database.write(durable=False) as connection:
            if insert_new(connection, lease, self._describe(key, now)):
                return
            for held in _LOOK.fetch_named(connection, {"this": key}):
                if held["expires_at"] > now and not _dead(held):
                    raise DeviceLeased(_told(held))
                _REMOVE.change(connection, {"this": key})
            self._insert(connection, key, now)

    def confirm(self, connection: sa.Connection, key: str) -> None:
        """Keep a lease inside another write, which nobody takes from us meanwhile. Raises LeaseLost.

        It is prolonged when its heart should have done that.
        """
        mine, until = {"this": key, "me": self._owner.token}, self._clock() + TTL
        held = _OURS.fetch_named(connection, mine)
        if not held:
            raise LeaseLost(f"the lease {key!r} was lost to another orchestrator")
        if held[0]["expires_at"] < until - timedelta(seconds=HEARTBEAT_S):
            _PROLONG.change(connection, {**mine, "until": until})

    def give_back(self, key: str) -> None:
        """End a lease of ours; no error when it is not ours any more."""
        with self._database.write(durable=False) as connection:
            _GIVE_BACK.change(connection, {"this": key, "me": self._owner.token})

    def break_open(self, key: str) -> bool:
        """End anybody's lease, for ``ottr release``. Tells whether there was one."""
        with self._database.write() as connection:
            return bool(_REMOVE.change(connection, {"this": key}))

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """A lease for the time of the block; an empty key: none. Raises DeviceLeased."""
        if key:
            self.take(key)
        try:
            yield
        finally:
            if key:
                self.give_back(key)

    @contextmanager
    def awaited(self, key: str, limit_s: float, wait: Waiter) -> Iterator[None]:
        """The same, but while another one has it, ask again. Raises DeviceLeased when the limit is over."""
        waited_s = 0.0
        while True:
            try:
                self.take(key)
                break
            except DeviceLeased:
                if waited_s >= limit_s:
                    raise
            wait(POLL_S)
            waited_s += POLL_S
        try:
            yield
        finally:
            self.give_back(key)

    @contextmanager
    def kept(self, heartbeat_s: float = HEARTBEAT_S) -> Iterator[None]:
        """Prolong all leases of this owner from a thread of its own while the block runs."""
        done = threading.Event()
        heart = threading.Thread(target=self._beat, args=(done, heartbeat_s), name="ottr-leases", daemon=True)
        heart.start()
        try:
            yield
        finally:
            done.set()
            heart.join()

    def _beat(self, done: threading.Event, heartbeat_s: float) -> None:
        while not done.wait(heartbeat_s):
            try:
                with self._database.write(durable=False) as connection:
                    mine = lease.c.owner == self._owner.token
                    connection.execute(lease.update().where(mine).values(expires_at=self._clock() + TTL))
            except JournalError:  # the device's own next write meets the same trouble and reports it
                continue

    def _insert(self, connection: sa.Connection, key: str, now: datetime) -> None:
        if not insert_new(connection, lease, self._describe(key, now)):  # PostgreSQL: the other one was quicker
            raise DeviceLeased("another orchestrator has just begun to work on it")

    def _describe(self, key: str, now: datetime) -> dict[str, object]:
        return {**self._row, "key": key, "taken_at": now, "expires_at": now + TTL}


def _dead(held: dict[str, Any]) -> bool:
    if not held["machine"] or held["machine"] != _machine():
        return False
    return bool(_process_started(held["pid"]) != held["process_started"])


def _told(held: dict[str, Any]) -> str:
    return f"process {held['pid']} on {held['host_name']} has worked on it since {held['taken_at']:%Y-%m-%d %H:%M:%S}Z"


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - not a path, a name of a namespace
    except OSError:
        return ""


def _process_started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # from field 3 of proc(5) on: state, ..., starttime (22)
    return "" if fields[0] in "ZX" else fields[19]
