# SPDX-License-Identifier: Apache-2.0
"""The line between a driver and a simulated device: what went over it, and where it is cut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

from ottr.simulation.faults import Faults
from ottr.simulation.requests import Request, RequestLog


class SimulatedLine:
    """See ``ottr.testing.stand.Line``. A request is an HTTP request; ``state_hash`` differs when the device does."""

    def __init__(self, faults: Faults, log: RequestLog, state_hash: Callable[[], str]) -> None:
        self._faults, self._log, self._state_hash = faults, log, state_hash
        self._requests: list[str] = []
        self._received = bytearray()
        self._states: list[str] | None = None
        """After each request that was watched, and before the first one."""
        self._lock = threading.Lock()
        self._last = 0
        """The request that the cut is at."""
        self.severed = False
        """Whether nothing will come through from some request on: nobody need wait for the device to come back."""
        log.watch = self._note

    def requests(self) -> tuple[str, ...]:
        """Each request as an access log shows it: method and URL, query included.

        Without what a path has to name, as the log of requests knows.
        """
        with self._lock:
            return tuple(self._requests)

    def received(self) -> bytes:
        """Every body that was sent to us."""
        with self._lock:
            return bytes(self._received)

    def begin_watch(self) -> None:
        """From now on look at the device after each request."""
        self._states = [self._state_hash()]

    def end_watch(self) -> tuple[bool, ...]:
        """For each request since then, whether the device was another one after it."""
        states, self._states = self._states or [], None
        return tuple(before != after for before, after in pairwise(states))

    def cut_before(self, number: int) -> None:
        """Neither do nor answer the request of this number, counted from now on, and all after it."""
        self.severed = True
        self._cut(number, "drop_before", times=None)

    def lose_answer(self, number: int) -> None:
        """Do the request of this number, and end the connection in the place of its answer."""
        self._cut(number, "drop_after", times=1)

    def mend(self) -> bool:
        """End the cut; tell whether there was such a request."""
        self._faults.clear()
        self.severed = False
        return len(self.requests()) >= self._last

    def _cut(self, number: int, fault: str, times: int | None) -> None:
        self._last = len(self.requests()) + number
        self._faults.arm(fault, times=times, skip=number - 1)

    def _note(self, request: Request, sent: bytes) -> None:
        if self._states is not None:
            self._states.append(self._state_hash())
        with self._lock:
            self._requests.append(f"{request.method} {self._log.mask_path(request.target)}")
            self._received += sent
