# SPDX-License-Identifier: Apache-2.0
"""The only place that decides to try again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ottr.errors import OttrError
from ottr.model import Waiter

T = TypeVar("T")

WAITS_S = (1.0, 3.0)
"""Seconds between tries; one more try than there are waits."""


def retry(action: Callable[[], T], *, waits_s: Sequence[float] = WAITS_S, wait: Waiter = time.sleep) -> T:
    """Run ``action``, again after each wait while its error says ``retryable``; the last error is raised."""
    for seconds in waits_s:
        try:
            return action()
        except OttrError as error:
            if not error.retryable:
                raise
        wait(seconds)
    return action()
