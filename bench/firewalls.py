# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.firewalls``: many simulated firewalls whose commits take long, beside one of them alone.

The firewalls are in processes of their own, a tenth of them in each. What is measured is `ottr rotate` from its start
to its end, first with one firewall, then with all of them and as many forks.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from bench.fleet import look
from bench.meter import adopt_orphans
from bench.peers import Command
from bench.report import build_criteria, build_grid, describe_machine
from bench.results import Criterion, Run
from bench.rounds import measure
from ottr.lab import Lab
from ottr.lab.appliance import PANOS, Model, Way

_PROCESSES = 10
_POLL = "show jobs id"


@dataclass(frozen=True, slots=True)
class Asked:
    """How often one firewall was asked for what during its one rotation."""

    hostname: str
    requests: Mapping[str, int]

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())

    @property
    def polls(self) -> int:
        """Looks at its one commit job."""
        return self.requests.get(_POLL, 0)


def rotate(folder: Path, count: int, commit_s: float) -> tuple[Run, list[Asked]]:
    """Rotate a fresh fleet once."""
    folder.mkdir()
    with Lab(folder / "lab", 0, simulated=tuple(build_models(count, commit_s))) as lab:
        argv = (sys.executable, "-m", "ottr", "rotate", "--forks", str(count))
        environment = {"OTTR_CONFIG": str(lab.settings), "XDG_CACHE_HOME": str(folder / "cache")}
        measured = measure(Command(argv, environment), folder / "output", count)
        failures = [f"{one.name}: {one.problem}" for one in look(lab.devices, lab.trust) if one.problem]
        simulators = {appliance.process for appliance in lab.appliances}
    run = Run.of("ottr", count, 1, measured, failures)
    if not run.good:
        sys.stderr.write((folder / "output").read_text(errors="replace")[-3000:])
    return run, [asked for process in simulators for asked in read_requests(process.log)]


def build_models(count: int, commit_s: float) -> Iterator[Model]:
    """Spread the firewalls over the processes."""
    options = {name: value for name, value in PANOS.ways[-1].options.items() if name != "poll_interval"}
    way = Way(">=9", options)
    arguments = ("--commit-s", str(commit_s), "--restart-s", "1")
    product = replace(PANOS, ways=(way,), arguments=arguments)
    for number in range(_PROCESSES):
        share = count // _PROCESSES + (number < count % _PROCESSES)
        if share:
            yield Model(product, "10.2.4", way, share)


def read_requests(log: Path) -> Iterator[Asked]:
    """What a simulator has written at its end."""
    for line in log.read_text().splitlines():
        if line.startswith("{") and "requests" in (document := json.loads(line)):
            yield Asked(document["hostname"], document["requests"])


def judge(alone: Run, fleet: Run, asked: Sequence[Asked]) -> list[Criterion]:
    """Hold the project's criteria against what was measured."""
    size = f"{fleet.hosts} firewalls"
    return [
        Criterion(f"{size}: wall time, times that of one alone", 1.5, fleet.wall_s / alone.wall_s),
        Criterion(f"{size}: peak memory in MiB", 250, fleet.peak_rss_mib),
        Criterion(f"{size}: looks at a commit job, at most", 12, max(one.polls for one in asked)),
    ]


def print_report(console: Console, runs: Sequence[Run], criteria: Sequence[Criterion], asked: Sequence[Asked]) -> None:
    """The tables, and what the firewalls were asked for."""
    console.print(build_grid(runs))
    most = max(asked, key=lambda one: one.total)
    words = ", ".join(f"{operation} {number}" for operation, number in sorted(most.requests.items()))
    least = min(one.total for one in asked)
    console.print(f"requests a rotation: {least} to {most.total}; those of {most.hostname}: {words}", highlight=False)
    console.print(build_criteria(criteria))


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.firewalls", description=__doc__)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--commit-s", type=float, default=30.0, help="how long a commit takes")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything that was started is ended, as by Ctrl-C
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name:
        alone, _ = rotate(Path(name, "alone"), 1, given.commit_s)
        fleet, asked = rotate(Path(name, "fleet"), given.devices, given.commit_s)
    runs, criteria = [alone, fleet], judge(alone, fleet, asked)
    if given.output == "json":
        document = {
            "machine": describe_machine(),
            "runs": [asdict(run) | {"good": run.good} for run in runs],
            "requests": [asdict(one) for one in asked],
            "criteria": [asdict(one) | {"verdict": one.verdict} for one in criteria],
        }
        print(json.dumps(document, indent=2))
    else:
        print_report(Console(width=None if sys.stdout.isatty() else 170), runs, criteria, asked)
    return 0 if all(run.good for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
