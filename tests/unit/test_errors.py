# SPDX-License-Identifier: Apache-2.0
"""Errors say what happened and what to do, and never carry what a terminal or a database cannot."""

from __future__ import annotations

import datetime as dt
import inspect
import re

import pytest

from ottr import errors
from ottr.errors import AcmeProblem, DeviceRejected, DeviceUnreachable, DnsError, OttrError, RateLimited
from ottr.model import ErrorReport

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, OttrError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_words_of_its_own(kind):
    report = kind().report
    assert report.kind == kind.__name__
    assert report.message == inspect.getdoc(kind)
    assert report.message.endswith(".")


def test_the_tree_in_the_documentation_is_the_tree_of_the_code():
    told = re.findall(
        r"\b[A-Z]\w*(?:Error|Failed|Refused|Busy|Rejected|Device|Lost|Problem|Limited|Unavailable|"
        r"Unreachable|Certificate|Conflict|Leased|Active)\b",
        errors.__doc__.partition("Messages say")[0],
    )
    assert sorted(told) == sorted(one.__name__ for one in CLASSES)


def test_what_may_be_tried_again_is_what_the_documentation_says():
    told = set(re.findall(r"([A-Z]\w+) +retryable", errors.__doc__))
    assert {one.__name__ for one in CLASSES if one.retryable} == told
    assert DeviceUnreachable().retryable
    assert DnsError("x").retryable


def test_a_message_and_a_hint_of_its_own_go_before_the_class_s():
    assert DeviceUnreachable("no route", hint="plug it in").report == ErrorReport(
        "DeviceUnreachable", "no route", "plug it in"
    )
    assert DeviceUnreachable("no route").hint == DeviceUnreachable.default_hint


def test_a_problem_of_the_ca_keeps_what_the_ca_said():
    problem = AcmeProblem("no", type="urn:ietf:params:acme:error:caa", status=403, subproblems=("a: b",))
    assert (problem.type, problem.status, problem.subproblems) == (
        "urn:ietf:params:acme:error:caa",
        403,
        ("a: b",),
    )
    assert (AcmeProblem().type, AcmeProblem().status, AcmeProblem().subproblems) == ("", 0, ())


def test_a_rate_limit_keeps_its_time():
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert RateLimited("slow down", retry_at=at).retry_at == at
    assert RateLimited().retry_at is None


def test_a_report_holds_no_control_characters_of_a_device():
    """A terminal would obey them; PostgreSQL refuses NUL, every database a lone surrogate."""
    said = "bad\x00 \x1b[2Jthing \udcff\u202e\ttab\nline \N{SNOWMAN}"
    report = DeviceRejected(said, hint=said).report
    assert report.message == report.hint == "bad\ufffd \ufffd[2Jthing \ufffd\ufffd\ttab\nline \N{SNOWMAN}"
    report.message.encode()


def test_the_kind_of_an_error_is_a_name_that_everybody_knows():
    class OnlyOfThisDriver(DeviceUnreachable):
        """A driver tells its own cases apart."""

    assert OnlyOfThisDriver("fw1 is away").report.kind == "DeviceUnreachable"
    assert errors.is_retryable(OnlyOfThisDriver("fw1 is away").report.kind)
