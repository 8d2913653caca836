# SPDX-License-Identifier: Apache-2.0
"""Building the solver that settings describe."""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import cast

from ottr.dns import Solver
from ottr.errors import SettingsError
from ottr.settings import SolverSettings

_KINDS = MappingProxyType(
    {"rfc2136": "ottr.dns.rfc2136", "lexicon": "ottr.dns.lexicon", "exec": "ottr.dns.command"},
)


def load_solver(settings: SolverSettings) -> Solver:
    """Import the module of the solver's kind and build it; nothing is asked over the network.

    Raises SettingsError that names the solver, what is wrong, and what is allowed.
    """
    module = _KINDS.get(settings.kind)
    if module is None:
        raise SettingsError(
            f"solver {settings.name!r}: there is no kind {settings.kind!r}", hint=f"kinds: {', '.join(sorted(_KINDS))}"
        )
    if not settings.zones:
        raise SettingsError(f"solver {settings.name!r}: zones: at least one zone must be named")
    return cast(Solver, importlib.import_module(module).build_solver(settings))
