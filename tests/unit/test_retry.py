# SPDX-License-Identifier: Apache-2.0
"""What is tried again, how often, and what is not."""

from __future__ import annotations

import pytest

from ottr.errors import AuthenticationFailed, DeviceBusy, OttrError
from ottr.retry import WAITS_S, retry


class Flaky:
    """Fails with each of the errors in turn, then works."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_what_works_is_not_repeated():
    waited: list[float] = []
    action = Flaky()
    assert retry(action, wait=waited.append) == "done"
    assert (action.calls, waited) == (1, [])


def test_what_may_pass_is_tried_again_after_each_wait():
    waited: list[float] = []
    assert retry(Flaky(DeviceBusy("1"), DeviceBusy("2")), waits_s=(1, 2, 3), wait=waited.append) == "done"
    assert waited == [1, 2]


def test_the_last_error_is_raised_when_every_wait_is_used_up():
    waited: list[float] = []
    action = Flaky(*(DeviceBusy(str(number)) for number in range(9)))
    with pytest.raises(DeviceBusy, match="2"):
        retry(action, wait=waited.append)
    assert (action.calls, tuple(waited)) == (3, WAITS_S)


@pytest.mark.parametrize("error", [AuthenticationFailed(), OttrError("x"), ZeroDivisionError(), KeyboardInterrupt()])
def test_what_will_not_pass_is_raised_at_once(error):
    waited: list[float] = []
    action = Flaky(DeviceBusy(), error)
    with pytest.raises(type(error)):
        retry(action, wait=waited.append)
    assert (action.calls, waited) == (2, [WAITS_S[0]])


def test_without_waits_there_is_one_try():
    action = Flaky(DeviceBusy())
    with pytest.raises(DeviceBusy):
        retry(action, waits_s=())
    assert action.calls == 1
