# SPDX-License-Identifier: Apache-2.0
"""Results as plain JSON objects, one schema for command line, API and modules, and the exit status.

Version 1. Times are ISO 8601 UTC with Z, absent values are null, every object has the same members always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from ottr.model import ErrorReport, Outcome, RotationResult, ServedStatus, VerifyResult

if TYPE_CHECKING:
    from ottr.selection import Candidate
    from ottr.service import Explanation
    from ottr.state.journal import Entry, Record

SCHEMA_VERSION = 1

STATE_LOST = "state_lost"
"""Reason of a device whose rotation the state database did not take down."""


class ExitStatus(IntEnum):
    """What the ``ottr`` command ends with; Ansible's numbers where the meaning is Ansible's."""

    OK = 0
    ERROR = 1
    FAILED = 2
    UNREACHABLE = 4
    USAGE = 5
    STRANDED = 8
    INTERRUPTED = 99
    UNEXPECTED = 250


_PRECEDENCE = (
    ExitStatus.UNEXPECTED,
    ExitStatus.STRANDED,
    ExitStatus.INTERRUPTED,
    ExitStatus.FAILED,
    ExitStatus.UNREACHABLE,
)
_STATUS: Mapping[Outcome, ExitStatus] = {
    Outcome.STRANDED: ExitStatus.STRANDED,
    Outcome.INTERRUPTED: ExitStatus.INTERRUPTED,
    Outcome.FAILED: ExitStatus.FAILED,
    Outcome.ROLLED_BACK: ExitStatus.FAILED,
    Outcome.UNREACHABLE: ExitStatus.UNREACHABLE,
}


def exit_status(
    results: Sequence[RotationResult], *, strict: bool = False, limit_reached: bool = False, interrupted: bool = False
) -> ExitStatus:
    """The gravest status of a run. ``strict``: skipped devices count as failed."""
    statuses = {_STATUS.get(result.outcome, ExitStatus.OK) for result in results if not _stopped(result)}
    if any(result.reason == STATE_LOST for result in results):
        statuses.add(ExitStatus.UNEXPECTED)
    if interrupted:
        statuses.add(ExitStatus.INTERRUPTED)
    if limit_reached or (strict and any(result.outcome is Outcome.SKIPPED for result in results)):
        statuses.add(ExitStatus.FAILED)
    return next((status for status in _PRECEDENCE if status in statuses), ExitStatus.OK)


def count(results: Iterable[RotationResult]) -> dict[str, int]:
    """Number of devices by outcome, every outcome present."""
    counted = Counter(result.outcome for result in results)
    return {outcome.value: counted[outcome] for outcome in Outcome}


def describe_result(result: RotationResult) -> dict[str, Any]:
    """One device of a run."""
    return {
        "device": result.device,
        "outcome": result.outcome.value,
        "changed": result.outcome is Outcome.ROTATED,
        "reason": result.reason,
        "step": result.step,
        "rotation_id": result.rotation_id,
        "driver": result.driver,
        "issuer": result.issuer,
        "old_sha256": result.old_sha256,
        "new_sha256": result.new_sha256,
        "serial": result.serial,
        "not_after": describe_time(result.not_after),
        "error": describe_error(result.error),
        "warnings": list(result.warnings),
        "diff": [{"what": what, "before": before, "after": after} for what, before, after in result.diff],
        "started": describe_time(result.started),
        "finished": describe_time(result.finished),
    }


def describe_run(results: Sequence[RotationResult], status: ExitStatus) -> dict[str, Any]:
    """A whole run."""
    return {
        "version": SCHEMA_VERSION,
        "results": [describe_result(result) for result in sorted(results, key=lambda one: one.device)],
        "counts": count(results),
        "exit_status": int(status),
    }


def describe_verification(result: VerifyResult) -> dict[str, Any]:
    """One endpoint that was looked at."""
    return {
        "device": result.device,
        "endpoint": result.endpoint,
        "status": result.status.value,
        "problem": result.problem,
        "sha256": result.sha256,
        "serial": result.serial,
        "not_after": describe_time(result.not_after),
        "issued_at": describe_time(result.issued_at),
        "installed_at": describe_time(result.installed_at),
        "bound_at": describe_time(result.bound_at),
        "served_at": describe_time(result.served_at),
        "warnings": list(result.warnings),
    }


def verify_status(results: Sequence[VerifyResult]) -> ExitStatus:
    """Drift fails; endpoints that do not answer are unreachable."""
    statuses = {result.status for result in results}
    if ServedStatus.DRIFT in statuses:
        return ExitStatus.FAILED
    return ExitStatus.UNREACHABLE if ServedStatus.UNREACHABLE in statuses else ExitStatus.OK


def describe_error(error: ErrorReport | None) -> dict[str, str] | None:
    """An error; null when there is none."""
    return None if error is None else {"kind": error.kind, "message": error.message, "hint": error.hint}


def describe_time(moment: datetime | None) -> str | None:
    """ISO 8601 UTC with Z, to the second; null when there is none."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stopped(result: RotationResult) -> bool:
    """Not begun because a limit was exceeded: the run failed, nobody interrupted it."""
    return result.outcome is Outcome.INTERRUPTED and result.reason != "interrupted"


