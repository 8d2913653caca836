# SPDX-License-Identifier: Apache-2.0
"""One rotation between the pipeline and the journal: what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from ottr import x509
from ottr.errors import OttrError
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
from ottr.state.journal import Also, Entry, Journal, Record, State, Status, attempted, ending, removal

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
        self.record = record
        self.reached = ""
        self.rolled_back = False
        self.armed = False
        """The device goes back by itself."""

    @property
    def request(self) -> CertificateRequest:
        """What the device is asked for."""
        return CertificateRequest(self.record.label, self.record.dns_names, self.record.key_type)

    @property
    def touched(self) -> bool:
        """Whether this run has begun to bind."""
        return self.reached in (Step.INSTALL, Step.VERIFY)

    def written(self, step: Step, kind: Callable[..., Value]) -> Value:
        """The value the journal has of a step. Raises LookupError when there is none."""
        for entry in reversed(self._entries):
            if entry.step is step and entry.status is Status.DONE and entry.value is not None:
                return kind(**entry.value)
        raise LookupError(step)

    def once(self, step: Step, kind: Callable[..., Value], make: Callable[[], Value]) -> Value:
        """Return what the journal has of this step, else make it and write it down."""
        try:
            return self.written(step, kind)
        except LookupError:
            return self._make(step, make, None)

    def before(self, inspect: Callable[[], Facts]) -> Facts:
        """What was bound before this rotation bound anything: looked at anew unless an install is half done."""
        for entry in reversed(self._entries):
            if entry.step is Step.ROLLBACK and entry.status is Status.DONE:
                break
            if entry.step is Step.INSTALL:
                return self.written(Step.PREFLIGHT, Facts)
        return self._look(inspect)

    def order(self, issue: Callable[[], IssuedCertificate]) -> IssuedCertificate:
        """The issued certificate: from the journal, else ordered; issued is the first of the four facts."""
        try:
            return self.written(Step.ORDER, IssuedCertificate)
        except LookupError:
            return self._make(Step.ORDER, issue, self._issued)

    def install(self, action: Callable[[], None]) -> None:
        """Written ahead; when it ends well the certificate is installed and bound."""
        self._append(Step.INSTALL, Status.STARTED)
        self._do(Step.INSTALL, action, self._marker("installed_at", "bound_at"))

    def verify(self, issued: IssuedCertificate, endpoints: Sequence[Endpoint], action: Callable[[], None]) -> None:
        """When it ends well the certificate is served, and the one before is superseded."""
        leaf = x509.parse_certificate(issued.leaf_pem)

        def served(connection: sa.Connection) -> None:
            now = self._clock()
            certificates.mark(connection, self.record.id, now, "served_at")
            certificates.mark_superseded(connection, self.record.device, leaf.sha256, now)
            for endpoint in endpoints:
                seen = Observation(self.record.device, str(endpoint), now, leaf.sha256)
                certificates.write_observation(connection, seen)

        self._do(Step.VERIFY, action, served)

    def roll_back(self, action: Callable[[], None]) -> None:
        """Runs also when the journal cannot be written: the device comes first."""
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
        self._append(Step.RECORD, Status.DONE, None, ending(self.record.id, State.ROTATED, self._clock()))

    def order_url(self) -> str:
        """See ``ottr.acme.OrderLog``."""
        return self.record.order_url

    def ordered(self, url: str) -> None:
        """See ``ottr.acme.OrderLog``."""
        self.record = self._journal.update(self.record, order_url=url)

    def presenting(self, record: TxtRecord) -> None:
        """See ``ottr.acme.OrderLog``."""
        self._journal.presenting(self.record, record)

    def removed(self, record: TxtRecord) -> None:
        """See ``ottr.acme.OrderLog``. Written with the next step: removing it twice does no harm."""
        self._also.append(removal(self.record.id, record, self._clock()))

    def _look(self, inspect: Callable[[], Facts]) -> Facts:
        """Changes nothing, so that it is written down with the next step, before anything is bound."""
        self._begin(Step.PREFLIGHT)
        facts = inspect()
        entry = Entry(Step.PREFLIGHT, Status.DONE, self._clock(), asdict(facts))
        self._delayed.append(entry)
        self._entries.append(entry)
        return facts

    def _make(self, step: Step, make: Callable[[], Value], also: Callable[[Value], Also] | None) -> Value:
        self._begin(step)
        try:
            value = make()
        except BaseException as error:
            self._try_append(step, Status.FAILED, error)
            raise
        self._append(step, Status.DONE, asdict(cast(Any, value)), also(value) if also else None)
        return value

    def _do(self, step: Step, action: Callable[[], None], also: Also) -> None:
        self._begin(step)
        try:
            action()
        except BaseException as error:
            self._try_append(step, Status.FAILED, error)
            raise
        self._append(step, Status.DONE, None, also)

    def _begin(self, step: Step) -> None:
        self.reached = step.value
        self._watch(self.record.device, step)

    def _issued(self, issued: IssuedCertificate) -> Also:
        return lambda connection: certificates.insert_issued(connection, self.record, issued, self._clock())

    def _marker(self, *facts: certificates.Fact) -> Also:
        return lambda connection: certificates.mark(connection, self.record.id, self._clock(), *facts)

    def _unbound(self, connection: sa.Connection) -> None:
        certificates.mark(connection, self.record.id, None, "bound_at", "served_at")

    def _append(
        self, step: Step, status: Status, value: dict[str, Any] | None = None, also: Also | None = None
    ) -> None:
        entry = Entry(step, status, self._clock(), value)
        self._write(entry, also)
        self._entries.append(entry)

    def _write(self, entry: Entry, also: Also | None) -> None:
        """One transaction with all that has waited for it."""
        delayed, waiting = [*self._delayed, entry], [*self._also, *([also] if also else [])]
        self._journal.append(self.record, delayed, waiting)
        self._delayed, self._also = [], []

    def _try_append(
        self, step: Step, status: Status, error: BaseException | None = None, also: Also | None = None
    ) -> OttrError | None:
        """Write where something worse is already under way: a journal that fails is reported, not raised."""
        entry = Entry(step, status, self._clock(), error=report(error) if error else None)
        try:
            self._write(entry, also)
        except OttrError as unwritten:
            log.warning("%s: the journal cannot be written: %s", self.record.device, unwritten)
            return unwritten
        self._entries.append(entry)
        return None


def report(error: BaseException) -> ErrorReport:
    """An error as a value; what is no error of ours is named as unexpected, without its text."""
    if isinstance(error, OttrError):
        return error.report
    return ErrorReport("Unexpected", f"unexpected {type(error).__name__}", "see the log for the traceback; report it")
