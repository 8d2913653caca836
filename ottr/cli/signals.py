# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: the first one takes no new devices, the second one stops waiting for those that run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ottr.cli import screen
from ottr.orchestrator.runner import Stop
from ottr.report import ExitStatus

INTERRUPTED = "interrupted"
"""The reason of devices that were not begun or not waited for."""

_GENTLE = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(stop: Stop, describe_running: Callable[[], str], give_up: Callable[[], None]) -> Iterator[None]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP set ``stop``; a second SIGINT ends the process.

    ``give_up`` is called before that end, to show what is known; nothing it does can prevent it. What runs is safe
    to be left alone: every step is in the journal before it is taken, and `ottr resume` goes on with it.
    """
    asked = 0

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal asked
        asked += number == signal.SIGINT
        if asked > 1:
            _end(give_up)
        if not stop:
            screen.warn(f"finishing {describe_running()}, Ctrl-C again to stop waiting")
        stop.set(INTERRUPTED)

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, *_GENTLE)}
    taken = [number for number in former if number not in _GENTLE or former[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, former[number])


def _end(give_up: Callable[[], None]) -> None:
    try:
        give_up()
        screen.flush()
    finally:
        os._exit(ExitStatus.INTERRUPTED)
