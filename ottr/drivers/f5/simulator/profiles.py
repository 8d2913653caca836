# SPDX-License-Identifier: Apache-2.0
"""Client-ssl profiles: what may be said of one, and what it takes from the profile above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal, full_path, unknown_property
from ottr.drivers.f5.simulator.configuration import CLIENT_SSL, Object
from ottr.drivers.f5.simulator.showing import has_usage
from ottr.drivers.f5.simulator.state import State

_ATTRIBUTES = ("ciphers", "description", "serverName")
_SWITCHES = ("sniDefault", "sniRequire", "inheritCertkeychain")
_PAIR = ("cert", "key", "chain")
_SHOWN = ("appService", "certReference", "keyReference", "chainReference")


def new_profile(state: State, path: str, body: Mapping[str, Any]) -> Object:
    """A profile below another. Raises Refusal."""
    base = full_path(str(body.get("defaultsFrom", "/Common/clientssl")))
    parent = state.configuration.get(CLIENT_SSL, base)
    inherited = {name: parent[name] for name in ("ciphers", "certKeyChain")}
    fresh = {"defaultsFrom": base, "serverName": "none", "sniDefault": "false", "sniRequire": "false"}
    found = {**fresh, **inherited, "inheritCertkeychain": "true"}
    return _changed(state, path, found, {name: value for name, value in body.items() if name != "defaultsFrom"})


def change_profile(state: State, path: str, found: Object, wanted: Mapping[str, Any]) -> None:
    """Change a profile, and those that take their certificates from it. Raises Refusal."""
    changed = state.configuration.put(CLIENT_SSL, path, _changed(state, path, found, wanted))
    for below, profile in list(state.configuration.of(CLIENT_SSL).items()):
        if profile["defaultsFrom"] == path and profile["inheritCertkeychain"] == "true":
            state.configuration.put(CLIENT_SSL, below, {**profile, "certKeyChain": changed["certKeyChain"]})


def _changed(state: State, path: str, found: Object, wanted: Mapping[str, Any]) -> Object:
    changed: Object = dict(found)
    for name, value in wanted.items():
        if name in _SWITCHES:
            changed[name] = _switch(name, value)
        elif name in _ATTRIBUTES:
            changed[name] = str(value)
        elif name == "certKeyChain":
            changed |= {"certKeyChain": _entries(state, value), "inheritCertkeychain": "false"}
        elif name not in _PAIR:
            raise unknown_property(name)
    if any(name in wanted for name in _PAIR) and "certKeyChain" not in wanted:
        changed |= {"certKeyChain": _first_changed(path, found, wanted), "inheritCertkeychain": "false"}
    if wanted.get("inheritCertkeychain") in ("true", True) and changed["defaultsFrom"] != "none":
        parent = state.configuration.get(CLIENT_SSL, changed["defaultsFrom"])
        changed |= {"certKeyChain": parent["certKeyChain"], "inheritCertkeychain": "true"}
    return changed


def _switch(name: str, value: Any) -> str:
    if value in (True, "true", "enabled"):
        return "true"
    if value in (False, "false", "disabled"):
        return "false"
    raise Refusal(400, f'invalid property value "{name}":"{value}"')


def _entries(state: State, wanted: Any) -> list[Object]:
    if not isinstance(wanted, list) or not all(isinstance(entry, dict) for entry in wanted):
        raise Refusal(400, 'invalid property value "cert-key-chain"')
    entries = [_entry(state, entry) for entry in wanted]
    names = [entry["name"] for entry in entries]
    if len(names) != len(set(names)):
        raise Refusal(400, "01020066:3: The requested cert-key-chain already exists.")
    return entries


def _entry(state: State, wanted: Mapping[str, Any]) -> Object:
    known = {"name", *_PAIR, *_SHOWN, *(("usage",) if has_usage(state) else ())}
    for name in wanted.keys() - known:
        raise unknown_property(name)
    for name in ("name", "cert", "key"):
        if not wanted.get(name):
            raise Refusal(400, f'one or more properties must be specified: "{name}" of cert-key-chain')
    entry = {"name": str(wanted["name"]), **{name: _path(wanted.get(name)) for name in _PAIR}}
    return {**entry, "usage": str(wanted.get("usage", "SERVER"))}


def _first_changed(path: str, found: Object, wanted: Mapping[str, Any]) -> list[Object]:
    entries: list[Object] = [dict(entry) for entry in found["certKeyChain"]]
    first = entries[0] if entries else {"name": f"{path.rpartition('/')[2]}_0", "chain": "none"}
    first |= {name: _path(wanted[name]) for name in _PAIR if name in wanted}
    return [first, *entries[1:]]


def _path(value: Any) -> str:
    return "none" if value in (None, "", "none") else full_path(str(value))
