# SPDX-License-Identifier: Apache-2.0
"""Named faults of a simulated device: none happens unless it was armed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

ANY = "any"
"""As a fault's value: whatever the operation is called."""

WIRE_FAULTS: Mapping[str, str] = {
    "drop_before": "the connection ends before the operation VALUE is done",
    "drop_after": "the connection ends after the operation VALUE is done, without an answer",
    "slow": "every answer comes VALUE seconds late",
}
"""What the HTTP server can do to any device; each simulator adds its own."""


@dataclass(slots=True)
class _Armed:
    value: str
    times: int | None
    skip: int


class Faults:
    """The faults a device knows by name, and which of them are armed. One may be armed several times."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = {**WIRE_FAULTS, **known}
        self._armed: dict[str, list[_Armed]] = {}
        self._lock = threading.Lock()

    def arm(self, name: str, value: str | float = ANY, *, times: int | None = 1, skip: int = 0) -> None:
        """Let a fault happen so many ``times`` (None: until cleared), after the first ``skip`` occasions.

        Raises ValueError for a name the device does not know.
        """
        if name not in self.known:
            raise ValueError(f"there is no fault {name!r}; there are: {', '.join(sorted(self.known))}")
        with self._lock:
            self._armed.setdefault(name, []).append(_Armed(str(value), times, skip))

    def take(self, name: str, occasion: str = ANY) -> str | None:
        """Use up one occasion of a fault and return its value; None when it does not happen now.

        A fault armed with the value of an operation happens only on that ``occasion``.
        """
        with self._lock:
            for armed in self._armed.get(name, ()):
                if armed.times == 0 or not (occasion == ANY or armed.value in (ANY, occasion)):
                    continue
                if armed.skip:
                    armed.skip -= 1
                    continue
                if armed.times is not None:
                    armed.times -= 1
                return armed.value
        return None

    def armed(self, name: str) -> bool:
        """Whether a fault may still happen."""
        with self._lock:
            return any(armed.times != 0 for armed in self._armed.get(name, ()))

    def clear(self) -> None:
        """Disarm every fault."""
        with self._lock:
            self._armed.clear()


def parse_fault(text: str) -> tuple[str, str, int | None, int]:
    """Read ``NAME[=VALUE][*TIMES][+SKIP]`` as for a command line: name, value, times, skip. Raises ValueError."""
    rest, _, skip = text.partition("+")
    rest, _, times = rest.partition("*")
    name, _, value = rest.partition("=")
    return name, value or ANY, (None if times == "always" else int(times or 1)), int(skip or 0)
