# SPDX-License-Identifier: Apache-2.0
"""The section ``solvers`` of ottr.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ottr.files.document import Entry
from ottr.files.fields import read_duration, read_each, read_name, read_server, read_text
from ottr.files.secrets import read_options
from ottr.settings import SolverSettings

_KINDS = ("rfc2136", "lexicon", "exec")
_SOLVER = frozenset(["kind", "zones", "options", "nameservers", "propagation_timeout", "propagation_interval"])
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ZONE = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def read_solvers(
    entry: Entry, environment: Mapping[str, str], withheld: frozenset[str] = frozenset()
) -> tuple[SolverSettings, ...]:
    """Return the solvers in the order of the file; no zone has two. Raises SettingsError.

    ``withheld``: variables of the environment that no command of theirs gets.
    """
    owners: dict[str, str] = {}
    solvers = (_read_solver(name, solver, environment, owners) for name, solver in entry.items().items())
    return tuple(replace(solver, withheld=withheld) for solver in solvers)


def _read_solver(name: str, entry: Entry, environment: Mapping[str, str], owners: dict[str, str]) -> SolverSettings:
    read_name(Entry(entry.source, entry.line, entry.key, name, name))
    fields = entry.fields(_SOLVER)
    for key in ("kind", "zones"):
        if key not in fields:
            raise entry.error(f"{key} is missing")
    kind = read_text(fields["kind"])
    if kind not in _KINDS:
        raise fields["kind"].expected(f"one of {', '.join(_KINDS)}")
    interval = fields.get("propagation_interval")
    timeout = fields.get("propagation_timeout")
    return SolverSettings(
        name=name,
        kind=kind,
        zones=_read_zones(name, fields["zones"], owners),
        options=read_options(fields["options"], environment) if "options" in fields else {},
        nameservers=read_each(fields["nameservers"], read_server) if "nameservers" in fields else (),
        propagation_timeout_s=read_duration(timeout) if timeout else 120.0,
        propagation_interval_s=read_duration(interval) if interval else 2.0,
    )


def _read_zones(solver: str, entry: Entry, owners: dict[str, str]) -> tuple[str, ...]:
    zones = read_each(entry, _read_zone)
    if not zones:
        raise entry.expected("one zone or more")
    for zone in zones:
        if zone in owners:
            raise entry.error(f"the zone {zone} stands twice, first in solver {owners[zone]!r}")
        owners[zone] = solver
    return zones


def _read_zone(entry: Entry) -> str:
    zone = read_text(entry, "the name of a zone").lower().rstrip(".")
    if not _ZONE.fullmatch(zone) or len(zone) > 253:
        raise entry.expected("the name of a zone as example.com", hint="names beyond ASCII as A-labels (xn--…)")
    return zone
