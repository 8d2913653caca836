# SPDX-License-Identifier: Apache-2.0
"""``type=op``: the operational commands."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from xml.sax.saxutils import escape

from ottr.drivers.panos.simulator.accounts import Session
from ottr.drivers.panos.simulator.answers import (
    Element,
    MalformedXml,
    Refusal,
    lines,
    parse_xml,
    result,
    success,
)
from ottr.drivers.panos.simulator.certificates import build_entry, parse_order
from ottr.drivers.panos.simulator.commits import Scope, commit
from ottr.drivers.panos.simulator.editing import needed
from ottr.drivers.panos.simulator.inquiries import (
    Call,
    Operation,
    build_lock_list,
    commit_locks_of,
    config_locks_of,
    list_changes,
    list_changes_of,
    parse_members,
    show_candidate,
    show_clock,
    show_devices,
    show_high_availability,
    show_job,
    show_jobs,
    show_pending,
    show_running,
    show_system_info,
)
from ottr.drivers.panos.simulator.locks import Locks
from ottr.drivers.panos.simulator.places import (
    CERTIFICATE,
    SHARED,
    entry_path,
    locate,
    template_target,
    vsys_place,
)
from ottr.drivers.panos.simulator.schema import check_name
from ottr.drivers.panos.simulator.state import State
from ottr.drivers.panos.simulator.tree import child, ensure, find, step_of
from ottr.simulation.requests import Response


def run(state: State, session: Session, form: Mapping[str, str]) -> Response:
    """Run a command. Raises Refusal."""
    command = parse_command(form)
    found = name_command(command)
    if found is None:
        way = " -> ".join(node.tag for node in _descend(command))
        raise Refusal(17, f"{way} unexpected here", f"{command.tag} is invalid")
    name, node = found
    return OPERATIONS[name](Call(state, session, form, node))


def parse_command(form: Mapping[str, str]) -> Element:
    """Read ``cmd``. Raises Refusal."""
    try:
        return parse_xml(needed(form, "cmd"))
    except MalformedXml as error:
        raise Refusal(18, "Malformed Request", shape="msg") from error


def name_command(command: Element) -> tuple[str, Element] | None:
    """The command's name, and its last element; None for an unknown command."""
    way = list(_descend(command))
    for length in range(len(way), 0, -1):
        name = " ".join(node.tag for node in way[:length])
        if name in OPERATIONS:
            return name, way[length - 1]
    return None


def _descend(node: Element) -> Iterator[Element]:
    yield node
    while len(node) == 1:
        node = node[0]
        yield node


def _generate(call: Call) -> Response:
    state, unconfirmed = call.state, call.state.settings.unconfirmed
    name = call.node.findtext("certificate-name", "")
    order = parse_order(
        call.node,
        takes_block=state.settings.version >= (10, 0) and unconfirmed.generate_takes_block_private_key,
        takes_wildcards=unconfirmed.generate_takes_wildcards,
    )
    check_name(name, state.settings.name_limit, "request -> certificate -> generate")
    state.need_no_config_lock(call.user)
    place = call.session.target or SHARED
    if unconfirmed.generate_honours_location:
        place = locate(state.configuration.candidate, call.form, state.settings.panorama) or place
    with state.configuration.edit(call.user, "GENERATE") as candidate:
        container = ensure(candidate, entry_path(place, CERTIFICATE, name)[:-1])
        entry = build_entry(order, state.keys)
        present = child(container, step_of(entry))
        if present is not None:
            if unconfirmed.regenerate == "refuse":
                raise Refusal(8, f"Certificate {name} already exists")
            container.remove(present)
        container.append(entry)
    text = f"Successfully generated certificate and key pair: {name}"
    if unconfirmed.generate_answer == "result":
        return result(text)
    return success(f"<result><msg>{escape(text)}</msg></result>")


def _set_template(call: Call) -> Response:
    template, vsys = call.node.findtext("name", ""), call.node.findtext("vsys", "")
    if not call.state.settings.panorama:
        raise Refusal(17, "set -> system -> setting -> target -> template unexpected here")
    try:
        call.session.target = template_target(call.state.configuration.candidate, template, vsys)
    except Refusal as refusal:
        raise Refusal(17, f"template '{template}' is not a valid reference") from refusal
    return success("<result/>")


