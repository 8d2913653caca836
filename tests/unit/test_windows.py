# SPDX-License-Identifier: Apache-2.0
"""Maintenance windows and freezes, against a minute-by-minute look at the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottr.settings import Freeze
from ottr.windows import is_open, next_opening, parse_freeze, parse_window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        ("02:00-04:00", "2026-11-22T02:00:00Z", True),
        ("02:00-04:00", "2026-11-22T03:59:59Z", True),
        ("02:00-04:00", "2026-11-22T04:00:00Z", False),
        ("00:00-24:00", "2026-11-22T23:59:59Z", True),
        ("Mon-Fri 01:00-03:00 UTC", "2026-11-22T02:00:00Z", False),  # a Sunday
        ("mon-fri 1:00-3:00", "2026-11-23T02:00:00Z", True),
        ("Fri-Mon 01:00-03:00", "2026-11-23T02:00:00Z", True),
        ("Fri-Mon 01:00-03:00", "2026-11-24T02:00:00Z", False),
        ("Sat 22:00-04:00 Europe/Berlin", "2026-11-21T21:00:00Z", True),
        ("Sat 22:00-04:00 Europe/Berlin", "2026-11-22T02:59:00Z", True),  # Sunday morning, begun on Saturday
        ("Sat 22:00-04:00 Europe/Berlin", "2026-11-22T03:00:00Z", False),
        ("Sat 22:00-04:00 Europe/Berlin", "2026-11-21T02:00:00Z", False),  # Saturday morning
        ("Sun 02:30-02:45 Europe/Berlin", "2026-10-25T00:30:00Z", True),  # the clock goes back: 02:30 comes twice
        ("Sun 02:30-02:45 Europe/Berlin", "2026-10-25T01:30:00Z", True),
        ("Sun 02:30-02:45 Europe/Berlin", "2026-03-29T01:30:00Z", False),  # the clock goes on: 02:30 never comes
    ],
)
def test_what_is_open_when(window: str, now: str, expected: bool) -> None:
    assert is_open([window], [], at(now)) is expected


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        ("02:00-04:00", "2026-11-22T05:00:00Z", "2026-11-23T02:00:00Z"),
        ("02:00-04:00", "2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
        ("Sun 02:30-02:45 Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"),
        ("Sun 02:30-02:45 Europe/Berlin", "2026-03-29T00:00:00Z", "2026-04-05T00:30:00Z"),
        ("Sun 02:30-04:00 Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        ("Sun 01:00-02:30 Europe/Berlin", "2026-10-25T00:31:00Z", "2026-10-25T01:00:00Z"),
    ],
)
def test_when_it_opens_next(window: str, now: str, expected: str) -> None:
    assert next_opening([window], [], at(now)) == at(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at night", "is not a window; write"),
        ("Someday 01:00-02:00", "is not a window"),
        ("25:00-26:00", "'25:00' is not a time of day"),
        ("01:60-02:00", "'01:60' is not a time of day"),
        ("02:00-02:00", "has no length"),
        ("24:00-02:00", "has no length"),
        ("01:00-02:00 Europe/Nowhere", "there is no time zone 'Europe/Nowhere'"),
        ("01:00-02:00 Europe", "there is no time zone 'Europe'"),
    ],
)
def test_what_is_not_a_window(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_window(text)


class TestFreezes:
    freeze = Freeze("2026-12-20T00:00:00Z", "2027-01-07T00:00:00+01:00")

    @pytest.mark.parametrize(
        ("now", "expected"),
        [
            ("2026-12-19T23:59:59Z", True),
            ("2026-12-20T00:00:00Z", False),
            ("2027-01-06T22:59:59Z", False),
            ("2027-01-06T23:00:00Z", True),
        ],
    )
    def test_nothing_is_open_in_one(self, now: str, expected: bool) -> None:
        assert is_open([], [self.freeze], at(now)) is expected

    def test_after_one_the_next_window_counts(self) -> None:
        assert next_opening(["02:00-04:00"], [self.freeze], at("2026-12-25T00:00:00Z")) == at("2027-01-07T02:00:00Z")
        assert next_opening(["22:00-01:00"], [self.freeze], at("2026-12-25T00:00:00Z")) == at("2027-01-06T23:00:00Z")
        assert next_opening([], [self.freeze], at("2026-12-25T00:00:00Z")) == at("2027-01-06T23:00:00Z")
        assert next_opening(["02:00-04:00"], [self.freeze], at("2026-12-19T05:00:00Z")) == at("2027-01-07T02:00:00Z")

    def test_one_without_an_end_never_opens(self) -> None:
        endless = Freeze("2026-12-20T00:00:00Z")
        assert next_opening(["02:00-04:00"], [endless], at("2026-12-25T00:00:00Z")) is None
        assert next_opening(["02:00-04:00"], [endless], at("2026-12-19T05:00:00Z")) is None
        assert not is_open([], [endless], at("2030-01-01T00:00:00Z"))

    def test_one_until_the_end_of_time_never_opens(self) -> None:
        eternal = Freeze("2026-12-20T00:00:00Z", "9999-12-31T23:00:00Z")
        assert next_opening(["02:00-04:00"], [eternal], at("2026-12-25T00:00:00Z")) is None

    def test_start_and_end_need_a_zone_and_an_order(self) -> None:
        with pytest.raises(ValueError, match="need a zone"):
            parse_freeze(Freeze("2026-12-20T00:00:00"))
        with pytest.raises(ValueError, match="need a zone"):
            parse_freeze(Freeze("2026-12-20T00:00:00Z", "2026-12-21T00:00:00"))
        with pytest.raises(ValueError, match="ends before it begins"):
            parse_freeze(Freeze("2026-12-20T00:00:00Z", "2026-12-19T00:00:00Z"))


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")

minutes = st.integers(0, 1439)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, set[int], int, int, str]:
    days = draw(st.sets(st.integers(0, 6), min_size=1))
    start, end = draw(st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1]))
    zone = draw(st.sampled_from(ZONES))
    listed = ",".join(DAYS[day] for day in sorted(days))
    text = f"{listed} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} {zone}"
    return text, days, start, end, zone


def wall_says(window: tuple[str, set[int], int, int, str], now: datetime) -> bool:
    """The oracle: look at the clock on the wall, and back through the day to where the span began."""
    _, days, start, end, zone = window
    local = now.astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    begun_today = minute >= start and (minute < end or end < start)
    begun_yesterday = end < start and minute < end
    yesterday = (local.date() - timedelta(days=1)).weekday()
    return (begun_today and local.weekday() in days) or (begun_yesterday and yesterday in days)


# Around changes of the clock on both halves of the globe, where mistakes are.
moments = st.one_of(
    st.integers(0, 4 * 1440).map(lambda n: datetime(2026, 3, 27, tzinfo=UTC) + timedelta(minutes=n)),
    st.integers(0, 4 * 1440).map(lambda n: datetime(2026, 10, 3, tzinfo=UTC) + timedelta(minutes=n)),
    st.integers(0, 4 * 1440).map(lambda n: datetime(2026, 10, 23, tzinfo=UTC) + timedelta(minutes=n)),
    st.integers(0, 366 * 1440).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n)),
)


@given(window=windows(), now=moments)
def test_the_clock_on_the_wall_decides(window: tuple[str, set[int], int, int, str], now: datetime) -> None:
    assert is_open([window[0]], [], now) is wall_says(window, now)


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(windows(), min_size=1, max_size=2), now=moments, frozen=st.integers(-600, 600))
def test_the_next_opening_is_open_and_no_earlier_minute_is(
    chosen: list[tuple[str, set[int], int, int, str]], now: datetime, frozen: int
) -> None:
    texts = [window[0] for window in chosen]
    start = now + timedelta(minutes=frozen)
    freezes = [Freeze(start.isoformat(), (start + timedelta(minutes=300)).isoformat())]
    opening = next_opening(texts, freezes, now)
    assert opening is not None
    assert is_open(texts, freezes, opening)
    minute = now
    while minute < opening:
        assert not is_open(texts, freezes, minute)
        minute += timedelta(minutes=1)
