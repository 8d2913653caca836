# SPDX-License-Identifier: Apache-2.0
"""Every driver keeps every clause of the contract at every version; and for each clause there is one that does not."""

from __future__ import annotations

import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import ottr.drivers
from ottr.drivers import load
from ottr.testing.clauses import CLAUSES, Clause
from ottr.testing.contract import judge, name_clause, try_driver
from ottr.testing.stand import load_stand
from tests.drivers.mutants import MUTANTS
from tests.measuring import measured

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "adding-a-driver.md").read_text()
OURS = tuple(module.name for module in pkgutil.iter_modules(ottr.drivers.__path__) if module.ispkg)
CASES = [
    pytest.param(name, version, clause, id=f"{name}-{version}-{clause.__name__}")
    for name in OURS
    for version in load_stand(load(name), name).VERSIONS
    for clause in CLAUSES
]


@pytest.mark.no_cover  # each driver has tests of its own, and the mutants ask all of the kit
@pytest.mark.parametrize(("name", "version", "clause"), CASES)
def test_every_driver_of_ours_keeps_every_clause(name: str, version: str, clause: Clause) -> None:
    (verdict,) = try_driver(name, [version], [clause])
    assert verdict.problem == ""


@pytest.fixture
def kettle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example of the guide as a distribution that is installed beside ours."""
    files = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("ottr_kettle"):
            del sys.modules[name]


def install(site: Path) -> None:
    """What pip makes of the pyproject.toml there."""
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


def run_ottr(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ottr", *arguments],
        env={**measured(), "PYTHONPATH": str(site)},
        cwd=site,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def judge_mutant(mutant: str, clauses: Iterable[Clause]) -> set[str]:
    """The names of the clauses that it breaks."""
    _, build = MUTANTS[mutant]
    driver = load("kettle")
    stand = load_stand(driver, "kettle")
    verdicts = [judge(one, build(driver), stand, stand.VERSIONS[0]) for one in clauses]
    return {verdict.clause for verdict in verdicts if verdict.problem}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_driver_breaks_its_clause(kettle: Path, mutant: str) -> None:
    broken, _ = MUTANTS[mutant]
    assert judge_mutant(mutant, (one for one in CLAUSES if name_clause(one) == broken)) == {broken}


@pytest.mark.no_cover  # the clauses that are kept are asked by the guide's command, too
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_driver_breaks_no_other_clause(kettle: Path, mutant: str) -> None:
    broken, _ = MUTANTS[mutant]
    assert judge_mutant(mutant, (one for one in CLAUSES if name_clause(one) != broken)) == set()


def test_each_clause_is_broken_by_a_driver() -> None:
    assert {clause for clause, _ in MUTANTS.values()} == {name_clause(clause) for clause in CLAUSES}


def test_the_guide_s_driver_is_proven_by_the_guide_s_command(kettle: Path) -> None:
    (example,) = re.findall(r"^<!-- test: contract -->\n```console\n\$ ottr (.*?)\n(.*?)^```$", GUIDE, re.M | re.S)
    command, output = example
    done = run_ottr(kettle, *command.split())
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


def test_the_guide_s_driver_is_written_as_ours_are(kettle: Path) -> None:
    command = [sys.executable, "-m", "ruff"]
    settings = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    package = str(kettle / "ottr_kettle")
    rules = ["--ignore", "D1,S101,ARG"]
    for how in (["check", *settings, *rules], ["format", "--check", *settings]):
        done = subprocess.run([*command, *how, package], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_guide_names_every_clause() -> None:
    for clause in CLAUSES:
        summary = (clause.__doc__ or "").partition("\n")[0]
        assert f"| {name_clause(clause)} | {summary} |" in GUIDE


def test_a_clause_that_is_broken_is_told_and_is_the_exit_status(kettle: Path) -> None:
    driver = kettle / "ottr_kettle" / "driver.py"
    text = driver.read_text()
    assert text.count('hint="wait until the water boils"') == 1
    driver.write_text(text.replace('hint="wait until the water boils"', 'hint=""'))
    shown = run_ottr(kettle, "drivers", "test", "kettle", "--clause", "hint", "--clause", "twice")
    assert shown.returncode == 2
    _, first, second = shown.stdout.splitlines()
    assert first == "  kept    install twice is install once"
    assert second.startswith("  broken  faults become errors with a hint: boiling: DeviceBusy(")
    machine = run_ottr(kettle, "drivers", "test", "kettle", "--clause", "hint", "-o", "json")
    assert machine.returncode == 2
    (clause,) = json.loads(machine.stdout)["clauses"]
    assert (clause["os_version"], clause["kept"]) == ("2.1", False)
    assert "has no hint" in clause["problem"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["test"], 5, "needs the NAME"),
        (["list", "kettle"], 5, "belong to `ottr drivers test`"),
        (["test", "kettle", "--clause", "nonsense"], 5, "no clause has the words 'nonsense'"),
        (["test", "nobody"], 1, "there is no driver 'nobody'"),
    ],
)
def test_what_cannot_be_tested_is_said(kettle: Path, arguments: list[str], status: int, words: str) -> None:
    done = run_ottr(kettle, "drivers", *arguments)
    assert done.returncode == status
    assert words in done.stderr


def test_a_driver_without_a_stand_is_told_where_to_read(kettle: Path) -> None:
    (kettle / "ottr_kettle" / "stand.py").unlink()
    done = run_ottr(kettle, "drivers", "test", "kettle")
    assert done.returncode == 1
    assert "there is no module ottr_kettle.stand" in done.stderr
    assert "adding-a-driver" in done.stderr
