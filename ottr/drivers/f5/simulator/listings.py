# SPDX-License-Identifier: Apache-2.0
"""What ``tmsh list`` prints."""

from __future__ import annotations

import re

from ottr.drivers.f5.simulator.answers import COMMON, Refusal, absent, full_path, name_of
from ottr.drivers.f5.simulator.configuration import CERTIFICATE, CLIENT_SSL, HTTPD, KEY, LABELS, VIRTUAL, Object
from ottr.drivers.f5.simulator.disk import CSR_FOLDER
from ottr.drivers.f5.simulator.showing import show
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.store import cache_path
from ottr.drivers.f5.simulator.system import HTTPD_PATH


def list_component(state: State, component: str, arguments: list[str]) -> str:
    """The listing of some objects, or of all. Raises Refusal."""
    names = [word for word in arguments if word not in ("all-properties", "-hidden")]
    if component == "sys crypto csr":
        return "".join(_list_csr(state, name) for name in names or state.disk.names(CSR_FOLDER))
    if component == "sys httpd":
        found = state.configuration.get(HTTPD, HTTPD_PATH)
        pairs = {"ssl-certfile": found["sslCertfile"], "ssl-certkeyfile": found["sslCertkeyfile"]}
        pairs["ssl-certchainfile"] = found.get("sslCertchainfile", "none")
        wanted = {name: value for name, value in pairs.items() if not names or name in names}
        return _render("sys httpd", wanted)
    collection = component.replace(" ", "/").replace("sys/crypto/cert", CERTIFICATE).replace("sys/crypto/key", KEY)
    if collection not in LABELS:
        raise Refusal(400, f'Syntax Error: unexpected argument "{component}"')
    paths = [full_path(name) for name in names] or sorted(state.configuration.of(collection))
    hidden = "-hidden" in arguments
    return "".join(_list_object(state, component, collection, path, hidden=hidden) for path in paths)


def _list_object(state: State, component: str, collection: str, path: str, *, hidden: bool) -> str:
    found = state.configuration.get(collection, path)
    shown = show(state, collection, path, found)
    pairs: Object = {_kebab(name): value for name, value in shown.items() if isinstance(value, str | int | bool)}
    for name in ("kind", "name", "partition", "full-path", "generation", "self-link"):
        pairs.pop(name, None)
    if hidden and collection in (CERTIFICATE, KEY):
        pairs["cache-path"] = cache_path(collection, path, found)
    if collection == CLIENT_SSL:
        entries = {entry["name"]: {n: entry[n] for n in ("cert", "chain", "key")} for entry in found["certKeyChain"]}
        pairs["cert-key-chain"] = entries
    if collection == VIRTUAL:
        pairs["profiles"] = {name_of(name): {"context": context} for name, context in found["_profiles"].items()}
    return _render(f"{component} {path.removeprefix(f'/{COMMON}/')}", pairs)


def _kebab(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: f"-{found[1].lower()}", name)


def _render(head: str, pairs: Object, indent: str = "") -> str:
    lines = [f"{indent}{head} {{"]
    for name, value in sorted(pairs.items()):
        if isinstance(value, dict):
            lines.append(_render(name, value, f"{indent}    ").rstrip("\n"))
        else:
            text = str(value)
            lines.append(f"{indent}    {name} " + (f'"{text}"' if " " in text or not text else text))
    return "\n".join([*lines, f"{indent}}}"]) + "\n"


def _list_csr(state: State, name: str) -> str:
    text = state.disk.read(f"{CSR_FOLDER}/{name_of(name)}")
    if text is None:
        raise absent("certificate signing request", full_path(name))
    return _render(f"sys crypto csr {name}", {"public-key-type": "as its key"}) + text.decode()
