# SPDX-License-Identifier: Apache-2.0
"""Jobs: queued, active, finished, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from xml.sax.saxutils import escape

from ottr.drivers.panos.simulator.answers import Refusal, lines

Status = Literal["PEND", "ACT", "FIN"]
_STUCK_PROGRESS = 55


class JobFailed(Exception):
    """The job ends with FAIL; ``lines`` say why."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.lines = texts


@dataclass(slots=True)
class DeviceResult:
    """What a push did on one firewall."""

    serial: str
    hostname: str
    result: str
    details: tuple[str, ...]
    visible_at: float


@dataclass(slots=True)
class Job:
    """One job. ``work`` runs when it ends and returns its details; None never ends."""

    id: int
    user: str
    type: str
    duration_s: float
    work: Callable[[Job], tuple[str, ...]] | None
    enqueued: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: Status = "PEND"
    result: str = "PEND"
    started: datetime | None = None
    started_at: float = 0.0
    finished: datetime | None = None
    details: tuple[str, ...] = ()
    devices: list[DeviceResult] = field(default_factory=list)

    @property
    def progress(self) -> int:
        """0 to 100."""
        if self.status != "ACT":
            return 100 if self.status == "FIN" else 0
        if self.work is None:
            return _STUCK_PROGRESS
        return min(99, int(100 * (time.monotonic() - self.started_at) / max(self.duration_s, 0.001)))


class Jobs:
    """The queue. Job ids begin again after a reboot."""

    def __init__(self, finished_progress: Literal["100", "time"]) -> None:
        self._finished_progress = finished_progress
        self._jobs: dict[int, Job] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        self._next = 2

    def add(self, user: str, kind: str, duration_s: float, work: Callable[[Job], tuple[str, ...]] | None) -> Job:
        """Enqueue a job and start it if none runs."""
        with self._lock:
            job = Job(self._next, user, kind, duration_s, work)
            self._next += 1
            self._jobs[job.id] = job
            self._start_next()
        return job

    @property
    def busy(self) -> bool:
        """Whether a job is active or queued."""
        with self._lock:
            return any(job.status != "FIN" for job in self._jobs.values())

    def get(self, text: str) -> Job:
        """Look a job up. Raises Refusal (code 7)."""
        with self._lock:
            job = self._jobs.get(int(text)) if text.isascii() and text.isdigit() else None
        if job is None:
            raise Refusal(7, f"job {text} not found")
        return job

    def all(self) -> list[Job]:
        """Every job, the newest first."""
        with self._lock:
            return [self._jobs[number] for number in sorted(self._jobs, reverse=True)]

    def finish_now(self) -> None:
        """End the active job without waiting for its time."""
        with self._lock:
            active = next((job for job in self._jobs.values() if job.status == "ACT"), None)
            if self._timer:
                self._timer.cancel()
        if active:
            self._finish(active)

    def forget(self) -> None:
        """As after a reboot: no jobs, and ids from the beginning."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._jobs, self._next = {}, 2

    def stop(self) -> None:
        """End the timer; jobs that run never finish."""
        self.forget()
        if self._timer and self._timer is not threading.current_thread() and self._timer.ident:
            self._timer.join()

    def _start_next(self) -> None:
        unfinished = sorted((job for job in self._jobs.values() if job.status != "FIN"), key=lambda job: job.id)
        if not unfinished or unfinished[0].status == "ACT":
            return
        job = unfinished[0]
        job.status, job.started, job.started_at = "ACT", datetime.now(UTC), time.monotonic()
        if job.work is not None:
            self._timer = threading.Timer(job.duration_s, self._finish, (job,))
            self._timer.daemon = True
            self._timer.start()

    def _finish(self, job: Job) -> None:
        if job.id not in self._jobs or job.work is None:
            return
        try:
            details, outcome = job.work(job), "OK"
        except JobFailed as failure:
            details, outcome = failure.lines, "FAIL"
        with self._lock:
            job.details, job.result, job.finished, job.status = details, outcome, datetime.now(UTC), "FIN"
            self._start_next()

    def write(self, job: Job) -> str:
        """One ``job`` element."""
        position = sum(1 for other in self.all() if other.status != "FIN" and other.id < job.id)
        progress = str(job.progress)
        if job.finished and self._finished_progress == "time":
            progress = f"{job.finished:%Y/%m/%d %H:%M:%S}"
        return (
            f"<job><tenq>{job.enqueued:%Y/%m/%d %H:%M:%S}</tenq>"
            f"<tdeq>{f'{job.started:%H:%M:%S}' if job.started else ''}</tdeq><id>{job.id}</id>"
            f"<user>{escape(job.user)}</user><type>{job.type}</type><status>{job.status}</status>"
            f"<queued>{'YES' if job.status == 'PEND' else 'NO'}</queued><stoppable>no</stoppable>"
            f"<result>{job.result}</result>"
            f"<tfin>{f'{job.finished:%Y/%m/%d %H:%M:%S}' if job.finished else 'Still Active'}</tfin>"
            f"<description></description><positionInQ>{position if job.status == 'PEND' else 0}</positionInQ>"
            f"<progress>{progress}</progress><warnings></warnings><details>{lines(job.details)}</details>"
            f"{_write_devices(job)}</job>"
        )


def _write_devices(job: Job) -> str:
    if job.type != "CommitAll":
        return ""
    return f"<devices>{''.join(_write_device(job, device) for device in job.devices)}</devices>"


def _write_device(job: Job, device: DeviceResult) -> str:
    done = job.status == "FIN" and time.monotonic() >= device.visible_at
    started = f"{job.started:%Y/%m/%d %H:%M:%S}" if job.started else ""
    return (
        f"<entry><serial-no>{device.serial}</serial-no><devicename>{escape(device.hostname)}</devicename>"
        f"<status>{'commit succeeded' if done and device.result == 'OK' else 'commit failed' if done else 'pending'}"
        f"</status><result>{device.result if done else 'PEND'}</result><tstart>{started}</tstart>"
        f"<tfin>{f'{datetime.now(UTC):%Y/%m/%d %H:%M:%S}' if done else ''}</tfin>"
        f"<details>{lines(device.details) if done else ''}</details></entry>"
    )
