# SPDX-License-Identifier: Apache-2.0
"""Sessions with a device: opened when needed, held where that is cheap, gone when anything is wrong."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DeviceUnreachable
from ottr.orchestrator import sessions as sessions_module
from ottr.orchestrator.sessions import HOLD_S, Sessions
from ottr.retry import WAITS_S


class OneShot:
    """A session that cannot be held."""


class Holdable:
    """A session that can."""

    def __init__(self) -> None:
        self.lives = True

    def alive(self) -> bool:
        return self.lives


class Door:
    """Opens sessions of one kind, as told; keeps account."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.errors: list[BaseException] = []
        self.at_end: BaseException | None = None
        self.opened: list[object] = []
        self.open_now = 0

    @contextmanager
    def __call__(self):
        if self.errors:
            raise self.errors.pop(0)
        session = self.kind()
        self.opened.append(session)
        self.open_now += 1
        assert self.open_now == 1, "never more than one at a time"
        try:
            yield session
        finally:
            self.open_now -= 1
            if self.at_end is not None:
                raise self.at_end


def test_nothing_is_opened_before_it_is_needed():
    door = Door(OneShot)
    Sessions(door).close()
    assert door.opened == []


def test_a_session_that_cannot_be_held_is_ended_at_once():
    door = Door(OneShot)
    sessions = Sessions(door)
    for _ in range(2):
        with sessions() as driver:
            assert driver is door.opened[-1]
            assert door.open_now == 1
        assert door.open_now == 0
    assert len(door.opened) == 2


def test_a_session_that_can_be_held_is_used_again_and_ended_at_the_end():
    door = Door(Holdable)
    sessions = Sessions(door)
    with sessions() as first:
        pass
    assert door.open_now == 1
    with sessions() as second:
        assert second is first
    sessions.close()
    assert door.open_now == 0
    with sessions() as third:
        assert third is not first


def test_a_held_session_that_has_died_is_opened_anew():
    door = Door(Holdable)
    sessions = Sessions(door)
    with sessions() as first:
        pass
    first.lives = False
    with sessions() as second:
        assert second is not first
    assert len(door.opened) == 2


def test_a_session_idle_for_too_long_is_opened_anew(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sessions_module.time, "monotonic", lambda: now[0])
    door = Door(Holdable)
    sessions = Sessions(door)
    with sessions() as first:
        pass
    now[0] += HOLD_S - 0.001
    with sessions() as second:
        assert second is first
        now[0] += 10 * HOLD_S  # at work, not idle
    with sessions() as third:
        assert third is first
    now[0] += HOLD_S
    with sessions() as fourth:
        assert fourth is not first


@pytest.mark.parametrize("error", [DeviceRejected("no"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_session_in_which_anything_went_wrong_is_never_used_again(error):
    door = Door(Holdable)
    sessions = Sessions(door)
    with pytest.raises(type(error)), sessions():
        raise error
    assert door.open_now == 0
    with sessions() as another:
        assert another is door.opened[1]


@pytest.mark.parametrize("at_end", [DeviceUnreachable("gone"), RuntimeError("a bug of the driver"), OSError("gone")])
def test_a_session_that_does_not_end_well_is_gone_and_hides_nothing(at_end):
    door = Door(OneShot)
    door.at_end = at_end
    sessions = Sessions(door)
    with sessions():
        pass
    with pytest.raises(DeviceRejected, match="the reason"), sessions():
        raise DeviceRejected("the reason")
    assert door.open_now == 0


def test_a_device_that_is_only_busy_is_asked_again():
    waited: list[float] = []
    door = Door(OneShot)
    door.errors = [DeviceBusy("a"), DeviceUnreachable("b")]
    with Sessions(door, waited.append)():
        pass
    assert tuple(waited) == WAITS_S[:2]
    assert len(door.opened) == 1


def test_a_device_that_refuses_the_login_is_not_asked_again():
    door = Door(OneShot)
    door.errors = [AuthenticationFailed("no")]
    with pytest.raises(AuthenticationFailed), Sessions(door, lambda seconds: pytest.fail("waited"))():
        pass
    assert door.opened == []
