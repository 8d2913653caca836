# SPDX-License-Identifier: Apache-2.0
"""Strict reading of a mapping of ca.yaml: every key is asked for by type, and what was not asked for is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ottr.errors import SettingsError

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


class Fields:
    """One mapping and where it stands, such as ``ca.yaml: crl``. Call ``finish`` at the end."""

    def __init__(self, where: str, content: Any) -> None:
        self.where = where
        if content is not None and not isinstance(content, dict):
            raise SettingsError(f"{where}: expected a mapping of keys")
        self._content: dict[Any, Any] = dict(content or {})

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        return str(self._take(key, default, lambda value: isinstance(value, str), "a text"))

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        return bool(self._take(key, default, lambda value: isinstance(value, bool), "true or false"))

    def number(self, key: str, default: int, least: int = 0) -> int:
        """A whole number."""
        fits = lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least  # noqa: E731
        return int(self._take(key, default, fits, f"a whole number from {least}"))

    def fraction(self, key: str, default: float) -> float:
        """A share, more than 0 and less than 1."""
        fits = lambda value: isinstance(value, float) and 0 < value < 1  # noqa: E731
        return float(self._take(key, default, fits, "a share between 0 and 1"))

    def span(self, key: str, default_s: float) -> float:
        """Seconds, from 30d, 12h, 90s, 1h30m or a number."""
        value = self._content.pop(key, None)
        if value is None:
            return default_s
        found = _SPAN.fullmatch(str(value))
        if isinstance(value, bool) or not found or not any(found.groups()):
            raise self.error(key, "a span of time such as 90d, 12h or 1h30m")
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds

    def texts(self, key: str, default: Iterable[str] = ()) -> tuple[str, ...]:
        """A list of texts; one text is a list of one."""
        value = self._content.pop(key, None)
        if value is None:
            return tuple(default)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise self.error(key, "a list of texts")
        return tuple(values)

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """One of some words."""
        known = tuple(choices)
        return str(self._take(key, default, lambda value: value in known, "one of " + ", ".join(known)))

    def section(self, key: str) -> Fields:
        """A mapping; empty when it is not there."""
        return Fields(f"{self.where}: {key}" if ": " not in self.where else f"{self.where}.{key}", self.raw(key))

    def raw(self, key: str) -> Any:
        """What stands there, for another reader."""
        return self._content.pop(key, None)

    def keys(self) -> tuple[str, ...]:
        """Keys nobody has asked for yet."""
        return tuple(str(key) for key in self._content)

    def finish(self) -> None:
        """Raise SettingsError for a key nobody asked for."""
        for key in self.keys():
            raise SettingsError(f"{self.where}: {key}: no such key")

    def error(self, key: str, expected: str) -> SettingsError:
        """The error of a key."""
        return SettingsError(f"{self.where}: {key}: expected {expected}")

    def _take(self, key: str, default: Any, fits: Callable[[Any], bool], expected: str) -> Any:
        value = self._content.pop(key, None)
        if value is None:
            return default
        if not fits(value):
            raise self.error(key, expected)
        return value


def read_choices(fields: Fields, key: str, choices: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values that a list of words stands for; empty when the key is not there. Raises SettingsError."""
    words = fields.texts(key)
    for word in words:
        if word not in choices:
            raise fields.error(key, "some of " + ", ".join(choices))
    return tuple(choices[word] for word in words)
