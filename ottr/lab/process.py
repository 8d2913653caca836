# SPDX-License-Identifier: Apache-2.0
"""A server in the foreground as our child: started, waited for, and ended, also when we die ourselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.errors import LabError

_POLL_S = 0.01
_SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str:
    """Absolute path of a program, also of one in sbin. Raises LabError when it is not installed."""
    found = shutil.which(name, path=_SEARCH_PATH)
    if found is None:
        raise LabError(f"{name} is not installed", hint="`make setup` installs what the lab needs")
    return found


class Process:
    """One child in the foreground; its output is kept in ``log``.

    It is ready when the file ``ready`` exists, every address and port of ``listens`` answers, and its output has
    ``announces``: for servers that listen while they still refuse their work.
    It is in a process group of its own, so that Ctrl-C on a terminal reaches us and not the servers, and it gets
    ``stop_signal`` when the thread that started it ends: start from a thread that lives as long as the lab.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        listens: Sequence[tuple[str, int]] = (),
        ready: Path | None = None,
        announces: str = "",
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 10.0,
        ends_descendants: bool = False,
    ) -> None:
        self.argv = tuple(argv)
        self.log = log
        self.listens = tuple(listens)
        self._ready = ready
        self._announces = announces.encode()
        self._log_start = 0
        self._environment = {**os.environ, **(environment or {})}
        self._folder = folder
        self._user = user
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._ends_descendants = ends_descendants
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id. Raises LabError when it is not running."""
        if self._child is None:
            raise LabError(f"{self.argv[0]} is not running")
        return self._child.pid

    def start(self) -> None:
        """Start without waiting. Raises LabError when it runs already."""
        if self._child is not None:
            raise LabError(f"{self.argv[0]} is running already")
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                [*_die_with_parent(self._stop_signal, self._user), find_program(self.argv[0]), *self.argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                process_group=0,
            )

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Return when it is ready. Raises LabError, with the end of the log, when it never does."""
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if self._child is None or self._child.poll() is not None:
                raise LabError(f"{self.argv[0]} ended at once; {self.log} ends with:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise LabError(
                    f"{self.argv[0]} is not ready at {self.listens or self._ready}; {self.log}:\n{self._log_end()}"
                )
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it and, where asked for, everything it started; harmless when it does not run."""
        child, self._child = self._child, None
        if child is None:
            return
        orphans = _descendants(child.pid) if self._ends_descendants else ()
        if child.poll() is None:
            child.send_signal(self._stop_signal)
        try:
            child.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pid, started in orphans:
            if _started(pid) == started:
                os.kill(pid, signal.SIGKILL)

    def begin_stop(self) -> None:
        """Ask it to end without waiting, so that many can end at once; ``stop`` waits."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(self._stop_signal)

    def kill(self) -> None:
        """End it the hard way, as a power cut would: it and its workers have ended then, and listen no more."""
        child, self._child = self._child, None
        if child is not None:
            others = [one for one in _descendants(child.pid) if _find_group(one[0]) == child.pid]
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            while any(_started(pid) == started for pid, started in others):
                time.sleep(_POLL_S)

    def restart(self) -> None:
        """Stop, start and wait until the port answers again."""
        self.stop()
        self.__enter__()

    def _answers(self) -> bool:
        written = self._ready is None or self._ready.exists()
        return written and all(map(_is_open, self.listens)) and self._has_announced()

    def _has_announced(self) -> bool:
        if not self._announces:
            return True
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return self._announces in log.read()

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def start_all(processes: Iterable[Process]) -> None:
    """Start them side by side and wait until every one is ready. Raises LabError; ``stop_all`` ends those that run."""
    started = tuple(processes)
    for process in started:
        process.start()
    for process in started:
        process.wait_ready()


def stop_all(processes: Iterable[Process]) -> None:
    """End them side by side; harmless for those that do not run."""
    running = tuple(processes)
    for process in running:
        process.begin_stop()
    for process in running:
        process.stop()


def _is_open(place: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(place, timeout=1.0):
            return True
    except OSError:
        return False


_DIE_WITH_PARENT = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[1]), 0, 0, 0)  # PR_SET_PDEATHSIG of prctl(2)
os.execv(sys.argv[2], sys.argv[2:])
"""


def _die_with_parent(stop_signal: signal.Signals, user: str) -> list[str]:
    """Prefix of a command line. A program rather than preexec_fn: no fork of the whole interpreter, safe with threads.

    Where there is no setpriv (util-linux), a Python does the same, in a little more time.
    """
    if not user and shutil.which("setpriv", path=_SEARCH_PATH) is None:
        return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(int(stop_signal))]
    prefix = [find_program("setpriv"), "--pdeathsig", stop_signal.name.removeprefix("SIG")]
    return [*prefix, "--reuid", user, "--regid", user, "--init-groups", "--"] if user else [*prefix, "--"]


def _descendants(pid: int) -> tuple[tuple[int, str], ...]:
    """Process id and start time of everything below ``pid``."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append((int(entry.name), fields[19]))
    found: list[tuple[int, str]] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += [child for child, _ in below]
    return tuple(found)


def _find_group(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[2]) if fields else 0


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _stat(pid: int) -> list[str]:
    """Fields of proc(5)'s stat after the name, beginning with the state; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
