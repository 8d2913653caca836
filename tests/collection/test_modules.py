# SPDX-License-Identifier: Apache-2.0
"""What single tasks do: the same as the command, host by host, in steps, and no more than the play asks for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ottr import x509
from ottr.model import Step
from ottr.state.journal import State, Status
from tests.acceptance.cli.shell import wait_until
from tests.collection.player import ROOT, Player

HOSTS = ("web1.lab.test", "web2.lab.test", "web3.lab.test")
PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n"
STEPS = """
    - {name: csr, ottr.pki.csr: }
    - {name: csr again, ottr.pki.csr: }
    - {name: order, ottr.pki.order: }
    - {name: order again, ottr.pki.order: }
    - {name: install, ottr.pki.install: }
    - {name: install again, ottr.pki.install: }
    - {name: verify, ottr.pki.verify: }
    - {name: verify again, ottr.pki.verify: }
"""


def play_of(*tasks: str) -> str:
    return PLAY + "".join(f"    - {task}\n" for task in tasks)


def without_times(result: Any) -> Any:
    return {name: value for name, value in result.items() if name not in ("started", "finished")}


def test_plan_and_check_say_what_the_command_says(player: Player) -> None:
    player.counted = True
    player.operator.set_variable(HOSTS[1], "host_platform", "nothing")
    player.operator.set_variable(HOSTS[2], "common_name", "{{ missing }}")
    player.play(play_of("{name: plan, ottr.pki.plan: }", "{name: check, ottr.pki.rotate: }"), "--check")
    plan = player.operator.run("plan", "-o", "json").json
    assert [player.results("plan")[host]["plan"] for host in HOSTS] == plan["hosts"]
    check = player.operator.run("rotate", "--check", "-o", "json").json
    found = [without_times(player.results("check")[host]["rotation"]) for host in HOSTS]
    assert found == [without_times(result) for result in check["results"]]
    assert list(player.statuses("check").values()).count("skipped") == 2


def test_a_rotation_says_what_the_command_says(player: Player) -> None:
    player.counted = True
    player.play(play_of("{name: rotate, ottr.pki.rotate: }", "{name: info, ottr.pki.certificate_info: }"))
    again = player.operator.run("rotate", "-o", "json").json["results"]
    for number, host in enumerate(HOSTS):
        rotation = player.results("rotate")[host]["rotation"]
        assert set(rotation) == set(again[number])
        [(record, _)] = player.rotations(host)
        assert (rotation["rotation_id"], rotation["reason"]) == (record.id, record.reason)
        known = player.results("info")[host]["certificate"]
        assert (known["sha256"], known["serial"]) == (rotation["new_sha256"], rotation["serial"])
        assert x509.parse_certificate(known["certificate"]).sha256 == known["sha256"]
        assert not known["expired"]


def test_steps_are_taken_once_each_and_end_the_rotation(player: Player) -> None:
    player.counted = True
    player.play(PLAY + STEPS)
    for step in ("csr", "order", "install", "verify"):
        assert set(player.statuses(step).values()) == {"changed"}, step
        assert set(player.statuses(f"{step} again").values()) == {"ok"}, step
    served = player.operator.served()
    for host in HOSTS:
        ordered = player.results("order")[host]
        assert ordered["csr"] == player.results("csr again")[host]["csr"]
        assert ordered["full_chain"] == ordered["certificate"] + ordered["chain"]
        leaf = x509.parse_certificate(ordered["certificate"])
        assert leaf.spki_der == x509.parse_request(ordered["csr"]).spki_der
        assert leaf == x509.parse_certificate(served[host])
        [(record, _)] = player.rotations(host)
        assert record.state is State.ROTATED
    player.play(PLAY + STEPS)
    assert {one.status for one in player.outcomes()} == {"ok"}  # nothing is due any more


def test_steps_in_check_mode_change_nothing(player: Player) -> None:
    player.counted = True
    before = player.operator.snapshot()
    player.play(PLAY + STEPS, "--check", status=2)
    assert set(player.statuses("csr").values()) == {"changed"}
    assert set(player.statuses("order").values()) == {"ok"}
    assert set(player.statuses("verify").values()) == {"failed"}  # it says what is served: nothing of ours
    assert player.operator.snapshot() == before
    tables = ("rotation", "certificate", "observation", "schedule", "txt_record")
    assert [player.count_rows(table) for table in tables] == [0] * len(tables)


@pytest.mark.parametrize("until", ["csr", "order", "install"])
def test_resume_ends_what_steps_have_left_open(player: Player, until: str) -> None:
    tasks = STEPS[: STEPS.index(f"{until} again")].rsplit("\n", 1)[0]
    player.play(PLAY + tasks, "--limit", HOSTS[0])
    done = player.operator.run("resume", "-o", "json").json
    assert [(one["device"], one["outcome"]) for one in done["results"]] == [(HOSTS[0], "rotated")]
    assert done["results"][0]["rotation_id"] == player.results(until)[HOSTS[0]]["rotation"]["rotation_id"]


def test_a_rollback_puts_the_former_certificate_back(player: Player) -> None:
    player.counted = True
    force = "{name: rotate, ottr.pki.rotate: {force: true}}"
    player.play(play_of(force, force, "{name: would, ottr.pki.rollback: , check_mode: true}"), "--limit", HOSTS[0])
    first, second = (one.result["rotation"]["new_sha256"] for one in player.outcomes("rotate"))
    assert x509.parse_certificate(player.operator.served()[HOSTS[0]]).sha256 == second
    player.play(play_of("{name: back, ottr.pki.rollback: }"), "--limit", HOSTS[0])
    assert player.statuses("back") == {HOSTS[0]: "changed"}
    assert player.results("back")[HOSTS[0]]["rotation"]["new_sha256"] == first
    wait_until(
        lambda: x509.parse_certificate(player.operator.served()[HOSTS[0]]).sha256 == first, "the former one is served"
    )
    player.play(play_of("{name: back, ottr.pki.rollback: }"), "--limit", HOSTS[1], status=2)
    assert "has no rotation to go back from" in player.results("back")[HOSTS[1]]["msg"]


def test_after_a_roll_back_it_is_looked_what_is_served_and_installed_again(player: Player) -> None:
    go = player.folder / "go"
    player.operator.set_option(HOSTS[0], "test_command", ["/bin/sh", "-c", f"test -e {go}"])
    tasks = ("{name: rotate, ottr.pki.rotate: , ignore_errors: true}", "{name: look, ottr.pki.verify: }")
    player.play(play_of(*tasks), "--limit", HOSTS[0], status=2)
    assert player.results("rotate")[HOSTS[0]]["rotation"]["outcome"] == "rolled_back"
    [seen] = player.results("look")[HOSTS[0]]["endpoints"]
    assert seen["status"] == "drift"
    go.touch()
    install = "{name: %s, ottr.pki.install: %s}"
    tasks = (install % ("would", ", check_mode: true"), install % ("does", ""), install % ("did", ""))
    player.play(play_of(*tasks), "--limit", HOSTS[0])
    assert [one.status for one in player.outcomes()] == ["changed", "changed", "ok"]


def test_no_host_is_touched_that_the_play_does_not_come_to(player: Player) -> None:
    """Conditions, failures before, and rescue decide host by host."""
    player.play(
        PLAY
        + f"""
    - block:
        - name: fail for one
          ansible.builtin.fail: {{msg: drained badly}}
          when: inventory_hostname == '{HOSTS[0]}'
        - name: rotate
          ottr.pki.rotate:
          when: inventory_hostname != '{HOSTS[1]}'
      rescue:
        - name: rescued
          ansible.builtin.debug: {{msg: nothing was done}}
