# SPDX-License-Identifier: Apache-2.0
"""The one thing an event loop leaves to a thread when it issues: a commit, which waits for the disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_MOST_BEHIND = 32
"""They all go on at once, and wait again when the first of them issues."""


class Disk:
    """Commits, one after the other. For one event loop. Call ``close`` at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "acme-commit")
        self._last: Future[None] | None = None
        self._joined: Future[None] | None = None
        self._behind = 0

    def commit(self, commit: Callable[[], None]) -> Future[None]:
        """Have it called; the result is when it is done."""
        self._last = self._pool.submit(commit)
        return self._last

    def find_commit(self) -> Future[None] | None:
        """The one under way, after which others can write."""
        return None if self._last is None or self._last.done() else self._last

    def join(self) -> Future[None] | None:
        """The same for who goes on after it in the event loop; None also when enough others do already."""
        found = self.find_commit()
        if found is not self._joined:
            self._joined, self._behind = found, 0
        self._behind += 1
        return found if self._behind <= _MOST_BEHIND else None

    def close(self) -> None:
        """Wait for it."""
        self._pool.shutdown(wait=True)
