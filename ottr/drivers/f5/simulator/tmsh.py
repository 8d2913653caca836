# SPDX-License-Identifier: Apache-2.0
"""tmsh: the commands a rotation needs, each carried out as the same REST request would be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ottr.drivers.f5.simulator.answers import COMMON, Refusal, full_path, to_url
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.cluster import run_sync, sync_status
from ottr.drivers.f5.simulator.crypto import answer_crypto
from ottr.drivers.f5.simulator.listings import list_component
from ottr.drivers.f5.simulator.objects import answer_objects
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.system import change_httpd, run_config, run_service

Told = dict[str, Any]
_TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[{}]|[^\s{}"']+)""")
_COMPONENTS = (
    "sys crypto key",
    "sys crypto cert",
    "sys crypto csr",
    "sys file ssl-key",
    "sys file ssl-cert",
    "ltm profile client-ssl",
    "ltm virtual",
    "sys httpd",
    "sys config",
    "sys service",
    "sys version",
    "sys failover",
    "cm sync-status",
    "cm config-sync",
    "cm failover-status",
    "cli preference",
    "util bash",
)
_USER = "root"


def prompt(state: State) -> str:
    """``root@(bigip1)(cfg-sync Standalone)(Active)(/Common)(tmos)# ``."""
    host = state.settings.hostname.partition(".")[0]
    unit = "Active" if state.active else "Standby"
    return f"root@({host})(cfg-sync {sync_status(state)[1]})({unit})(/{COMMON})(tmos)# "


def run_tmsh(state: State, line: str) -> Told:
    """Carry out one line. Raises Refusal."""
    words = list(_split(line))
    if not words:
        return {}
    verb, *rest = words
    command = _VERBS.get(verb)
    if command is None:
        raise _syntax(verb)
    component, arguments = _component(rest)
    return command(state, component, arguments)


def _split(line: str) -> Iterator[str]:
    position, line = 0, line.strip()
    while position < len(line):
        found = _TOKEN.match(line, position)
        if not found:
            raise _syntax(line[position:].split()[0])
        position = found.end()
        word = found[1]
        if word[0] == '"':
            word = re.sub(r"\\(.)", r"\1", word[1:-1])
        elif word[0] == "'":
            word = word[1:-1]
        yield word


def _component(words: list[str]) -> tuple[str, list[str]]:
    plain = [word.lstrip("/") if number < 2 else word for number, word in enumerate(words)]
    for length in (3, 2):
        if (name := " ".join(plain[:length])) in _COMPONENTS:
            return name, words[length:]
    raise _syntax(words[0] if words else "")


def _syntax(word: str) -> Refusal:
    return Refusal(400, f'Syntax Error: unexpected argument "{word}"')


def _create(state: State, component: str, arguments: list[str]) -> Told:
    if not component.startswith("sys crypto") or not arguments:
        raise _syntax(component)
    name, *rest = arguments
    body = {"name": name, **_properties(rest)}
    answer_crypto(state, _call("POST", component, (), body))
    return {}


def _install(state: State, component: str, arguments: list[str]) -> Told:
    if component not in ("sys crypto cert", "sys crypto key") or not arguments:
        raise _syntax(component)
    name, *rest = arguments
    answer_crypto(state, _call("POST", component, (), {"command": "install", "name": name, **_properties(rest)}))
    return {}


def _delete(state: State, component: str, arguments: list[str]) -> Told:
    if len(arguments) != 1:
        raise _syntax(component)
    call = _call("DELETE", component, (to_url(full_path(arguments[0])),), {})
    (answer_crypto if component.startswith("sys crypto") else answer_objects)(state, call)
    return {}