def describe_candidate(candidate: Candidate) -> dict[str, Any]:
    """One host of a plan: due or not, one reason code, and by which route."""
    device, route, known, decision = candidate.device, candidate.route, candidate.known, candidate.decision
    return {
        "device": candidate.host.name,
        "due": candidate.due,
        "reason": candidate.reason,
        "message": candidate.message,
        "dns_names": list(device.dns_names) if device else [],
        "platform": device.platform if device else None,
        "driver": route.driver if route else None,
        "issuer": route.issuer if route else None,
        "key_type": route.key_type.value if route else None,
        "endpoints": [str(endpoint) for endpoint in route.endpoints] if route else [],
        "windows": list(route.windows) if route else [],
        "route_line": route.line if route else None,
        "sha256": known.sha256 if known else None,
        "not_after": describe_time(known.not_after if known else None),
        "next_at": describe_time(decision.next_at if decision else None),
    }


def describe_plan(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """A whole plan."""
    reasons = Counter(candidate.reason for candidate in candidates)
    return {
        "version": SCHEMA_VERSION,
        "hosts": [describe_candidate(candidate) for candidate in candidates],
        "due": sum(candidate.due for candidate in candidates),
        "reasons": dict(sorted(reasons.items())),
    }


def describe_record(record: Record, entries: Sequence[Entry] = ()) -> dict[str, Any]:
    """One rotation of the journal with its steps; what a step left behind (CSR, certificate) is not in it."""
    return {
        "rotation_id": record.id,
        "device": record.device,
        "label": record.label,
        "state": record.state.value,
        "reason": record.reason,
        "driver": record.driver,
        "issuer": record.issuer,
        "dns_names": list(record.dns_names),
        "key_type": record.key_type.value,
        "attempts": record.attempts,
        "order_url": record.order_url,
        "started": describe_time(record.started_at),
        "finished": describe_time(record.finished_at),
        "steps": [
            {
                "step": entry.step.value,
                "status": entry.status.value,
                "at": describe_time(entry.at),
                "error": describe_error(entry.error),
            }
            for entry in entries
        ],
    }


def describe_history(history: Iterable[tuple[Record, Sequence[Entry]]]) -> dict[str, Any]:
    """Rotations of one device, the oldest first."""
    return {
        "version": SCHEMA_VERSION,
        "rotations": [describe_record(record, entries) for record, entries in history],
    }


def describe_explanation(explanation: Explanation) -> dict[str, Any]:
    """Why a host is or is not rotated."""
    host = explanation.candidate.host
    return {
        "version": SCHEMA_VERSION,
        "host": describe_candidate(explanation.candidate),
        "groups": sorted(host.groups),
        "variables": {name: host.variables[name] for name in sorted(host.variables)},
        "secret_variables": sorted(host.secret_names),
        "problems": dict(host.problems),
        "routes": [
            {"line": trial.line, "driver": trial.driver, "taken": trial.taken, "why": trial.why}
            for trial in explanation.trials
        ],
        "rotations": [describe_record(record) for record in explanation.history],
    }


def describe_verifications(results: Sequence[VerifyResult], status: ExitStatus) -> dict[str, Any]:
    """A whole look at what is served."""
    counted = Counter(result.status for result in results)
    return {
        "version": SCHEMA_VERSION,
        "results": [describe_verification(result) for result in results],
        "counts": {one.value: counted[one] for one in ServedStatus},
        "exit_status": int(status),
    }


def describe_failure(error: ErrorReport, status: ExitStatus) -> dict[str, Any]:
    """A command that came to nothing."""
    return {"version": SCHEMA_VERSION, "error": describe_error(error), "exit_status": int(status)}
