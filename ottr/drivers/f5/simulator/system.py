# SPDX-License-Identifier: Apache-2.0
"""``sys``: version, hardware, httpd, services, saving the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal, unknown_property
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.configuration import HTTPD, Object
from ottr.drivers.f5.simulator.disk import FILE_STORE
from ottr.drivers.f5.simulator.material import matches, read_chain, read_key
from ottr.drivers.f5.simulator.state import State

Content = dict[str, Any]
HTTPD_PATH = "/Common/httpd"
_HTTPD_FILES = ("sslCertfile", "sslCertkeyfile", "sslCertchainfile")
_HTTPD_ATTRIBUTES = (*_HTTPD_FILES, "sslProtocol", "sslCiphersuite", "authPamIdleTimeout", "description")
_BELOW_SYS = ("config", "crypto", "file", "folder", "global-settings", "hardware", "httpd", "service", "version")


def answer_system(state: State, call: Call) -> Content:
    """Answer a request below ``tm/sys``. Raises Refusal."""
    if call.rest:
        raise Refusal(404, f"Public URI path not registered: /mgmt/{call.area}/{'/'.join(call.rest)}")
    return _ANSWERS[call.collection](state, call)


def _overview(state: State, call: Call) -> Content:
    _only(call, "GET")
    items = [{"reference": {"link": state.link(f"tm/sys/{name}")}} for name in _BELOW_SYS]
    return {"kind": "tm:sys:syscollectionstate", "selfLink": state.link("tm/sys"), "items": items}


def _version(state: State, call: Call) -> Content:
    _only(call, "GET")
    entries = {
        "Build": "0.0.11",
        "Date": "Wed Nov 10 12:00:00 PST 2021",
        "Edition": "Final",
        "Product": "BIG-IP",
        "Title": "Main Package",
        "Version": state.settings.os_version,
    }
    return _stats(state, "sys/version", "sys:version:versionstats", {"0": _described(entries)})


def _hardware(state: State, call: Call) -> Content:
    _only(call, "GET")
    entries = {"baseMac": "00:00:5e:00:53:01", "bigipChassisSerialNum": "chs000000s", "marketingName": "BIG-IP"}
    parts = {"platform": _described(entries), "system-info": _described({"platform": state.settings.platform})}
    return _stats(state, "sys/hardware", "sys:hardware:hardwarestats", parts)


def _described(values: Mapping[str, str]) -> Content:
    return {name: {"description": value} for name, value in values.items()}


def _stats(state: State, area: str, kind: str, parts: Mapping[str, Content]) -> Content:
    base = f"https://localhost/mgmt/tm/{area}"
    entries = {f"{base}/{name}": {"nestedStats": {"entries": inside}} for name, inside in parts.items()}
    return {"kind": f"tm:{kind}", "selfLink": state.link(f"tm/{area}"), "entries": entries}


def _global_settings(state: State, call: Call) -> Content:
    _only(call, "GET")
    head = {"kind": "tm:sys:global-settings:global-settingsstate", "selfLink": state.link("tm/sys/global-settings")}
    return {**head, "hostname": state.settings.hostname, "guiSetup": "disabled", "consoleInactivityTimeout": 0}


def _httpd(state: State, call: Call) -> Content:
    found = state.configuration.get(HTTPD, HTTPD_PATH)
    if call.method in ("PATCH", "PUT"):
        shown = _show_httpd(state, found)
        wanted = {name: value for name, value in call.body.items() if shown.get(name) != value}
        change_httpd(state, wanted)
        return _show_httpd(state, state.configuration.get(HTTPD, HTTPD_PATH))
    _only(call, "GET")
    return _show_httpd(state, found)


def _show_httpd(state: State, found: Object) -> Content:
    shown = {
        name: value for name, value in found.items() if name not in ("name", "partition", "fullPath", "generation")
    }
    fixed = {
        "allow": ["All"],
        "authName": "BIG-IP",
        "authPamIdleTimeout": 1200,
        "hostnameLookup": "off",
        "logLevel": "warn",
        "maxClients": 10,
        "redirectHttpToHttps": "disabled",
        "sslProtocol": "all -SSLv2 -SSLv3 -TLSv1",
        "sslVerifyClient": "no",
    }
    head = {"kind": "tm:sys:httpd:httpdstate", "selfLink": state.link("tm/sys/httpd")}
    return {**head, **fixed, **shown}


def change_httpd(state: State, wanted: Mapping[str, Any]) -> None:
    """Change properties of httpd, which restarts it. Raises Refusal."""
    for name in wanted:
        if name not in _HTTPD_ATTRIBUTES:
            raise unknown_property(name)
    if not wanted:
        return
    with state.configuration.edit():
        found = state.configuration.get(HTTPD, HTTPD_PATH)
        changed = {name: value for name, value in {**found, **wanted}.items() if value != "none"}
        if any(name in wanted for name in _HTTPD_FILES):
            _check_files(state, changed)
        state.configuration.put(HTTPD, HTTPD_PATH, changed)
    state.restart_httpd()


def _check_files(state: State, changed: Object) -> None:
    for name in _HTTPD_FILES:
        place = str(changed.get(name, "/"))
        if place.startswith(FILE_STORE) and not state.settings.unconfirmed.httpd_takes_filestore:
            raise Refusal(400, f"01070920:3: Application error for confpp: {name} {place} is not readable by httpd")
    if not state.settings.unconfirmed.httpd_pair_checked:
        return
    certificates = read_chain(state.disk.read(str(changed["sslCertfile"])) or b"")
    key = read_key(state.disk.read(str(changed["sslCertkeyfile"])) or b"")
    if not certificates or key is None or not matches(key, certificates[0]):
        message = (
            "01070712:3: Caught configuration exception (0), httpd: certificate and key are absent or do not match."
        )
        raise Refusal(400, message)


def _config(state: State, call: Call) -> Content:
    _only(call, "POST")
    call.allow("command", "options")
    run_config(state, call.needed("command"), options=call.body.get("options"))
    return {"kind": f"tm:sys:config:{call.body['command']}state", **call.body}


def run_config(state: State, command: str, *, options: Any = None) -> None:
    """Save the configuration, or load what was saved. Raises Refusal."""
    if options and not state.settings.unconfirmed.save_takes_partitions:
        raise Refusal(400, "invalid options")
    match command:
        case "save":
            if text := state.faults.take("save_fails"):
                said = "Error: failed to save the configuration" if text == "any" else text
                raise Refusal(400, f"01070734:3: {said}")
            state.configuration.save()
        case "load":
            state.configuration.load()
        case _:
            raise Refusal(400, f'invalid command "{command}"')


def _service(state: State, call: Call) -> Content:
    _only(call, "POST")
    call.allow("command", "name")
    run_service(state, call.needed("command"), call.needed("name"))
    return {"kind": f"tm:sys:service:{call.body['command']}state", **call.body}


def run_service(state: State, command: str, name: str) -> None:
    """Restart, start or stop httpd, the only service there is. Raises Refusal."""
    if name != "httpd":
        raise Refusal(400, f"01070734:3: Configuration error: no such service ({name})")
    match command:
        case "restart" | "start":
            state.restart_httpd()
        case "stop":
            state.stop_httpd()
        case _:
            raise Refusal(400, f'invalid command "{command}"')


def _only(call: Call, method: str) -> None:
    if call.method != method:
        raise Refusal(405, f"Method {call.method} is not allowed")


_ANSWERS: Mapping[str, Callable[[State, Call], Content]] = {
    "sys": _overview,
    "sys/config": _config,
    "sys/global-settings": _global_settings,
    "sys/hardware": _hardware,
    "sys/httpd": _httpd,
    "sys/service": _service,
    "sys/version": _version,
}
