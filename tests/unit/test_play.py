# SPDX-License-Identifier: Apache-2.0
"""Hosts that ask one by one: peers of an HA group, hosts that are handed over, the server and its end."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ottr.errors import InventoryError
from ottr.inventory import CertificateFacts, InventoryHost, RecordResult
from ottr.inventory.given import GivenHost, GivenInventory, parse_host
from ottr.model import Device, Outcome, RotationResult, Secret
from ottr.notify import Event, EventKind
from ottr.play.peers import Peers
from ottr.play.server import Server
from ottr.play.verbs import Gathered

NOW = dt.datetime(2026, 11, 22, 3, 0, tzinfo=dt.UTC)
FACTS = CertificateFacts(NOW, "CN=CA", "1f", "ab" * 32)


def device(name: str, group: str = "pair") -> Device:
    return Device(name, "linux", name, (name,), ha_group=group)


def take(peers: Peers, name: str, outcome: Outcome, step: str = "", group: str = "pair") -> tuple[Outcome, str]:
    act = lambda: RotationResult(name, outcome, step=step)  # noqa: E731
    result = peers.take_turn(device(name, group), act)
    return result.outcome, result.reason


def test_a_peer_waits_for_one_that_is_at_work() -> None:
    peers, order, entered, go_on = Peers(), [], threading.Event(), threading.Event()

    def act(name: str) -> RotationResult:
        entered.set()
        assert go_on.wait(10)
        order.append(name)
        return RotationResult(name, Outcome.ROTATED)

    first = threading.Thread(target=lambda: peers.take_turn(device("a"), lambda: act("a")))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=lambda: peers.take_turn(device("b"), lambda: act("b")))
    second.start()
    order.append("both began")
    go_on.set()
    for thread in (first, second):
        thread.join(10)
    assert order == ["both began", "a", "b"]


def test_peers_of_one_that_is_not_well_are_left_alone_until_it_is() -> None:
    peers = Peers()
    assert take(peers, "a", Outcome.ROLLED_BACK) == (Outcome.ROLLED_BACK, "")
    assert take(peers, "b", Outcome.ROTATED) == (Outcome.SKIPPED, "ha_peer_failed")
    assert take(peers, "c", Outcome.ROTATED, group="other")[0] is Outcome.ROTATED
    assert take(peers, "d", Outcome.ROTATED, group="")[0] is Outcome.ROTATED
    assert take(peers, "a", Outcome.HELD, "install")[0] is Outcome.HELD
    assert take(peers, "b", Outcome.ROTATED) == (Outcome.SKIPPED, "ha_peer_held")
    assert take(peers, "a", Outcome.ROTATED)[0] is Outcome.ROTATED
    assert take(peers, "b", Outcome.HELD, "csr")[0] is Outcome.HELD
    assert take(peers, "a", Outcome.HELD, "order")[0] is Outcome.HELD


CONTENT: dict[str, Any] = {
    "name": "web1",
    "groups": ["web"],
    "variables": {"host_platform": "linux"},
    "problems": {"os_version": "no such variable"},
    "secrets": {"ansible_password": "hunter2"},
    "secret_problems": {"ottr_token": "cannot be read"},
    "file": "",
    "sources": [],
    "folder": "/",
}


def test_a_host_is_taken_as_it_is_handed_over() -> None:
    inventory = GivenInventory([parse_host(CONTENT)])
    [host] = inventory.hosts()
    assert host == inventory.hosts("web1")[0]
    assert (host.groups, host.secret_names) == ({"web"}, ("ansible_password", "ottr_token"))
    assert host.problems == CONTENT["problems"]
    secrets = inventory.secrets([host])["web1"]
    assert secrets.values == {"ansible_password": Secret("hunter2")}
    assert secrets.problems == {"ottr_token": "cannot be read"}
    with pytest.raises(InventoryError, match="no host matches 'web2'"):
        inventory.hosts("web2")


@pytest.mark.parametrize("change", [{"secrets": None}, {"groups": 3}, {"variables": None, "secrets": []}])
def test_half_a_host_is_refused(change: Mapping[str, Any]) -> None:
    with pytest.raises(InventoryError, match="not complete"):
        parse_host({**CONTENT, **change})
    with pytest.raises(InventoryError, match="not complete"):
        parse_host({"name": "web1"})


def given(file: Path | None, *sources: Path, folder: Path = Path("/")) -> GivenInventory:
    host = InventoryHost("web1")
    one = GivenHost(host, file=str(file or ""), sources=tuple(map(str, sources)), folder=folder)
    return GivenInventory([one])


def test_facts_go_beside_the_file_the_host_is_from(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "b" / "hosts.yml"
    file.parent.mkdir()
    file.write_text("all: {hosts: {web1: }}\n")
    result = given(file, tmp_path / "a", tmp_path / "b").record("web1", FACTS)
    assert result.files == (str(tmp_path / "b" / "host_vars" / "web1" / "certificate.yml"),)
    folder = given(tmp_path / "b", tmp_path / "b").record("web1", FACTS)
    assert not folder.warning


@pytest.mark.parametrize("kind", ["plugin", "script", "nothing", "gone", "elsewhere"])
def test_hosts_that_a_program_made_up_have_no_file(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("plugin: some.where\n" if kind == "plugin" else "all: {}\n")
    if kind == "script":
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    if kind == "gone":
        file.unlink()
    source = tmp_path / "other" if kind == "elsewhere" else tmp_path
    result = given(None if kind == "nothing" else file, source).record("web1", FACTS)
    assert "comes from no file" in result.warning


@pytest.mark.parametrize("name", ["devices.ottr.yml", "devices.ottr.yaml"])
def test_of_the_state_database_nothing_is_to_be_written_and_nothing_said(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("---\nplugin: 'ottr.pki.ottr'\nconfig: ottr.yaml\n")
    assert given(file, file).record("web1", FACTS) == RecordResult()
    file.write_text("plugin: ottr.pki.others\n")
    assert given(file, file).record("web1", FACTS).warning


def test_one_summary_is_told_at_the_end() -> None:
    told: list[Event] = []

    class Notifier:
        def notify(self, event: Event) -> None:
            told.append(event)

    gathered = Gathered(Notifier())
    results = [RotationResult(name, Outcome.ROTATED) for name in ("a", "b")]
    gathered.close()
    assert told == []
    for result in results:
        gathered.notify(Event(EventKind.SUMMARY, NOW, result.device, (result,)))
    gathered.notify(Event(EventKind.FAILED, NOW, "b", (results[1],)))
    assert [event.kind for event in told] == [EventKind.FAILED]
    gathered.close()
    assert told[1] == Event(EventKind.SUMMARY, NOW, "b", tuple(results))


class Talk:
    """A server for a process that stands for the play."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.play = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.waiting, self.go_on = threading.Event(), threading.Event()
        self.server = Server(folder, self.play.pid, self.answer)
        self.thread = threading.Thread(target=self.server.serve)

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if request.get("slow"):
            self.waiting.set()
            assert self.go_on.wait(10)
        return {"seen": request}

    def ask(self, request: Mapping[str, Any]) -> Any:
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rwb") as stream:
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                connection.connect(f"/proc/self/fd/{handle}/socket")
            finally:
                os.close(handle)
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            return json.loads(stream.readline())

    def end_play(self) -> None:
        if self.play.poll() is None:
            self.play.communicate(b"\n", timeout=10)
        self.thread.join(10)


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    if request.param == "polling":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr("ottr.play.server._POLL_S", 0.05)
    here = Path.cwd()
    talk = Talk(folder)
    talk.thread.start()
    try:
        yield talk
    finally:
        talk.go_on.set()
        talk.end_play()
        talk.server.finish()
        assert Path.cwd() == here


@pytest.mark.parametrize("talk", ["watching", "polling"], indirect=True)
def test_the_server_answers_until_the_play_is_gone_and_then_what_it_has_taken(talk: Talk) -> None:
    from tests.acceptance.cli.shell import wait_until

    wait_until(lambda: (talk.folder / "socket").exists(), "the server listens")
    assert talk.ask({"n": 1}) == {"seen": {"n": 1}}
    slow: list[Any] = []
    asker = threading.Thread(target=lambda: slow.append(talk.ask({"slow": True})))
    asker.start()
    assert talk.waiting.wait(10)
    assert talk.ask({"n": 2}) == {"seen": {"n": 2}}
    talk.end_play()
    assert not talk.thread.is_alive()
    assert not slow
    talk.go_on.set()
    talk.server.finish()
    asker.join(10)
    assert slow == [{"seen": {"slow": True}}]
