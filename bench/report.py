# SPDX-License-Identifier: Apache-2.0
"""Results as tables for people and as one JSON document."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from bench.results import Criterion, Run, Summary, Table, judge, summarize

FORM = 1
"""Counted up when the JSON document changes in a way that readers notice."""

_HEADERS = ("runs", "wall s", "hosts/s", "CPU s", "CPU ms/host", "lab ms/host", "peak MiB", "largest MiB", "processes")
_RATIOS = {
    "wall_by_floor": "wall/floor",
    "cpu_by_floor": "CPU/floor",
    "wall_by_ottr": "wall/ottr",
    "cpu_by_ottr": "CPU/ottr",
}
_VERDICTS = {"met": "green", "met within slack": "yellow", "not met": "red", "not measured": "dim"}


def build_document(runs: Sequence[Run], about: Mapping[str, str], *, sleeps: bool) -> dict[str, Any]:
    """Everything, without rounding away what somebody may want to compute with."""
    table = summarize(runs)
    return {
        "form": FORM,
        "machine": describe_machine(),
        "pebble_sleeps": sleeps,
        "peers": dict(about),
        "runs": [{**asdict(run), "good": run.good} for run in runs],
        "medians": [asdict(one) | _ratios(table, one) for one in table.values()],
        "criteria": [asdict(one) | {"verdict": one.verdict} for one in judge(table, sleeps=sleeps)],
    }


def describe_machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def print_report(console: Console, runs: Sequence[Run], about: Mapping[str, str], *, sleeps: bool) -> None:
    """The table, what failed, and the criteria."""
    table = summarize(runs)
    mode = "with its default sleeps, rejected nonces and reused authorizations" if sleeps else "without sleeps"
    machine = describe_machine()
    console.print(f"\nPebble {mode}; {machine['cores']} cores, Python {machine['python']}; medians of the good runs")
    console.print(build_grid(runs))
    for peer, words in about.items():
        console.print(f"  {peer}: {words}", highlight=False)
    for run in runs:
        if not run.good:
            _print_failure(console, run)
    console.print(build_criteria(judge(table, sleeps=sleeps)))


def build_grid(runs: Sequence[Run]) -> Grid:
    """Medians, a line for each size and peer; ratios only where the floor or Ottr is among them."""
    table = summarize(runs)
    shown = [key for key in _RATIOS if any(_ratios(table, one)[key] for one in table.values())]
    grid = Grid("peer", "hosts", *_HEADERS, *(_RATIOS[key] for key in shown), box=box.SIMPLE)
    for column in grid.columns[1:]:
        column.justify = "right"
    for one in sorted(table.values(), key=lambda one: (one.hosts, one.wall_s)):
        grid.add_row(*_describe(one), *(_describe_ratio(_ratios(table, one)[key]) for key in shown))
    return grid


def _describe(one: Summary) -> tuple[str, ...]:
    runs = f"{one.runs - one.failed}/{one.runs}"
    sizes = (f"{one.peak_rss_mib:.0f}", f"{one.process_rss_mib:.0f}", f"{one.processes:.0f}")
    times = (f"{one.wall_s:.2f}", f"{one.hosts_per_s:.2f}", f"{one.cpu_s:.2f}", f"{one.cpu_ms_per_host:.1f}")
    lab = "-" if one.lab_cpu_ms_per_host is None else f"{one.lab_cpu_ms_per_host:.1f}"
    return (one.peer, str(one.hosts), runs, *times, lab, *sizes)


def _describe_ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _ratios(table: Table, one: Summary) -> dict[str, float | None]:
    floor, ottr = table.get((one.hosts, "floor")), table.get((one.hosts, "ottr"))
    return {
        "wall_by_floor": one.wall_s / floor.wall_s if floor else None,
        "cpu_by_floor": one.cpu_s / floor.cpu_s if floor else None,
        "wall_by_ottr": one.wall_s / ottr.wall_s if ottr else None,
        "cpu_by_ottr": one.cpu_s / ottr.cpu_s if ottr else None,
    }


def _print_failure(console: Console, run: Run) -> None:
    console.print(
        f"[red]failed[/red]: {run.peer}, {run.hosts} hosts, round {run.number}: status {run.status}, "
        f"{len(run.failures)} hosts without a new certificate"
    )
    for line in run.failures[:3]:
        console.print(f"    {line}", highlight=False, markup=False)


def build_criteria(criteria: Sequence[Criterion]) -> Grid:
    """A line for each."""
    grid = Grid(box=box.SIMPLE, title="The project's own criteria (25 % slack for noise)", title_justify="left")
    grid.add_column("demand")
    for header in ("limit", "measured"):
        grid.add_column(header, justify="right")
    grid.add_column("verdict")
    for one in criteria:
        limit = f"{'>=' if one.at_least else '<='} {one.limit:g}"
        value = "-" if one.value is None else f"{one.value:.2f}"
        grid.add_row(one.demand, limit, value, f"[{_VERDICTS[one.verdict]}]{one.verdict}")
    return grid
