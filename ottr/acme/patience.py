# SPDX-License-Identifier: Apache-2.0
"""How long one piece of work may wait for a CA, and how a CA asks for it (Retry-After, RFC 9110 section 10.2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ottr.errors import IssuerUnavailable, RateLimited
from ottr.model import Clock, Waiter

LONGEST_WAIT_S = 60.0
"""A CA that asks for more gets its worker back: RateLimited."""
SHORTEST_OBEYED_S = 1.0
"""Retry-After counts whole seconds; ``0`` must not become a storm."""


class Patience:
    """Waits on behalf of one piece of work, up to its deadline."""

    def __init__(self, timeout_s: float, clock: Clock, wait: Waiter) -> None:
        self.clock = clock
        self._wait = wait
        self._timeout_s = timeout_s
        self._deadline = clock() + timedelta(seconds=timeout_s)

    def pause(self, seconds: float, what: str) -> None:
        """Wait between two looks at something. Raises IssuerUnavailable when the deadline would pass."""
        if self._left_s() < seconds:
            raise IssuerUnavailable(
                f"{what}, and {self._timeout_s:g} s are over",
                hint="nothing to do: the next run goes on with the same order; if it happens often, raise"
                " order_timeout of the issuer",
            )
        self._wait(seconds)

    def obey(self, seconds: float, what: str) -> None:
        """Wait as long as the CA asked. Raises RateLimited when that is longer than a worker should be held."""
        seconds = max(seconds, SHORTEST_OBEYED_S)
        if seconds > min(LONGEST_WAIT_S, self._left_s()):
            retry_at = self.clock() + timedelta(seconds=seconds)
            raise RateLimited(f"{what}: the CA asks to come back at {_iso(retry_at)}", retry_at=retry_at)
        self._wait(seconds)

    def _left_s(self) -> float:
        return (self._deadline - self.clock()).total_seconds()


def parse_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read Retry-After as seconds from ``now``, given as seconds or as a date; None when absent or unreadable."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
