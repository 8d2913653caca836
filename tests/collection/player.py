# SPDX-License-Identifier: Apache-2.0
"""``ansible-playbook`` as an operator runs it from the checkout, beside the operator's own files."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ottr.model import Secret
from ottr.state.database import Database
from ottr.state.journal import Entry, Journal, Record
from ottr.state.leases import Leases, current_owner
from tests.acceptance.cli.shell import Done, Operator

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
LIMIT_S = 300.0
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Outcome:
    """How one task came out on one host."""

    status: str
    host: str
    task: str
    result: Mapping[str, Any]


@dataclass
class Player:
    """Runs playbooks against the inventory of an operator."""

    operator: Operator
    temporary: str
    """A short name: sockets are made there, whose names have some 100 characters at most."""
    under: Sequence[str] = ()
    """A program that runs the others, as strace."""
    counted: bool = False
    """Whether the coverage of Ottr within a play counts: of the process that serves it, and not of Ansible's own,
    which are many and only ask."""

    @property
    def folder(self) -> Path:
        return self.operator.folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def play(self, playbook: Path | str, *arguments: str, status: int = 0, **environment: str) -> Done:
        """Run one playbook to its end. A text is a playbook, too."""
        return self.wait(self.start(playbook, *arguments, **environment), status=status)

    def wait(self, process: subprocess.Popen[str], *, status: int = 0) -> Done:
        """Wait for what was begun; its status must be the one said."""
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        assert process.returncode == status, f"status {process.returncode}\n{stdout}\n{stderr}"
        return Done(stdout, stderr, process.returncode)

    def start(self, playbook: Path | str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        path = self.write("playbook.yml", playbook) if isinstance(playbook, str) else playbook
        self._results.unlink(missing_ok=True)
        words = ("ansible-playbook", str(path), "-i", "inventory", *arguments)
        return self._begin(words, put_off_measuring(self.environment) | environment)

    def command(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a program of Ansible's."""
        return self._begin((name, *arguments), self.environment | environment)

    def _begin(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        name, *arguments = words
        process = subprocess.Popen(
            [*self.under, sys.executable, str(BIN / name), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.operator._running.append(process)
        return process

    def outcomes(self, task: str = "", *, matching: Callable[[Outcome], bool] = lambda one: True) -> Sequence[Outcome]:
        """What the last play did, in its order; of one task."""
        lines = self._results.read_text().splitlines() if self._results.exists() else []
        found = [Outcome(**json.loads(line)) for line in lines]
        return [one for one in found if (not task or one.task == task) and matching(one)]

    def statuses(self, task: str) -> dict[str, str]:
        """How each host came out of a task."""
        return {one.host: one.status for one in self.outcomes(task)}

    def results(self, task: str) -> dict[str, Mapping[str, Any]]:
        return {one.host: one.result for one in self.outcomes(task)}

    def rotations(self, host: str) -> Sequence[tuple[Record, Sequence[Entry]]]:
        """The rotations of a host as the journal has them."""
        database = Database(Secret(f"sqlite:///{self._state}"))
        try:
            clock = lambda: datetime.now(UTC)  # noqa: E731
            journal = Journal(database, Leases(database, current_owner(), clock), clock)
            return [(record, journal.entries(record.id)) for record in journal.history(host)]
        finally:
            database.close()

    def count_rows(self, table: str) -> int:
        """How much the state database has of something."""
        with closing(sqlite3.connect(self._state)) as database:
            [(count,)] = database.execute(f"SELECT count(*) FROM {table}")
        return int(count)

    @property
    def environment(self) -> dict[str, str]:
        """Of every program of Ansible's."""
        given = self.operator.environment
        kept = {name: value for name, value in given.items() if self.counted or not name.startswith("COV")}
        return {**kept, **self._environment}

    @property
    def _state(self) -> Path:
        settings = yaml.safe_load((self.folder / "ottr.yaml").read_text())
        return self.folder / settings.get("state", {}).get("folder", ".ottr") / "state.db"

    @property
    def _results(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT),
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "ottr_test_results",
            "OTTR_TEST_RESULTS": str(self._results),
            "TMPDIR": self.temporary,
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "10000",
        }


def put_off_measuring(environment: Mapping[str, str]) -> dict[str, str]:
    """Let what a play starts be measured for its coverage, and not the play: the callback plugin sets the variable."""
    names = {"COVERAGE_PROCESS_CONFIG": "OTTR_TEST_COVERAGE"}
    return {names.get(name, name): value for name, value in environment.items()}
