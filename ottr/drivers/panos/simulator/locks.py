# SPDX-License-Identifier: Apache-2.0
"""Commit locks and configuration locks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from ottr.drivers.panos.simulator.answers import Refusal

Kind = Literal["commit", "config"]


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock."""

    owner: str
    scope: str
    comment: str
    created: datetime


@dataclass(slots=True)
class Locks:
    """All locks of one kind."""

    kind: Kind
    held: dict[str, Lock] = field(default_factory=dict)

    def add(self, owner: str, scope: str, comment: str) -> str:
        """Take a lock and return what the device says. Raises Refusal when it is held."""
        lock = self.held.get(scope)
        if lock and self.kind == "config":
            if lock.owner == owner:
                raise Refusal(None, f"You already own a config lock for scope {scope}")
            raise Refusal(None, f"Config for scope {scope} is currently locked by {lock.owner}")
        if lock:
            raise Refusal(None, f"Commit lock is already held by {lock.owner}")
        self.held[scope] = Lock(owner, scope, comment, datetime.now(UTC))
        forbidden = "commit" if self.kind == "commit" else "modify"
        return (
            f"Successfully acquired lock. Other administrators will not be able to {forbidden} configuration "
            f"until lock is released by {owner}."
        )

    def remove(self, owner: str, scope: str, superuser: bool) -> str:
        """Give a lock back; a superuser may take away another's. Raises Refusal."""
        lock = self.held.get(scope)
        if lock is None:
            named = "Commit" if self.kind == "commit" else "Config"
            raise Refusal(None, f"{named} is not currently locked for scope {scope}")
        if lock.owner != owner and not superuser:
            raise Refusal(None, f"{self.kind.capitalize()} lock is owned by {lock.owner}")
        del self.held[scope]
        return f"{self.kind.capitalize()} lock released for scope {scope}"

    def release(self, owner: str) -> None:
        """Give back what a user holds."""
        self.held = {scope: lock for scope, lock in self.held.items() if lock.owner != owner}

    def other(self, owner: str) -> Lock | None:
        """A lock of somebody else."""
        return next((lock for lock in self.held.values() if lock.owner != owner), None)

    def write(self) -> str:
        """The entries of ``show commit-locks`` or ``show config-locks``."""
        return "".join(
            f"<entry name={quoteattr(lock.owner)}><name>{escape(lock.scope)}</name><type>{escape(lock.scope)}</type>"
            f"<created>{lock.created:%Y/%m/%d %H:%M:%S}</created>"
            f"<last-activity>{lock.created:%Y/%m/%d %H:%M:%S}</last-activity><loggedin>yes</loggedin>"
            f"<comment>{escape(lock.comment)}</comment></entry>"
            for lock in self.held.values()
        )
