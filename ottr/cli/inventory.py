# SPDX-License-Identifier: Apache-2.0
"""``ottr inventory``: devices kept in the state database, for those who have them in no files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Misuse, Pattern, Shared, spread
from ottr.cli.session import open_app
from ottr.cli.table import format_table
from ottr.errors import InventoryError
from ottr.report import SCHEMA_VERSION, ExitStatus

if TYPE_CHECKING:
    from ottr.inventory import InventoryHost

_HEAD = ("DEVICE", "PLATFORM", "ADDRESS", "NAMES", "GROUPS")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")]
Set = Annotated[
    list[str], typer.Option("-s", "--set", metavar="NAME=VALUE", help="A variable; JSON, else text. Repeat it.")
]
Groups = Annotated[list[str], typer.Option("-g", "--group", help="A group it is in; repeat it.")]


def build() -> typer.Typer:
    """The commands of this group."""
    group = typer.Typer(
        no_args_is_help=True, help="Devices in the state database, for those who have them in no files."
    )
    for name, command in (
        ("list", list_hosts),
        ("add", add),
        ("update", update),
        ("remove", remove),
        ("import", import_hosts),
        ("export", export),
    ):
        group.command(name)(spread(command))
    return group


def list_hosts(
    shared: Shared,
    pattern: Pattern = "all",
    limit: Annotated[str, typer.Option("-l", "--limit", help="Narrow the pattern down to these.")] = "",
) -> int:
    """Show the hosts of the state database."""
    with open_app(shared) as app:
        hosts = app.devices.hosts(pattern, limit)
    if shared.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "hosts": [_describe(host) for host in hosts]})
    else:
        screen.say_all(format_table(_HEAD, map(_tell, hosts)))
    return ExitStatus.OK


def add(shared: Shared, name: Name, variables: Set = [], groups: Groups = []) -> int:  # noqa: B006
    """Add a host."""
    from ottr.inventory import InventoryHost

    with open_app(shared) as app:
        if name in {host.name for host in app.devices.hosts()}:
            raise InventoryError(f"{name} is there already", hint=f"`ottr inventory update {name}` changes it")
        app.devices.add([InventoryHost(name, frozenset(groups), parse_variables(variables))])
    return _done(shared, "added", [name])


def update(
    shared: Shared,
    pattern: Pattern,
    variables: Set = [],  # noqa: B006
    unset: Annotated[list[str], typer.Option("--unset", metavar="NAME", help="Drop a variable; repeat it.")] = [],  # noqa: B006
    groups: Groups = [],  # noqa: B006
) -> int:
    """Change variables of hosts; groups that are given take the place of those there were."""
    with open_app(shared) as app:
        hosts = app.devices.hosts(pattern)
        changes = parse_variables(variables)
        app.devices.add([_change(host, changes, unset, groups) for host in hosts])
    return _done(shared, "updated", [host.name for host in hosts])


def remove(shared: Shared, pattern: Pattern) -> int:
    """Forget hosts. What is known of their rotations stays."""
    with open_app(shared) as app:
        names = [host.name for host in app.devices.hosts(pattern)]
        app.devices.remove(names)
    return _done(shared, "removed", names)


def import_hosts(shared: Shared, fleet: Fleet, pattern: Pattern = "all") -> int:
    """Take hosts over from an inventory of Ansible's (-i), with the variables Ottr reads, rendered, without secrets."""
    if "state:" in fleet.inventory or not fleet.inventory:
        raise Misuse("name the inventory to take the hosts from: -i PATH")
    with open_app(shared, fleet) as app:
        from ottr.state.devices import keep

        hosts = app.inventory.hosts(pattern, fleet.limit)
        for host in hosts:
            for name, problem in host.problems.items():
                screen.warn(f"warning: {host.name}: {name} is left out: {problem}")
            if host.secret_names:
                screen.warn(f"warning: {host.name}: secrets are left out: {', '.join(host.secret_names)}")
        app.devices.add([keep(host) for host in hosts])
    return _done(shared, "imported", [host.name for host in hosts])


def export(
    shared: Shared,
    pattern: Pattern = "all",
    file: Annotated[
        Path | None, typer.Option("--file", help="Write here, not on stdout; must not be there yet.")
    ] = None,
) -> int:
    """Write the hosts as an inventory of Ansible's, in YAML."""
    with open_app(shared) as app:
        hosts = app.devices.hosts(pattern)
    text = format_inventory(hosts)
    if file is None and shared.output is Form.JSON:
        raise Misuse("an export is YAML: it takes --file or no JSON")
    if file is None:
        screen.say_all(text.splitlines())
        return ExitStatus.OK
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InventoryError(f"{file}: cannot be written: {error.strerror}") from error
    return _done(shared, "exported", [host.name for host in hosts])


def parse_variables(given: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` each; a value that is JSON is what it says, all else is text. Raises Misuse."""
    found = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name.isidentifier():
            raise Misuse(f"{text!r} is not NAME=VALUE")
        found[name] = _parse_value(value)
    return found


def format_inventory(hosts: Sequence[InventoryHost]) -> str:
    """YAML that Ansible reads: the hosts with their variables, and the groups they are in."""
    from ruamel.yaml import YAML

    groups: dict[str, Any] = {}
    for host in hosts:
        for name in sorted(host.groups - {"ungrouped"}):
            groups.setdefault(name, {"hosts": {}})["hosts"][host.name] = None
    content: dict[str, Any] = {"hosts": {host.name: dict(host.variables) for host in hosts}}
    if groups:
        content["children"] = groups
    yaml, stream = YAML(typ="safe"), io.StringIO()
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False  # type: ignore[assignment]
    yaml.width, yaml.allow_unicode = 4096, True
    yaml.dump({"all": content}, stream)
    return stream.getvalue()


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _change(
    host: InventoryHost, changes: Mapping[str, Any], unset: Sequence[str], groups: Sequence[str]
) -> InventoryHost:
    variables = {name: value for name, value in {**host.variables, **changes}.items() if name not in unset}
    return replace(host, variables=variables, groups=frozenset(groups) if groups else host.groups)


def _describe(host: InventoryHost) -> dict[str, Any]:
    return {"name": host.name, "groups": sorted(host.groups), "variables": dict(sorted(host.variables.items()))}


def _tell(host: InventoryHost) -> tuple[str, ...]:
    values = host.variables
    names = values.get("subject_alternative_name") or [values.get("common_name", "")]
    words = names if isinstance(names, list) else [names]
    address = str(values.get("ansible_host", ""))
    return (
        host.name,
        str(values.get("host_platform", "")),
        address,
        " ".join(map(str, words)),
        " ".join(sorted(host.groups)),
    )


def _done(shared: Shared, what: str, names: Sequence[str]) -> int:
    if shared.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, what: list(names)})
    else:
        screen.say(f"{what} {len(names)} host{'' if len(names) == 1 else 's'}")
    return ExitStatus.OK
