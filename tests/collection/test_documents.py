# SPDX-License-Identifier: Apache-2.0
"""What is written about the collection holds, and all of it gets to whoever installs the package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ottr.lab import Lab
from tests.collection.player import BIN, LIMIT_S, PLAYBOOKS, ROOT, Player

COLLECTION = ROOT / "ansible_collections" / "ottr" / "pki"
_BLOCK = re.compile(r"^<!-- test: play -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_SHIPPED = ("extensions", "tests")


def files() -> Iterator[Path]:
    for path in COLLECTION.rglob("*"):
        inner = path.relative_to(COLLECTION)
        made = any(part == "__pycache__" or part.startswith(".") for part in inner.parts)
        if path.is_file() and not made and inner.parts[0] not in NOT_SHIPPED:
            yield inner


def test_the_playbooks_run_as_the_readme_says(fleet: Lab, player: Player) -> None:
    [block] = _BLOCK.findall((ROOT / "README.md").read_text())
    commands = "\n".join(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
    script = commands.replace("/tmp/ottr-lab", str(fleet.folder)).replace(
        "/tmp/plan.html", str(player.folder / "p.html")
    )
    assert script.count("ansible-playbook") == 5
    assert "/tmp/ottr-lab" not in script
    own = {name: value for name, value in player.operator.environment.items() if not name.startswith("COV")}
    environment = {**own, "PATH": f"{BIN}:{own['PATH']}", "TMPDIR": player.temporary}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+issuer: lab" in done.stdout
    assert (player.folder / "p.html").read_text().count("not_due") == len(fleet.hosts)


def test_the_package_brings_all_of_the_collection() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = settings["ansible_collections.ottr.pki"]
    lost = [
        path for path in files() if path.suffix != ".py" and not any(path in _glob(pattern) for pattern in patterns)
    ]
    assert lost == []


def _glob(pattern: str) -> set[Path]:
    return {path.relative_to(COLLECTION) for path in COLLECTION.glob(pattern)}


@pytest.mark.parametrize("kind", ["module", "lookup", "inventory", "role"])
def test_everything_is_documented(player: Player, kind: str) -> None:
    process = player.command("ansible-doc", "--json", "-t", kind, *_names(kind))
    found = json.loads(player.wait(process).stdout)
    assert set(found) == set(_names(kind))
    for name, plugin in found.items():
        if kind == "role":
            assert plugin["entry_points"]["main"]["options"], name
            continue
        assert plugin["doc"]["description"], name
        assert plugin["examples"], name
        if kind == "module":
            assert plugin["return"], name
            assert plugin["doc"]["attributes"]["check_mode"]["support"] == "full", name


def _names(kind: str) -> list[str]:
    folder = COLLECTION / ("roles" if kind == "role" else f"plugins/{'modules' if kind == 'module' else kind}")
    return sorted(f"ottr.pki.{path.stem}" for path in folder.iterdir() if path.name[0] != "_")


def test_every_module_is_in_an_action_group() -> None:
    runtime = yaml.safe_load((COLLECTION / "meta" / "runtime.yml").read_text())
    groups = runtime["action_groups"]
    assert [f"ottr.pki.{name}" for group in groups.values() for name in group] == _names("module")
    assert all(name.startswith("ca_") for name in groups["ca"])


def test_defaults_of_the_group_count(player: Player) -> None:
    play = """
- hosts: web1.lab.test
  gather_facts: false
  module_defaults: {group/ottr.pki.ottr: {config: /nowhere.yaml}}
  tasks: [{name: plan, ottr.pki.plan: }]
"""
    player.play(play, status=2)
    assert "/nowhere.yaml" in player.results("plan")["web1.lab.test"]["msg"]


def test_the_examples_at_the_top_level_can_be_planned(player: Player) -> None:
    folder = player.folder / "examples"
    folder.mkdir()
    for name in ("ansible.cfg", "ottr.yaml", "routing.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "inventory", folder / "inventory", ignore=shutil.ignore_patterns("certificate.yml"))
    arguments = (str(PLAYBOOKS / "plan.yml"), "-i", "examples/inventory", "-e", f"report={folder}/plan.html")
    player.wait(player.command("ansible-playbook", *arguments, OTTR_CONFIG=str(folder / "ottr.yaml")))
    plans = [one.result["plan"] for one in player.outcomes("Look what is due")]
    assert {plan["reason"] for plan in plans} == {"never_issued"}
