# SPDX-License-Identifier: Apache-2.0
"""The lab for everybody, and the demo."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    [host] = json.loads(text)["hosts"]
    mine = somebody.folder / "mine"
    somebody.run("init", "--lab", str(folder), str(mine))
    assert somebody.run("plan", "--config", str(mine / "ottr.yaml"), "-o", "json").json["due"] == 1
    somebody.run("rotate", "--config", str(mine / "ottr.yaml"))
    assert answers(host["address"], host["port"])
    interrupt(process, signal.SIGTERM)
    somebody.wait(process)
    wait_until(lambda: not answers(host["address"], host["port"]), "the host is gone")


def test_a_lab_takes_no_folder_with_something_in_it(somebody: Operator) -> None:
    done = somebody.run("lab", "--folder", str(somebody.folder), status=1)
    assert "is not empty" in done.stderr


def test_the_demo_rotates_shows_and_cleans_up(somebody: Operator) -> None:
    done = somebody.run("demo", "--hosts", "1")
    lines = done.stdout.splitlines()
    assert lines[-1] == "1 of 1 hosts rotated, 1 serve another certificate than before."
    before, after = (
        [line.split() for line in lines if line.startswith("web1.lab.test  ") and f"  {when}" in line]
        for when in ("before", "after")
    )
    assert before[0][2] != after[0][2]
    assert "Pebble" in " ".join(after[0])
    assert list((somebody.folder / "home").glob("ottr-lab-*")) == []