"""
    )
    assert player.statuses("rotate") == {HOSTS[1]: "skipped", HOSTS[2]: "changed"}
    assert player.statuses("rescued") == {HOSTS[0]: "ok"}
    for host in HOSTS[:2]:
        assert not player.rotations(host)


def test_a_device_that_does_not_answer_is_unreachable(player: Player) -> None:
    player.operator.set_variable(HOSTS[0], "ansible_port", 1)
    player.play(play_of("{name: rotate, ottr.pki.rotate: }"), status=4)
    assert player.statuses("rotate") == {HOSTS[0]: "unreachable", HOSTS[1]: "changed", HOSTS[2]: "changed"}
    assert "unreachable" in player.results("rotate")[HOSTS[0]]["msg"]


def test_members_of_a_pair_are_not_rotated_after_one_has_failed(player: Player) -> None:
    player.counted = True
    for host in HOSTS[:2]:
        player.operator.set_variable(host, "ha_group", "pair")
        player.operator.set_option(host, "test_command", ["/bin/false"])
    player.play(play_of("{name: rotate, ottr.pki.rotate: }"), status=2)
    statuses = player.statuses("rotate")
    assert sorted(statuses[host] for host in HOSTS[:2]) == ["failed", "skipped"]
    assert statuses[HOSTS[2]] == "changed"
    [skipped] = [host for host in HOSTS[:2] if statuses[host] == "skipped"]
    assert player.results("rotate")[skipped]["rotation"]["reason"] == "ha_peer_failed"


def test_variables_of_the_play_count(player: Player) -> None:
    """A login that no inventory has, and a keyword of the play."""
    inventory = player.operator.read_inventory()
    login = inventory["linux"]["vars"].pop("ansible_ssh_private_key_file")
    user = inventory["linux"]["vars"].pop("ansible_user")
    player.operator.write_inventory(inventory)
    play = yaml.safe_load(play_of("{name: rotate, ottr.pki.rotate: }"))
    play[0] |= {"vars": {"ansible_ssh_private_key_file": "{{ login }}"}, "remote_user": user}
    player.play(json.dumps(play), "-e", f"login={login}")
    assert set(player.statuses("rotate").values()) == {"changed"}


def test_what_is_wrong_is_said(player: Player) -> None:
    player.play(play_of("{name: rotate, ottr.pki.rotate: {config: /nowhere.yaml}}"), status=2)
    assert "/nowhere.yaml" in player.results("rotate")[HOSTS[0]]["msg"]
    player.play(play_of("{name: rotate, ottr.pki.rotate: {colour: blue}}"), status=2)
    assert "colour" in player.results("rotate")[HOSTS[0]]["msg"]
    shadow = player.folder / "shadow" / "ottr"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError\n")
    player.play(play_of("{name: rotate, ottr.pki.rotate: }"), status=2, PYTHONPATH=str(shadow.parent))
    assert "required Python library (ottr)" in player.results("rotate")[HOSTS[0]]["msg"]


SLOW = """#!/bin/sh
# Tells that the certificate is bound, and waits until it may go on.
echo $$ >>{mark}
while [ ! -e {go} ]; do sleep 0.05; done
"""


@pytest.mark.parametrize("finish", ["resume", "play"])
def test_a_killed_play_is_finished_without_a_second_order(player: Player, finish: str) -> None:
    mark, go = _hold_reload(player)
    process = player.start(play_of("{name: rotate, ottr.pki.rotate: }"), "--limit", HOSTS[0])
    wait_until(lambda: mark.exists(), "the reload runs")
    for pid in [*_servers(player), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    go.touch()
    [(record, _)] = player.rotations(HOSTS[0])
    assert record.state is State.OPEN
    if finish == "resume":
        player.operator.run("resume")
    else:
        player.play(play_of("{name: rotate, ottr.pki.rotate: }"), "--limit", HOSTS[0])
    [(after, entries)] = player.rotations(HOSTS[0])
    assert (after.state, after.order_url) == (State.ROTATED, record.order_url)
    assert [entry.step for entry in entries if entry.status is Status.DONE].count(Step.ORDER) == 1


def test_a_play_that_dies_leaves_no_device_half_way(player: Player) -> None:
    """Ottr notices that the play is gone, ends what is under way, and itself."""
    mark, go = _hold_reload(player)
    process = player.start(play_of("{name: rotate, ottr.pki.rotate: }"), "--limit", HOSTS[0])
    wait_until(lambda: mark.exists(), "the reload runs")
    [server] = _servers(player)
    os.kill(process.pid, signal.SIGKILL)
    go.touch()
    process.communicate(timeout=60)  # workers may outlive the play
    wait_until(lambda: not Path(f"/proc/{server}").exists(), "Ottr ends")
    [(record, _)] = player.rotations(HOSTS[0])
    assert record.state is State.ROTATED


ORPHAN = """
import os, time
from ansible_collections.ottr.pki.plugins.plugin_utils._asking import _service, find_play

