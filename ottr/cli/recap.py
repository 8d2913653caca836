# SPDX-License-Identifier: Apache-2.0
"""The end of a run in words: one line a device, what failed with its hint, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ottr.cli.screen import BOLD, DIM, GREEN, RED, YELLOW, paint
from ottr.cli.table import format_table, printable
from ottr.model import Outcome, RotationResult
from ottr.report import count, describe_time

COLLAPSE_ABOVE = 50
"""More devices with nothing to do than this are only counted."""

_HEAD = ("DEVICE", "OUTCOME", "REASON", "STEP", "SERIAL", "NOT AFTER")
_COLOURS: Mapping[Outcome, str] = {
    Outcome.ROTATED: GREEN,
    Outcome.PLANNED: GREEN,
    Outcome.NOT_DUE: DIM,
    Outcome.SKIPPED: YELLOW,
    Outcome.DEFERRED: YELLOW,
    Outcome.INTERRUPTED: YELLOW,
}
_IDLE = (Outcome.NOT_DUE, Outcome.SKIPPED)
_UNFINISHED = (Outcome.FAILED, Outcome.UNREACHABLE, Outcome.ROLLED_BACK)


def describe_line(result: RotationResult) -> str:
    """One finished device, as it finishes."""
    return paint(printable(f"{result.device}: {_words(result)}"), _colour(result))


def is_idle(result: RotationResult) -> bool:
    """Whether there was nothing to do for the device, or nothing that could be done."""
    return result.outcome in _IDLE and not result.started


def is_notable(result: RotationResult) -> bool:
    """Whether somebody who watches should be told at once."""
    return result.outcome not in (Outcome.ROTATED, Outcome.PLANNED)


def format_recap(results: Sequence[RotationResult], *, diff: bool, advise: bool) -> Iterator[str]:
    """All of it. ``diff``: also what changed; ``advise``: also which command comes next."""
    ordered = sorted(results, key=lambda one: one.device)
    yield from _recap(ordered)
    if diff:
        yield from _differences(ordered)
    yield from _remarks(ordered)
    if advise:
        yield from _advice(ordered)


def _recap(results: Sequence[RotationResult]) -> Iterator[str]:
    not_due = sum(one.outcome is Outcome.NOT_DUE for one in results)
    shown = [one for one in results if one.outcome is not Outcome.NOT_DUE or not_due <= COLLAPSE_ABOVE]
    if shown:
        head, *rows = format_table(_HEAD, map(_row, shown))
        yield ""
        yield paint(head, BOLD)
        yield from (paint(row, _colour(one)) for row, one in zip(rows, shown, strict=True))
    yield ""
    yield describe_counts(results)


def describe_counts(results: Sequence[RotationResult]) -> str:
    """``3 rotated, 1 failed``; outcomes nobody had are left out."""
    parts = [f"{number} {outcome.replace('_', ' ')}" for outcome, number in count(results).items() if number]
    return ", ".join(parts) or "nothing to do"


def _row(result: RotationResult) -> tuple[str, ...]:
    step = result.step if result.outcome is not Outcome.ROTATED else ""
    until = describe_time(result.not_after) or ""
    return result.device, result.outcome.value, result.reason, step, result.serial, until


def _differences(results: Sequence[RotationResult]) -> Iterator[str]:
    for one in results:
        rows = one.diff or ((("sha256", one.old_sha256, one.new_sha256),) if one.outcome is Outcome.ROTATED else ())
        if rows:
            yield ""
            yield paint(printable(one.device), BOLD)
        for what, before, after in rows:
            if before:
                yield paint(printable(f"- {what}: {before}"), RED)
            if after:
                yield paint(printable(f"+ {what}: {after}"), GREEN)


def _remarks(results: Sequence[RotationResult]) -> Iterator[str]:
    """Errors with their hints, and warnings."""
    for one in results:
        if one.error is not None:
            yield ""
            where = f" at {one.step}" if one.step else ""
            outcome = one.outcome.value.replace("_", " ")
            yield paint(printable(f"{one.device}: {outcome}{where}: {one.error.message}"), _colour(one))
            if one.error.hint:
                yield printable(f"  hint: {one.error.hint}")
        for warning in one.warnings:
            yield printable(f"{one.device}: {one.outcome.value if is_idle(one) else 'warning'}: {warning}")


def _advice(results: Sequence[RotationResult]) -> Iterator[str]:
    advice = []
    stranded = [one.device for one in results if one.outcome is Outcome.STRANDED]
    if stranded:
        names = ", ".join(stranded)
        advice.append(f"a human is needed for {names}: see `ottr history {stranded[0]}`, then `ottr rollback`")
    if any(one.outcome in _UNFINISHED or (one.outcome is Outcome.INTERRUPTED and one.step) for one in results):
        advice.append("`ottr resume` goes on where this run stopped, without new keys or orders; `ottr explain HOST`")
    if any(one.outcome is Outcome.INTERRUPTED and not one.step for one in results):
        advice.append("`ottr rotate` again takes those that were not begun")
    if advice:
        yield ""
        yield paint("Next:", BOLD)
        yield from (printable(f"  {line}") for line in advice)


def _words(result: RotationResult) -> str:
    outcome = result.outcome.value.replace("_", " ")
    if result.error is not None:
        return (
            f"{outcome} at {result.step}: {result.error.message}"
            if result.step
            else f"{outcome}: {result.error.message}"
        )
    if result.outcome is Outcome.ROTATED:
        return f"rotated ({result.reason}), valid until {describe_time(result.not_after)}"
    return f"{outcome} ({result.reason})" if result.reason else outcome


def _colour(result: RotationResult) -> str:
    return _COLOURS.get(result.outcome, RED)
