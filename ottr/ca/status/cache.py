# SPDX-License-Identifier: Apache-2.0
"""Signed answers in memory, found by the bytes of the request, dropped when a status changes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from ottr.ca.status.answer import Validity
from ottr.ca.status.watch import Heard


@dataclass(slots=True)
class Entry:
    """One answer, and what it is about."""

    der: bytes
    validity: Validity
    issuer_id: str
    serial: str
    cert_id: bytes
    refresh_at: datetime
    """Half of its life is over then."""
    asked: bool = field(default=False, kw_only=True)
    """Since it was signed."""
    wire: bytes = field(default=b"", kw_only=True)
    """What of an HTTP response does not depend on the time, and the body."""


class Cache:
    """Answers by request. Safe for threads: writers hold the lock, readers need none."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._entries: dict[bytes, Entry] = {}
        self._keys: dict[tuple[str, str], set[bytes]] = {}
        self.generation = 0
        """Grows with every change of status: an answer that was begun before is not kept."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, request: bytes) -> Entry | None:
        """The answer to a request, however old."""
        return self._entries.get(request)

    def store(self, request: bytes, entry: Entry, generation: int) -> None:
        """Keep an answer whose status was read when the cache had that generation."""
        with self._lock:
            if generation != self.generation or not self._most:
                return
            self._entries[request] = entry
            self._keys.setdefault((entry.issuer_id, entry.serial), set()).add(request)
            while len(self._entries) > self._most:
                self._remove(next(iter(self._entries)))

    def drop(self, heard: Heard) -> None:
        """Forget the answers about certificates whose status has changed."""
        with self._lock:
            self.generation += 1
            if heard.serials is None:
                places = [place for place in self._keys if place[0] == heard.issuer_id]
            else:
                places = [(heard.issuer_id, serial) for serial in heard.serials]
            for place in places:
                for request in tuple(self._keys.get(place, ())):
                    self._remove(request)

    def take_due(self, now: datetime) -> list[tuple[bytes, Entry]]:
        """Those half of whose life is over and that were asked for; the others of that age are forgotten."""
        with self._lock:
            due = [(request, entry) for request, entry in self._entries.items() if entry.refresh_at <= now]
            for request, entry in due:
                if not entry.asked:
                    self._remove(request)
        return [(request, entry) for request, entry in due if entry.asked]

    def _remove(self, request: bytes) -> None:
        entry = self._entries.pop(request)
        place = (entry.issuer_id, entry.serial)
        self._keys[place].discard(request)
        if not self._keys[place]:
            del self._keys[place]
