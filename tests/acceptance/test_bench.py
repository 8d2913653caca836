# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures what it says it measures; how fast anything is, no test asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.fleet import Fleet
from bench.results import Criterion, Run, judge, summarize
from ottr.lab import Lab

_ROOT = Path(__file__).parents[2]


def _run(peer: str, wall_s: float, *, hosts: int = 100, status: int = 0, failures: tuple[str, ...] = ()) -> Run:
    measured = {"status": status, "wall_s": wall_s, "cpu_s": 1.0, "peak_rss_kib": 2048, "process_rss_kib": 1024}
    return Run.of(peer, hosts, 1, {**measured, "processes": 1}, failures)


def _measure(folder: Path, timeout_s: str, *command: str) -> dict[str, float]:
    argv = (sys.executable, "-m", "bench.meter", str(folder / "report"), timeout_s, str(folder / "log"), *command)
    subprocess.run(argv, cwd=_ROOT, timeout=60, check=True)
    report: dict[str, float] = json.loads((folder / "report").read_text())
    return report


def test_two_hosts_end_to_end() -> None:
    argv = (sys.executable, "-m", "bench", "--hosts", "2", "--runs", "1", "--peers", "floor,ottr", "--output", "json")
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(run["peer"], run["good"], run["hosts"]) for run in report["runs"]] == [
        ("floor", True, 2),
        ("ottr", True, 2),
    ]
    for median in report["medians"]:
        assert median["cpu_s"] > 0
        assert 0 < median["process_rss_mib"] <= median["peak_rss_mib"]
    assert {criterion["verdict"] for criterion in report["criteria"]} == {"not measured"}


def test_firewalls_end_to_end() -> None:
    argv = (sys.executable, "-m", "bench.firewalls", "--devices", "3", "--commit-s", "0.5", "--output", "json")
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(run["good"], run["hosts"]) for run in report["runs"]] == [(True, 1), (True, 3)]
    assert [one["requests"]["commit"] for one in report["requests"]] == [1, 1, 1]
    wall, memory, looks = report["criteria"]
    assert wall["value"] == report["runs"][1]["wall_s"] / report["runs"][0]["wall_s"]
    assert memory["value"] == report["runs"][1]["peak_rss_mib"]
    assert looks["value"] == max(one["requests"]["show jobs id"] for one in report["requests"])


def test_a_fleet_nobody_rotated_has_failed(lab: Lab) -> None:
    failures = Fleet(lab, sleeps=False).find_failures()
    assert [line.split(":")[0] for line in failures] == [host.name for host in lab.hosts]


def test_the_meter_ends_what_a_command_leaves_behind(tmp_path: Path) -> None:
    script = f"sh -c 'echo $$ >{tmp_path}/left; exec sleep 100' & until [ -s {tmp_path}/left ]; do :; done; exit 3"
    argv = (
        sys.executable,
        "-m",
        "bench.meter",
        str(tmp_path / "report"),
        "30",
        str(tmp_path / "log"),
        "sh",
        "-c",
        script,
    )
    subprocess.run(argv, cwd=_ROOT, timeout=60, check=True)
    report = json.loads((tmp_path / "report").read_text())
    assert report["status"] == 3
    assert report["wall_s"] < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "left").read_text()), 0)


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    assert _measure(tmp_path, "0.2", "sleep", "100")["status"] == 124


def test_medians_are_of_good_runs() -> None:
    runs = [
        _run("floor", 4.0),
        _run("floor", 6.0),
        _run("floor", 0.1, failures=("web1: old",)),
        _run("lego", 1, status=1),
    ]
    table = summarize(runs)
    assert [(one.peer, one.wall_s, one.runs, one.failed) for one in table.values()] == [("floor", 5.0, 3, 1)]


def test_criteria_are_about_their_own_size() -> None:
    runs = [_run("floor", 4.0), _run("ottr", 6.0), _run("lego", 13.0), _run("floor", 1.0, hosts=1)]
    verdicts = {one.demand: one.verdict for one in judge(summarize(runs), sleeps=False)}
    assert verdicts["100 hosts: wall time, times the floor's"] == "met"
    assert verdicts["100 hosts: hosts per second, times those of lego"] == "met"
    assert verdicts["1 host, inventory read: wall time, times the floor's"] == "not measured"
    assert {one.verdict for one in judge(summarize(runs), sleeps=True)} == {"not measured"}


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (2.0, False, "met"),
        (2.5, False, "met within slack"),
        (2.6, False, "not met"),
        (2.0, True, "met"),
        (1.6, True, "met within slack"),
        (1.5, True, "not met"),
        (None, True, "not measured"),
    ],
)
def test_verdicts(value: float | None, at_least: bool, verdict: str) -> None:
    assert Criterion("", 2.0, value, at_least).verdict == verdict
