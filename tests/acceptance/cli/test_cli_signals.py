# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C once: what runs is finished. Twice: nobody waits. A pipe nobody reads: the run goes on."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.shell import Operator, interrupt, wait_until

WEB1, WEB2 = "web1.lab.test", "web2.lab.test"


class Gate:
    """Both hosts' own config test waits here, in the midst of the installation."""

    def __init__(self, folder: Path, operator: Operator) -> None:
        self.begun = folder / "begun"
        self._open = folder / "open"
        script = folder / "test"
        script.write_text(f"#!/bin/sh\ntouch {self.begun}\nwhile [ ! -e {self._open} ]; do sleep 0.05; done\n")
        script.chmod(0o755)
        for host in (WEB1, WEB2):
            operator.set_option(host, "test_command", [str(script)])

    def await_device(self) -> None:
        wait_until(self.begun.exists, "a device is being worked on")

    def open(self) -> None:
        self._open.touch()


@pytest.fixture
def gate(operator: Operator, tmp_path: Path) -> Iterator[Gate]:
    built = Gate(tmp_path, operator)
    yield built
    built.open()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_runs_and_begins_nothing(
    operator: Operator, gate: Gate, number: signal.Signals
) -> None:
    process = operator.start("rotate", "-f", "1", "-o", "json")
    gate.await_device()
    interrupt(process, number)
    assert read_line(process) == "ottr: finishing 1 running device, Ctrl-C again to stop waiting\n"
    gate.open()
    done = operator.wait(process, status=99)
    assert sorted(one["outcome"] for one in done.json["results"]) == ["interrupted", "rotated"]
    assert done.json["exit_status"] == 99
    assert operator.run("rotate", "-o", "json").json["counts"]["rotated"] == 1


def test_the_second_one_stops_waiting_and_says_what_is_known(operator: Operator, gate: Gate) -> None:
    before = operator.served()
    process = operator.start("rotate", "-f", "1")
    gate.await_device()
    interrupt(process)
    read_line(process)
    interrupt(process)
    done = operator.wait(process, status=99)
    assert "1 interrupted" in done.stdout
    assert "`ottr resume` goes on where this run stopped" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("web")]
    device, outcome, reason, step = line.split()
    assert (outcome, reason, step) == ("interrupted", "interrupted", "install")
    gate.open()
    [result] = operator.run("resume", "-o", "json").json["results"]
    assert (result["device"], result["outcome"]) == (device, "rotated")
    wait_until(lambda: operator.served()[device] != before[device], "the new certificate is served")
    [rotation] = operator.run("history", device, "-o", "json").json["rotations"]
    assert rotation["state"] == "rotated"


def test_the_second_one_as_json(operator: Operator, gate: Gate) -> None:
    process = operator.start("rotate", "-f", "1", "-o", "json")
    gate.await_device()
    interrupt(process)
    read_line(process)
    interrupt(process)
    done = operator.wait(process, status=99)
    assert done.json["counts"]["interrupted"] == 1


def test_an_interrupt_while_nothing_runs_ends_the_command(operator: Operator, tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    source = operator.folder / "slow.sh"
    source.write_text(f"#!/bin/sh\ntouch {begun}\nwhile [ ! -e {ended} ]; do sleep 0.05; done\n")
    source.chmod(0o755)
    process = operator.start("plan", "-i", str(source))
    try:
        wait_until(begun.exists, "the inventory is being read")
        interrupt(process)
        assert operator.wait(process, status=99).stderr == "ottr: interrupted\n"
    finally:
        ended.touch()


def close_pipe(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None


def test_a_closed_pipe_is_no_error_however_much_was_to_be_said(rotated: Operator) -> None:
    hosts = ",".join(f"host{number}.lab.test" for number in range(2000))
    process = rotated.start("plan", "-i", hosts)
    close_pipe(process)
    assert rotated.wait(process).stderr == ""


def test_a_closed_pipe_stops_no_rotation(operator: Operator) -> None:
    process = operator.start("rotate")
    close_pipe(process)
    done = operator.wait(process)
    assert done.stderr == ""
    plan = json.loads(operator.run("plan", "-o", "json").stdout)
    assert plan["reasons"] == {"not_due": 2}
