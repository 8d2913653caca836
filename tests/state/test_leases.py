# SPDX-License-Identifier: Apache-2.0
"""At most one orchestrator at a time: who holds a lease, when it is lost, and who may take it."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ottr.errors import DeviceLeased
from ottr.state import leases as leases_module
from ottr.state.leases import HEARTBEAT_S, POLL_S, TTL, Leases, current_owner
from ottr.state.schema import lease
from tests.state.book import Clock, elsewhere

KEY = "device:web1"

HOLD = """
import sys, datetime
from ottr.model import Secret
from ottr.state.database import Database
from ottr.state.leases import Leases, current_owner
leases = Leases(Database(Secret(sys.argv[1])), current_owner(), lambda: datetime.datetime.now(datetime.UTC))
leases.take(sys.argv[2])
print("taken", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def other(open_database, clock) -> Leases:
    """A process of another machine."""
    return Leases(open_database(), elsewhere("other"), clock)


@pytest.fixture
def ours(database, clock) -> Leases:
    return Leases(database, current_owner(), clock)


@contextmanager
def child_with_lease(url: str) -> Iterator[subprocess.Popen[str]]:
    """A real process that has the lease; killed at the end if it still lives."""
    command = [sys.executable, "-c", HOLD, url, KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "taken\n"
            yield child
        finally:
            child.kill()


def real_leases(database) -> Leases:
    return Leases(database, current_owner(), lambda: dt.datetime.now(dt.UTC))


def confirm(leases: Leases, database, key: str = KEY) -> None:
    with database.write() as connection:
        leases.confirm(connection, key)


def rows(database) -> dict[str, sa.Row]:
    with database.read() as connection:
        return {row.key: row for row in connection.execute(sa.select(lease))}


def test_a_lease_is_held_by_one_and_says_by_whom(ours, other):
    other.take(KEY)
    with pytest.raises(
        DeviceLeased, match="process 4711 on host-other has worked on it since 2026-01-01 12:00:00Z"
    ) as caught:
        ours.take(KEY)
    assert "ottr release" in caught.value.hint


def test_different_keys_do_not_meet(ours, other):
    other.take(KEY)
    ours.take("device:web2")


def test_a_lease_given_back_is_free(ours, other):
    other.take(KEY)
    other.give_back(KEY)
    ours.take(KEY)


def test_only_the_holder_can_give_it_back(ours, other):
    other.take(KEY)
    ours.give_back(KEY)
    with pytest.raises(DeviceLeased):
        ours.take(KEY)


def test_a_lease_of_another_machine_is_taken_only_when_it_has_run_out(ours, other, clock, database):
    other.take(KEY)
    clock.now += TTL - dt.timedelta(microseconds=1)
    with pytest.raises(DeviceLeased):
        ours.take(KEY)
    clock.now += dt.timedelta(microseconds=1)
    ours.take(KEY)
    with pytest.raises(DeviceLeased, match="lost to another"):
        confirm(other, database)
    confirm(ours, database)


def test_each_confirmation_prolongs(ours, other, clock, database):
    other.take(KEY)
    for _ in range(3):
        clock.now += TTL / 2
        confirm(other, database)
    with pytest.raises(DeviceLeased):
        ours.take(KEY)


def test_a_lease_that_was_prolonged_just_now_is_left_as_it_is(other, clock, database):
    """One page less for every write of a run: its heart beats all the while."""
    other.take(KEY)
    taken = rows(database)[KEY].expires_at
    clock.now += dt.timedelta(seconds=HEARTBEAT_S)
    confirm(other, database)
    assert rows(database)[KEY].expires_at == taken
    clock.now += dt.timedelta(microseconds=1)
    confirm(other, database)
    assert rows(database)[KEY].expires_at == clock.now + TTL


def test_a_late_holder_nobody_has_replaced_still_has_it(other, clock, database):
    other.take(KEY)
    clock.now += 2 * TTL
    confirm(other, database)
    assert rows(database)[KEY].expires_at == clock.now + TTL


def test_a_lease_never_taken_cannot_be_confirmed(ours, database):
    with pytest.raises(DeviceLeased):
        confirm(ours, database)


def test_an_operator_can_break_a_lease_open(ours, other, database):
    other.take(KEY)
    assert ours.break_open(KEY)
    assert not ours.break_open(KEY)
    ours.take(KEY)
    with pytest.raises(DeviceLeased):
        confirm(other, database)


def test_a_lease_is_held_for_a_block_whatever_happens_in_it(ours, database):
    def fail() -> None:
        with ours.held(KEY):
            assert set(rows(database)) == {KEY}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert rows(database) == {}


def test_an_empty_key_is_no_lease(ours, database):
    with ours.held(""):
        assert rows(database) == {}


def test_a_block_whose_lease_is_held_elsewhere_is_not_entered(ours, other, database):
    other.take(KEY)
    with pytest.raises(DeviceLeased), ours.held(KEY):
        pytest.fail("entered")
    assert rows(database)[KEY].owner == "other"


def test_a_lease_is_waited_for(ours, other, database):
    other.take(KEY)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            other.give_back(KEY)

    with ours.awaited(KEY, 60, wait):
        assert rows(database)[KEY].owner != "other"
    assert waited == [POLL_S] * 3
    assert rows(database) == {}


def test_waiting_for_a_lease_ends(ours, other):
    other.take(KEY)
    waited: list[float] = []
    with pytest.raises(DeviceLeased, match="host-other"), ours.awaited(KEY, 1.0, waited.append):
        pytest.fail("entered")
    assert 1.0 <= sum(waited) < 1.0 + 2 * POLL_S


def test_a_free_lease_is_not_waited_for(ours):
    with ours.awaited(KEY, 60, lambda seconds: pytest.fail("waited")):
        pass


def test_of_many_who_want_it_at_once_one_gets_it(open_database, clock):
    together = threading.Barrier(8)
    got: list[str] = []
    failed: list[BaseException] = []

    def take(leases: Leases, token: str) -> None:
        together.wait()
        try:
            leases.take(KEY)
            got.append(token)
        except DeviceLeased:
            pass
        except BaseException as error:
            failed.append(error)

    stores = [open_database(), open_database()]
    for late in (False, True):  # at first nobody had it; then one who is late
        got.clear()
        threads = [
            threading.Thread(target=take, args=(Leases(stores[n % 2], elsewhere(f"{late}{n}"), clock), f"{late}{n}"))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(got) == 1
        assert rows(stores[0])[KEY].owner == got[0]
        clock.now += 2 * TTL


def test_the_quicker_one_wins_between_look_and_insert(database, open_database, database_url, clock, other):
    """On PostgreSQL both may see no lease; SQLite lets only one look."""
    if "sqlite" in database_url:
        other.take(KEY)
        with pytest.raises(DeviceLeased, match="host-other"):
            Leases(database, elsewhere("slow"), clock).take(KEY)
        return
    with database.write() as connection:
        assert connection.execute(sa.select(lease)).all() == []
        other.take(KEY)
        with pytest.raises(DeviceLeased, match="just begun"):
            Leases(database, elsewhere("slow"), clock)._insert(connection, KEY, clock())
        connection.rollback()
    assert rows(database)[KEY].owner == "other"


def test_a_lease_of_a_living_process_is_refused_with_its_pid(database, database_url):
    with child_with_lease(database_url) as child, pytest.raises(DeviceLeased, match=f"process {child.pid} on "):
        real_leases(database).take(KEY)


def test_a_lease_of_a_killed_process_is_taken_at_once(database, database_url):
    with child_with_lease(database_url) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        real_leases(database).take(KEY)


def test_a_lease_of_a_killed_process_nobody_has_waited_for_is_taken_at_once(database, database_url):
    """Its entry in /proc is still there: a zombie."""
    with child_with_lease(database_url) as child:
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert os.path.exists(f"/proc/{child.pid}")  # noqa: PTH110
        real_leases(database).take(KEY)


def test_a_process_that_only_has_the_pid_of_the_dead_one_does_not_hold_its_lease(database, clock):
    dead = replace(current_owner(), token="dead", process_started="1")
    Leases(database, dead, clock).take(KEY)
    Leases(database, current_owner(), clock).take(KEY)


def test_a_machine_that_cannot_be_told_from_others_never_declares_anybody_dead(database, clock):
    dead = replace(current_owner(), token="dead", machine="", process_started="1")
    Leases(database, dead, clock).take(KEY)
    with pytest.raises(DeviceLeased):
        Leases(database, current_owner(), clock).take(KEY)


def test_without_proc_a_machine_has_no_name(monkeypatch):
    def gone(path: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(leases_module.os, "readlink", gone)
    assert current_owner().machine == ""


def test_every_process_is_somebody_else():
    first, second = current_owner(), current_owner()
    assert first.token != second.token
    assert (first.pid, first.machine, first.process_started) == (second.pid, second.machine, second.process_started)
    assert first.machine
    assert first.process_started


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


def test_leases_are_kept_while_the_block_runs(ours, other, clock, database):
    ours.take(KEY)
    ours.take("names:ca:web1")
    other.take("device:web2")
    with ours.kept(heartbeat_s=0.001):
        clock.now += 2 * TTL
        wait_until(lambda: rows(database)[KEY].expires_at == clock.now + TTL)
        assert rows(database)["names:ca:web1"].expires_at == clock.now + TTL
        assert rows(database)["device:web2"].expires_at < clock.now
        with pytest.raises(DeviceLeased):
            other.take(KEY)
    assert "ottr-leases" not in {thread.name for thread in threading.enumerate()}


def test_the_heart_goes_on_when_the_database_fails_for_a_while(ours, clock, database):
    """The device's own next write meets the same trouble and reports it."""
    ours.take(KEY)
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE lease RENAME TO away"))
    failed = threading.Event()
    original = ours._clock

    def tick() -> dt.datetime:
        failed.set()
        return original()

    ours._clock = tick
    with ours.kept(heartbeat_s=0.001):
        assert failed.wait(20)
        failed.clear()
        assert failed.wait(20)  # and again, although the table is away
        with database.write() as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO lease"))
        clock.now += 2 * TTL
        wait_until(lambda: rows(database)[KEY].expires_at == clock.now + TTL)
