# SPDX-License-Identifier: Apache-2.0
"""Waiting for a device: for its jobs, for other administrators, and for its web server to come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from xml.etree.ElementTree import Element

from ottr.drivers.panos.client import Client, Commit
from ottr.drivers.panos.messages import NoSuchObject, is_nothing_to_commit
from ottr.drivers.panos.options import Options
from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DeviceUnreachable, HostKeyRefused
from ottr.model import Waiter

T = TypeVar("T")

_SLOWER = 1.3
_SLOWEST_S = 10.0
_TRIES = 5
"""Commits whose answers are lost, one after the other."""
_BEGINNINGS = 3
"""Of an operation during which the web server goes away each time."""
_AWAY = (DeviceUnreachable, AuthenticationFailed, HostKeyRefused)
"""Around its restart the web server may show another certificate for a moment, and know no login."""
_WEB_SERVER_HINT = (
    "if it answers to ping, its web server has not come back: over SSH or at its console, `show jobs all`, and when no "
    "commit runs `debug software restart process web-server`"
)


class Patience:
    """Every wait has a limit of the route and asks less often the longer it lasts.

    A job of 30 s is asked for 7 times at the default interval, one of 15 minutes less than 100 times.
    """

    def __init__(self, client: Client, options: Options, wait: Waiter) -> None:
        self._client = client
        self._options = options
        self._wait = wait

    def commit(self, commit: Commit, action: str) -> None:
        """Start a job and see it end well; nothing to commit is well too. Raises DriverError."""
        job = self._start(commit, action)
        if job:
            self._finish(job)
        else:
            self.await_own_jobs()

    def await_own_jobs(self) -> None:
        """Let commits end that an earlier run of ours has started, however they end."""
        root = self.ride_out(lambda: self._client.operate("<show><jobs><all></all></jobs></show>"))
        for job in root.iterfind("result/job"):
            ours = job.findtext("user", "") == self._client.username and job.findtext("type", "").startswith("Commit")
            if ours and not _is_over(job):
                try:
                    self._finish(job.findtext("id", ""))
                except DeviceRejected:
                    continue

    def await_others(self, find: Callable[[], tuple[str, ...]]) -> None:
        """Wait until ``find`` finds nothing in the way. Raises DeviceBusy with what it found."""
        found = find()
        for _ in self._pauses(self._options.busy_timeout_s) if found else ():
            found = find()
            if not found:
                return
        if found:
            raise DeviceBusy(
                f"{self._client.name}: {'; '.join(found)}", hint="nothing of theirs was touched; the next run goes on"
            )

    def ride_out(self, action: Callable[[], T]) -> T:
        """Repeat an action that changes nothing while the web server is away. Raises DriverError."""
        last: DeviceUnreachable | AuthenticationFailed | HostKeyRefused | None = None
        for _ in self._pauses(self._options.restart_timeout_s, at_once=True):
            try:
                return action()
            except _AWAY as error:
                last = error
        if isinstance(last, DeviceUnreachable):
            raise DeviceUnreachable(str(last), hint=_WEB_SERVER_HINT) from last
        raise last or DeviceUnreachable(f"{self._client.name} did not come back", hint=_WEB_SERVER_HINT)

    def persist(self, action: Callable[[], None]) -> None:
        """Do what may be begun anew wherever it was cut off, and do so when the device went away. Raises DriverError.

        Any commit may restart the web server: ours, that of a run that was killed, and that of somebody else. A login
        that is refused and a certificate that is not trusted end it when they last for the whole patience.
        """
        for left in reversed(range(_BEGINNINGS)):
            try:
                action()
            except _AWAY:
                self.ride_out(self._client.is_passive)  # after the last time too: a rollback finds the device back
                if not left:
                    raise
            else:
                return

    def _start(self, commit: Commit, action: str, tries: int = _TRIES) -> str:
        """Start a commit and return its job; empty: nothing is to be committed."""
        busy: DeviceBusy | None = None
        for _ in self._pauses(self._options.busy_timeout_s, at_once=True):
            try:
                return self._client.start(commit, action)
            except DeviceBusy as error:
                busy = error
            except DeviceUnreachable:
                if tries == 1:
                    raise
                # Perhaps it has begun, perhaps somebody's commit restarts the web server: a second one finds nothing.
                self.await_own_jobs()
                return self._start(commit, action, tries - 1)  # that wait was not for others
            except DeviceRejected as error:
                if is_nothing_to_commit(str(error).partition(": ")[2]):
                    return ""
                raise
        raise DeviceBusy(f"{busy}{self._name_the_busy()}", hint="try again when they are done") from busy

    def _name_the_busy(self) -> str:
        names = set()
        for what in ("commit-locks", "config-locks"):
            names |= set(find_owners(self._client, what))
        root = self._client.operate("<show><jobs><all></all></jobs></show>")
        names |= {job.findtext("user", "") for job in root.iterfind("result/job") if not _is_over(job)}
        others = sorted(names - {self._client.username, ""})
        return f" (by {', '.join(others)})" if others else ""

    def _finish(self, job: str) -> None:
        """Wait for FIN, then ask for OK. A job that is not known any more has been lost in a reboot."""
        command = f"<show><jobs><id>{int(job)}</id></jobs></show>"
        for _ in self._pauses(self._options.commit_timeout_s):
            try:
                root = self.ride_out(lambda: self._client.operate(command))
            except NoSuchObject:
                return
            found = root.find("result/job")
            if found is not None and _is_over(found):
                self._check_result(job, found)
                return
        raise DeviceBusy(
            f"{self._client.name}: job {job} has not ended within {self._options.commit_timeout_s:.0f} s",
            hint=f"look at it on the device: `show jobs id {job}`; the next run goes on where this one stopped",
        )

    def _check_result(self, job: str, found: Element) -> None:
        results = [found.findtext("result", ""), *(node.text or "" for node in found.iterfind("devices/entry/result"))]
        if all(result == "OK" for result in results):
            return
        lines = [text.strip() for node in found.iterfind("details") for text in node.itertext() if text.strip()]
        lines += [
            f"{entry.findtext('devicename', '') or entry.findtext('serial-no', '')}: {entry.findtext('result', '')}"
            for entry in found.iterfind("devices/entry")
        ]
        words = "; ".join(lines)[:600] or "no details"
        raise DeviceRejected(
            f"{self._client.name}: job {job} ended with {found.findtext('result', '')}: {words}",
            hint="the device's own words say what its configuration does not allow",
        )

    def _pauses(self, limit_s: float, *, at_once: bool = False) -> Iterator[None]:
        ends = time.monotonic() + limit_s
        pause_s = self._options.poll_interval_s
        if at_once:
            yield
        while time.monotonic() < ends:
            self._wait(pause_s)
            yield
            pause_s = min(pause_s * _SLOWER, max(_SLOWEST_S, self._options.poll_interval_s))


def find_owners(client: Client, what: str) -> tuple[str, ...]:
    """Administrators who hold ``commit-locks`` or ``config-locks``."""
    root = client.operate(f"<show><{what}/></show>")
    return tuple(entry.get("name", "") for entry in root.iterfind(f"result/{what}/entry"))


def find_foreign_locks(client: Client) -> tuple[str, ...]:
    """One sentence for each lock of another administrator."""
    return tuple(
        f"{owner} holds a {what[:-1].replace('-', ' ')}"
        for what in ("commit-locks", "config-locks")
        for owner in find_owners(client, what)
        if owner != client.username
    )


def find_foreign_changes(client: Client) -> tuple[str, ...]:
    """One sentence for each other administrator with changes that are not committed."""
    root = client.operate("<show><config><list><changes></changes></list></config></show>")
    owners = [entry.findtext("owner", "") for entry in root.iterfind("result/journal/entry")]
    others = sorted(set(owners) - {client.username, ""})
    return tuple(f"{owner} has {owners.count(owner)} changes that are not committed" for owner in others)


def _is_over(job: Element) -> bool:
    """FIN of a push can come before its devices have their results."""
    results = [node.text for node in job.iterfind("devices/entry/result")]
    return job.findtext("status", "") == "FIN" and "PEND" not in results
