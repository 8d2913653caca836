# SPDX-License-Identifier: Apache-2.0
"""The lab for everybody, and the demo."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.lab.appliance import MIXED
from tests.acceptance.cli.shell import Operator, interrupt, wait_until


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator.at(tmp_path / "somebody")
    yield operator
    operator.end_all()


def answers(address: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


def test_a_lab_is_held_open_until_a_signal(somebody: Operator) -> None:
    folder = somebody.folder / "lab"
    process = somebody.start("lab", "--hosts", "1", "--folder", str(folder), "-o", "json")
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, "the lab ended"
        text += line
    host, *appliances = json.loads(text)["hosts"]
    assert [one["os_version"] for one in appliances] == [model.os_version for model in MIXED]
    mine = somebody.folder / "mine"
    somebody.run("init", "--lab", str(folder), str(mine))
    assert somebody.run("plan", "--config", str(mine / "ottr.yaml"), "-o", "json").json["due"] == 1 + len(MIXED)
    somebody.run("rotate", "--config", str(mine / "ottr.yaml"))
    for device in (host, *appliances):
        assert answers(device["address"], device["port"])
    interrupt(process, signal.SIGTERM)
    somebody.wait(process)
    for device in (host, *appliances):
        wait_until(lambda at=device: not answers(at["address"], at["port"]), "the device is gone")


def test_a_lab_takes_no_folder_with_something_in_it(somebody: Operator) -> None:
    done = somebody.run("lab", "--folder", str(somebody.folder), status=1)
    assert "is not empty" in done.stderr


def test_the_demo_rotates_shows_and_cleans_up(somebody: Operator) -> None:
    done = somebody.run("demo", "--hosts", "1")
    lines = done.stdout.splitlines()
    count = 1 + len(MIXED)
    assert lines[-1] == f"{count} of {count} devices rotated, {count} serve another certificate than before."
    before, after = ([line.split() for line in lines if f"  {when} " in line] for when in ("before", "after"))
    assert [row[:3] for row in before] == [row[:3] for row in after]
    assert [row[2] for row in after[1:]] == [model.os_version for model in MIXED]
    for old, new in zip(before, after, strict=True):
        assert old[4] != new[4]
        assert "CN=Pebble" in new
    assert list((somebody.folder / "home").glob("ottr-lab-*")) == []
