# SPDX-License-Identifier: Apache-2.0
"""Many devices at once: batches, forks, stops, and a result for every device exactly once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottr.errors import ConfigurationError, CredentialsError
from ottr.model import Device, Outcome, RotationResult, Route
from ottr.orchestrator.runner import UNPREPARED, Rollout, Stop, batch_size, batches, each, run
from ottr.orchestrator.target import Target

ROUTE = Route("memory", "ca")


def target(name: str) -> Target:
    return Target(Device(name, "linux", "192.0.2.1", (f"{name}.example.com",)), ROUTE)


def units(*sizes: int) -> list[list[Target]]:
    """``units(1, 2)``: a device alone, then a pair."""
    return [[target(f"u{unit}-{member}") for member in range(size)] for unit, size in enumerate(sizes)]


def singles(count: int) -> list[list[Target]]:
    return units(*[1] * count)


def rotated(one: Target) -> RotationResult:
    return RotationResult(one.device.name, Outcome.ROTATED)


def outcomes(results) -> dict[str, Outcome]:
    return {result.device: result.outcome for result in results}


def sizes(total: int, *serial: str) -> list[int]:
    return [len(batch) for batch in batches(singles(total), serial)]


@pytest.mark.parametrize(
    ("total", "serial", "expected"),
    [
        (5, (), [5]),
        (5, ("2",), [2, 2, 1]),
        (10, ("1", "30%"), [1, 3, 3, 3]),
        (20, ("1", "10%", "100%"), [1, 2, 17]),
        (10, ("1", "5", "100"), [1, 5, 4]),
        (3, ("10%",), [1, 1, 1]),
        (7, ("29%",), [2, 2, 2, 1]),
        (100, ("29%",), [29, 29, 29, 13]),
        (4, ("200%",), [4]),
        (0, ("1",), []),
        (0, (), []),
    ],
)
def test_batches_are_cut_as_ansibles_serial_does(total, serial, expected):
    assert sizes(total, *serial) == expected


def test_spaces_around_a_size_do_not_matter():
    assert [batch_size(text, 50) for text in (" 3", "10 %", " 10% ")] == [3, 5, 5]


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1.5", "%", "ten", "10%%", "1,2"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigurationError, match="is not a size of a batch") as caught:
        batch_size(text, 10)
    assert "1,10%,100%" in caught.value.hint


def test_a_batch_is_begun_only_when_the_one_before_is_over():
    """Two rotate at once within a batch of two; the third waits for both."""
    ended: list[str] = []
    together = threading.Barrier(2)

    def rotate(one: Target) -> RotationResult:
        if one.device.name in ("u0-0", "u1-0"):
            together.wait(20)
        else:
            assert len(ended) == 2
        ended.append(one.device.name)
        return rotated(one)

    assert len(list(run(singles(3), rotate, Rollout(serial=("2", "1")), Stop()))) == 3


def test_each_batch_is_prepared_just_before_it_begins():
    seen: list[str] = []

    def rotate(one: Target) -> RotationResult:
        seen.append(one.device.name)
        return rotated(one)

    def prepare(batch) -> None:
        seen.append("prepare " + " ".join(one.device.name for unit in batch for one in unit))

    list(run(units(2, 1), rotate, Rollout(serial=("1",)), Stop(), prepare))
    assert seen == ["prepare u0-0 u0-1", "u0-0", "u0-1", "prepare u1-0", "u1-0"]


def test_a_batch_that_will_not_begin_is_not_prepared():
    stop = Stop()
    stop.set("interrupted")
    results = list(run(singles(2), rotated, Rollout(), stop, lambda batch: pytest.fail("prepared")))
    assert set(outcomes(results).values()) == {Outcome.INTERRUPTED}


def test_what_cannot_be_prepared_is_an_error_of_the_run():
    def prepare(batch) -> None:
        raise CredentialsError("no vault")

    with pytest.raises(CredentialsError):
        list(run(singles(2), rotated, Rollout(serial=("1",)), Stop(), prepare))


def test_what_cannot_be_prepared_later_fails_its_batch_and_stops_the_run():
    stop, prepared = Stop(), list[object]()

    def prepare(batch) -> None:
        prepared.append(batch)
        if len(prepared) == 2:
            raise CredentialsError("no vault")

    results = list(run(units(1, 2, 1), rotated, Rollout(serial=("1",)), stop, prepare))
    failed = {one.device: one.error.message for one in results if one.outcome is Outcome.FAILED}
    assert failed == {"u1-0": "no vault", "u1-1": "no vault"}
    assert [(one.device, one.reason) for one in results if one.outcome is Outcome.INTERRUPTED] == [("u2-0", UNPREPARED)]
    assert len(prepared) == 2


def failing(*names: str, outcome: Outcome = Outcome.FAILED):
    def rotate(one: Target) -> RotationResult:
        return RotationResult(one.device.name, outcome if one.device.name in names else Outcome.ROTATED)

    return rotate


@pytest.mark.parametrize(
    ("limit", "bad", "goes_on"),
    [(None, 4, True), (50, 2, True), (49.9, 2, False), (0, 0, True), (0, 1, False), (100, 4, True), (25, 1, True)],
)
def test_the_share_of_failures_must_be_exceeded(limit, bad, goes_on):
    stop = Stop()
    rotate = failing(*[f"u{number}-0" for number in range(bad)])
    results = outcomes(run(singles(8), rotate, Rollout(serial=("4",), max_fail_percentage=limit), stop))
    second = {results[f"u{number}-0"] for number in range(4, 8)}
    assert second == {Outcome.ROTATED if goes_on else Outcome.INTERRUPTED}
    assert bool(stop) is not goes_on


def test_failures_are_counted_for_each_batch_by_itself():
    rotate = failing("u0-0", "u2-0", "u4-0")
    results = outcomes(run(singles(6), rotate, Rollout(serial=("2",), max_fail_percentage=50), Stop()))
    assert Counter(results.values()) == {Outcome.FAILED: 3, Outcome.ROTATED: 3}


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Outcome.FAILED, True),
        (Outcome.ROLLED_BACK, True),
        (Outcome.STRANDED, True),
        (Outcome.UNREACHABLE, True),
        (Outcome.DEFERRED, False),
        (Outcome.SKIPPED, False),
        (Outcome.NOT_DUE, False),
    ],
)
def test_what_counts_as_a_failure(outcome, counts):
    stop = Stop()
    list(run(singles(1), failing("u0-0", outcome=outcome), Rollout(max_fail_percentage=0), stop))
    assert bool(stop) is counts
    assert stop.reason == ("max_fail_percentage was exceeded" if counts else "")


def test_a_run_without_devices_has_no_results():
    assert list(run([], rotated, Rollout(max_fail_percentage=0), Stop())) == []
    assert list(run([[]], rotated, Rollout(max_fail_percentage=0), Stop())) == []


def test_members_of_a_group_come_one_after_the_other_in_their_order():
    order: list[str] = []
    working: list[str] = []

    def rotate(one: Target) -> RotationResult:
        unit = one.device.name.partition("-")[0]
        assert unit not in working
        working.append(unit)
        order.append(one.device.name)
        working.remove(unit)
        return rotated(one)

    list(run(units(3, 3, 3), rotate, Rollout(), Stop()))
    for unit in "012":
        assert [name for name in order if name.startswith(f"u{unit}")] == [f"u{unit}-{member}" for member in range(3)]


@pytest.mark.parametrize("outcome", [Outcome.ROTATED, Outcome.NOT_DUE, Outcome.PLANNED])
def test_the_next_member_has_its_turn_when_the_one_before_is_well(outcome):
    results = list(run(units(2), failing("u0-0", outcome=outcome), Rollout(), Stop()))
    assert outcomes(results) == {"u0-0": outcome, "u0-1": Outcome.ROTATED}


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.ROTATED, Outcome.NOT_DUE, Outcome.PLANNED}))
def test_nobody_touches_the_rest_of_a_group_when_a_member_is_not_well(outcome):
    results = list(run(units(3, 1), failing("u0-0", outcome=outcome), Rollout(), Stop()))
    assert outcomes(results) == {
        "u0-0": outcome,
        "u0-1": Outcome.SKIPPED,
        "u0-2": Outcome.SKIPPED,
        "u1-0": Outcome.ROTATED,
    }
    assert {result.reason for result in results if result.outcome is Outcome.SKIPPED} <= {"ha_peer_failed", ""}
    assert [result.reason for result in results if result.device in ("u0-1", "u0-2")] == ["ha_peer_failed"] * 2


def test_a_stop_in_the_middle_lets_running_devices_finish_and_takes_no_new_ones():
    stop, together = Stop(), threading.Barrier(2)

    def rotate(one: Target) -> RotationResult:
        together.wait(20)  # both slots are busy
        if one.device.name == "u0-0":
            stop.set("interrupted")
        together.wait(20)
        return rotated(one)

    results = list(run([*units(2, 2), *singles(30)[2:]], rotate, Rollout(forks=2), stop))
    done = {result.device for result in results if result.outcome is Outcome.ROTATED}
    assert done == {"u0-0", "u1-0"}
    rest = [result for result in results if result.device not in done]
    assert len(rest) == 30
    assert {(result.outcome, result.reason) for result in rest} == {(Outcome.INTERRUPTED, "interrupted")}


def test_a_stop_keeps_its_first_reason():
    stop = Stop()
    assert not stop
    stop.set("interrupted")
    stop.set("max_fail_percentage was exceeded")
    assert stop
    assert stop.reason == "interrupted"


def test_a_consumer_that_goes_away_ends_the_run():
    begun: list[str] = []

    def rotate(one: Target) -> RotationResult:
        begun.append(one.device.name)
        return rotated(one)

    results = run(singles(50), rotate, Rollout(forks=1), Stop())
    next(results)
    results.close()
    assert begun == ["u0-0"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ottr_")]


class Gauge:
    """How many are at work at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *details: object) -> None:
        with self._lock:
            self._now -= 1


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.integers(1, 3), max_size=12),
    forks=st.integers(1, 4),
    serial=st.lists(st.sampled_from(["1", "2", "5", "10%", "50%", "100%"]), max_size=3),
    limit=st.none() | st.sampled_from([0.0, 30.0, 100.0]),
    data=st.data(),
)
def test_every_device_has_one_result_and_no_more_than_forks_work_at_once(members, forks, serial, limit, data):
    work = units(*members)
    names = [one.device.name for unit in work for one in unit]
    planned = {name: data.draw(st.sampled_from(list(Outcome)), label=name) for name in names}
    stop_at = data.draw(st.none() | st.sampled_from(names)) if names else None
    stop, gauge, called = Stop(), Gauge(), []

    def rotate(one: Target) -> RotationResult:
        with gauge:
            called.append(one.device.name)
            if one.device.name == stop_at:
                stop.set("interrupted")
            return RotationResult(one.device.name, planned[one.device.name])

    results = list(run(work, rotate, Rollout(forks, serial, limit), stop))
    assert Counter(result.device for result in results) == Counter(names)
    assert max(Counter(called).values(), default=1) == 1
    assert gauge.most <= forks
    for result in results:
        if result.device in called:
            assert result.outcome is planned[result.device]
        else:
            assert result.outcome in (Outcome.INTERRUPTED, Outcome.SKIPPED)


def test_all_forks_are_used():
    together = threading.Barrier(8)

    def rotate(one: Target) -> RotationResult:
        together.wait(20)
        return rotated(one)

    assert len(list(run(singles(16), rotate, Rollout(forks=8), Stop()))) == 16


def test_one_fork_works_in_the_order_of_the_units():
    order: list[str] = []

    def rotate(one: Target) -> RotationResult:
        order.append(one.device.name)
        return rotated(one)

    list(run(units(1, 2, 1), rotate, Rollout(forks=1), Stop()))
    assert order == ["u0-0", "u1-0", "u1-1", "u2-0"]


def test_looks_come_in_the_order_of_the_targets():
    first, second = target("a"), target("b")
    done = threading.Event()

    def look(one: Target) -> list[str]:
        if one is first:
            assert done.wait(20)  # the second one is quicker
        done.set()
        return [one.device.name] * 2

    assert list(each([first, second], look, 2, Stop())) == ["a", "a", "b", "b"]


def test_nothing_is_looked_at_after_a_stop():
    stop = Stop()
    stop.set("interrupted")
    assert list(each([target("a")], lambda one: pytest.fail("looked"), 2, stop)) == []
