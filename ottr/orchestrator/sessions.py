# SPDX-License-Identifier: Apache-2.0
"""Device sessions of one rotation: opened when needed, kept while an order runs where that is cheap."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from ottr.drivers import Driver, Reusable
from ottr.model import Waiter
from ottr.retry import retry

HOLD_S = 60.0
"""Nobody depends on a session being held: one idle for longer is opened anew."""

log = logging.getLogger(__name__)

Opener = Callable[[], AbstractContextManager[Driver]]


class Sessions:
    """Gives sessions with one device; never more than one at a time."""

    def __init__(self, open_one: Opener, wait: Waiter = time.sleep) -> None:
        self._open = open_one
        self._wait = wait
        self._stack = ExitStack()
        self._driver: Driver | None = None
        self._reusable: Reusable | None = None
        """The same driver, if it has that ability: to ask what a driver can do is dear."""
        self._idle_since = 0.0

    @contextmanager
    def __call__(self) -> Iterator[Driver]:
        """A session that works: the held one, else a new one, tried again while the device is only busy."""
        driver = self._held() or retry(self._enter, wait=self._wait)
        try:
            yield driver
        except BaseException:
            self.close()
            raise
        self._idle_since = time.monotonic()
        if self._reusable is None:
            self.close()

    @property
    def held(self) -> bool:
        """Whether the next one is there already, as far as can be told without asking the device."""
        return self._driver is not None

    def close(self) -> None:
        """End the held session, if there is one; a session that cannot be ended well is gone all the same."""
        stack, self._stack, self._driver, self._reusable = self._stack, ExitStack(), None, None
        try:
            stack.close()
        except Exception as error:  # a bug in a driver, too, must not hide why the session is ended
            log.debug("the session did not end well: %s", error)

    def _held(self) -> Driver | None:
        fresh = time.monotonic() - self._idle_since < HOLD_S
        if self._reusable is not None and fresh and self._reusable.alive():
            return self._driver
        self.close()
        return None

    def _enter(self) -> Driver:
        self._driver = driver = self._stack.enter_context(self._open())
        self._reusable = driver if isinstance(driver, Reusable) else None
        return driver
