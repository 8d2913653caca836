# SPDX-License-Identifier: Apache-2.0
"""Asks clauses of a driver, at every release that its stand knows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ottr.drivers import DriverModule, load
from ottr.errors import OttrError
from ottr.testing.clauses import CLAUSES, Clause
from ottr.testing.stand import Stand, load_stand
from ottr.testing.trial import Bench, ClauseBroken


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one clause at one release."""

    version: str
    clause: str
    problem: str = ""
    """Why it is broken; empty: the driver keeps it."""


def name_clause(clause: Clause) -> str:
    """The name people read."""
    return clause.__name__.replace("_", " ")


def try_driver(name: str, versions: Sequence[str] = (), clauses: Iterable[Clause] = CLAUSES) -> Iterator[Verdict]:
    """Ask clauses of a driver at these releases, or all; verdicts as they come. Raises ConfigurationError."""
    driver = load(name)
    stand = load_stand(driver, name)
    for version in versions or stand.VERSIONS:
        for clause in clauses:
            yield judge(clause, driver, stand, version)


def judge(clause: Clause, driver: DriverModule, stand: Stand, version: str) -> Verdict:
    """Ask one clause of a driver on a device that is started for it."""
    problem = ""
    with tempfile.TemporaryDirectory(prefix="ottr-contract-") as folder:
        try:
            with Bench(driver, stand, version, Path(folder)).start() as trial:
                clause(trial)
        except ClauseBroken as broken:
            problem = str(broken)
        except OttrError as error:
            problem = f"unexpected {type(error).__name__}: {error}"
        except Exception as error:  # the driver's code is somebody's, and a clause that it ends is broken
            where = error.__traceback__
            while where and where.tb_next:
                where = where.tb_next
            place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
            problem = f"{type(error).__name__}, which is no DriverError: {error} ({place})"
    return Verdict(version, name_clause(clause), problem)
