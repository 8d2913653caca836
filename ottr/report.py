# SPDX-License-Identifier: Apache-2.0
"""Results as plain JSON objects, one schema for command line, API and modules, and the exit status.

Version 1. Times are ISO 8601 UTC with Z, absent values are null, every object has the same members always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from ottr.model import ErrorReport, Outcome, RotationResult

SCHEMA_VERSION = 1


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


def exit_status(results: Iterable[RotationResult], *, strict: bool = False, limit_reached: bool = False) -> ExitStatus:
    """The gravest status of a run. ``strict``: skipped devices count as failed."""
    statuses = {_STATUS.get(result.outcome, ExitStatus.OK) for result in results if not _stopped(result)}
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


def describe_error(error: ErrorReport | None) -> dict[str, str] | None:
    """An error; null when there is none."""
    return None if error is None else {"kind": error.kind, "message": error.message, "hint": error.hint}


def describe_time(moment: datetime | None) -> str | None:
    """ISO 8601 UTC with Z, to the second; null when there is none."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stopped(result: RotationResult) -> bool:
    """Not begun because a limit was exceeded: the run failed, nobody interrupted it."""
    return result.outcome is Outcome.INTERRUPTED and result.reason != "interrupted"
