# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.plan``: how long `ottr plan` takes on a large inventory, beside ``ansible-inventory --list``.

The inventory is one file of names and a host_vars file for each host. Each command is run with the inventory of
the round before changed in one host (Ottr reads it anew) and, for Ottr, again with nothing changed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import yaml
from rich.console import Console

from bench.peers import Command
from bench.report import build_criteria, build_grid, describe_machine
from bench.results import Criterion, Run
from bench.rounds import measure

_SETTINGS = {
    "issuers": {"lab": {"directory": "https://127.0.0.1:14000/dir", "terms_of_service_agreed": True}},
    "default_issuer": "lab",
    "inventory": ["inventory"],
    "routing": "routing.yaml",
    "state": {"folder": "state"},
}
_ROUTE = {
    "match": {"host_platform": "linux"},
    "driver": "linux_ssh",
    "options": {"service": "nginx"},
    "endpoints": [{"port": 443}],
}
_SHARED = {"ansible_user": "root", "host_platform": "linux", "os_version": "12", "certificate_authority": "lab"}


def write_inventory(folder: Path, count: int) -> None:
    """Write ottr.yaml, routing.yaml and an inventory of ``count`` hosts in ten groups."""
    host_vars = folder / "inventory" / "host_vars"
    host_vars.mkdir(parents=True)
    sites = [range(site, count, 10) for site in range(10)]
    groups = {f"site{site[0]}": {"hosts": {f"web{n}.lab.test": None for n in site}} for site in sites if site}
    content = {"all": {"vars": _SHARED, "children": groups}}
    (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(content))
    for number in range(count):
        write_host(host_vars, number, common_name=f"web{number}.lab.test")
    (folder / "ottr.yaml").write_text(yaml.safe_dump(_SETTINGS))
    (folder / "routing.yaml").write_text(yaml.safe_dump({"routes": [_ROUTE]}))


def write_host(host_vars: Path, number: int, *, common_name: str) -> None:
    """Write the variables of one host."""
    name = f"web{number}.lab.test"
    variables = {
        "ansible_host": f"127.{100 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}",
        "common_name": common_name,
        "subject_alternative_name": [name, f"www.{name}"],
        "certificate_serial": "{{ 'ab' * 8 }}",
    }
    (host_vars / name).with_name(f"{name}.yml").write_text(yaml.safe_dump(variables))


def run_rounds(folder: Path, hosts: int, runs: int) -> list[Run]:
    """Measure: Ansible, Ottr after a change, Ottr again."""
    environment = {"OTTR_CONFIG": str(folder / "ottr.yaml"), "XDG_CACHE_HOME": str(folder / "cache")}
    ansible = Path(sys.executable).with_name("ansible-inventory")
    listing = Command((str(ansible), "-i", str(folder / "inventory"), "--list"), environment)
    plan = Command((sys.executable, "-m", "ottr", "plan", "--output", "json"), environment)
    found: list[Run] = []
    for number in range(1, runs + 1):
        write_host(folder / "inventory" / "host_vars", 0, common_name=f"round{number}.lab.test")
        for name, command in (("ansible-inventory", listing), ("plan, changed", plan), ("plan, unchanged", plan)):
            log = folder / "output"
            measured = measure(command, log, hosts)
            lacks = () if f"web{hosts - 1}.lab.test" in log.read_text() else ("the last host is missing",)
            found.append(Run.of(name, hosts, number, measured, lacks))
    return found


def judge(runs: Sequence[Run]) -> list[Criterion]:
    """Hold the project's two criteria against the medians."""
    ansible, first, second = (
        median(run.wall_s for run in runs if run.peer == name)
        for name in ("ansible-inventory", "plan, changed", "plan, unchanged")
    )
    hosts = runs[0].hosts
    return [
        Criterion(f"{hosts} hosts: first plan, times ansible-inventory --list", 1.0, first / ansible),
        Criterion(f"{hosts} hosts: seconds of a plan when nothing changed", 2.0, second),
    ]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description=__doc__)
    parser.add_argument("--hosts", type=int, default=10000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name:
        folder = Path(name)
        write_inventory(folder, given.hosts)
        runs = run_rounds(folder, given.hosts, given.runs)
    criteria = judge(runs)
    if given.output == "json":
        verdicts = [asdict(one) | {"verdict": one.verdict} for one in criteria]
        document = {"machine": describe_machine(), "runs": [asdict(run) for run in runs], "criteria": verdicts}
        print(json.dumps(document, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 170)
        console.print(build_grid(runs))
        console.print(build_criteria(criteria))
    return 0 if all(run.good for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
