# SPDX-License-Identifier: Apache-2.0
"""Objects and lists of them as REST shows them: kind, links, ``$select``, ``$filter``, ``$top`` and ``$skip``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal, to_url
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.configuration import CERTIFICATE, CLIENT_SSL, KEY, VIRTUAL, Object
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.store import show_file

_PARAMETERS = ("$select", "$filter", "$top", "$skip", "expandSubcollections", "ver", "options")


def kind(collection: str, *, listed: bool = False) -> str:
    """``tm:sys:crypto:key:keystate``."""
    parts = collection.split("/")
    return ":".join(["tm", *parts, f"{parts[-1]}{'collection' if listed else ''}state"])


def show(state: State, collection: str, path: str, found: Object, *, expand: bool = False) -> dict[str, Any]:
    """One object of the configuration."""
    head = {
        "kind": kind(collection),
        "name": found["name"],
        "partition": found["partition"],
        "fullPath": path,
        "generation": found["generation"],
        "selfLink": state.link(f"tm/{collection}/{to_url(path)}"),
    }
    if collection in (CERTIFICATE, KEY):
        return {**head, **show_file(collection, path, found, state.settings), **_validators(state, collection, path)}
    shown = {name: value for name, value in found.items() if not name.startswith("_")}
    if collection == CLIENT_SSL:
        shown.update(_show_chains(state, found))
    if collection == VIRTUAL:
        shown["profilesReference"] = _show_profiles(state, path, found, expand=expand)
    return {**head, **{name: value for name, value in shown.items() if name not in head}}


def _validators(state: State, collection: str, path: str) -> dict[str, Any]:
    if collection == KEY:
        return {}
    base = f"tm/{collection}/{to_url(path)}"
    names = {
        "bundleCertificatesReference": "bundle-certificates",
        "certValidatorsReference": "cert-validators",
    }
    return {name: {"link": state.link(f"{base}/{below}"), "isSubcollection": True} for name, below in names.items()}


def _show_chains(state: State, found: Object) -> dict[str, Any]:
    entries = [_show_chain(state, entry) for entry in found["certKeyChain"]]
    if not entries:
        return {"certKeyChain": []}
    first = entries[0]
    mirrored = {name: first[name] for name in ("cert", "key", "chain")}
    return {"certKeyChain": entries, **mirrored}


def _show_chain(state: State, entry: Object) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": entry["name"], "appService": "none"}
    for name, collection in (("cert", CERTIFICATE), ("chain", CERTIFICATE), ("key", KEY)):
        value = entry.get(name, "none")
        shown[name] = value
        if value != "none":
            shown[f"{name}Reference"] = {"link": state.link(f"tm/{collection}/{to_url(value)}")}
    if has_usage(state):
        shown["usage"] = entry.get("usage", "SERVER")
    return shown


def has_usage(state: State) -> bool:
    """Whether an entry of ``certKeyChain`` has ``usage``."""
    return state.settings.version >= (17, 0) and state.settings.unconfirmed.chain_entry_usage


def _show_profiles(state: State, path: str, found: Object, *, expand: bool) -> dict[str, Any]:
    link = state.link(f"tm/{VIRTUAL}/{to_url(path)}/profiles")
    if not expand:
        return {"link": link, "isSubcollection": True}
    return {"link": link, "isSubcollection": True, "items": show_profiles(state, path, found)}


def show_profiles(state: State, path: str, found: Object) -> list[dict[str, Any]]:
    """The profiles of a virtual server."""
    base = f"tm/{VIRTUAL}/{to_url(path)}/profiles"
    items = []
    for profile, context in found["_profiles"].items():
        _, partition, name = profile.split("/", 2)
        kind_of = CLIENT_SSL if context == "clientside" else f"ltm/profile/{name}"
        items.append(
            {
                "kind": "tm:ltm:virtual:profiles:profilesstate",
                "name": name,
                "partition": partition,
                "fullPath": profile,
                "generation": found["generation"],
                "selfLink": state.link(f"{base}/{to_url(profile)}"),
                "context": context,
                "nameReference": {"link": state.link(f"tm/{kind_of}/{to_url(profile)}")},
            }
        )
    return items


def listing(state: State, call: Call, collection: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A collection. Raises Refusal for a query that means nothing."""
    check_query(call)
    wanted = _filtered(items, call.query.get("$filter", ""))
    skip, top = _number(call.query, "$skip", 0), _number(call.query, "$top", len(wanted))
    head: dict[str, Any] = {"kind": kind(collection, listed=True), "selfLink": state.link(f"tm/{collection}")}
    page = wanted[skip : skip + top]
    if "$top" in call.query:
        head |= {"currentItemCount": len(page), "itemsPerPage": top, "totalItems": len(wanted)}
        if skip + top < len(wanted):
            head["nextLink"] = f"{state.link(f'tm/{collection}')}&$top={top}&$skip={skip + top}"
    return {**head, **({"items": [select(call, item) for item in page]} if page else {})}


def check_query(call: Call) -> None:
    """Raises Refusal for parameters that mean nothing."""
    for name in call.query:
        if name not in _PARAMETERS:
            raise Refusal(400, f"Query parameter {name} is invalid.")


def select(call: Call, item: dict[str, Any]) -> dict[str, Any]:
    """Only what ``$select`` names."""
    names = [name for name in call.query.get("$select", "").split(",") if name]
    return {name: item[name] for name in names if name in item} if names else item


def _filtered(items: list[dict[str, Any]], condition: str) -> list[dict[str, Any]]:
    if not condition:
        return items
    words = condition.split()
    if len(words) != 3 or words[:2] != ["partition", "eq"]:
        raise Refusal(400, f"invalid $filter: {condition}")
    return [item for item in items if item.get("partition") == words[2]]


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, "")
    if value and not value.isdigit():
        raise Refusal(400, f"invalid {name}: {value}")
    return int(value) if value else default
