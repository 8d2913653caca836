# SPDX-License-Identifier: Apache-2.0
"""Maintenance windows and freezes: when a device may be touched.

A window reads ``Sat,Sun 22:00-04:00 Europe/Berlin``: days (all when left out), a span of the clock on the
wall, and a zone (UTC when left out). A span over midnight belongs to the day it begins on. What the clock on
the wall shows is all that counts: an hour that comes twice is open twice, one that is left out never is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from ottr.settings import Freeze

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(_DAYS)
_WINDOW = re.compile(
    rf"(?:(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*)\s+)?"
    r"(?P<start>[0-9]{1,2}:[0-9]{2})-(?P<end>[0-9]{1,2}:[0-9]{2})(?:\s+(?P<zone>[A-Za-z][A-Za-z0-9_+/-]*))?",
    re.IGNORECASE,
)
_FORM = '"Sat,Sun 22:00-04:00 Europe/Berlin", "Mon-Fri 01:00-03:00" or "02:00-04:00" (UTC)'
_HORIZON_DAYS = 15
"""Every window opens at least once in so many days, also when a change of the clock skips it once."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of the clock on the wall, on some days of the week."""

    days: frozenset[int]
    """0 is Monday."""
    start: int
    """Minutes since midnight."""
    end: int
    """Minutes since midnight, 1440 at the day's end; at or before the start: on the next day."""
    zone: ZoneInfo

    def holds(self, now: datetime) -> bool:
        """Whether the window is open at an instant."""
        local = now.astimezone(self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


@lru_cache(maxsize=1024)
def parse_window(text: str) -> Window:
    """Turn ``Sat,Sun 22:00-04:00 Europe/Berlin`` into a window. Raises ValueError with one clear sentence."""
    match = _WINDOW.fullmatch(" ".join(text.split()))
    if match is None:
        raise ValueError(f"{text!r} is not a window; write {_FORM}")
    start, end = _parse_time(match["start"]), _parse_time(match["end"])
    if start == end or start == 1440:
        raise ValueError(f"{text!r} has no length; a whole day is 00:00-24:00")
    return Window(_parse_days(match["days"]), start, end, _find_zone(match["zone"] or "UTC"))


def parse_freeze(freeze: Freeze) -> tuple[datetime, datetime | None]:
    """Return start and end of a freeze, None when it has no end. Raises ValueError."""
    start = datetime.fromisoformat(freeze.start)
    end = datetime.fromisoformat(freeze.end) if freeze.end else None
    if start.tzinfo is None or (end is not None and end.tzinfo is None):
        raise ValueError("start and end of a freeze need a zone")
    if end is not None and end <= start:
        raise ValueError("the freeze ends before it begins")
    return start, end


def is_open(windows: Sequence[str], freezes: Sequence[Freeze], now: datetime) -> bool:
    """Whether a device may be touched: in a window (always when there are none), and in no freeze."""
    return _freeze_end(freezes, now) == now and _in_window(windows, now)


def next_opening(windows: Sequence[str], freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """Return the first instant, now or later, at which a device may be touched; None: not as things stand."""
    while True:
        free = _freeze_end(freezes, now)
        if free is None:
            return None
        opening = _next_window(windows, free)
        if opening is None or _freeze_end(freezes, opening) == opening:
            return opening
        now = opening


def _freeze_end(freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """The first instant, now or later, that no freeze holds."""
    spans = [parse_freeze(freeze) for freeze in freezes]
    while True:
        ends = [end for start, end in spans if start <= now and (end is None or now < end)]
        if None in ends:
            return None
        if not ends:
            return now
        now = max(end for end in ends if end is not None).astimezone(UTC)


def _in_window(windows: Sequence[str], now: datetime) -> bool:
    return not windows or any(parse_window(text).holds(now) for text in windows)


def _next_window(windows: Sequence[str], now: datetime) -> datetime | None:
    if _in_window(windows, now):
        return now
    parsed = [parse_window(text) for text in windows]
    try:
        return min(instant for window in parsed for instant in _openings(window, now))
    except (ValueError, OverflowError):
        return None


def _openings(window: Window, now: datetime) -> Iterator[datetime]:
    """Instants after now at which a window may open, and does: its start on a day, or a change of the clock."""
    today = now.astimezone(window.zone).date()
    for ahead in range(-1, _HORIZON_DAYS):
        for instant in _edges(window, today + timedelta(days=ahead)):
            if instant > now and window.holds(instant):
                yield instant


def _edges(window: Window, day: date) -> Iterator[datetime]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=window.zone)
    start = midnight.replace(hour=window.start // 60, minute=window.start % 60)
    yield start.astimezone(UTC)
    yield start.replace(fold=1).astimezone(UTC)
    yield from _clock_changes(midnight.astimezone(UTC), window.zone)


def _clock_changes(begin: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The instant within the next 26 hours at which a zone's offset changes, to the minute."""
    low, high = 0, 26 * 60
    before = begin.astimezone(zone).utcoffset()
    if (begin + timedelta(minutes=high)).astimezone(zone).utcoffset() == before:
        return
    while high - low > 1:
        middle = (low + high) // 2
        if (begin + timedelta(minutes=middle)).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    yield begin + timedelta(minutes=high)


def _parse_days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        begin = _DAYS.index(first)
        days.update((begin + n) % 7 for n in range((_DAYS.index(last or first) - begin) % 7 + 1))
    return frozenset(days)


def _parse_time(text: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if hour * 60 + minute > 1440 or minute > 59:
        raise ValueError(f"{text!r} is not a time of day")
    return hour * 60 + minute


def _find_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one as Europe/Berlin") from error
