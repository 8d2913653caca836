# SPDX-License-Identifier: Apache-2.0
"""Waiting for a device: for its web server to come back, and for its group to be in sync."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ottr.drivers.f5.messages import Away
from ottr.drivers.f5.options import Options
from ottr.errors import AuthenticationFailed, DeviceUnreachable, HostKeyRefused
from ottr.model import Waiter

T = TypeVar("T")

_SLOWER = 1.3
_SLOWEST_S = 10.0


class Patience:
    """Every wait has a limit of the route and asks less often the longer it lasts: 120 s are 17 questions."""

    def __init__(self, options: Options, wait: Waiter) -> None:
        self._options = options
        self._wait = wait

    def ride_out(self, action: Callable[[], T]) -> T:
        """Repeat an action that changes nothing while the web server is away. Raises DriverError."""
        # After a restart it may show another certificate for a moment, and know no login.
        last: DeviceUnreachable | AuthenticationFailed | HostKeyRefused | None = None
        for _ in self._pauses(self._options.restart_timeout_s):
            try:
                return action()
            except (DeviceUnreachable, AuthenticationFailed, HostKeyRefused) as error:
                last = error
        raise last or DeviceUnreachable("the device did not come back")

    def ride_out_start(self, action: Callable[[], T]) -> T:
        """Repeat an action while the web server is there and says that the rest is not yet. Raises DriverError."""
        last: Away | None = None
        for _ in self._pauses(self._options.restart_timeout_s):
            try:
                return action()
            except Away as error:
                last = error
        raise last or DeviceUnreachable("the device did not come up")

    def await_restart(self, holds: Callable[[], bool]) -> bool:
        """Ask until it holds; False when it did not in time."""
        return any(holds() for _ in self._pauses(self._options.restart_timeout_s))

    def await_sync(self, holds: Callable[[], bool]) -> bool:
        """Ask until it holds; False when it did not in time."""
        return any(holds() for _ in self._pauses(self._options.sync_timeout_s))

    def _pauses(self, limit_s: float) -> Iterator[None]:
        """At once, and again after each pause as long as there is time."""
        ends = time.monotonic() + limit_s
        pause_s = self._options.poll_interval_s
        yield
        while time.monotonic() < ends:
            self._wait(pause_s)
            yield
            pause_s = min(pause_s * _SLOWER, max(_SLOWEST_S, self._options.poll_interval_s))
