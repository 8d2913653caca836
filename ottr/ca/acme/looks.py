# SPDX-License-Identifier: Apache-2.0
"""Looks at challenges while their clients wait: in threads, and where that is enough a glance of the event loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ottr.ca.acme.disk import Disk
from ottr.ca.acme.memory import Memory
from ottr.ca.acme.problems import Problem, unauthorized
from ottr.ca.acme.records import Authorization
from ottr.ca.acme.schema import authorization as table
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.validation import Look, validate
from ottr.ca.acme.validation.glance import Glance, find_loop, write_question
from ottr.ca.authority import Authority
from ottr.ca.jose import encode
from ottr.ca.writer import Busy
from ottr.errors import AuthorityError
from ottr.statement import Statement

_LOG = logging.getLogger(__name__)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_OPEN = (table.c.status == "pending") | (table.c.status == "processing")
_JUDGE = Statement(
    table.update().where(table.c.id == sa.bindparam("key"), _OPEN), ("status", "challenges", "expires", "failed_at")
)


class Looks:
    """One look at a time for an authorization. Safe for threads. Call ``close`` at the end."""

    def __init__(self, authority: Authority, settings: AcmeSettings, memory: Memory, disk: Disk) -> None:
        self._disk = disk
        self._authority = authority
        self._settings = settings
        self._memory = memory
        self._pool = ThreadPoolExecutor(settings.validation.workers, "acme-validation")
        self._running: dict[str, Future[None]] = {}
        self._glances: dict[str, Glance] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Begin no more looks, and wait for those in threads. The event loop runs no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for glance in self._glances.values():
            glance.close()

    def start(self, found: Authorization, kind: str, thumbprint: str = "") -> Future[None]:
        """Look, unless somebody does. It is done when what was seen is recorded, or with the error that hindered that.

        With the ``thumbprint`` of a valid account, an event loop that calls this may glance itself.
        """
        with self._lock:
            work = self._running.get(found.id)
            if work is not None:
                return work
            work = self._running[found.id] = Future()
        if kind != "dns-01" or not thumbprint or not self._glance(found, thumbprint, work):
            self._pool.submit(self._work, found, kind, work)
        return work

    def _glance(self, found: Authorization, thumbprint: str, work: Future[None]) -> bool:
        """Whether that could be begun."""
        loop, servers = find_loop(), self._settings.validation.resolvers
        if loop is None or not servers:
            return False

        def record() -> None:
            try:
                self._settle(found, work, lambda: self._record(found, "dns-01", None, wait=False))
            except Busy:
                commit = self._disk.find_commit()
                if commit is None:
                    self._pool.submit(self._work, found, "dns-01", work)
                else:
                    commit.add_done_callback(again)

        def again(_: object) -> None:
            with suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(record)

        def judge(proven: bool) -> None:
            del self._glances[found.id]
            if proven:
                record()
            else:
                self._pool.submit(self._work, found, "dns-01", work)

        wanted = encode(Look(found.identifier, found.token, thumbprint).digest).encode()
        try:
            question = write_question(f"_acme-challenge.{found.value}")
            self._glances[found.id] = Glance(loop, servers[0], question, wanted, judge)
        except (OSError, ValueError):
            return False
        return True

    def _work(self, found: Authorization, kind: str, work: Future[None]) -> None:
        self._settle(found, work, lambda: self._record(found, kind, self._validate(found, kind)))

    def _settle(self, found: Authorization, work: Future[None], record: Callable[[], None]) -> None:
        """Record, and tell those that wait. Raises Busy."""
        failed: Exception | None = None
        try:
            record()
        except Busy:
            raise
        except Exception as error:
            unheard_of = not isinstance(error, AuthorityError)
            _LOG.error("what was seen of %s cannot be recorded: %s", found.value, error, exc_info=unheard_of)
            failed = error
        with self._lock:
            del self._running[found.id]
        if failed is None:
            work.set_result(None)
        else:
            work.set_exception(failed)

    def _validate(self, found: Authorization, kind: str) -> Problem | None:
        with self._memory.look() as rows:
            account = rows.find_account(found.account_id)
        if account is None or account.status != "valid":
            return unauthorized("the account is not valid any more")
        try:
            validate(kind, Look(found.identifier, found.token, account.thumbprint), self._settings.validation)
        except Problem as problem:
            problem.identifier = found.identifier.document
            return problem
        except Exception:
            _LOG.exception("the look at %s of %s died", kind, found.value)
            return Problem("serverInternal", "the look at the challenge died")
        return None

    def _record(self, found: Authorization, kind: str, problem: Problem | None, *, wait: bool = True) -> None:
        """The one challenge decides; the others go away with it (section 7.1.6). Raises Busy where it may not wait."""
        now, expires, judged = self._authority.clock().replace(microsecond=0), found.expires, list[Authorization]()
        if problem is None:
            challenge: dict[str, Any] = {"status": "valid", "validated": now.strftime(_TIME)}
            expires = now + timedelta(seconds=self._settings.authorization_lifetime_s)
        else:
            challenge = {"status": "invalid", "error": problem.document}
        values = {
            "status": challenge["status"],
            "challenges": {kind: challenge},
            "expires": expires,
            "failed_at": None if problem is None else now,
        }
        told = self._memory.tell(judged)
        with self._authority.database.write(durable=False, wait=wait, told=told) as connection:
            if _JUDGE.change(connection, {**values, "key": found.id}):
                judged.append(replace(found, **values))
