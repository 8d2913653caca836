# SPDX-License-Identifier: Apache-2.0
"""One JSON schema for every front end, and the exit status: the gravest wins."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottr import report
from ottr.inventory import InventoryHost
from ottr.model import (
    Device,
    Endpoint,
    ErrorReport,
    KeyType,
    Outcome,
    RotationResult,
    Route,
    ServedStatus,
    Step,
    VerifyResult,
)
from ottr.policy import Decision, Known, Reason
from ottr.report import ExitStatus, exit_status, verify_status
from ottr.routing import Trial
from ottr.selection import Candidate
from ottr.service import Explanation
from ottr.state.journal import Entry, Record, State, Status

NOW = dt.datetime(2026, 11, 22, 3, 0, 59, 999999, tzinfo=dt.timezone(dt.timedelta(hours=1)))
AT = "2026-11-22T02:00:59Z"
ERROR = ErrorReport("DeviceRejected", "no", "look")
DEVICE = Device("web1", "linux", "192.0.2.1", ("web1.example.com", "www.example.com"))
ROUTE = Route("memory", "ca", endpoints=(Endpoint("::1", 8443),), windows=("02:00-04:00",), line=7)
KNOWN = Known("ab", "ca", "CN=CA", ("web1.example.com",), "ec256", NOW, NOW)
RECORD = Record(
    "r1", "web1", "ottr-a-r1", "forced", "memory", "ca", ("n",), KeyType.EC256, State.OPEN, 2, "url", False, NOW, None
)


def result(outcome: Outcome, reason: str = "") -> RotationResult:
    return RotationResult("web1", outcome, reason)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.ROTATED, 0),
        (Outcome.PLANNED, 0),
        (Outcome.NOT_DUE, 0),
        (Outcome.SKIPPED, 0),
        (Outcome.DEFERRED, 0),
        (Outcome.UNREACHABLE, 4),
        (Outcome.ROLLED_BACK, 2),
        (Outcome.FAILED, 2),
        (Outcome.STRANDED, 8),
    ],
)
def test_an_outcome_has_its_status(outcome, status):
    assert exit_status([result(Outcome.ROTATED), result(outcome)]) == status


def test_every_outcome_has_a_status():
    assert all(exit_status([result(outcome, "interrupted")]) in ExitStatus for outcome in Outcome)


def test_the_gravest_status_wins():
    grave = [
        (result(Outcome.UNREACHABLE), 4),
        (result(Outcome.FAILED), 2),
        (result(Outcome.INTERRUPTED, "interrupted"), 99),
        (result(Outcome.STRANDED), 8),
        (result(Outcome.FAILED, "state_lost"), 250),
    ]
    for number in range(1, len(grave) + 1):
        assert exit_status([one for one, _ in grave[:number]]) == grave[number - 1][1]


@given(st.lists(st.sampled_from(Outcome)), st.randoms())
def test_the_order_of_results_does_not_matter(kinds, random):
    results = [result(kind) for kind in kinds]
    shuffled = list(results)
    random.shuffle(shuffled)
    assert exit_status(results) == exit_status(shuffled)


def test_no_device_is_well():
    assert exit_status([]) == 0


def test_a_run_that_was_interrupted_or_reached_its_limit_says_so_though_all_devices_are_well():
    assert exit_status([result(Outcome.ROTATED)], interrupted=True) == 99
    assert exit_status([result(Outcome.ROTATED)], limit_reached=True) == 2


def test_devices_not_begun_because_the_limit_was_reached_are_no_interruption():
    results = [result(Outcome.FAILED), result(Outcome.INTERRUPTED, "max_fail_percentage was exceeded")]
    assert exit_status(results, limit_reached=True) == 2
    assert exit_status([result(Outcome.INTERRUPTED, "interrupted")]) == 99


def test_devices_not_begun_because_the_state_was_lost_are_no_interruption():
    assert exit_status([result(Outcome.INTERRUPTED, "state_lost")]) == 250


def test_strict_makes_skipped_devices_count():
    assert exit_status([result(Outcome.SKIPPED)], strict=True) == 2
    assert exit_status([result(Outcome.NOT_DUE)], strict=True) == 0


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], 0),
        ([ServedStatus.OK, ServedStatus.UNKNOWN, ServedStatus.SKIPPED], 0),
        ([ServedStatus.OK, ServedStatus.UNREACHABLE], 4),
        ([ServedStatus.UNREACHABLE, ServedStatus.DRIFT], 2),
    ],
)
def test_drift_fails_and_silence_is_unreachable(statuses, expected):
    assert verify_status([VerifyResult("web1", "e", status) for status in statuses]) == expected


def test_a_result_has_every_member_always():
    bare = report.describe_result(result(Outcome.NOT_DUE))
    full = report.describe_result(
        RotationResult(
            "web1",
            Outcome.ROTATED,
            "forced",
            "record",
            "r1",
            "memory",
            "ca",
            "old",
            "new",
            "1f",
            NOW,
            ERROR,
            ("careful",),
            (("names", "a", "b"),),
            NOW,
            NOW,
        )
    )
    assert set(bare) == set(full) == {one.name for one in fields(RotationResult)} | {"changed"}
    assert (full["changed"], bare["changed"]) == (True, False)
    assert (full["not_after"], bare["not_after"]) == (AT, None)
    assert full["error"] == {"kind": "DeviceRejected", "message": "no", "hint": "look"}
    assert bare["error"] is None
    assert full["diff"] == [{"what": "names", "before": "a", "after": "b"}]
    assert full["warnings"] == ["careful"]
    json.dumps([bare, full])


def test_a_run_has_its_results_by_name_and_counts_of_every_outcome():
    run = report.describe_run(
        [RotationResult("b", Outcome.FAILED), RotationResult("a", Outcome.ROTATED)], ExitStatus(2)
    )
    assert [one["device"] for one in run["results"]] == ["a", "b"]
    assert (run["version"], run["exit_status"]) == (1, 2)
    assert set(run["counts"]) == {outcome.value for outcome in Outcome}
    assert (run["counts"]["failed"], run["counts"]["stranded"]) == (1, 0)


def test_a_look_has_its_endpoints_and_counts_of_every_status():
    one = VerifyResult("web1", "e", ServedStatus.OK, "", "ab", "1f", NOW, NOW, NOW, NOW, NOW, ("read-only",))
    seen = report.describe_verifications(
        [one, VerifyResult("web2", "", ServedStatus.SKIPPED, "no_route: x")], ExitStatus.OK
    )
    assert set(seen["results"][0]) == {field.name for field in fields(VerifyResult)}
    assert [seen["results"][0][key] for key in ("issued_at", "installed_at", "bound_at", "served_at")] == [AT] * 4
    assert seen["results"][0]["warnings"] == ["read-only"]
    assert seen["results"][1]["served_at"] is None
    assert seen["counts"] == {"ok": 1, "drift": 0, "unreachable": 0, "unknown": 0, "skipped": 1}


def candidates() -> list[Candidate]:
    host = InventoryHost("web1")
    due = Candidate(host, DEVICE, ROUTE, Decision(due=False, reason=Reason.NOT_DUE, next_at=NOW), "not_due", "", KNOWN)
    return [due, Candidate(InventoryHost("nameless"), reason="no_common_name", message="common_name is not set")]


def test_a_plan_has_every_host_with_one_reason_and_the_same_members():
    plan = report.describe_plan(candidates())
    good, bad = plan["hosts"]
    assert set(good) == set(bad)
    assert good | {"endpoints": ["[::1]:8443"], "next_at": AT, "route_line": 7, "sha256": "ab", "due": False} == good
    assert (bad["message"], bad["driver"], bad["dns_names"], bad["next_at"]) == (
        "common_name is not set",
        None,
        [],
        None,
    )
    assert plan["reasons"] == {"no_common_name": 1, "not_due": 1}
    assert plan["due"] == 0
    json.dumps(plan)


def test_a_rotation_has_its_steps_but_nothing_that_a_step_left_behind():
    entries = [
        Entry(Step.CSR, Status.DONE, NOW, {"pem": "of the CSR"}),
        Entry(Step.INSTALL, Status.FAILED, NOW, None, ERROR),
    ]
    [rotation] = report.describe_history([(RECORD, entries)])["rotations"]
    assert rotation["steps"] == [
        {"step": "csr", "status": "done", "at": AT, "error": None},
        {"step": "install", "status": "failed", "at": AT, "error": report.describe_error(ERROR)},
    ]
    assert (rotation["state"], rotation["key_type"], rotation["attempts"], rotation["finished"]) == (
        "open",
        "ec256",
        2,
        None,
    )
    assert "of the CSR" not in json.dumps(rotation)


def test_an_explanation_has_names_of_secrets_and_never_their_values():
    host = InventoryHost(
        "web1",
        frozenset({"web", "dc1"}),
        {"os_version": "12", "ansible_user": "root"},
        ("ansible_password",),
        {"origin": "undefined"},
    )
    explanation = Explanation(
        Candidate(host, reason="no_route"), (Trial(7, "memory", False, "host_platform"),), (RECORD,)
    )
    told = report.describe_explanation(explanation)
    assert told["groups"] == ["dc1", "web"]
    assert list(told["variables"]) == ["ansible_user", "os_version"]
    assert told["secret_variables"] == ["ansible_password"]
    assert told["problems"] == {"origin": "undefined"}
    assert told["routes"] == [{"line": 7, "driver": "memory", "taken": False, "why": "host_platform"}]
    assert [one["rotation_id"] for one in told["rotations"]] == ["r1"]
    json.dumps(told)


def test_a_command_that_came_to_nothing_is_an_object_too():
    assert report.describe_failure(ERROR, ExitStatus.ERROR) == {
        "version": 1,
        "error": {"kind": "DeviceRejected", "message": "no", "hint": "look"},
        "exit_status": 1,
    }
