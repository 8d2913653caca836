# SPDX-License-Identifier: Apache-2.0
"""One rotation between the pipeline and the journal: what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa

from ottr import x509
from ottr.errors import DriverError, LeaseLost, NotActive, OttrError, RollbackFailed
from ottr.model import (
    CertificateRequest,
    Clock,
    Endpoint,
    ErrorReport,
    Facts,
    IssuedCertificate,
    Step,
    TxtRecord,
)
from ottr.state import certificates
from ottr.state.certificates import Observation
from ottr.state.journal import (
    Also,
    Entry,
    Journal,
    Record,
    State,
    Status,
    attempted,
    ending,
    ordering,
    presentation,
    removal,
)
from ottr.state.view import is_installed

log = logging.getLogger(__name__)

Value = TypeVar("Value")

Watcher = Callable[[str, Step], None]
"""Told (device, step) when a step begins: progress bars hang here."""


class Rotation:
    """A rotation under the device's lease. Also the order log of its ACME order."""

    def __init__(self, record: Record, journal: Journal, clock: Clock, watch: Watcher) -> None:
        self._journal = journal
        self._clock = clock
        self._watch = watch
        self._entries = list(journal.entries(record.id)) if record.attempts else []
        self._delayed: list[Entry] = []
        self._also: list[Also] = [attempted(record.id, record.attempts + 1)]
        self._unknown_order = False
        """The URL of the order is not written down yet."""
        self._told: BaseException | None = None
        """What the journal was told last of what failed in this run."""
        self.record = record
        self.reached = ""
        self.rolled_back = False
        self.armed = False
        """The device goes back by itself."""
        self.warnings: tuple[str, ...] = ()

    @property
    def request(self) -> CertificateRequest:
        """What the device is asked for."""
        return CertificateRequest(self.record.label, self.record.dns_names, self.record.key_type)

    @property
    def has_key(self) -> bool:
        """Whether a key was made on the device, as the journal has it."""
        return any(entry.step is Step.CSR and entry.status is Status.DONE for entry in self._entries)

    @property
    def touched(self) -> bool:
        """Whether this run has begun to bind."""
        return self.reached in (Step.INSTALL, Step.VERIFY)

    @property
    def half_installed(self) -> bool:
        """Whether an install was begun, now or by an earlier run, and was not taken back."""
        for entry in reversed(self._entries):
            if entry.step is Step.INSTALL:
                return True
            if entry.step is Step.ROLLBACK and entry.status is Status.DONE:
                return False
        return False

    @property
    def installed(self) -> bool:
        """Whether an install has ended well and was not taken back, as the journal has it."""
        return is_installed(self._entries)

    def written(self, step: Step, kind: Callable[..., Value]) -> Value:
        """The value the journal has of a step. Raises LookupError when there is none."""
        for entry in reversed(self._entries):
            if entry.step is step and entry.status is Status.DONE and entry.value is not None:
                return kind(**entry.value)
        raise LookupError(step)

    def once(self, step: Step, kind: Callable[..., Value], make: Callable[[], Value]) -> Value:
        """Return what the journal has of this step, else make it.

        Written down with the next step, since making it again after a crash comes to the same.
        """
        try:
            return self.written(step, kind)
        except LookupError:
            value = self._try(step, make)
            self._delay(step, _columns(value))
            return value

    def before(self, inspect: Callable[[], Facts]) -> Facts:
        """What was bound before this rotation bound anything: looked at anew unless an install is half done."""
        for entry in reversed(self._entries):
            if entry.step is Step.ROLLBACK and entry.status is Status.DONE:
                break
            if entry.step is Step.INSTALL:
                return self.written(Step.PREFLIGHT, Facts)
        return self._look(inspect)

    def order(self, issue: Callable[[], IssuedCertificate]) -> IssuedCertificate:
        """The issued certificate: from the journal, else ordered; issued is the first of the four facts.

        Written down before anything is bound: until then the CA gives it again by the order's URL.
        """
        try:
            return self.written(Step.ORDER, IssuedCertificate)
        except LookupError:
            issued = self._try(Step.ORDER, issue)
            self._delay(Step.ORDER, _columns(issued), self._issued(issued))
            return issued

    def install(self, action: Callable[[], None]) -> None:
        """Written ahead; when it ends well the certificate is installed and bound, which the next step writes down."""
        self._append(Step.INSTALL, Status.STARTED)
        self._try(Step.INSTALL, action)
        self._delay(Step.INSTALL, also=self._marker("installed_at", "bound_at"))

    def verify(self, issued: IssuedCertificate, endpoints: Sequence[Endpoint], action: Callable[[], None]) -> None:
        """When it ends well the certificate is served, and the one before is superseded.

        That does not wait for the disk: after a crash of the machine it is looked at again.
        """
        leaf = x509.parse_certificate(issued.leaf_pem)

        def served(connection: sa.Connection) -> None:
            now = self._clock()
            certificates.mark(connection, self.record.id, now, "served_at")
            certificates.mark_superseded(connection, self.record.device, leaf.sha256, now)
            for endpoint in endpoints:
                seen = Observation(self.record.device, str(endpoint), now, leaf.sha256)
                certificates.write_observation(connection, seen)

        self._try(Step.VERIFY, action)
        entry = Entry(Step.VERIFY, Status.DONE, self._clock())
        self._write([entry], served, durable=False)
        self._entries.append(entry)

    def roll_back(self, action: Callable[[], None]) -> None:
        """Runs also when the journal cannot be written: the device comes first. Raises LeaseLost before it acts."""
        unwritten = self._try_append(Step.ROLLBACK, Status.STARTED)
        self._watch(self.record.device, Step.ROLLBACK)
        try:
            action()
        except BaseException as error:
            self._try_append(Step.ROLLBACK, Status.FAILED, error)
            raise
        self.rolled_back = True
        unwritten = self._try_append(Step.ROLLBACK, Status.DONE, also=self._unbound) or unwritten
        if unwritten is not None:
            raise unwritten

    def close(self) -> None:
        """The rotation is over: verified and recorded."""
        self._begin(Step.RECORD)
        self._append(Step.RECORD, Status.DONE, ending(self.record.id, State.ROTATED, self._clock()))

    def note(self, also: Also) -> None:
        """Something more to write with the next step."""
        self._also.append(also)

    def flush(self) -> None:
        """Write down what has waited for the next step: for now there is none."""
        self._write([], None)

    def leave(self, error: BaseException) -> None:
        """The run gives up, without a next step: what is done is written down, and why it ends if no step has said so.

        A device that could not be logged in to has failed its preflight, however far the rotation had come. A standby
        has not failed.
        """
        untold = self._told is None or self._told not in (error, error.__cause__)
        if untold and not isinstance(error, NotActive):
            entry = Entry(self._step_without(error), Status.FAILED, self._clock(), error=report(error))
            self._write([] if self._repeats(entry) else [entry], None)
        elif self._delayed:
            self.flush()

    def order_url(self) -> str:
        """See ``ottr.acme.OrderLog``."""
        return self.record.order_url

    def ordered(self, url: str) -> None:
        """See ``ottr.acme.OrderLog``. Written with what comes next, at the latest before it is finalized."""
        self.record = replace(self.record, order_url=url)
        self._also.append(ordering(self.record.id, url))
        self._unknown_order = True

    def presenting(self, record: TxtRecord) -> None:
        """See ``ottr.acme.OrderLog``."""
        self._write([], presentation(self.record.id, record, self._clock()))

    def finalizing(self) -> None:
        """See ``ottr.acme.OrderLog``."""
        if self._unknown_order:
            self.flush()

    def removed(self, record: TxtRecord) -> None:
        """See ``ottr.acme.OrderLog``. Written with the next step: removing it twice does no harm."""
        self.note(removal(self.record.id, record, self._clock()))

    def _look(self, inspect: Callable[[], Facts]) -> Facts:
        """Changes nothing, so that it is written down with the next step, before anything is bound."""
        self._begin(Step.PREFLIGHT)
        facts = inspect()
        self._delay(Step.PREFLIGHT, _columns(facts))
        return facts

    def _try(self, step: Step, make: Callable[[], Value]) -> Value:
        """Do what a step is about; a failure is written down."""
        self._begin(step)
        try:
            return make()
        except BaseException as error:
            self._try_append(step, Status.FAILED, error)
            raise

    def _begin(self, step: Step) -> None:
        self.reached = step.value
        self._watch(self.record.device, step)

    def _issued(self, issued: IssuedCertificate) -> Also:
        now = self._clock()
        return lambda connection: certificates.insert_issued(connection, self.record, issued, now)

    def _step_without(self, error: BaseException) -> Step:
        """Which step came to nothing before it could be begun."""
        if isinstance(error, RollbackFailed):
            return Step.ROLLBACK
        if isinstance(error, DriverError):
            return Step.PREFLIGHT
        return Step.INSTALL if self.rolled_back else Step(self.reached or Step.PREFLIGHT)

    def _repeats(self, entry: Entry) -> bool:
        """The run before ended just so: of a device that is down for months there is one line, and how often."""
        last = [(one.step, one.status, one.error) for one in self._entries[-1:]]
        return last == [(entry.step, entry.status, entry.error)]

    def _marker(self, *facts: certificates.Fact) -> Also:
        now = self._clock()
        return lambda connection: certificates.mark(connection, self.record.id, now, *facts)

    def _unbound(self, connection: sa.Connection) -> None:
        certificates.mark(connection, self.record.id, None, "bound_at", "served_at")

    def _delay(self, step: Step, value: dict[str, Any] | None = None, also: Also | None = None) -> None:
        """A step is done, and nothing depends on its being on the disk before the next one is."""
        self._keep(Entry(step, Status.DONE, self._clock(), value), also)

    def _keep(self, entry: Entry, also: Also | None) -> None:
        """Written with what comes next."""
        self._delayed.append(entry)
        self._entries.append(entry)
        if also is not None:
            self.note(also)

    def _append(self, step: Step, status: Status, also: Also | None = None) -> None:
        entry = Entry(step, status, self._clock())
        self._write([entry], also)
        self._entries.append(entry)

    def _write(self, entries: list[Entry], also: Also | None, *, durable: bool = True) -> None:
        """One transaction with all that has waited for it."""
        delayed, waiting = [*self._delayed, *entries], [*self._also, *([also] if also else [])]
        self._journal.append(self.record, delayed, waiting, durable=durable)
        self._delayed, self._also, self._unknown_order = [], [], False

    def _try_append(
        self, step: Step, status: Status, error: BaseException | None = None, also: Also | None = None
    ) -> OttrError | None:
        """Write where something worse is already under way: a journal that fails is reported, not raised, and told
        again with what comes next.

        Raises LeaseLost: the device is another orchestrator's, and nothing more may be done to it.
        """
        entry = Entry(step, status, self._clock(), error=report(error) if error else None)
        self._told = error or self._told
        try:
            self._write([entry], also)
        except LeaseLost:
            raise
        except OttrError as unwritten:
            log.warning("%s: the journal cannot be written: %s", self.record.device, unwritten)
            self._keep(entry, also)
            return unwritten
        self._entries.append(entry)
        return None


def _columns(value: Any) -> dict[str, Any]:
    """What the journal keeps of a value, which holds nothing but texts."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def report(error: BaseException) -> ErrorReport:
    """An error as a value; what is no error of ours is named as unexpected, without its text."""
    if isinstance(error, OttrError):
        return error.report
    return ErrorReport("Unexpected", f"unexpected {type(error).__name__}", "see the log for the traceback; report it")
