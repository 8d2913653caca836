# SPDX-License-Identifier: Apache-2.0
"""What goes wrong where the orchestrator runs: its database, the operator's files, hooks, notifications, leases."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from ottr.errors import InventoryError, JournalError, RoutingError, SettingsError
from ottr.lab.host import Host
from ottr.lab.process import Process
from ottr.model import Outcome, RotationResult, ServedStatus, Step
from ottr.notify import WebhookChannel
from ottr.policy import Reason
from ottr.report import STATE_LOST, ExitStatus, exit_status
from ottr.service import Selection
from ottr.state.database import Database
from tests.acceptance.faults import (
    Counter,
    Site,
    at,
    await_served,
    check_failed,
    check_recovers,
    check_rotated,
    in_child,
    lease_holder,
    served,
)


class Holder:
    """Another process that holds the database's write lock, as a backup or a hanging tool would."""

    def __init__(self, site: Site) -> None:
        program = (
            "import pathlib, sqlite3, sys, time\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('BEGIN IMMEDIATE')\n"
            "pathlib.Path(sys.argv[2]).touch()\n"
            "time.sleep(1000)\n"
        )
        ready = site.folder / "locked"
        argv = (sys.executable, "-c", program, str(site.database), str(ready))
        self.process = Process(argv, log=site.folder / "holder.log", ready=ready)

    def __enter__(self) -> Holder:
        self.process.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stop()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write waits for another process half a second, not ten."""
    monkeypatch.setattr("ottr.state.database.Database", partial(Database, busy_timeout_s=0.5))


def check_state_lost(results: list[RotationResult]) -> str:
    """The run stopped since the state could not be written."""
    words = check_failed(results, Outcome.FAILED, "JournalError", ExitStatus.UNEXPECTED)
    assert results[0].reason == STATE_LOST
    return words


@pytest.mark.usefixtures("_impatient")
def test_a_database_that_is_locked_stops_the_run_before_anything_is_touched(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with Holder(site):
        words = check_state_lost(site.rotate(host, forced=True))
    assert "locked" in words
    assert "another process holds the database" in words
    await_served(host, former)
    assert counter.orders == 0

    check_recovers(site, host, former, site.rotate(host, forced=True))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("step", [Step.CSR, Step.ORDER, Step.INSTALL, Step.VERIFY])
def test_a_database_that_is_locked_on_the_way_loses_nothing(site: Site, host: Host, step: Step) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    def hold() -> None:
        connection = sqlite3.connect(site.database, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        held.append(connection)

    held: list[sqlite3.Connection] = []
    words = check_state_lost(in_child(lambda: site.rotate(host, forced=True, watch=at(step, hold))))
    assert "locked" in words
    await_served(host, former)

    check_recovers(site, host, former, site.resume())
    assert counter.issued == 1


@contextmanager
def own_mounts(folder: Path, script: str) -> Iterator[Sequence[str]]:
    """A mount namespace; gives the command prefix that runs a program within."""
    ready = folder / "mounted"
    command = ("unshare", "--mount", "sh", "-euc", f"{script}\ntouch {ready}\nexec sleep infinity")
    with Process(command, log=folder / "mounts.log", ready=ready) as process:
        yield ("nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "--")


def run_ottr(site: Site, *arguments: str, within: Sequence[str] = ()) -> tuple[int, dict[str, object]]:
    """Run the command; return exit status and the one result it printed."""
    argv = [*within, sys.executable, "-m", "ottr", *arguments, "--config", str(site.write()), "--output", "json"]
    done = subprocess.run(argv, env=site.environment, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    printed = json.loads(done.stdout)
    [result] = printed["results"]
    assert printed["exit_status"] == done.returncode
    return done.returncode, result


def test_a_database_on_a_full_disk_loses_nothing(site: Site, host: Host) -> None:
    """The disk is full when the host is installed; what was issued is installed when there is room again."""
    former = site.begin(host)
    counter = Counter(site.lab)
    state = site.folder / "state"
    kept = site.folder / "kept"
    shutil.copytree(state, kept)
    disk = f"mount -t tmpfs -o size=1m tmpfs {state} && cp -a {kept}/. {state}"
    filler = site.folder / "fill"
    filler.write_text(f"#!/bin/sh\n{{ cat /dev/zero >{state}/filler; }} 2>/dev/null\nexit 0\n")
    filler.chmod(0o755)
    site.route["hooks"] = {"before": [[str(filler)]]}

    with own_mounts(site.folder, disk) as within:
        status, result = run_ottr(site, "rotate", host.name, "--force", within=within)
        assert (status, result["outcome"], result["reason"]) == (ExitStatus.UNEXPECTED, "failed", STATE_LOST)
        error = result["error"]
        assert isinstance(error, dict)
        assert error["kind"] == "JournalError"
        assert "make room" in error["hint"]
        assert served(host) == former

        subprocess.run([*within, "rm", f"{state}/filler"], check=True)
        del site.route["hooks"]
        status, result = run_ottr(site, "rotate", host.name, "--force", within=within)
        assert (status, result["outcome"]) == (ExitStatus.OK, "rotated")
    assert counter.issued == 1


@pytest.mark.parametrize("step", [Step.CSR, Step.ORDER, Step.INSTALL, Step.VERIFY])
def test_a_database_that_cannot_grow_loses_nothing(
    site: Site, host: Host, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)
    full = Full()
    monkeypatch.setattr("ottr.state.database.Database.write", full.wrap(Database.write))

    words = check_state_lost(in_child(lambda: site.rotate(host, forced=True, watch=at(step, full.begin))))
    assert "full" in words
    assert "make room" in words
    await_served(host, former)

    monkeypatch.undo()
    check_recovers(site, host, former, site.resume())
    assert counter.issued == 1


Write = Callable[[Database], AbstractContextManager[sa.Connection]]


class Full:
    """Lets a transaction take more pages than SQLite may use, as on a disk without room."""

    def __init__(self) -> None:
        self._is_full = False

    def begin(self) -> None:
        self._is_full = True

    def wrap(self, real: Write) -> Write:
        @contextmanager
        def write(database: Database, *, durable: bool = True) -> Iterator[sa.Connection]:
            with real(database, durable=durable) as connection:
                if self._is_full:
                    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
                    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
                    connection.exec_driver_sql("CREATE TABLE filler AS SELECT zeroblob(100000)")
                yield connection

        return write


def test_a_database_that_is_none_is_said_to_be_so(site: Site, host: Host) -> None:
    former = site.begin(host)
    kept = site.database.read_bytes()

    site.database.write_bytes(b"something else, and no database at all. " * 200)
    with pytest.raises(JournalError, match="not a database") as raised:
        site.rotate(host, forced=True)
    assert raised.value.hint
    await_served(host, former)

    site.database.write_bytes(kept)
    check_recovers(site, host, former, site.rotate(host, forced=True))


def test_a_read_only_inventory_is_a_warning(site: Site, host: Host) -> None:
    former = site.begin(host)
    folder = site.lab.inventory / "host_vars" / host.name
    before = (folder / "certificate.yml").read_text()

    mount = f"mount --bind {site.lab.inventory} {site.lab.inventory}\nmount -o remount,ro,bind {site.lab.inventory}"
    with own_mounts(site.folder, mount) as within:
        status, result = run_ottr(site, "rotate", host.name, "--force", within=within)

    assert (status, result["outcome"]) == (ExitStatus.OK, "rotated")
    [warning] = result["warnings"]  # type: ignore[misc]
    assert "is not written to the inventory" in warning
    assert "Read-only file system" in warning
    assert (folder / "certificate.yml").read_text() == before
    current = site.current(host)
    assert current != former
    await_served(host, current)

    assert site.verify(host).status is ServedStatus.OK
    assert current.sha256 in (folder / "certificate.yml").read_text()


def test_a_file_of_the_inventory_that_is_read_only_is_a_warning(site: Site, host: Host) -> None:
    site.begin(host)
    path = site.lab.inventory / "host_vars" / host.name / "certificate.yml"
    before = path.read_text()

    path.chmod(0o444)
    try:
        results = site.rotate(host, forced=True)
    finally:
        path.chmod(0o644)
    check_rotated(results)
    assert "is read-only" in results[0].warnings[0]
    assert path.read_text() == before
    await_served(host, site.current(host))


@pytest.mark.parametrize("text", ["all: [unclosed", "linux: {hosts: {web1.lab.test: {ansible_host: '{{ 1 +"])
def test_an_inventory_that_cannot_be_read_stops_everything(site: Site, host: Host, text: str) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)
    bad = site.folder / "inventory.yml"
    bad.write_text(text)

    good = site.settings["inventory"]
    site.settings["inventory"] = [*good, str(bad)]
    with pytest.raises(InventoryError, match=r"inventory\.yml") as raised:
        site.rotate(host, forced=True)
    assert raised.value.hint
    await_served(host, former)
    assert counter.orders == 0

    site.settings["inventory"] = good
    check_recovers(site, host, former, site.rotate(host, forced=True))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("driver", "linux_shh", "linux_shh"),
        ("dead_man", "soon", "time span"),
        ("endpoints", [{"port": 123456}], "port"),
        ("options", {"service": "nginx", "paht": "/etc"}, "paht"),
        ("issuer", "nobody", "nobody"),
    ],
)
def test_a_route_that_is_wrong_stops_everything(site: Site, host: Host, key: str, value: object, words: str) -> None:
    former = site.begin(host)

    good = dict(site.route)
    site.route[key] = value
    with pytest.raises(RoutingError, match=rf"routing\.yaml:\d+: .*{words}"):
        site.rotate(host, forced=True)
    await_served(host, former)

    site.route = good
    check_recovers(site, host, former, site.rotate(host, forced=True))


def test_a_host_without_a_route_is_skipped_and_the_others_are_rotated(site: Site, host: Host) -> None:
    site.begin(host)
    site.route["match"] = {"name": host.name}
    with site.opened() as app:
        others = [one for one in app.service.plan(Selection()) if one.host.name != host.name]
    assert {one.reason for one in others} == {"no_route"}
    results = site.rotate(forced=True)
    by_outcome = {result.outcome: result.device for result in results}
    assert by_outcome[Outcome.ROTATED] == host.name
    assert {result.outcome for result in results if result.device != host.name} == {Outcome.SKIPPED}
    assert exit_status(results) is ExitStatus.OK
    assert exit_status(results, strict=True) is ExitStatus.FAILED


def test_settings_that_are_wrong_stop_everything(site: Site, host: Host) -> None:
    former = site.begin(host)
    site.settings["isuers"] = {}
    with pytest.raises(SettingsError, match=r"ottr\.yaml:\d+: .*isuers"):
        site.rotate(host, forced=True)
    await_served(host, former)


def test_a_device_another_process_works_on_is_left_to_it_as_long_as_it_lives(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)

    with lease_holder(site, f"device:{host.name}") as other:
        results = site.rotate(host, forced=True)
        words = check_failed(results, Outcome.SKIPPED, "DeviceLeased", ExitStatus.OK)
        assert results[0].reason == "leased"
        assert str(other.pid) in words
        await_served(host, former)
        assert counter.orders == 0
        os.kill(other.pid, signal.SIGKILL)
        other.stop()

        check_recovers(site, host, former, site.rotate(host, forced=True))


def test_a_lease_of_a_process_that_hangs_can_be_released(site: Site, host: Host) -> None:
    former = site.begin(host)

    with lease_holder(site, f"device:{host.name}"):
        assert site.release(host) == ("the lease that another run held",)
        check_recovers(site, host, former, site.rotate(host, forced=True))


def test_a_hook_that_fails_before_a_device_leaves_it_alone(site: Site, host: Host) -> None:
    former = site.begin(host)
    counter = Counter(site.lab)
    after = site.folder / "after"

    command = ["sh", "-c", "echo not drained >&2; exit 3"]
    note = ["sh", "-c", f'echo "$OTTR_OUTCOME" >{after}']
    site.route["hooks"] = {"before": [command], "after": [note]}
    words = check_failed(site.rotate(host, forced=True), Outcome.FAILED, "HookFailed", ExitStatus.FAILED)
    assert "not drained" in words
    assert after.read_text() == "failed\n"
    await_served(host, former)
    assert counter.orders == 0

    del site.route["hooks"]
    check_recovers(site, host, former, site.rotate(host, forced=True))


def test_a_hook_that_fails_after_a_device_is_a_warning(site: Site, host: Host) -> None:
    former = site.begin(host)

    site.route["hooks"] = {"after": [["sh", "-c", "echo still drained >&2; exit 3"]]}
    results = site.rotate(host, forced=True)
    assert "still drained" in results[0].warnings[0]
    check_recovers(site, host, former, results)


def test_nobody_being_told_is_a_warning_in_the_log(
    site: Site, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    former = site.begin(host)
    monkeypatch.setattr("ottr.notify.WebhookChannel", partial(WebhookChannel, wait=lambda seconds: None))

    url = f"http://{site.lab.network.address(400)}:9/a-secret-path"
    site.settings["notify"] = {"webhook": url, "command": ["sh", "-c", "echo no mail today >&2; exit 1"]}
    with caplog.at_level(logging.WARNING, "ottr.notify"):
        check_recovers(site, host, former, site.rotate(host, forced=True))
    said = [record.getMessage() for record in caplog.records if record.name == "ottr.notify"]
    assert len(said) == 2
    assert "no mail today" in said[0]
    assert "nobody was told of summary" in said[1]
    assert "a-secret-path" not in "".join(said)


def test_the_plan_says_what_a_failed_device_waits_for(site: Site, host: Host) -> None:
    site.begin(host)
    options = yaml.safe_load((site.lab.inventory / "hosts.yml").read_text())["linux"]["hosts"][host.name][
        "ottr_options"
    ]
    site.change_inventory({host.name: {"ottr_options": {**options, "test_command": ["false"]}}})
    site.settings["rotation"] = {"quarantine_after": 2, "retry_install": 5}

    for reason in (Reason.DEFERRED, Reason.QUARANTINED):
        results = site.rotate(host, forced=True) if reason is Reason.DEFERRED else site.resume()
        check_failed(results, Outcome.ROLLED_BACK, "DeviceRejected", ExitStatus.FAILED)
        assert site.plan(host) == reason
    with sqlite3.connect(site.database) as state:
        assert state.execute("SELECT failures FROM schedule").fetchall() == [(2,)]
    assert "the quarantine after 2 failures" in site.release(host)[0]
    assert site.plan(host) == Reason.UNFINISHED
