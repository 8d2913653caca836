# SPDX-License-Identifier: Apache-2.0
"""What gets onto stdout and stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TextIO, cast

from ottr.cli.table import printable

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"


class _Patient:
    """A stream that swallows what nobody reads any more: a closed pipe or a full disk stops no rotation."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._mute()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._mute()

    def _mute(self) -> None:
        """From now on to nowhere, what is buffered included."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def set_up_streams() -> None:
    """Make stdout and stderr patient, and able to show any name."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, _Patient):
            continue
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, cast(TextIO, _Patient(stream)))


def say(text: str = "") -> None:
    """One line on stdout."""
    sys.stdout.write(f"{text}\n")


def say_all(lines: Iterable[str]) -> None:
    """Many lines on stdout."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def say_json(content: Mapping[str, Any]) -> None:
    """The one object that ``--output json`` prints; items of its lists one a line, for a fleet has thousands."""
    members = [f"  {json.dumps(name)}: {_lay_out(value)}" for name, value in sorted(content.items())]
    sys.stdout.write("{\n" + ",\n".join(members) + "\n}\n")


def _lay_out(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, sort_keys=True)
    items = ",\n".join(f"    {json.dumps(item, sort_keys=True)}" for item in value)
    return f"[\n{items}\n  ]"


def warn(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"ottr: {printable(text)}\n")
    sys.stderr.flush()


def complain(message: str, hint: str = "") -> None:
    """An error and what to do about it, on stderr."""
    warn(message)
    if hint:
        sys.stderr.write(f"hint: {printable(hint)}\n")
        sys.stderr.flush()


def flush() -> None:
    """Write what is buffered."""
    sys.stdout.flush()
    sys.stderr.flush()


def paint(text: str, *codes: str) -> str:
    """Colour for a terminal; elsewhere, and with NO_COLOR, the text as it is."""
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes and has_colour() else text


def has_colour() -> bool:
    """Whether stdout takes colours (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return is_terminal() and os.environ.get("TERM") != "dumb"


def is_terminal() -> bool:
    """Whether somebody watches stdout."""
    return sys.stdout.isatty()
