# SPDX-License-Identifier: Apache-2.0
"""Reading routing.yaml. Every error is a RoutingError that names file, line, key and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ottr import drivers
from ottr.drivers import DriverModule
from ottr.errors import RoutingError
from ottr.files.document import Entry, load_document
from ottr.files.fields import (
    parse_fraction,
    read_boolean,
    read_choice,
    read_command,
    read_duration,
    read_each,
    read_text,
)
from ottr.files.issuers import read_issuer_name
from ottr.files.settings import read_window
from ottr.model import KeyType
from ottr.routing.conditions import KEYS, Condition, GlobCondition, VersionCondition, shadows
from ottr.routing.endpoints import apply_driver, read_endpoints
from ottr.routing.router import Router
from ottr.routing.rules import EndpointRule, RouteRule
from ottr.routing.versions import VersionRange, parse_range
from ottr.settings import IssuerSettings, Settings

LoadDriver = Callable[[str], DriverModule]

_HOOKS = frozenset({"before", "after"})


def load_routes(path: Path, settings: Settings, load_driver: LoadDriver = drivers.load) -> Router:
    """Read routing.yaml with every driver it names; issuers and windows of ottr.yaml fill in. Raises RoutingError."""
    top = load_document(path, RoutingError).fields({"defaults", "routes"})
    base: dict[str, Any] = {"windows": settings.rotation.windows}
    if "defaults" in top:
        base |= _read_common(top["defaults"].fields(_DEFAULTS), settings.issuers)
    entries = top["routes"].entries() if "routes" in top else []
    rules = tuple(_read_route(entry, base, settings.issuers, load_driver) for entry in entries)
    for later, entry in enumerate(entries):
        _refuse_shadowed(entry, rules[later], rules[:later])
    return Router(rules, settings.issuers, settings.default_issuer)


def _read_route(
    entry: Entry, base: Mapping[str, Any], issuers: Mapping[str, IssuerSettings], load_driver: LoadDriver
) -> RouteRule:
    keys = entry.fields(_ROUTE)
    if "driver" not in keys:
        raise entry.error("driver is missing", hint="`ottr drivers list` shows those there are")
    common = {**base, **_read_common(keys, issuers)}
    module = _load_driver(keys["driver"], load_driver)
    options = keys["options"].plain() if "options" in keys and keys["options"].items() else {}
    try:
        module.check_options(options)
    except ValueError as error:
        raise keys.get("options", entry).error(str(error)) from error
    rule = RouteRule(
        line=entry.line,
        driver=read_text(keys["driver"]),
        module=module,
        conditions=_read_match(keys["match"], issuers) if "match" in keys else (),
        options=options,
        filled=apply_driver(common.get("endpoints", (EndpointRule(),)), module, options),
        **common,
    )
    if 0 < rule.dead_man_s <= rule.verify_timeout_s:
        hint = "a device would go back by itself while it is being verified; dead_man: 0 switches it off"
        raise entry.error(f"dead_man ({rule.dead_man_s} s) must be longer than verify_timeout", hint=hint)
    return rule


def _load_driver(entry: Entry, load_driver: LoadDriver) -> DriverModule:
    name = read_text(entry, "the name of a driver")
    try:
        return load_driver(name)
    except RoutingError as error:
        raise entry.error(str(error), hint=error.hint) from error
    except ImportError as error:
        raise entry.error(f"the driver {name!r} cannot be loaded: {error}") from error


def _read_common(keys: Mapping[str, Entry], issuers: Mapping[str, IssuerSettings]) -> dict[str, Any]:
    """Fields of a rule that both routes and defaults may set, as far as they are set."""
    if "endpoint" in keys and "endpoints" in keys:
        raise keys["endpoint"].error("endpoint and endpoints are the same; write one of them")
    common: dict[str, Any] = {}
    for key in keys.keys() & _READERS.keys():
        field, read = _READERS[key]
        common[field] = read(keys[key])
    if "issuer" in keys:
        common["issuer"] = read_issuer_name(keys["issuer"], issuers)
    if "renew_before" in keys:
        common |= _read_renew_before(keys["renew_before"])
    if "hooks" in keys:
        common |= {when: _read_commands(hook) for when, hook in keys["hooks"].fields(_HOOKS).items()}
    return common


def _read_renew_before(entry: Entry) -> dict[str, float | None]:
    """A time span before not_after, or the share of the lifetime that is left then."""
    try:
        return {"renew_before_s": None, "renew_fraction": 1 - parse_fraction(entry.written)}
    except ValueError:
        return {"renew_before_s": read_duration(entry), "renew_fraction": None}


def _read_commands(entry: Entry) -> tuple[tuple[str, ...], ...]:
    """Return a list of commands, each a line or a list of arguments."""
    return read_each(entry, read_command)


_READERS: Mapping[str, tuple[str, Callable[[Entry], Any]]] = {
    "key_type": ("key_type", lambda entry: read_choice(entry, KeyType)),
    "profile": ("profile", read_text),
    "endpoint": ("endpoints", read_endpoints),
    "endpoints": ("endpoints", read_endpoints),
    "revoke_superseded": ("revoke_superseded", read_boolean),
    "dead_man": ("dead_man_s", lambda entry: int(read_duration(entry, zero=True))),
    "verify_timeout": ("verify_timeout_s", read_duration),
    "windows": ("windows", lambda entry: read_each(entry, read_window)),
}
_DEFAULTS = _READERS.keys() | {"issuer", "renew_before", "hooks"}
_ROUTE = _DEFAULTS | {"match", "driver", "options"}


def _read_match(entry: Entry, issuers: Mapping[str, IssuerSettings]) -> tuple[Condition, ...]:
    return tuple(_read_condition(key, item, issuers) for key, item in entry.fields(KEYS).items())


def _read_condition(key: str, entry: Entry, issuers: Mapping[str, IssuerSettings]) -> Condition:
    if not entry.entries():
        raise entry.expected("one value or more")
    if key == "os_version":
        return VersionCondition(read_each(entry, _read_range))
    globs = read_each(entry, read_text)
    if key == "certificate_authority" and issuers:
        for item in entry.entries():
            if not set(read_text(item)) & set("*?["):
                read_issuer_name(item, issuers)
    return GlobCondition(key, globs)


def _read_range(entry: Entry) -> VersionRange:
    text = read_text(entry, 'a version range in quotes as ">=9.0,<12"')
    try:
        versions = parse_range(text)
    except ValueError as error:
        raise entry.error(str(error), hint="a vendor's 10.1.14-h9 is written 10.1.14.post9") from error
    if versions.empty:
        raise entry.error(f"no version can be in {text!r}")
    return versions


def _refuse_shadowed(entry: Entry, rule: RouteRule, earlier: tuple[RouteRule, ...]) -> None:
    for other in earlier:
        if shadows(other.conditions, rule.conditions):
            hint = f"put it before line {other.line}, or take it out"
            raise entry.error(f"can never match: the route of line {other.line} takes all it would take", hint=hint)
