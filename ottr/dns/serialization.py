# SPDX-License-Identifier: Apache-2.0
"""One writer at a time for services that replace whole record sets, or whole zones, to add one value."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary


class KeyedLocks:
    """A lock for each key, kept as long as somebody holds or awaits it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def find(self, key: str) -> threading.Lock:
        """Return the lock of this key."""
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())
