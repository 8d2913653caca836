# SPDX-License-Identifier: Apache-2.0
"""``ottr`` in processes that fork from one which has imported it already: half a second less for each command.

They have a session, streams, folder and environment of their own, and end as Python ends. What a start itself does, and
what is imported when, such a process cannot show.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import posix
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_MESSAGE = 1 << 17
"""Bytes: a command line with its environment."""
_IMPORTED = (
    "ottr.__main__",
    "ottr.acme.issuer",
    "ottr.app",
    "ottr.cli.main",
    "ottr.dns.rfc2136",
    "ottr.drivers.linux_ssh.driver",
    "ottr.fleetrun",
    "ottr.inventory.writeback",
    "ottr.orchestrator.devicerun",
    "ottr.orchestrator.pipeline",
    "ottr.state.migrations",
    "rich.progress",
)


class Command:
    """A running ``ottr``, with as much of ``subprocess.Popen`` as is needed."""

    def __init__(self, pid: int, stdout: int, stderr: int, status: int) -> None:
        self.pid = pid
        self.stdout: TextIOWrapper | None = _open(stdout)
        self.stderr: TextIOWrapper | None = _open(stderr)
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """The exit status if there is one; minus the number of the signal that ended it."""
        self._await_status(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit status. Raises TimeoutExpired."""
        self._await_status(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("ottr", timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it says until it ends. Raises TimeoutExpired."""
        limit = 3600.0 if timeout is None else timeout
        deadline = time.monotonic() + limit
        threads = ThreadPoolExecutor(2)
        coming = [threads.submit(_read, stream) for stream in (self.stdout, self.stderr)]
        threads.shutdown(wait=False)
        try:
            said = [one.result(deadline - time.monotonic()) for one in coming]
        except TimeoutError:
            raise subprocess.TimeoutExpired("ottr", limit) from None
        self.wait(max(0.0, deadline - time.monotonic()))
        return said[0], said[1]

    def kill(self) -> None:
        """SIGKILL."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _await_status(self, timeout_s: float) -> None:
        if self.returncode is None and select.select([self._status], [], [], timeout_s)[0]:
            word = os.read(self._status, 32)
            os.close(self._status)
            if not word:
                raise ChildProcessError("the parent of all commands is gone")
            self.returncode = os.waitstatus_to_exitcode(int(word))


def _open(reading: int) -> TextIOWrapper:
    return open(reading, encoding="utf-8")


def _read(stream: TextIOWrapper | None) -> str:
    if stream is None or stream.closed:
        return ""
    with stream:
        return stream.read()


def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Command:
    """Begin a command."""
    parent = _start_parent(frozenset((name, value) for name, value in environment.items() if _is_of_start(name)))
    (out, their_out), (err, their_err), (status, their_status) = os.pipe(), os.pipe(), os.pipe()
    theirs = [their_out, their_err, their_status]
    words = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
    try:
        socket.send_fds(parent, [json.dumps(words).encode()], theirs)
        pid = int(parent.recv(32))
    finally:
        for one in theirs:
            os.close(one)
    return Command(pid, out, err, status)


def _is_of_start(name: str) -> bool:
    """Whether a variable counts when Python starts, as locales and coverage do."""
    return name == "PATH" or name.startswith(("COV", "LANG", "LC_", "PYTHON"))


@cache
def _start_parent(environment: frozenset[tuple[str, str]]) -> socket.socket:
    """The process that all fork from. It ends when its socket does: with this process."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.cli.warm", str(its.fileno())],
            cwd=_ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=its,  # as pipes, which its children have there, this is no file and no terminal
            stderr=its,
            pass_fds=[its.fileno()],
            start_new_session=True,
        )
    atexit.register(process.wait, 30)
    atexit.register(mine.close)
    return mine


class _Parent:
    """Forks, and tells how each child has ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._told_to: dict[int, tuple[int, int]] = {}
        """By the file descriptor that shows the end of a child: its pid, and where to write its status."""

    def serve(self) -> bool:
        """Whether this is a child, which has to become the command; False when nobody can ask any more."""
        while True:
            for ready in select.select([self._control, *self._told_to], [], [])[0]:
                if ready is not self._control:
                    self._tell(ready)
                    continue
                data, theirs, _, _ = socket.recv_fds(self._control, _MESSAGE, 3)
                if not data:
                    return False
                if self._fork(json.loads(data), theirs):
                    return True

    def _tell(self, ended: int) -> None:
        pid, status = self._told_to.pop(ended)
        os.write(status, str(os.waitpid(pid, 0)[1]).encode())
        os.close(status)
        os.close(ended)

    def _fork(self, words: Mapping[str, object], theirs: Sequence[int]) -> bool:
        out, err, status = theirs
        os.set_inheritable(status, False)
        pid = os.fork()
        if pid == 0:
            for one in (status, *self._told_to, *(other for _, other in self._told_to.values())):
                os.close(one)
            self._control.close()
            _become(words, out, err)
            return True
        for one in (out, err):
            os.close(one)
        self._told_to[os.pidfd_open(pid)] = (pid, status)
        self._control.send(str(pid).encode())
        return False


def _become(words: Mapping[str, object], out: int, err: int) -> None:
    os.setsid()
    for given, own in ((out, 1), (err, 2)):
        os.dup2(given, own)
        os.close(given)
    os.chdir(str(words["folder"]))
    os.environ.clear()
    os.environ.update(words["environment"])
    tempfile.tempdir = None
    sys.argv[1:] = words["arguments"]


def main() -> None:
    """Serve, and in every child be ``python -m ottr``."""
    for name in _IMPORTED:
        import_module(name)
    gc.freeze()  # or every child would look through all of this when it ends
    if "coverage" in sys.modules:
        measuring = import_module("coverage").Coverage.current()
        if measuring is not None:
            measuring.save()  # what was imported, once and not again by every child
    with socket.socket(fileno=int(sys.argv[1])) as control:
        if not _Parent(control).serve():
            posix._exit(0)  # nothing was run here, and the coverage of imports is saved
    import_module("ottr.__main__").main()


if __name__ == "__main__":
    main()
