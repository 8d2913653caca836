# SPDX-License-Identifier: Apache-2.0
"""Something made once for all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """The first thread makes the value, those who come meanwhile wait for it.

    They share its failure too: fifty threads in front of a dead CA must not wait for fifty timeouts in a row.
    Whoever comes after a failure tries again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._future: Future[T] | None = None

    def get(self, make: Callable[[], T]) -> T:
        """Return the value, made by ``make`` if there is none yet. Raises what ``make`` raises."""
        with self._lock:
            future, ours = self._future or Future(), self._future is None
            self._future = future
        if ours:
            try:
                future.set_result(make())
            except BaseException as error:
                self.forget()
                future.set_exception(error)
                raise
        return future.result()

    def forget(self) -> None:
        """Make it anew the next time."""
        with self._lock:
            self._future = None
