# SPDX-License-Identifier: Apache-2.0
"""Objects that can be listed, read, made, changed and deleted: profiles, virtual servers, files, partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import COMMON, Refusal, absent, from_url, full_path, unknown_property
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.configuration import (
    CERTIFICATE,
    CLIENT_SSL,
    FOLDER,
    KEY,
    LABELS,
    PARTITION,
    VIRTUAL,
    Object,
)
from ottr.drivers.f5.simulator.profiles import change_profile, new_profile
from ottr.drivers.f5.simulator.showing import check_query, listing, select, show, show_profiles
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.store import file_path, new_file, read_source, replaced_file

_FILE = "file:"
_VIRTUAL_ATTRIBUTES = ("destination", "description", "enabled", "disabled", "pool", "ipProtocol", "mask", "source")
Content = dict[str, Any]


def answer_objects(state: State, call: Call) -> Content:
    """Answer a request for a collection or one of its objects. Raises Refusal."""
    if call.collection == VIRTUAL and len(call.rest) > 1:
        return _answer_profiles(state, call)
    if len(call.rest) > 1:
        raise Refusal(404, f"Public URI path not registered: /mgmt/{call.area}/{'/'.join(call.rest)}")
    if not call.rest:
        return _answer_collection(state, call)
    path = f"/{call.rest[0]}" if call.collection == PARTITION else from_url(call.rest[0])
    found = state.configuration.get(call.collection, path)
    match call.method:
        case "GET":
            check_query(call)
            expand = call.query.get("expandSubcollections") == "true"
            return select(call, show(state, call.collection, path, found, expand=expand))
        case "PATCH" | "PUT":
            with state.configuration.edit():
                _change(state, call, path, found)
            return show(state, call.collection, path, state.configuration.get(call.collection, path))
        case "DELETE":
            with state.configuration.edit():
                state.configuration.remove(call.collection, path)
            return {}
        case _:
            raise Refusal(405, f"Method {call.method} is not allowed")


def _answer_collection(state: State, call: Call) -> Content:
    if call.method == "GET":
        expand = call.query.get("expandSubcollections") == "true"
        items = [
            show(state, call.collection, path, found, expand=expand)
            for path, found in sorted(state.configuration.of(call.collection).items())
        ]
        return listing(state, call, call.collection, items)
    if call.method != "POST":
        raise Refusal(405, f"Method {call.method} is not allowed")
    maker = _MAKERS.get(call.collection)
    if maker is None:
        raise Refusal(400, f"the {call.collection} collection takes no new objects here")
    path = file_path(call.needed("name"), str(call.body.get("partition", COMMON)))
    if path in state.configuration.of(call.collection):
        state.configuration.add(call.collection, path, {})
    body = {name: value for name, value in call.body.items() if name not in ("name", "partition", "fullPath")}
    with state.configuration.edit():
        state.configuration.add(call.collection, path, maker(state, call, body))
    return show(state, call.collection, path, state.configuration.get(call.collection, path))


def changes(state: State, call: Call, path: str, found: Object) -> Mapping[str, Any]:
    """What a body asks for beside what the object shows anyway."""
    shown = show(state, call.collection, path, found)
    return {name: value for name, value in call.body.items() if name not in shown or shown[name] != value}


def _change(state: State, call: Call, path: str, found: Object) -> None:
    wanted = changes(state, call, path, found)
    if call.collection in (CERTIFICATE, KEY):
        state.configuration.put(call.collection, path, _new_content(state, call, wanted, found))
    elif call.collection == CLIENT_SSL:
        change_profile(state, path, found, wanted)
    elif call.collection == VIRTUAL:
        state.configuration.put(VIRTUAL, path, {**found, **_virtual(wanted)})
    else:
        for name in wanted.keys() - {"description"}:
            raise unknown_property(name)
        state.configuration.put(call.collection, path, {**found, **wanted})


def _make_file(state: State, call: Call, body: Content) -> Object:
    pem, source = _source(state, call.collection, body)
    return new_file(pem, source, call.user, state.clock(), state.next_number())


def _new_content(state: State, call: Call, wanted: Mapping[str, Any], found: Object) -> Object:
    if not wanted and call.body.get("sourcePath") == found["sourcePath"]:
        wanted = {"sourcePath": call.body["sourcePath"]}
    extra = {name: wanted[name] for name in ("issuerCert", "certValidationOptions") if name in wanted}
    rest = {name: value for name, value in wanted.items() if name not in extra}
    if extra and not rest:
        return {**found, **extra}
    pem, source = _source(state, call.collection, rest)
    return {**replaced_file(found, pem, source, call.user, state.clock()), **extra}


def _source(state: State, collection: str, body: Mapping[str, Any]) -> tuple[str, str]:
    for name in body.keys() - {"sourcePath"}:
        raise unknown_property(name)
    source = str(body.get("sourcePath", ""))
    if not source.startswith(_FILE):
        raise Refusal(400, f"01070734:3: Configuration error: source-path ({source}) is required and must be a file")
    place = "/" + source.removeprefix(_FILE).lstrip("/")
    if state.faults.take("disk_full"):
        raise Refusal(400, "01070712:3: Caught configuration exception (0), No space left on device.")
    return read_source(state.disk, place, collection), place


def _make_virtual(body: Content) -> Object:
    base = {"destination": "", "ipProtocol": "tcp", "mask": "255.255.255.255", "source": "0.0.0.0/0", "enabled": True}
    if "destination" not in body:
        raise Refusal(400, "01070734:3: Configuration error: virtual server needs a destination")
    return {**base, "_port": 0, "_profiles": {"/Common/tcp": "all"}, **_virtual(body)}


def _virtual(wanted: Mapping[str, Any]) -> Content:
    content: Content = {}
    for name, value in wanted.items():
        if name == "profiles":
            content["_profiles"] = _profiles(value)
        elif name in _VIRTUAL_ATTRIBUTES:
            content[name] = value
        else:
            raise unknown_property(name)
    return content


def _profiles(wanted: Any) -> dict[str, str]:
    if not isinstance(wanted, list):
        raise Refusal(400, "profiles must be a list")
    found = {}
    for item in wanted:
        named = {"name": item} if isinstance(item, str) else item
        path = full_path(str(named.get("fullPath", named.get("name", ""))), str(named.get("partition", COMMON)))
        found[path] = str(named.get("context", "all"))
    return found


def _answer_profiles(state: State, call: Call) -> Content:
    path = from_url(call.rest[0])
    found = state.configuration.get(VIRTUAL, path)
    if call.rest[1] != "profiles" or len(call.rest) > 3:
        raise Refusal(404, f"Public URI path not registered: /mgmt/{call.area}/{'/'.join(call.rest)}")
    items = show_profiles(state, path, found)
    if len(call.rest) == 3:
        return _answer_profile(state, call, path, found, items)
    if call.method == "GET":
        return listing(state, call, "ltm/virtual/profiles", items)
    if call.method != "POST":
        raise Refusal(405, f"Method {call.method} is not allowed")
    added = _profiles([dict(call.body)])
    with state.configuration.edit():
        state.configuration.put(VIRTUAL, path, {**found, "_profiles": {**found["_profiles"], **added}})
    found = state.configuration.get(VIRTUAL, path)
    return next(item for item in show_profiles(state, path, found) if item["fullPath"] in added)


def _answer_profile(state: State, call: Call, path: str, found: Object, items: list[Content]) -> Content:
    name = from_url(call.rest[2])
    item = next((item for item in items if item["fullPath"] == name), None)
    if item is None:
        raise absent("profile", name)
    if call.method == "GET":
        return item
    if call.method != "DELETE":
        raise Refusal(405, f"Method {call.method} is not allowed")
    left = {profile: context for profile, context in found["_profiles"].items() if profile != name}
    with state.configuration.edit():
        state.configuration.put(VIRTUAL, path, {**found, "_profiles": left})
    return {}


_MAKERS: Mapping[str, Callable[[State, Call, Content], Object]] = {
    CERTIFICATE: _make_file,
    KEY: _make_file,
    CLIENT_SSL: lambda state, call, body: new_profile(state, full_path(str(call.body["name"])), body),
    VIRTUAL: lambda _state, _call, body: _make_virtual(body),
}
OBJECTS = frozenset({*LABELS, PARTITION, FOLDER})
"""The collections that ``answer_objects`` knows."""
