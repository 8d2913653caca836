# SPDX-License-Identifier: Apache-2.0
"""Many devices at once: threads live here and nowhere else. One unit is one thread from start to end."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from ottr.errors import ConfigurationError
from ottr.model import Outcome, RotationResult
from ottr.orchestrator.target import HA_STANDBY, Target

Unit = Sequence[Target]
"""Devices that are worked on one after the other: one device, or the members of an HA group."""

RotateOne = Callable[[Target], RotationResult]

T = TypeVar("T")

Prepare = Callable[[Sequence[Unit]], None]

GOOD = frozenset({Outcome.ROTATED, Outcome.PLANNED, Outcome.NOT_DUE})
"""After these the next member of an HA group has its turn."""

BAD = frozenset({Outcome.FAILED, Outcome.ROLLED_BACK, Outcome.STRANDED, Outcome.UNREACHABLE})

UNPREPARED = "what logging in to a batch takes could not be looked up"
"""Why a run took no further devices."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How many at once and when to stop, in Ansible's words."""

    forks: int = 50
    serial: Sequence[str] = ()
    """Sizes of batches, numbers or percentages; the last one repeats. Empty: one batch."""
    max_fail_percentage: float | None = None
    """Of a batch; when exceeded no further batch is begun."""


class Stop:
    """Asked between devices; set by a first Ctrl-C or by a state database that cannot be trusted."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Take no new devices; running ones finish."""
        self.reason = self.reason or reason
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


def run(
    units: Sequence[Unit], rotate_one: RotateOne, rollout: Rollout, stop: Stop, prepare: Prepare | None = None
) -> Iterator[RotationResult]:
    """Yield one result for every device, as they finish; those not begun come out as interrupted.

    ``prepare`` is called with each batch before it is begun: secrets are looked up there. Its ConfigurationError is
    raised as long as no device was begun; later it fails the batch, and no further one is begun.
    """
    with ThreadPoolExecutor(max_workers=rollout.forks, thread_name_prefix="ottr") as pool:
        for number, batch in enumerate(batches(units, rollout.serial)):
            results: list[RotationResult] = []
            try:
                if prepare is not None and not stop:
                    prepare(batch)
            except ConfigurationError as error:
                if not number:
                    raise
                stop.set(UNPREPARED)
                yield from (_failed(target, error) for unit in batch for target in unit)
                continue
            for result in _run_batch(pool, batch, rotate_one, rollout.forks, stop):
                results.append(result)
                yield result
            if _exceeded(results, rollout.max_fail_percentage):
                stop.set("max_fail_percentage was exceeded")


def each(targets: Sequence[Target], look: Callable[[Target], Sequence[T]], forks: int, stop: Stop) -> Iterator[T]:
    """Look at devices, many at once; what is found comes in the order of the targets."""
    with ThreadPoolExecutor(max_workers=forks, thread_name_prefix="ottr") as pool:
        for found in pool.map(lambda target: () if stop else look(target), targets):
            yield from found


def batches(units: Sequence[Unit], serial: Sequence[str]) -> Iterator[Sequence[Unit]]:
    """Cut the units into batches, as Ansible's ``serial`` does."""
    sizes = [batch_size(text, len(units)) for text in serial] or [len(units)]
    start = 0
    for number in range(len(units)):
        if start >= len(units):
            return
        size = sizes[min(number, len(sizes) - 1)]
        yield units[start : start + size]
        start += size


def batch_size(text: str, total: int) -> int:
    """``10`` or ``30%`` as a number of devices, at least 1. Raises ConfigurationError."""
    match = re.fullmatch(r"\s*(\d+)\s*(%?)\s*", text)
    if match is None or int(match[1]) == 0:
        raise ConfigurationError(f"{text!r} is not a size of a batch", hint="give numbers or percentages: 1,10%,100%")
    return max(1, math.floor(int(match[1]) * total / 100)) if match[2] else int(match[1])


def _run_batch(
    pool: ThreadPoolExecutor, batch: Sequence[Unit], rotate_one: RotateOne, forks: int, stop: Stop
) -> Iterator[RotationResult]:
    """Submit no more than there are threads, so that a stop leaves nothing in a queue."""
    waiting, running = list(reversed(batch)), 0
    ended: SimpleQueue[Future[list[RotationResult]]] = SimpleQueue()
    while waiting or running:
        while waiting and running < forks:
            pool.submit(_run_unit, waiting.pop(), rotate_one, stop).add_done_callback(ended.put)
            running += 1
        future = ended.get()
        running -= 1
        yield from future.result()


def _failed(target: Target, error: ConfigurationError) -> RotationResult:
    route = target.route
    return RotationResult(
        target.device.name, Outcome.FAILED, driver=route.driver, issuer=route.issuer, error=error.report
    )


def is_well(result: RotationResult) -> bool:
    """Whether the next member of an HA group may have its turn. A standby is not rotated, and in nobody's way."""
    return result.outcome in GOOD or result.reason == HA_STANDBY


def _run_unit(unit: Unit, rotate_one: RotateOne, stop: Stop) -> list[RotationResult]:
    results: list[RotationResult] = []
    for target in unit:
        name = target.device.name
        if stop:
            results.append(RotationResult(name, Outcome.INTERRUPTED, reason=stop.reason))
        elif results and not is_well(results[-1]):
            results.append(RotationResult(name, Outcome.SKIPPED, reason="ha_peer_failed"))
        else:
            results.append(rotate_one(target))
    return results


def _exceeded(results: Sequence[RotationResult], limit: float | None) -> bool:
    if limit is None or not results:
        return False
    return 100.0 * sum(result.outcome in BAD for result in results) / len(results) > limit
