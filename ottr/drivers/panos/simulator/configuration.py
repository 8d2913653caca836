# SPDX-License-Identifier: Apache-2.0
"""Candidate, running and saved configuration, and who has changed what since the last commit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ottr.drivers.panos.simulator.answers import Element
from ottr.drivers.panos.simulator.tree import Path, Step, copy_path, differences, find, write_xpath

_DEVICE_PARTS = frozenset({"deviceconfig", "mgt-config", "network", "template", "template-stack"})
RUNNING = "running-config.xml"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed node that is not committed."""

    path: Path
    owner: str
    history: tuple[str, ...]
    action: str
    at: datetime
    serial: int

    @property
    def part(self) -> str:
        """The part of the configuration, as a partial commit can exclude it."""
        tags = {step.tag for step in self.path}
        if tags & _DEVICE_PARTS:
            return "device-and-network"
        return "policy-and-objects" if "vsys" in tags else "shared-object"


@dataclass(slots=True)
class Configuration:
    """What administrators edit, and what the device does."""

    running: Element
    candidate: Element = field(init=False)
    saved: dict[str, Element] = field(default_factory=dict)
    changes: dict[Path, Change] = field(default_factory=dict)
    _serial: int = 0

    def __post_init__(self) -> None:
        self.candidate = copy.deepcopy(self.running)

    @contextmanager
    def edit(self, owner: str, action: str) -> Iterator[Element]:
        """Change the candidate; what differs afterwards is the owner's. An exception leaves it as it was."""
        before = copy.deepcopy(self.candidate)
        try:
            yield self.candidate
        except BaseException:
            self.candidate = before
            raise
        for path in differences(before, self.candidate):
            self._note(path, owner, action)
        self._forget_undone()

    def _note(self, path: Path, owner: str, action: str) -> None:
        earlier = [change for place, change in self.changes.items() if _related(place, path)]
        history = dict.fromkeys([name for change in earlier for name in change.history] + [owner])
        self._serial += 1
        above = [change for change in earlier if len(change.path) < len(path) and change.owner == owner]
        for place in [change.path for change in above] or [path]:
            self.changes[place] = Change(place, owner, tuple(history), action, datetime.now(UTC), self._serial)

    def _forget_undone(self) -> None:
        for path in list(self.changes):
            one, other = find(self.candidate, path), find(self.running, path)
            if (one is None and other is None) or (
                one is not None and other is not None and next(differences(one, other, (Step("node"),)), None) is None
            ):
                del self.changes[path]

    def of(self, admins: Iterable[str] | None, excluded: frozenset[str] = frozenset()) -> tuple[Change, ...]:
        """The changes of these administrators, or of all, outside the excluded parts; oldest first."""
        wanted = None if admins is None else frozenset(admins)
        found = (c for c in self.changes.values() if (wanted is None or c.owner in wanted) and c.part not in excluded)
        return tuple(sorted(found, key=lambda change: change.serial))

    def preview(self, changes: Iterable[Change]) -> Element:
        """The running configuration as it would be with these changes."""
        target = copy.deepcopy(self.running)
        for change in changes:
            copy_path(self.candidate, target, change.path)
        return target

    def commit(self, running: Element, changes: Iterable[Change]) -> None:
        """Make a preview the running configuration; changes made since stay pending."""
        self.running = running
        for change in changes:
            if self.changes.get(change.path) == change:
                del self.changes[change.path]
        self._forget_undone()

    def revert(self, admins: Iterable[str] | None) -> None:
        """Undo the pending changes of these administrators, or of all."""
        for change in self.of(admins):
            copy_path(self.running, self.candidate, change.path)
            self.changes.pop(change.path, None)
        self._forget_undone()

    def load(self, name: str, owner: str) -> bool:
        """Replace the candidate by a saved configuration, or by the running one; False when there is none."""
        source = self.running if name == RUNNING else self.saved.get(name)
        if source is None:
            return False
        with self.edit(owner, "LOAD"):
            self.candidate = copy.deepcopy(source)
        return True

    def each(self) -> Mapping[str, Element]:
        """Every configuration the device holds, by name."""
        return {"candidate": self.candidate, "running": self.running, **self.saved}


def annotate(node: Element, path: Path, changes: Iterable[Change]) -> Element:
    """A copy of a candidate's node in which uncommitted nodes carry ``admin``, ``dirtyId`` and ``time``."""
    shown = copy.deepcopy(node)
    for change in changes:
        for place in _places(shown, path, change.path):
            time = change.at.strftime("%Y/%m/%d %H:%M:%S")
            place.attrib.update({"admin": change.owner, "dirtyId": str(change.serial), "time": time})
    return shown


def _places(shown: Element, path: Path, changed: Path) -> list[Element]:
    if changed[: len(path)] == path:
        found = find(shown, changed[len(path) :])
        return [] if found is None else [found]
    return list(shown.iter()) if path[: len(changed)] == changed else []


def _related(one: Path, other: Path) -> bool:
    short = min(len(one), len(other))
    return one[:short] == other[:short]


def write_journal(changes: Iterable[Change], escape: Callable[[str], str]) -> str:
    """The entries of ``show config list changes``."""
    return "".join(
        f"<entry><xpath>{escape(write_xpath(change.path))}</xpath><owner>{escape(change.owner)}</owner>"
        f"<action>{change.action}</action><admin-history>{escape(','.join(change.history))}</admin-history>"
        f"<component-type>{change.part}</component-type></entry>"
        for change in changes
    )
