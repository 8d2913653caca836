# SPDX-License-Identifier: Apache-2.0
"""The clause of recovery: a rotation that is cut off everywhere, each time gone on with by a new session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ottr.drivers import Driver
from ottr.errors import DriverError
from ottr.model import SigningRequest
from ottr.testing.trial import ClauseBroken, Rotation, Trial, expect

_NEW, _FORMER = "the new certificate", "the former certificate"

Act = Callable[[Driver], SigningRequest | None]


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the line is cut: at which request of each act.

    ``settles``: the device comes to rest before anything is done again; else it may still be busy with what was begun.
    """

    how: str
    begin: Callable[[int], None]
    numbers: Mapping[str, int]
    settles: bool


@dataclass(frozen=True, slots=True)
class End:
    """What an act has led to, seen from outside, in words that are the same in every story."""

    served: str
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.served} served and {' and '.join(self.labels) or 'no label'} there"


def cut_off_anywhere_it_comes_to_the_same_end(trial: Trial) -> None:
    """Every method, cut off before any request or with its answer lost, ends as ever when a new session calls it again.

    Whenever the connection is lost the device serves the former certificate or the new one. Between two requests that
    change nothing on the device there is nothing that a new session could see: they are one place to cut.
    """
    line = trial.subject.line
    whole = Story(trial, trial.rotate())
    whole.tell()
    former = whole.rotation
    befores = {act: _list_befores(changes) for act, changes in whole.changes.items()}
    answers = {act: _list_answers(changes) for act, changes in whole.changes.items()}
    for how, begin, places, settles in (
        ("cut off before", line.cut_before, befores, False),
        ("with the answer lost of", line.lose_answer, answers, True),
    ):
        was_cut: set[str] = set()
        for step in range(max(map(len, places.values()))):
            numbers = {act: found[step] for act, found in places.items() if step < len(found)}
            story = Story(trial, former, Cut(how, begin, numbers, settles))
            story.tell()
            for act, end in story.ends.items():
                usual, place = whole.ends[act], f"{act} {how} request {numbers[act]}"
                expect(end == usual, f"{place} and called again ends with {end}, uncut with {usual}")
            former = story.rotation
            was_cut |= story.ends.keys()
        missed = {act for act, found in places.items() if found} - was_cut
        expect(not missed, f"the stand's line has not cut {', '.join(sorted(missed))}")


def _list_befores(changes: Sequence[bool]) -> list[int]:
    """Before the first request, and before each that follows a change."""
    return [number for number in range(1, len(changes) + 1) if number == 1 or changes[number - 2]]


def _list_answers(changes: Sequence[bool]) -> list[int]:
    """Of each request that changes something; and of the first one, which is where most drivers log in."""
    return [number for number, changed in enumerate(changes, start=1) if changed or number == 1]


@dataclass(slots=True)
class Story:
    """One rotation, back and forth again, with one request cut in each of its acts.

    An act without a number is only done where another one needs it. Without a cut all are done, watched and noted.
    """

    trial: Trial
    former: Rotation
    cut: Cut | None = None
    ends: dict[str, End] = field(default_factory=dict)
    """How each act that was cut has ended."""
    changes: dict[str, Sequence[bool]] = field(default_factory=dict)
    """For each act, which of its requests have changed the device."""
    rotation: Rotation = field(init=False)
    _names: dict[str, str] = field(init=False)
    """What labels and fingerprints are called in every story."""

    def __post_init__(self) -> None:
        self._names = {"": "nothing", self.former.sha256: _FORMER, self.former.request.label: "the former label"}

    def tell(self) -> None:
        """Do everything. Raises ClauseBroken, and DriverError of what was not cut."""
        request = self.trial.ask()
        self._names[request.label] = "the new label"
        with self.trial.connect() as session:
            before = session.inspect()
        csr = self._do("create_csr", lambda session: session.create_csr(request))
        if csr is None:
            raise ClauseBroken("create_csr returned nothing")
        self.rotation = rotation = Rotation(request, self.trial.sign(csr), before)
        self._names[rotation.sha256] = _NEW
        self._do(
            "install",
            lambda session: session.install(request, rotation.issued),
            lambda session: session.rollback(request, before),
        )
        if self._has("rollback"):
            self._do("rollback", lambda session: session.rollback(request, before))
            self.trial.install(rotation)
        if self._has("cleanup"):
            self._do("cleanup", lambda session: session.cleanup(frozenset({self.former.request.label})))

    def _has(self, act: str) -> bool:
        return self.cut is None or act in self.cut.numbers

    def _do(self, name: str, act: Act, undo: Act | None = None) -> SigningRequest | None:
        """Do one thing, and once more in a new session if it was cut; note how it ended then.

        ``undo`` is done before, where the core would: it has lived to see the error.
        """
        if self.cut is None:
            return self._watch(name, act)
        if name not in self.cut.numbers:
            return self._call(act)
        self.cut.begin(self.cut.numbers[name])
        result, error = None, None
        try:
            result = self._call(act)
        except DriverError as caught:
            error = caught
        if self.trial.subject.line.mend():
            if self.cut.settles:
                served = self._name(self.trial.served())
                expect(served in (_NEW, _FORMER), f"{name} {self.cut.how} a request: the device serves {served}")
            if error and undo and self.cut.settles:
                self._call_again(undo)
            result = self._call_again(act)
            self.ends[name] = self._see()
        elif error:
            raise error
        return result

    def _watch(self, name: str, act: Act) -> SigningRequest | None:
        line = self.trial.subject.line
        line.begin_watch()
        result = self._call(act)
        self.changes[name] = line.end_watch()
        self.ends[name] = self._see()
        return result

    def _call(self, act: Act) -> SigningRequest | None:
        with self.trial.connect() as session:
            return act(session)

    def _call_again(self, act: Act) -> SigningRequest | None:
        """As the core does: what may be tried again is, when the device has come to rest."""
        try:
            return self._call(act)
        except DriverError as error:
            if not error.retryable:
                raise
        self.trial.subject.settle()
        return self._call(act)

    def _see(self) -> End:
        labels = sorted(self._names[label] for label in self.trial.subject.labels() if label in self._names)
        return End(self._name(self.trial.served()), tuple(labels))

    def _name(self, sha256: str) -> str:
        return self._names.get(sha256, "another certificate")
