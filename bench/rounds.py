# SPDX-License-Identifier: Apache-2.0
"""Interleaved rounds: every peer once a round, so that a noisy minute hits all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet import Fleet, open_lab
from bench.meter import adopt_orphans
from bench.peers import Command, Peer, build_peer
from bench.results import Run

_TIMEOUT_S = 60.0
_TIMEOUT_PER_HOST_S = 8.0
_ROOT = Path(__file__).parents[1]

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    hosts: int
    runs: int
    peers: Sequence[str]
    sleeps: bool


def run_rounds(plan: Plan, about: dict[str, str], tell: Tell) -> Iterator[Run]:
    """Open a lab and measure; ``about`` learns how each peer is run. Everything is in one folder that goes away."""
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name:
        folder = Path(name)
        tell(f"a lab of {plan.hosts} hosts")
        with open_lab(folder / "lab", plan.hosts, sleeps=plan.sleeps) as lab:
            fleet = Fleet(lab, sleeps=plan.sleeps)
            peers = {peer: build_peer(peer, fleet, folder / peer) for peer in plan.peers}
            about.update({peer: made.about for peer, made in peers.items()})
            for number in range(1, plan.runs + 1):
                for peer in _order(plan.peers, number):
                    tell(f"round {number}: {peer}")
                    yield _run(fleet, peers[peer], peer, number, folder)


def _order(peers: Sequence[str], number: int) -> Sequence[str]:
    """Each round begins with another one."""
    first = (number - 1) % len(peers)
    return (*peers[first:], *peers[:first])


def _run(fleet: Fleet, peer: Peer, name: str, number: int, folder: Path) -> Run:
    fleet.reset()
    log = folder / f"{name}{number}.log"
    command, before_s = peer.build_command(number), fleet.read_cpu_s()
    measured = measure(command, log, len(fleet.hosts))
    measured["lab_cpu_s"] = round(fleet.read_cpu_s() - before_s, 4)
    run = Run.of(name, len(fleet.hosts), number, measured, fleet.find_failures())
    if not run.good:
        sys.stderr.write(log.read_text(errors="replace")[-3000:])
    return run


def measure(command: Command, log: Path, hosts: int) -> dict[str, float]:
    """Run a command under the meter, its output into ``log``, and return the meter's report."""
    report, timeout_s = log.with_suffix(".json"), _TIMEOUT_S + _TIMEOUT_PER_HOST_S * hosts
    environment = {**os.environ, **command.environment}
    # Without bytecode every start of Python compiles what it imports: nobody is measured like that.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    meter = (sys.executable, "-m", "bench.meter", str(report), str(timeout_s), str(log), *command.argv)
    with subprocess.Popen(meter, env=environment, cwd=_ROOT) as running:
        try:
            status = running.wait()
        except BaseException:
            running.terminate()  # it ends what it measures
            raise
    if status:
        raise RuntimeError(f"the meter ended with status {status}")
    measured: dict[str, float] = json.loads(report.read_text())
    return measured
