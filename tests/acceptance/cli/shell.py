# SPDX-License-Identifier: Apache-2.0
"""The real command as a process, in a folder and a home of its own."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from ottr.files.start import take_over_lab
from ottr.lab import Lab
from ottr.lab.host import Host
from tests.acceptance.cli import warm
from tests.measuring import measured

DEADLINE_S = 60.0
_KEPT = ("PATH", "LANG", "LC_ALL")

Running = subprocess.Popen[str] | warm.Command


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    stdout: str
    stderr: str
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class Operator:
    """Runs ``ottr`` where ottr.yaml, routing.yaml and inventory/ are."""

    folder: Path
    environment: dict[str, str]
    lab: Lab | None = None
    prefix: tuple[str, ...] = ()
    """A program that runs the command, and its words."""
    _running: list[Running] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path) -> Self:
        home = folder / "home"
        home.mkdir(parents=True)
        kept = {name: value for name, value in measured().items() if name in _KEPT or name.startswith("COV")}
        return cls(folder, {**kept, "HOME": str(home), "TMPDIR": str(folder / "home"), "COLUMNS": "200"})

    @classmethod
    @contextmanager
    def beside(cls, lab: Lab, folder: Path) -> Iterator[Self]:
        """With the files of a lab."""
        operator = cls.at(folder / "operator")
        operator.lab = lab
        take_over_lab(lab.folder, operator.folder)
        try:
            yield operator
        finally:
            operator.end_all()

    def run(self, *arguments: str, status: int = 0, **environment: str) -> Done:
        """Run one command to its end, which must be the status said."""
        process = self.start(*arguments, **environment)
        return self.wait(process, status=status)

    def start(self, *arguments: str, **environment: str) -> Running:
        """Begin a command: as a new Python with a prefix or more of an environment, else as a fork of a warm one."""
        process = self._start(arguments, environment)
        self._running.append(process)
        return process

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Running:
        if not self.prefix and not environment:
            return warm.start(arguments, self.folder, self.environment)
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "ottr", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait(self, process: Running, *, status: int = 0) -> Done:
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        done = Done(stdout, stderr, process.returncode)
        assert done.status == status, f"status {done.status}\n{stdout}\n{stderr}"
        return done

    def run_on_terminal(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run one command on a terminal; return everything it wrote there."""
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "ottr", *arguments],
            cwd=self.folder,
            env=self.environment | {"TERM": "xterm-256color"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        written = b""
        with suppress(OSError):  # EIO: the other end is closed
            while chunk := os.read(leader, 4096):
                written += chunk
        os.close(leader)
        assert process.wait(DEADLINE_S) == status, written.decode()
        return written.decode()

    def end_all(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def read_inventory(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "inventory" / "hosts.yml").read_text())

    def write_inventory(self, content: dict[str, Any]) -> None:
        (self.folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(content))

    def set_variable(self, host: str, name: str, value: Any) -> None:
        """Change one variable of a host."""
        inventory = self.read_inventory()
        inventory["linux"]["hosts"][host][name] = value
        self.write_inventory(inventory)

    def set_option(self, host: str, name: str, value: Any) -> None:
        """Change one option of the driver for a host."""
        options = self.read_inventory()["linux"]["hosts"][host]["ottr_options"]
        self.set_variable(host, "ottr_options", {**options, name: value})

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the operator's inventory, and of the hosts' TLS folders."""
        assert self.lab is not None
        folders = [self.folder / "inventory", *(host.nginx.fullchain.parent for host in self.lab.hosts)]
        return {
            str(path): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()
        }

    def served(self) -> dict[str, str]:
        """What every host serves now."""
        assert self.lab is not None
        return {host.name: host.fetch_served_pem() for host in self.lab.hosts}


def begin_anew(host: Host) -> None:
    """Give a host its self-signed certificate again, without a trace of any rotation."""
    nginx = host.nginx
    shutil.rmtree(nginx.fullchain.parent)
    nginx.prepare()
    subprocess.run(nginx.reload_command, check=True)
    # The former worker takes connections until it is told to end, 100 ms after the new one has begun.
    wait_until(
        lambda: host.fetch_served_pem() == nginx.fullchain.read_text() and nginx.rests(),
        "the self-signed certificate is served, by the new worker alone",
    )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def interrupt(process: Running, number: signal.Signals = signal.SIGINT) -> None:
    os.kill(process.pid, number)
