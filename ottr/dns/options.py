# SPDX-License-Identifier: Apache-2.0
"""Reading a solver's options: each error names the solver, the option and what is allowed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ottr.errors import SettingsError
from ottr.model import Secret
from ottr.settings import SolverSettings


class SolverOptions:
    """The options of one solver."""

    def __init__(self, settings: SolverSettings, allowed: Collection[str]) -> None:
        """Raises SettingsError for an option that is not allowed."""
        self._solver = settings.name
        self._values = settings.options
        self._allowed = sorted(allowed)
        for name in settings.options:
            if name not in allowed:
                raise self.wrong(f"there is no option {name!r}")

    def wrong(self, what: str) -> SettingsError:
        """Build the error for something wrong with the options."""
        return SettingsError(f"solver {self._solver!r}: {what}", hint=f"options: {', '.join(self._allowed)}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; without a default it must be there."""
        value = self._values.get(name, default)
        if value is None or value == "":
            raise self.wrong(f"option {name!r} is missing")
        if not isinstance(value, str):
            raise self.wrong(f"option {name!r} must be text")
        return value

    def choice(self, name: str, allowed: Collection[str], default: str) -> str:
        """Return one of the words that are allowed."""
        value = self.text(name, default)
        if value not in allowed:
            raise self.wrong(f"option {name!r} is {value!r}; it must be one of {', '.join(sorted(allowed))}")
        return value

    def secret(self, name: str) -> Secret:
        """Return a secret; it must be there."""
        value = self._values.get(name)
        if isinstance(value, Secret) and value.reveal():
            return value
        if isinstance(value, str) and value:
            return Secret(value)
        raise self.wrong(f"option {name!r} is missing" if not value else f"option {name!r} must be text")

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        """Return a number within the bounds."""
        value: Any = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise self.wrong(f"option {name!r} must be a number from {lowest:g} to {highest:g}")
        return float(value)

    def flag(self, name: str) -> bool:
        """Return true or false; false when it is not there."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(f"option {name!r} must be true or false")
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list of strings that is not empty."""
        value = self._values.get(name)
        if not isinstance(value, list | tuple) or not value or not all(isinstance(word, str) for word in value):
            raise self.wrong(f"option {name!r} must be a list of strings, the program first")
        return tuple(value)

    def table(self, name: str) -> dict[str, str | Secret]:
        """Return names with strings or secrets; empty when it is not there."""
        value = self._values.get(name, {})
        if not isinstance(value, dict) or not all(
            isinstance(key, str) and isinstance(entry, str | Secret) for key, entry in value.items()
        ):
            raise self.wrong(f"option {name!r} must be a table of names and strings")
        return dict(value)