def _modify(state: State, component: str, arguments: list[str]) -> Told:
    if component == "cli preference":
        return {}
    if component == "sys httpd":
        names = {"ssl-certfile": "sslCertfile", "ssl-certkeyfile": "sslCertkeyfile"}
        names["ssl-certchainfile"] = "sslCertchainfile"
        change_httpd(state, {names.get(name, name): value for name, value in _properties(arguments).items()})
        return {}
    if component != "ltm profile client-ssl" or not arguments:
        raise _syntax(component)
    name, *rest = arguments
    body = _properties(rest)
    if "cert-key-chain" in body:
        chains = body.pop("cert-key-chain")
        if "replace-all-with" not in chains:
            raise _syntax("cert-key-chain")
        body["certKeyChain"] = [{"name": entry, **inside} for entry, inside in chains["replace-all-with"].items()]
    answer_objects(state, _call("PATCH", component, (to_url(full_path(name)),), body))
    return {}


def _call(method: str, component: str, rest: tuple[str, ...], body: dict[str, Any]) -> Call:
    return Call(method, f"tm/{component.replace(' ', '/')}", rest, body, {}, _USER)


def _properties(words: list[str]) -> dict[str, Any]:
    """``a b c { d e }`` as ``{a: b, c: {d: e}}``. Raises Refusal."""
    position, found = _block(words, 0, closed=False)
    if position != len(words):
        raise _syntax(words[position])
    return found


def _block(words: list[str], position: int, *, closed: bool) -> tuple[int, dict[str, Any]]:
    found: dict[str, Any] = {}
    while position < len(words):
        name = words[position]
        if name == "}" and closed:
            return position + 1, found
        if name in "{}" or position + 1 >= len(words):
            raise _syntax(name)
        position += 1
        if words[position] == "{" or (name == "cert-key-chain" and words[position] == "replace-all-with"):
            inner = words[position] != "{"
            if inner:
                position += 1
            if words[position : position + 1] != ["{"]:
                raise _syntax(name)
            position, value = _block(words, position + 1, closed=True)
            found[name] = {"replace-all-with": value} if inner else value
        else:
            found[name] = words[position]
            position += 1
    if closed:
        raise _syntax("{")
    return position, found


def _show(state: State, component: str, _arguments: list[str]) -> Told:
    match component:
        case "sys version":
            lines: tuple[str, ...] = (
                "Sys::Version",
                "Main Package",
                "  Product     BIG-IP",
                f"  Version     {state.settings.os_version}",
            )
        case "sys failover" | "cm failover-status":
            lines = (f"Failover {'active' if state.active else 'standby'} for 0d 00:10:00",)
        case "cm sync-status":
            color, status, summary = sync_status(state)
            lines = ("CM::Sync Status", f"Color    {color}", f"Status   {status}", f"Summary  {summary}")
        case _:
            raise _syntax(component)
    return {"out": "".join(f"{line}\n" for line in lines)}


def _run(state: State, component: str, arguments: list[str]) -> Told:
    if component == "cm config-sync":
        run_sync(state, f"config-sync {' '.join(arguments)}")
        return {}
    if component == "util bash" and len(arguments) == 2 and arguments[0] == "-c":
        return {"bash": arguments[1]}
    raise _syntax(component)


def _config(command: str) -> Callable[[State, str, list[str]], Told]:
    def run(state: State, component: str, _arguments: list[str]) -> Told:
        if component != "sys config":
            raise _syntax(component)
        run_config(state, command)
        return {"out": "Saving running configuration...\n" if command == "save" else "Loading configuration...\n"}

    return run


def _service(command: str) -> Callable[[State, str, list[str]], Told]:
    def run(state: State, component: str, arguments: list[str]) -> Told:
        if component != "sys service" or len(arguments) != 1:
            raise _syntax(component)
        run_service(state, command, arguments[0])
        return {}

    return run


_VERBS: dict[str, Callable[[State, str, list[str]], Told]] = {
    "create": _create,
    "delete": _delete,
    "install": _install,
    "list": lambda state, component, words: {"out": list_component(state, component, words)},
    "load": _config("load"),
    "modify": _modify,
    "restart": _service("restart"),
    "run": _run,
    "save": _config("save"),
    "show": _show,
    "start": _service("start"),
    "stop": _service("stop"),
}