play = os.getpid()
assert find_play() == play
if os.fork():
    os._exit(0)
while os.getppid() == play or os.path.exists(f"/proc/{play}"):
    time.sleep(0.01)
try:
    print("found", find_play())
except _service.ServiceError as error:
    print(error)
"""


def test_a_worker_whose_play_is_gone_starts_nothing() -> None:
    """Its parent is process 1 then, which never ends."""
    command = ["sh", "-c", '"$0" -c "$1" & wait', sys.executable, ORPHAN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "the play has ended\n"


def _hold_reload(player: Player) -> tuple[Path, Path]:
    """The reload of the first host tells when it runs, and waits."""
    mark, go = player.folder / "mark", player.folder / "go"
    script = player.write("reload", SLOW.format(mark=mark, go=go))
    options = player.operator.read_inventory()["linux"]["hosts"][HOSTS[0]]["ottr_options"]
    with script.open("a") as file:
        file.write(f"exec {' '.join(options['reload_command'])}\n")
    script.chmod(0o755)
    player.operator.set_option(HOSTS[0], "reload_command", [str(script)])
    return mark, go


def _servers(player: Player) -> list[int]:
    """Processes of Ottr that serve a play of this player: they are told apart by their home."""
    home = f"HOME={player.operator.environment['HOME']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"ottr.play" in command and home in environment.split(b"\0"):
            found.append(int(folder.name))
    return found
