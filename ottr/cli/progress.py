# SPDX-License-Identifier: Apache-2.0
"""What is going on: a bar on a terminal, one line for each finished device elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ottr.cli import screen
from ottr.model import Step

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.text import Text

_SHOWN = 3


class Display(Protocol):
    """Told about finished devices."""

    def finished(self, line: str, *, notable: bool) -> None:
        """One more device is done."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Running:
    """The devices that are worked on, each with its step. Told by many threads."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def watch(self, device: str, step: object) -> None:
        """A device begins a step."""
        self._steps[device] = Step(str(step))

    def done(self, device: str) -> None:
        """A device is out of work."""
        self._steps.pop(device, None)

    def steps(self) -> dict[str, Step]:
        """Each running device with its step, the longest running first."""
        return dict(self._steps)

    def describe(self) -> str:
        """How many run, for a message."""
        count = len(self._steps)
        return "the running devices" if not count else f"{count} running device{'s' if count > 1 else ''}"


class Lines:
    """One line for each device, as it finishes."""

    def finished(self, line: str, *, notable: bool) -> None:
        """See ``Display``."""
        del notable
        screen.say(line)
        screen.flush()

    def close(self) -> None:
        """See ``Display``."""


class Quiet:
    """Nothing: the results are one JSON object at the end."""

    def finished(self, line: str, *, notable: bool) -> None:
        """See ``Display``."""

    def close(self) -> None:
        """See ``Display``."""


class Bar:
    """A bar with the running devices; only what went wrong gets a line of its own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def finished(self, line: str, *, notable: bool) -> None:
        """See ``Display``."""
        if notable:
            screen.say(line)
        self._progress.advance(self._progress.task_ids[0])

    def close(self) -> None:
        """See ``Display``."""
        self._progress.stop()


@contextmanager
def shown(total: int, running: Running, *, quiet: bool) -> Iterator[Display]:
    """The display that fits where stdout goes. ``total``: devices that will be worked on."""
    display: Display = Quiet() if quiet else (_start_bar(total, running) if screen.is_terminal() else Lines())
    try:
        yield display
    finally:
        display.close()


def _start_bar(total: int, running: Running) -> Bar:
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TimeElapsedColumn
    from rich.text import Text

    class Devices(ProgressColumn):
        """Which devices are at which step, asked for when it is drawn."""

        def render(self, task: Task) -> Text:
            del task
            steps = running.steps()
            some = [f"{device} {step}" for device, step in list(steps.items())[:_SHOWN]]
            more = [f"and {len(steps) - _SHOWN} more"] if len(steps) > _SHOWN else []
            return Text(", ".join(some + more), overflow="ellipsis", no_wrap=True)

    progress = Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        Devices(),
        console=Console(no_color=None if screen.has_colour() else True),
        transient=True,
        redirect_stderr=sys.stderr.isatty(),
    )
    progress.add_task("", total=total)
    progress.start()
    return Bar(progress)
