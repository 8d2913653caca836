# SPDX-License-Identifier: Apache-2.0
"""``python -m bench``: measure and report. Status 1 means that a run failed, not that one was slow."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from bench.peers import NAMES
from bench.report import build_document, print_report
from bench.results import Run
from bench.rounds import Plan, run_rounds


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--hosts", type=_sizes, default=[100], help="size of the fleet, or several: 1,100,200")
    parser.add_argument("--runs", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--peers", type=_peers, default=list(NAMES), help=f"of {','.join(NAMES)} (default: all)")
    parser.add_argument("--sleeps", action="store_true", help="Pebble with its default sleeps")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser.parse_args(argv)


def main() -> int:
    """Measure every size, one after the other."""
    given = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything that was started is ended, as by Ctrl-C
    runs: list[Run] = []
    about: dict[str, str] = {}
    progress = Console(stderr=True)
    for hosts in given.hosts:
        plan = Plan(hosts, given.runs, given.peers, given.sleeps)
        for run in run_rounds(plan, about, progress.print):
            runs.append(run)
            progress.print(f"  {run.wall_s:.2f} s, {run.cpu_s:.2f} s CPU{'' if run.good else ', FAILED'}")
    if given.output == "json":
        print(json.dumps(build_document(runs, about, sleeps=given.sleeps), indent=2))
    else:
        print_report(Console(width=None if sys.stdout.isatty() else 170), runs, about, sleeps=given.sleeps)
    return 0 if all(run.good for run in runs) else 1


def _sizes(text: str) -> list[int]:
    return [_size(part) for part in text.split(",")]


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 2000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 2000")
    return int(text)


def _peers(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(NAMES)}")
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())