def _set_vsys(call: Call) -> Response:
    name = call.node.text or ""
    place = vsys_place(name)
    if call.state.settings.panorama or find(call.state.configuration.candidate, place) is None:
        raise Refusal(17, f"set -> system -> setting -> target-vsys '{name}' is not a valid reference")
    call.session.target = place
    return success(f"<result>Session target vsys changed to {name}</result>")


def _set_no_target(call: Call) -> Response:
    call.session.target = None
    return success("<result/>")


def _revert(call: Call) -> Response:
    if call.state.accounts.admin(call.user).custom_role:
        raise Refusal(None, "Failed to revert configuration.")
    return _revert_of(call, None)


def _partial_revert(call: Call) -> Response:
    if not call.state.settings.unconfirmed.partial_revert:
        raise Refusal(17, "revert -> config -> partial unexpected here")
    return _revert_of(call, parse_members(call.node))


def _revert_of(call: Call, admins: list[str] | None) -> Response:
    call.state.need_no_config_lock(call.user)
    if call.state.jobs.busy:
        raise Refusal(
            None, "Failed to revert configuration.", "Config for scope shared is currently locked by a commit"
        )
    call.state.configuration.revert(admins)
    return result("All changes were reverted from configuration")


def _load(call: Call) -> Response:
    name = call.node.text or ""
    call.state.need_no_config_lock(call.user)
    if not call.state.configuration.load(name, call.user):
        raise Refusal(None, f"{name} does not exist")
    return success(f"<msg>{lines([f'Config loaded from {name}'])}</msg>")


def _save(call: Call) -> Response:
    name = call.node.text or ""
    call.state.configuration.saved[name] = copy.deepcopy(call.state.configuration.candidate)
    return success(f"<result>Config saved to {escape(name)}</result>")


def _validate(call: Call) -> Response:
    return commit(call.state, call.user, Scope(validate=True))


def _validate_partial(call: Call) -> Response:
    if not call.state.settings.unconfirmed.partial_validate:
        raise Refusal(17, "validate -> partial unexpected here")
    return commit(call.state, call.user, Scope(frozenset(parse_members(call.node)), validate=True))


def _add_lock(locks: Callable[[State], Locks]) -> Operation:
    def add(call: Call) -> Response:
        text = locks(call.state).add(call.user, call.form.get("vsys") or "shared", call.node.findtext("comment", ""))
        return result(text)

    return add


def _remove_lock(locks: Callable[[State], Locks]) -> Operation:
    def remove(call: Call) -> Response:
        admin = call.node.findtext("admin", "") or call.user
        superuser = not call.state.accounts.admin(call.user).custom_role
        return result(
            locks(call.state).remove(admin if superuser else call.user, call.form.get("vsys") or "shared", superuser)
        )

    return remove


def _sync_high_availability(call: Call) -> Response:
    if call.state.settings.high_availability != "active":
        raise Refusal(None, "Failed to synchronize running configuration with HA peer")
    return result("Synchronizing running configuration")


def _restart(call: Call) -> Response:
    call.state.reboot()
    return success("<result/>")


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "show system info": show_system_info,
        "show clock": show_clock,
        "show jobs id": show_job,
        "show jobs all": show_jobs,
        "show commit-locks": build_lock_list("commit-locks", commit_locks_of),
        "show config-locks": build_lock_list("config-locks", config_locks_of),
        "show config list changes": list_changes,
        "show config list changes partial": list_changes_of,
        "show config running": show_running,
        "show config candidate": show_candidate,
        "show high-availability state": show_high_availability,
        "show devices all": show_devices,
        "show devices connected": show_devices,
        "check pending-changes": show_pending,
        "request certificate generate": _generate,
        "request commit-lock add": _add_lock(commit_locks_of),
        "request commit-lock remove": _remove_lock(commit_locks_of),
        "request config-lock add": _add_lock(config_locks_of),
        "request config-lock remove": _remove_lock(config_locks_of),
        "request high-availability sync-to-remote running-config": _sync_high_availability,
        "request restart system": _restart,
        "set system setting target template": _set_template,
        "set system setting target none": _set_no_target,
        "set system setting target-vsys": _set_vsys,
        "revert config": _revert,
        "revert config partial": _partial_revert,
        "load config from": _load,
        "save config to": _save,
        "validate full": _validate,
        "validate partial": _validate_partial,
    }
)
