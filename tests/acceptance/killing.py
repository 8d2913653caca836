# SPDX-License-Identifier: Apache-2.0
"""Runs of the orchestrator in processes of their own that are killed (SIGKILL) at their n-th act.

An act is a journal transaction, a request (SSH, HTTP, DNS, TLS) or a rename of a file; each counts twice,
before and after it, and a script that has been sent to the host counts once more before it is answered.
The process forks from one that has everything imported already: only that makes a sweep of all acts affordable.
"""

from __future__ import annotations

import contextlib
import json
import os
import posix
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dns.query
import paramiko

import ottr.acme.issuer
import ottr.dns.publisher
import ottr.dns.rfc2136
import ottr.drivers.linux_ssh.driver
import ottr.hooks
import ottr.inventory.writeback
import ottr.probe
import ottr.recorder
from ottr.app import App, Options
from ottr.model import Outcome
from ottr.orchestrator.runner import Rollout, Stop
from ottr.service import RotationService, Selection
from ottr.state.database import Database
from ottr.transports import ssh
from ottr.transports.http import HttpClient
from ottr.transports.shell import RemoteShell

LIMIT_S = 60.0
_LOOK = "look"
_READS = (
    b"type=op&cmd=%3Cshow",
    b"action=get",
    b"action=show",
    b"type=export",
    b"tmsh list",
    b"grep ^ottr-",
    b"-c 'ls ",
)
"""In what the XML API of PAN-OS is asked, and the shell of a BIG-IP."""

Verb = Callable[[RotationService], Any]


def rotate(service: RotationService) -> Any:
    return service.rotate(Selection(), Rollout(forks=4), Stop(), forced=True)


def resume(service: RotationService) -> Any:
    return service.resume(Rollout(forks=4), Stop())


class Countdown:
    """Kills this process at the n-th act; with 0 it only counts."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0
        self.kinds: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, kind: str) -> None:
        with self._lock:
            self.passed += 1
            self.kinds.append(kind)
            if self.passed == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            kind = _name(name, args, kwargs)
            self(f"before {kind}")
            value = real(*args, **kwargs)
            self(f"after {kind}")
            return value

        setattr(owner, name, counted)

    def around_block(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        @contextlib.contextmanager
        def counted(*args: Any, **kwargs: Any) -> Any:
            self(f"before {name}")
            with real(*args, **kwargs) as value:
                yield value
            self(f"after {name}")

        setattr(owner, name, counted)

    def watch(self) -> None:
        """Count everything that leaves this process, and everything it writes down."""
        self.around_block(Database, "write")
        self.around(RemoteShell, "run")
        self.around(paramiko.Channel, "sendall")
        self.around(ssh, "_negotiate")
        self.around(HttpClient, "request")
        self.around(dns.query, "udp")
        self.around(dns.query, "tcp")
        self.around(ottr.probe, "_handshake")
        for name in ("replace", "rename"):
            self.around(os, name)


def run(settings: Path, verb: Verb, log: Path, at: int = 0) -> int:
    """Fork, run a verb, return the exit status: 0 all well, 1 not, -9 killed. The log says how many acts there were."""
    child = os.fork()
    if child == 0:
        _in_child(settings, verb, log, at)
    deadline = time.monotonic() + LIMIT_S
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"a run took longer than {LIMIT_S} s: {log.read_text()}")
        select.select([], [], [], 0.005)
    return os.waitstatus_to_exitcode(ended[1])


def _in_child(settings: Path, verb: Verb, log: Path, at: int) -> None:
    status = 1
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 2)
            countdown = Countdown(at)
            app = App(Options(config=settings), {**os.environ, "XDG_CACHE_HOME": str(settings.parent / "cache")})
            app.service.plan(Selection())
            countdown.watch()
            results = list(verb(app.service))
            for result in results:
                file.write(f"{result}\n")
            file.write(f"kinds {json.dumps(countdown.kinds)}\n")
            file.write(f"acts {countdown.passed}\n")
            app.close()
            status = 0 if all(result.outcome is Outcome.ROTATED for result in results) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        posix._exit(status)  # coverage has its hands on that of os


def _name(name: str, args: tuple[Any, ...], values: Mapping[str, Any]) -> str:
    """Of a request, with the server it goes to and whether it can change anything there."""
    if name != "request":
        return name
    body = values.get("body") or b""
    reads = args[1] == "GET" or any(sign in body for sign in _READS)
    return f"{_LOOK if reads else 'change'} {urlsplit(args[2]).netloc}"


def count_acts(log: Path) -> int:
    return int(log.read_text().rstrip().rpartition("acts ")[2])


def choose_acts(log: Path, closely: str) -> list[int]:
    """The numbers of the acts of the last run to be killed at: a sample that leaves nothing out at one device.

    Nothing happens outside between an act's end and the next one's beginning, and looking changes nothing: it is
    enough to be killed before each journal write, before each request that changes something there (``closely`` is its
    host and port), before the next act after that, and before the first and the last of all other kinds.
    """
    kinds: list[str] = json.loads(log.read_text().rpartition("kinds ")[2].partition("\n")[0])
    before = [number for number, kind in enumerate(kinds) if kind.startswith("before")]
    places = {kind: [number for number in before if kinds[number] == kind] for kind in set(kinds)}
    chosen = {number for numbers in places.values() for number in (*numbers[:1], *numbers[-1:])}
    chosen |= {number for number in before if kinds[number] in ("before write", f"before change {closely}")}
    chosen |= {number for number in before if number and kinds[number - 1] == f"after change {closely}"}
    return sorted(number + 1 for number in chosen)
