# SPDX-License-Identifier: Apache-2.0
"""Options that many commands share, with Ansible's names, as groups that a command asks for by type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ottr.inventory.options import InventoryOptions

_SELECT, _PACE, _OUTPUT = "Inventory", "Pace", "Output"


class Form(StrEnum):
    """How results are shown."""

    HUMAN = "human"
    JSON = "json"


class LogForm(StrEnum):
    """How log lines are written."""

    HUMAN = "human"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Shared:
    """What every command takes."""

    config: Annotated[
        Path | None,
        typer.Option("--config", help="ottr.yaml; else OTTR_CONFIG, ./ottr.yaml, ~/.config/ottr, /etc/ottr."),
    ] = None
    output: Annotated[
        Form, typer.Option("-o", "--output", help="Form of the results on stdout.", rich_help_panel=_OUTPUT)
    ] = Form.HUMAN
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="More log lines; repeat it.", rich_help_panel=_OUTPUT)
    ] = 0
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="Append log lines to this file too.", rich_help_panel=_OUTPUT)
    ] = None
    log_format: Annotated[
        LogForm, typer.Option("--log-format", help="Form of the log lines.", rich_help_panel=_OUTPUT)
    ] = LogForm.HUMAN


@dataclass(frozen=True, slots=True)
class Fleet:
    """Which inventory, and what it takes to read it."""

    inventory: Annotated[
        list[str],
        typer.Option("-i", "--inventory", help="File, folder or host list; may be repeated.", rich_help_panel=_SELECT),
    ] = field(default_factory=list)
    limit: Annotated[
        str, typer.Option("-l", "--limit", help="Narrow the pattern down to these.", rich_help_panel=_SELECT)
    ] = ""
    extra_vars: Annotated[
        list[str],
        typer.Option("-e", "--extra-vars", help="key=value, JSON or @file.", rich_help_panel=_SELECT),
    ] = field(default_factory=list)
    vault_id: Annotated[
        list[str], typer.Option("--vault-id", help="Vault identity: [LABEL@]SOURCE.", rich_help_panel=_SELECT)
    ] = field(default_factory=list)
    vault_password_file: Annotated[
        list[str],
        typer.Option("--vault-password-file", "--vault-pass-file", help="Vault password.", rich_help_panel=_SELECT),
    ] = field(default_factory=list)
    ask_vault_pass: Annotated[
        bool,
        typer.Option(
            "-J", "--ask-vault-password", "--ask-vault-pass", help="Ask for the vault's.", rich_help_panel=_SELECT
        ),
    ] = False
    staging: Annotated[
        bool, typer.Option("--staging", help="Every issuer's staging twin instead of it.", rich_help_panel=_SELECT)
    ] = False

    def inventory_options(self) -> InventoryOptions:
        """As the inventory takes them."""
        return InventoryOptions(
            sources=tuple(self.inventory),
            extra_vars=tuple(self.extra_vars),
            vault_ids=tuple(self.vault_id),
            vault_password_files=tuple(self.vault_password_file),
            ask_vault_pass=self.ask_vault_pass,
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """How many devices at once, and when to stop."""

    forks: Annotated[
        int | None,
        typer.Option("-f", "--forks", min=1, help="Devices at once; else ottr.yaml's.", rich_help_panel=_PACE),
    ] = None
    serial: Annotated[
        str,
        typer.Option("--serial", help="Sizes of batches: 1,10%,100%; the last one repeats.", rich_help_panel=_PACE),
    ] = ""
    max_fail_percentage: Annotated[
        float | None,
        typer.Option(
            "--max-fail-percentage",
            min=0.0,
            max=100.0,
            help="No further batch when more of one failed.",
            rich_help_panel=_PACE,
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Devices that are skipped count as failed.", rich_help_panel=_PACE)
    ] = False

    def sizes(self) -> tuple[str, ...]:
        """``--serial``, cut up."""
        return tuple(part.strip() for part in self.serial.split(",") if part.strip())


Pattern = Annotated[str, typer.Argument(metavar="PATTERN", help="Hosts, in Ansible's pattern language.")]
Host = Annotated[str, typer.Argument(metavar="HOST", help="One host of the inventory.")]


class Misuse(Exception):
    """Options that do not go together: exit status 5."""


def spread(function: Callable[..., int]) -> Callable[..., int]:
    """Turn every parameter that is a group of options into the options themselves, as typer wants them."""
    hints = get_type_hints(function, include_extras=True)
    own = inspect.signature(function).parameters
    groups = {name: hints[name] for name in own if is_dataclass(hints[name])}
    flat = [own[name].replace(annotation=hints[name]) for name in own if name not in groups]
    for kind in groups.values():
        flat += _parameters(kind)

    @functools.wraps(function)
    def gather(**given: Any) -> int:
        grouped = {name: _take(kind, given) for name, kind in groups.items()}
        return function(**given, **grouped)

    gather.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]
    )
    gather.__annotations__ = {}
    return gather


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=hints[one.name])
        for one in fields(kind)
    ]


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _take(kind: type, given: dict[str, Any]) -> Any:
    """Take a group's values out of all that were given."""
    values: Mapping[str, Any] = {one.name: given.pop(one.name) for one in fields(kind)}
    return kind(**values)
