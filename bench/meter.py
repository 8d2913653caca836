# SPDX-License-Identifier: Apache-2.0
"""Run one command and measure it and everything it starts: ``python -m bench.meter REPORT TIMEOUT_S LOG COMMAND...``.

A process of its own, so that what it reaps is the command's and nothing of the lab. Children that the command
leaves behind (ssh's ControlPersist) are taken over (PR_SET_CHILD_SUBREAPER), ended and counted as well. What
servers of the lab do for the command is not below it, and so not in its figures. The report is JSON: ``status``
(124: did not end in time), ``wall_s``, ``cpu_s`` (user and system, of all processes), ``peak_rss_kib`` (largest sum
of the resident sets, looked at ten times a second; pages shared by several processes count several times),
``process_rss_kib`` (largest of a single process, by the kernel) and ``processes`` (most at once).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_SAMPLE_S = 0.1
_GRACE_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36
_TIMED_OUT = 124


class Family:
    """The processes below this one, also those whose parent has ended since."""

    def __init__(self) -> None:
        self._page_kib = os.sysconf("SC_PAGE_SIZE") // 1024
        self._seen: set[int] = set()
        self._members = {os.getpid()}
        self.peak_rss_kib = 0
        self.peak_count = 0
        self._look()

    def members(self) -> list[int]:
        """Everything below, without this process."""
        self._look()
        return sorted(self._members - {os.getpid()})

    def sample(self) -> None:
        """Take the sum of the resident sets. Reads only what is ours: hundreds of servers run beside."""
        sizes = [size for pid in self.members() if (size := self._read_rss_kib(pid))]
        self.peak_rss_kib = max(self.peak_rss_kib, sum(sizes))
        self.peak_count = max(self.peak_count, len(sizes))

    def _look(self) -> None:
        alive = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 names are enough
        for pid in sorted(alive - self._seen):
            if _read_parent(pid) in self._members:
                self._members.add(pid)
        self._seen = alive
        self._members &= alive

    def _read_rss_kib(self, pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * self._page_kib
        except OSError:
            return 0


def adopt_orphans() -> None:
    """Become the parent of every process below whose own parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(argv: list[str], timeout_s: float, log: Path) -> dict[str, float]:
    """Run the command to its end."""
    adopt_orphans()
    family = Family()
    with log.open("wb") as output:
        begun = time.monotonic()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        over = _watch(child, family, begun + timeout_s)
        wall_s = time.monotonic() - begun
    finally:
        _end(family, child)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "status": child.returncode if over else _TIMED_OUT,
        "wall_s": round(wall_s, 4),
        "cpu_s": round(used.ru_utime + used.ru_stime, 4),
        "peak_rss_kib": max(family.peak_rss_kib, used.ru_maxrss),
        "process_rss_kib": used.ru_maxrss,
        "processes": max(family.peak_count, 1),
    }


def _watch(child: subprocess.Popen[bytes], family: Family, deadline: float) -> bool:
    """Return when the command has ended (True) or its time is over."""
    handle = os.pidfd_open(child.pid)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        while not ended.poll(_SAMPLE_S * 1000):
            if time.monotonic() > deadline:
                return False
            family.sample()
        return True
    finally:
        os.close(handle)


def _stop(number: int, _: object) -> None:
    """Told to end: the command ends as well."""
    sys.exit(128 + number)


def _end(family: Family, child: subprocess.Popen[bytes]) -> None:
    """End what is left, and reap all of it, so that the kernel adds up its time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        child.poll()
        for pid in family.members():
            _send(pid, number)
        if _reap_all(child, time.monotonic() + _GRACE_S):
            return


def _reap_all(child: subprocess.Popen[bytes], deadline: float) -> bool:
    child.poll()
    while time.monotonic() < deadline:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
        elif pid == 0:
            time.sleep(0.01)
    return False


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _read_parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    report, timeout_s, log, *argv = sys.argv[1:]
    Path(report).write_text(json.dumps(measure(argv, float(timeout_s), Path(log))))
