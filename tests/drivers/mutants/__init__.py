# SPDX-License-Identifier: Apache-2.0
"""Drivers of kettles (docs/adding-a-driver.md) that are broken on purpose, each in one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ottr.drivers import DriverModule
from tests.drivers.mutants import connections, sessions

Break = Callable[[Any], Any]


class Mutant:
    """A driver's package around another one: each of its sessions is broken in the same way."""

    def __init__(self, driver: DriverModule, break_session: Break) -> None:
        self._driver, self._break = driver, break_session
        self.check_options = driver.check_options

    @contextmanager
    def connect(self, device, options, credentials) -> Iterator[Any]:
        with self._driver.connect(device, options, credentials) as session:
            yield self._break(session)


def broken(kind: type[sessions.Broken]) -> Callable[[DriverModule], Any]:
    return lambda driver: Mutant(driver, kind)


MUTANTS: dict[str, tuple[str, Callable[[DriverModule], Any]]] = {
    "asks for a backup of the key": ("keys stay on the device", broken(sessions.AsksForBackup)),
    "asks for one name only": ("csr is what was asked for", broken(sessions.ForgetsNames)),
    "makes a new key each time": ("csr is what was asked for", broken(sessions.MakesNewKeys)),
    "binds what is bound": ("install twice is install once", broken(sessions.BindsAgain)),
    "remembers what it has begun": (
        "cut off anywhere it comes to the same end",
        lambda driver: Mutant(driver, sessions.remembering()),
    ),
    "unbinds before it binds": ("cut off anywhere it comes to the same end", broken(sessions.UnbindsFirst)),
    "does not go back": ("rollback restores what was served", broken(sessions.StaysWhereItIs)),
    "goes back from nothing": ("rollback restores what was served", broken(sessions.GoesBackAnyway)),
    "removes whatever looks like ours": ("cleanup removes only what it is told", broken(sessions.Sweeps)),
    "removes nothing": ("cleanup removes only what it is told", broken(sessions.NeverSweeps)),
    "takes busy for no": ("faults become errors with a hint", broken(sessions.TakesBusyForNo)),
    "gives no hints": ("faults become errors with a hint", broken(sessions.GivesNoHints)),
    "lets a library's error through": ("faults become errors with a hint", broken(sessions.LetsErrorsThrough)),
    "logs the token": ("secrets stay secret", connections.Talkative),
    "has the token in the URL": ("secrets stay secret", connections.Careless),
    "trusts anybody": ("strangers are refused", connections.Trusting),
    "tells strangers first": ("strangers are refused", connections.Hasty),
    "touches what it looks at": ("looking changes nothing", broken(sessions.Touches)),
    "has one session for all": ("two devices do not disturb each other", connections.Shared),
}
"""Each mutant's fault: the clause it breaks, and what makes it of a driver."""
