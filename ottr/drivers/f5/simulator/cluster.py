# SPDX-License-Identifier: Apache-2.0
"""``cm``: the units of a device group, which of them is active, and whether they have the same configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import COMMON, Refusal, absent, from_url, to_url
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.showing import check_query, listing, select
from ottr.drivers.f5.simulator.state import State

Content = dict[str, Any]
_SYNC = re.compile(r"config-sync\s+(?:(force-full-load-push)\s+)?(to-group|from-group)\s+(\S+)")


def answer_cluster(state: State, call: Call) -> Content:
    """Answer a request below ``tm/cm``. Raises Refusal."""
    answered = _ANSWERS.get(call.collection)
    if answered is None:
        raise Refusal(404, f"Public URI path not registered: /mgmt/{call.area}")
    return answered(state, call)


def _run(state: State, call: Call) -> Content:
    if call.method == "GET":
        names = ("device", "device-group", "failover-status", "sync-status")
        items = [{"reference": {"link": state.link(f"tm/cm/{name}")}} for name in names]
        return {"kind": "tm:cm:cmcollectionstate", "selfLink": state.link("tm/cm"), "items": items}
    if call.method != "POST":
        raise Refusal(405, f"Method {call.method} is not allowed")
    call.allow("command", "utilCmdArgs")
    if call.needed("command") != "run":
        raise Refusal(400, f'invalid command "{call.body["command"]}"')
    run_sync(state, call.needed("utilCmdArgs"))
    return {"kind": "tm:cm:runstate", **call.body}


def _config_sync(state: State, call: Call) -> Content:
    if call.method != "POST":
        raise Refusal(405, f"Method {call.method} is not allowed")
    call.allow("command", "utilCmdArgs", "options")
    options = call.body.get("options", [])
    words = " ".join(f"{name} {value}" for option in options for name, value in option.items())
    run_sync(state, f"config-sync {words or call.needed('utilCmdArgs')}")
    return {"kind": "tm:cm:config-sync:runstate", **call.body}


def run_sync(state: State, words: str) -> None:
    """Give the other units what this one has, or take theirs; done a little later. Raises Refusal."""
    found = _SYNC.fullmatch(words.strip())
    if not found:
        raise Refusal(400, f"Syntax Error: unexpected argument in {words!r}")
    group = found[3].removeprefix(f"/{COMMON}/")
    if not state.settings.device_group or group != state.settings.device_group:
        raise Refusal(400, f"01070734:3: Configuration error: Device group ({found[3]}) not found.")
    if state.faults.take("sync_fails"):
        state.synced_hash = "failed"
        return
    state.later(state.settings.sync_s, lambda: _sync(state, found[2]))


def sync_by_itself(state: State) -> None:
    """What a group with automatic sync does after a change."""

    def sync() -> None:
        if state.configuration.shared_hash() != state.synced_hash:
            _sync(state, "to-group")

    if state.peers:
        state.later(state.settings.sync_s, sync)


def _sync(state: State, direction: str) -> None:
    for peer in state.peers:
        source, target = (state, peer) if direction == "to-group" else (peer, state)
        with source.lock:
            shared, shared_hash = source.configuration.synced(), source.configuration.shared_hash()
        with target.lock:
            target.configuration.receive(shared)
            target.configuration.save()
        source.synced_hash = target.synced_hash = shared_hash


def mark_in_sync(state: State) -> None:
    """Note that all units have the same now."""
    for unit in (state, *state.peers):
        with unit.lock:
            unit.synced_hash = unit.configuration.shared_hash()


def sync_status(state: State) -> tuple[str, str, str]:
    """Colour, status and summary."""
    if not state.settings.device_group:
        return "green", "Standalone", " "
    if state.synced_hash == "failed":
        return "red", "Sync Failure", "A validation error occurred while syncing to a remote device"
    changed = [unit for unit in (state, *state.peers) if unit.configuration.shared_hash() != unit.synced_hash]
    if not changed:
        return "green", "In Sync", "All devices in the device group are in sync"
    if len(changed) > 1:
        return "yellow", "Changes Pending", "There is a possible change conflict between devices"
    return "yellow", "Changes Pending", "Changes pending"


def _sync_status(state: State, call: Call) -> Content:
    _only_get(call)
    color, status, summary = sync_status(state)
    group, base = state.settings.device_group, "https://localhost/mgmt/tm/cm/sync-status/0"
    details = [f"{group} ({status}): {summary}"] if group else ["Optional action: Add a device to the trust domain"]
    if status == "Changes Pending":
        newer = next(u for u in (state, *state.peers) if u.configuration.shared_hash() != u.synced_hash)
        details.append(f" - Recommended action: Synchronize {newer.settings.hostname} to group {group}")
    below = f"{base.replace('sync-status', 'syncStatus')}/details"
    entries = {
        "color": {"description": color},
        below: {
            "nestedStats": {
                "entries": {
                    f"{below}/{number}": {"nestedStats": {"entries": {"details": {"description": text}}}}
                    for number, text in enumerate(details)
                }
            }
        },
        "mode": {"description": "high-availability" if group else "standalone"},
        "status": {"description": status},
        "summary": {"description": summary},
    }
    return _stats(state, "sync-status", {base: {"nestedStats": {"entries": entries}}})


def _failover_status(state: State, call: Call) -> Content:
    _only_get(call)
    word = "ACTIVE" if state.active else "STANDBY"
    entries = {
        "color": {"description": "green" if state.active else "gray"},
        "status": {"description": word},
        "summary": {"description": f"1/1 {word.lower()}"},
    }
    base = "https://localhost/mgmt/tm/cm/failover-status/0"
    return _stats(state, "failover-status", {base: {"nestedStats": {"entries": entries}}})


def _stats(state: State, name: str, entries: Content) -> Content:
    head = {"kind": f"tm:cm:{name}:{name}stats", "selfLink": state.link(f"tm/cm/{name}")}
    return {**head, "entries": entries}


def _devices(state: State, call: Call) -> Content:
    _only_get(call)
    items = [_show_device(state, unit) for unit in sorted((state, *state.peers), key=lambda u: u.settings.hostname)]
    return _chosen(state, call, "cm/device", items)


def _show_device(state: State, unit: State) -> Content:
    path = f"/{COMMON}/{unit.settings.hostname}"
    return {
        "kind": "tm:cm:device:devicestate",
        "name": unit.settings.hostname,
        "partition": COMMON,
        "fullPath": path,
        "generation": 1,
        "selfLink": state.link(f"tm/cm/device/{to_url(path)}"),
        "failoverState": "active" if unit.active else "standby",
        "hostname": unit.settings.hostname,
        "managementIp": unit.address,
        "marketingName": "BIG-IP Virtual Edition",
        "platformId": unit.settings.platform,
        "product": "BIG-IP",
        "selfDevice": "true" if unit is state else "false",
        "version": unit.settings.os_version,
    }


def _device_groups(state: State, call: Call) -> Content:
    _only_get(call)
    items = [_show_group(state, "device_trust_group", "sync-only", "enabled")]
    if state.settings.device_group:
        automatic = "enabled" if state.settings.auto_sync else "disabled"
        items.append(_show_group(state, state.settings.device_group, "sync-failover", automatic))
    if len(call.rest) == 2 and call.rest[1] == "devices":
        _chosen(state, Call("GET", call.area, call.rest[:1]), "cm/device-group", items)
        return listing(state, call, "cm/device-group/devices", [_member(state, u) for u in (state, *state.peers)])
    return _chosen(state, call, "cm/device-group", items)


def _show_group(state: State, name: str, kind: str, automatic: str) -> Content:
    path = f"/{COMMON}/{name}"
    link = f"tm/cm/device-group/{to_url(path)}"
    return {
        "kind": "tm:cm:device-group:device-groupstate",
        "name": name,
        "partition": COMMON,
        "fullPath": path,
        "generation": 1,
        "selfLink": state.link(link),
        "asmSync": "disabled",
        "autoSync": automatic,
        "fullLoadOnSync": "false",
        "networkFailover": "enabled" if kind == "sync-failover" else "disabled",
        "saveOnAutoSync": "false",
        "type": kind,
        "devicesReference": {"link": state.link(f"{link}/devices"), "isSubcollection": True},
    }


def _member(state: State, unit: State) -> Content:
    path = f"/{COMMON}/{unit.settings.hostname}"
    group = to_url(f"/{COMMON}/{state.settings.device_group}")
    link = state.link(f"tm/cm/device-group/{group}/devices/{to_url(path)}")
    named = {"name": unit.settings.hostname, "partition": COMMON, "fullPath": path, "generation": 1}
    return {"kind": "tm:cm:device-group:devices:devicesstate", **named, "selfLink": link, "setSyncLeader": False}


def _chosen(state: State, call: Call, collection: str, items: list[Content]) -> Content:
    if not call.rest:
        return listing(state, call, collection, items)
    check_query(call)
    path = from_url(call.rest[0])
    found = next((item for item in items if item["fullPath"] == path), None)
    if found is None or len(call.rest) > 1:
        raise absent(collection.rpartition("/")[2], path)
    return select(call, found)


def _only_get(call: Call) -> None:
    if call.method != "GET":
        raise Refusal(405, f"Method {call.method} is not allowed")


_ANSWERS: Mapping[str, Callable[[State, Call], Content]] = {
    "cm": _run,
    "cm/config-sync": _config_sync,
    "cm/device": _devices,
    "cm/device-group": _device_groups,
    "cm/failover-status": _failover_status,
    "cm/sync-status": _sync_status,
}
