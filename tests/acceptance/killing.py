# SPDX-License-Identifier: Apache-2.0
"""Runs of the orchestrator in processes of their own that are killed (SIGKILL) at their n-th act.

An act is a journal transaction, a request (SSH, HTTP, DNS, TLS) or a rename of a file; each counts twice,
before and after it, and a script that has been sent to the host counts once more before it is answered.
The process forks from one that has imported already what the runs before it needed: only that makes a sweep affordable.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import posix
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import dns.query
import paramiko

import ottr.acme.issuer
import ottr.dns.publisher
import ottr.dns.question
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
_LOOK, _CHANGE = "look", "change"
_WRITE = "before write"
_TELLING = ("type", "action", "category", "cmd", "xpath", "command", "utilCmdArgs", "state")
"""Of the fields of a form, or of JSON, those that tell the requests of one path apart."""
_UNIQUE = re.compile(r"ottr-[a-z0-9-]+|[0-9a-f]{12,}|[A-Za-z0-9_-]{20,}|[0-9]+|(?<=/tokens/).+")
"""What another rotation has another one of."""
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
        for questions in (ottr.dns.question, ottr.dns.rfc2136):
            self.around(questions, "exchange")
        self.around(dns.query, "udp")  # by dnspython's resolver
        self.around(dns.query, "tcp")
        self.around(ottr.probe, "_handshake")
        for name in ("replace", "rename"):
            self.around(os, name)


def run(settings: Path, verb: Verb, log: Path, at: int = 0) -> int:
    """Fork, run a verb, return the exit status: 0 all well, 1 not, -9 killed. The log says how many acts there were."""
    child = os.fork()
    if child == 0:
        _in_child(settings, verb, log, at)
    ends, wait = os.pidfd_open(child), select.poll()  # not select(), which knows no number above 1023
    wait.register(ends, select.POLLIN)
    in_time = wait.poll(LIMIT_S * 1000)
    os.close(ends)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not in_time:
        raise TimeoutError(f"a run took longer than {LIMIT_S} s: {log.read_text()}")
    if status == 0:
        _import_as_well(log)
    return status


def _import_as_well(log: Path) -> None:
    """Import what the last run has, so that the next one finds it there when it forks."""
    for name in json.loads(_find_line(log, "modules")):
        if name not in sys.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _in_child(settings: Path, verb: Verb, log: Path, at: int) -> None:
    status = 1
    gc.freeze()  # what is there stays where it is: to look through it would copy all of it for this process
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
            file.write(f"modules {json.dumps(list(sys.modules))}\n")
            file.write(f"acts {countdown.passed}\n")
            app.close()
            status = 0 if all(result.outcome is Outcome.ROTATED for result in results) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        posix._exit(status)  # coverage has its hands on that of os


def _name(name: str, args: tuple[Any, ...], values: Mapping[str, Any]) -> str:
    """Of a request, what can be told apart: the server, whether it can change anything there, path and content."""
    if name != "request":
        return name
    method, url, body = args[1], urlsplit(args[2]), values.get("body") or b""
    reads = method == "GET" or any(sign in body for sign in _READS)
    what = f"{method} {unquote(url.path)} {_say(body)}"
    return f"{_LOOK if reads else _CHANGE} {url.netloc} {_UNIQUE.sub('...', what)}"


def _say(body: bytes) -> str:
    """What a request is for, where its path does not tell: nothing of that is a secret."""
    text = body.decode("latin-1")
    fields = json.loads(text) if text.startswith("{") else dict(parse_qsl(text))
    return " ".join(str(fields[name]) for name in _TELLING if name in fields)


def count_acts(log: Path) -> int:
    return int(_find_line(log, "acts"))


def choose_acts(log: Path, shard: int, shards: int) -> list[int]:
    """The numbers of the acts of the last run to be killed at: all of them with ``OTTR_SWEEP=all``, else a sample.

    Of a sample each shard has its part. It has every journal write, and the first act of each other kind: of each
    method, path and command that is sent. Nothing happens outside between an act's end and the next one's beginning: so
    it is enough to be killed before each of these, and when it was a change, before the next act as well.
    """
    kinds: list[str] = json.loads(_find_line(log, "kinds"))
    if os.environ.get("OTTR_SWEEP") == "all":
        return list(range(1, len(kinds) + 1))
    first = {kind: number for number, kind in reversed(list(enumerate(kinds, 1)))}
    chosen = {number for number, kind in enumerate(kinds, 1) if kind == _WRITE}
    chosen |= {number for kind, number in first.items() if kind.startswith("before")}
    chosen |= {number + 1 for kind, number in first.items() if kind.startswith(f"after {_CHANGE}")}
    return sorted(chosen)[shard::shards]


def _find_line(log: Path, word: str) -> str:
    """What the last line says that begins with this word."""
    return log.read_text().rpartition(f"\n{word} ")[2].partition("\n")[0]
