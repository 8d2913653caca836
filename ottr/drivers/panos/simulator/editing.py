# SPDX-License-Identifier: Apache-2.0
"""``type=config``: get and show, set, edit, delete, rename, override."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ottr.drivers.panos.simulator.answers import (
    Element,
    MalformedXml,
    Refusal,
    command_succeeded,
    parse_xml,
    success,
    write_xml,
)
from ottr.drivers.panos.simulator.configuration import annotate
from ottr.drivers.panos.simulator.places import CERTIFICATE, PROFILE, referring
from ottr.drivers.panos.simulator.schema import check_name, check_nodes, check_references
from ottr.drivers.panos.simulator.state import State
from ottr.drivers.panos.simulator.tree import (
    Path,
    Step,
    child,
    ensure,
    find,
    find_all,
    merge,
    parse_xpath,
    remove,
    step_of,
    write_arrows,
)
from ottr.simulation.requests import Response

Edit = Callable[[State, Element, Path, Mapping[str, str]], None]


def read(state: State, form: Mapping[str, str], *, running: bool) -> Response:
    """``get`` reads the candidate, ``show`` the running configuration."""
    xpath = needed(form, "xpath")
    names_only = xpath.endswith("/entry/@name")
    path = parse_xpath(xpath.removesuffix("/@name") if names_only else xpath)
    if any(step.having for step in path) and not state.settings.unconfirmed.child_predicates:
        raise Refusal(6, f"xpath {xpath} is invalid")
    root = state.configuration.running if running else state.configuration.candidate
    found = [root] if not path else find_all(root, path)
    if names_only:
        found = [Element("entry", {"name": node.get("name", "")}) for node in found]
    if not found and running:
        raise Refusal(7, "No such node")
    if not found:
        return success("<result/>", code=7)
    shown = found if running or names_only else [annotate(node, path, state.configuration.of(None)) for node in found]
    count = "" if running else f' total-count="{len(found)}" count="{len(found)}"'
    return success(f"<result{count}>{''.join(map(write_xml, shown))}</result>", code=None if running else 19)


def change(state: State, user: str, form: Mapping[str, str]) -> Response:
    """Any action that changes the candidate. Raises Refusal."""
    action = form["action"]
    path = parse_xpath(needed(form, "xpath"))
    if not path or any(step.having for step in path):
        raise Refusal(6, f"xpath {form['xpath']} is invalid")
    state.need_no_config_lock(user)
    before = state.effective(copy.deepcopy(state.configuration.candidate))
    with state.configuration.edit(user, action.upper()) as candidate:
        EDITS[action](state, candidate, path, form)
        check_nodes(candidate, state.settings)
        if action != "delete":
            check_references(before, state.effective(candidate), state.settings)
    return command_succeeded()


def _set(state: State, root: Element, path: Path, form: Mapping[str, str]) -> None:
    if state.settings.unconfirmed.override_needed and find(state.pushed, path) is not None and find(root, path) is None:
        raise Refusal(12, f"{write_arrows(path)} is pushed by Panorama, use override")
    _override(state, root, path, form)


def _override(_state: State, root: Element, path: Path, form: Mapping[str, str]) -> None:
    source = _element(form, wrapped=True)
    merge(ensure(root, _named(path)), source)


def _edit(_state: State, root: Element, path: Path, form: Mapping[str, str]) -> None:
    source = _element(form, wrapped=False)
    if step_of(source) != path[-1] and Step(source.tag, path[-1].name) != path[-1]:
        raise Refusal(12, f"edit failed, may need to override template object {path[-1].tag} first")
    parent = ensure(root, _named(path[:-1]))
    present = child(parent, path[-1])
    if present is not None:
        parent.remove(present)
    parent.append(source)


def _delete(_state: State, root: Element, path: Path, _form: Mapping[str, str]) -> None:
    node = find(root, _named(path))
    if node is None:
        raise Refusal(7, "No such node")
    for target in _objects(node, path):
        users = [r for r in referring(root, target) if r.leaf[: len(path)] != path]
        if users:
            said = f" {target[-1].name} cannot be deleted because of references from:"
            raise Refusal(10, said, *(f" {reference.shown}" for reference in users))
    remove(root, path)


def _objects(node: Element, path: Path) -> list[Path]:
    if path[-1].tag == "entry" and len(path) > 1 and path[-2].tag in (CERTIFICATE, PROFILE):
        return [path]
    if path[-1].tag in (CERTIFICATE, PROFILE):
        return [(*path, step_of(inner)) for inner in node if inner.tag == "entry"]
    return []


def _rename(state: State, root: Element, path: Path, form: Mapping[str, str]) -> None:
    node, name = find(root, _named(path)), needed(form, "newname")
    if node is None:
        raise Refusal(7, "No such node")
    if find(root, (*path[:-1], Step("entry", name))) is not None:
        raise Refusal(8, f"{name} already exists")
    if len(path) > 1 and path[-2].tag == CERTIFICATE:
        check_name(name, state.settings.name_limit, "rename")
    for reference in referring(root, path):
        leaf = find(root, reference.leaf)
        if leaf is not None:
            leaf.text = name
    node.set("name", name)


EDITS: Mapping[str, Edit] = MappingProxyType(
    {"set": _set, "override": _override, "edit": _edit, "delete": _delete, "rename": _rename}
)


def _named(path: Path) -> Path:
    for step in path:
        if step.tag == "entry" and not step.name:
            raise Refusal(6, "xpath is invalid: entry without a name")
    return path


def _element(form: Mapping[str, str], *, wrapped: bool) -> Element:
    text = needed(form, "element")
    try:
        return parse_xml(f"<element>{text}</element>" if wrapped else text)
    except MalformedXml as error:
        raise Refusal(18, "Malformed Request", shape="msg") from error


def needed(form: Mapping[str, str], name: str) -> str:
    """A parameter that must be there. Raises Refusal (code 400)."""
    if not form.get(name):
        raise Refusal(400, f'Missing value for parameter "{name}".', shape="spaced")
    return form[name]
