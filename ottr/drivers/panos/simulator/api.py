# SPDX-License-Identifier: Apache-2.0
"""The XML API: who may do what, and which part of the device does it."""

from __future__ import annotations

from collections.abc import Mapping

from ottr.drivers.panos.simulator.accounts import Session, invalid_credential
from ottr.drivers.panos.simulator.answers import (
    MalformedXml,
    Refusal,
    parse_xml,
    refused,
    spaced_success,
    success,
)
from ottr.drivers.panos.simulator.commits import commit, commit_now, parse_commit, push
from ottr.drivers.panos.simulator.editing import EDITS, change, needed, read
from ottr.drivers.panos.simulator.files import export_file, import_file
from ottr.drivers.panos.simulator.forms import Form, check_parameters, parse_form
from ottr.drivers.panos.simulator.operations import name_command, parse_command, run
from ottr.drivers.panos.simulator.places import SHARED
from ottr.drivers.panos.simulator.state import State
from ottr.drivers.panos.simulator.tree import Step, ensure
from ottr.simulation.requests import MASK, DropConnection, Request, Response

_PATHS = ("/api", "/api/")
_RIGHT = {"config": "config", "op": "op", "commit": "commit", "export": "export", "import": "import"}


class Api:
    """Answers the requests of one device."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self, request: Request) -> tuple[str, Mapping[str, str]]:
        """The operation: a type, or an action of config, or the words of an operational command."""
        try:
            form = self._parse(request)
            return _name(form.fields), _shown(form)
        except Refusal:
            return "unknown", {}

    def answer(self, request: Request, operation: str) -> Response:
        """Do what a request asks for."""
        if request.path not in _PATHS:
            return Response(404, b"<html>Not Found</html>", "text/html")
        if request.method not in ("GET", "POST"):
            return Response(405, b"", "text/html")
        state = self._state
        with state.lock:
            try:
                self._interfere(operation)
                response = self._dispatch(request, self._parse(request))
            except Refusal as refusal:
                return refused(self._with_status(refusal))
            if state.faults.take("reboot_after", operation):
                state.reboot()
                raise DropConnection
            return response

    def _parse(self, request: Request) -> Form:
        return parse_form(request, match_case=self._state.settings.unconfirmed.parameters_match_case)

    def _with_status(self, refusal: Refusal) -> Refusal:
        if refusal.code == 400:
            refusal.status = self._state.settings.unconfirmed.bad_request_status
        return refusal

    def _interfere(self, operation: str) -> None:
        """Let happen what others do, or what the device does by itself, before an operation."""
        state, faults = self._state, self._state.faults
        if faults.take("reboot_before", operation):
            state.reboot()
            raise DropConnection
        if faults.take("token_expires", operation):
            state.accounts.expire_keys()
        if faults.take("foreign_change", operation):
            foreign_change(state)
        if faults.take("foreign_commit", operation):
            commit_now(state, state.foreigner)
        if faults.take("revert_candidate", operation):
            state.configuration.revert(None)
        if faults.take("reject", operation):
            raise Refusal(14, f"{operation}: operation not possible")

    def _dispatch(self, request: Request, form: Form) -> Response:
        kind = check_parameters(form)
        if form.secrets_in_url and not self._state.settings.key_in_url:
            raise invalid_credential()
        if kind == "keygen":
            return self._keygen(form.fields)
        session = self._authenticate(request, form.fields)
        self._authorize(session, kind)
        if form.fields.get("target"):
            return self._forward(session, kind, form)
        return act(self._state, session, kind, form)

    def _keygen(self, fields: Mapping[str, str]) -> Response:
        key = self._state.accounts.make_key(needed(fields, "user"), needed(fields, "password"))
        return spaced_success(f"<result><key>{key}</key></result>")

    def _authenticate(self, request: Request, fields: Mapping[str, str]) -> Session:
        key, accounts = fields.get("key", ""), self._state.accounts
        if not key and self._state.settings.version >= (9, 0):
            key = request.headers.get("x-pan-key", "")
            basic = request.headers.get("authorization", "")
            if not key and basic.startswith("Basic "):
                return accounts.check_basic(basic)
        return accounts.check(key)

    def _authorize(self, session: Session, kind: str) -> None:
        right = _RIGHT.get(kind)
        if right and right not in self._state.accounts.admin(session.username).rights:
            raise Refusal(16, "Unauthorized request", status=403)

    def _forward(self, session: Session, kind: str, form: Form) -> Response:
        serial = form.fields["target"]
        firewall = self._state.managed.get(serial)
        if firewall is None:
            raise Refusal(400, f'Illegal value for parameter "target" [{serial}].', shape="spaced")
        with firewall.lock:
            return act(firewall, Session(firewall.settings.username, session.ends_at), kind, form)


def act(state: State, session: Session, kind: str, form: Form) -> Response:
    """Do what an authenticated request asks for. Raises Refusal."""
    fields, user = form.fields, session.username
    match kind:
        case "version":
            return _version(state)
        case "config":
            return _config(state, user, fields)
        case "op":
            return run(state, session, fields)
        case "commit":
            return _commit(state, user, fields)
        case "export":
            return export_file(state, fields, session.target)
        case _:
            return import_file(state, user, fields, form.file, session.target)


def _version(state: State) -> Response:
    settings = state.settings
    inside = (
        f"<result><sw-version>{settings.os_version}</sw-version>"
        f"<multi-vsys>{'on' if len(settings.vsys) > 1 else 'off'}</multi-vsys>"
        f"<model>{'Panorama' if settings.panorama else settings.model}</model>"
        f"<serial>{settings.serial}</serial></result>"
    )
    return spaced_success(inside) if settings.unconfirmed.version_quotes == "spaced" else success(inside)


def _config(state: State, user: str, fields: Mapping[str, str]) -> Response:
    action = needed(fields, "action")
    if action in ("get", "show"):
        return read(state, fields, running=action == "show")
    if action in EDITS:
        return change(state, user, fields)
    raise Refusal(400, f'Illegal value for parameter "action" [{action}].', shape="spaced")


def _commit(state: State, user: str, fields: Mapping[str, str]) -> Response:
    action = fields.get("action", "")
    if action not in ("", "partial", "all"):
        raise Refusal(400, f'Illegal value for parameter "action" [{action}].', shape="spaced")
    try:
        command = parse_xml(needed(fields, "cmd"))
    except MalformedXml as error:
        raise Refusal(18, "Malformed Request", shape="msg") from error
    if (command.tag == "commit-all") != (action == "all"):
        raise Refusal(17, f"{command.tag} unexpected here", f"{command.tag} is invalid")
    return push(state, user, command) if action == "all" else commit(state, user, parse_commit(command))


def foreign_change(state: State, user: str = "") -> None:
    """Another administrator adds an address object and does not commit it."""
    user = user or state.foreigner
    with state.configuration.edit(user, "SET") as candidate:
        number = sum(1 for _ in candidate.iter("ip-netmask")) + 1
        entry = ensure(candidate, (*SHARED, Step("address"), Step("entry", f"{user}-{number}")))
        ensure(entry, (Step("ip-netmask"),)).text = f"192.0.2.{number}"


def _name(fields: Mapping[str, str]) -> str:
    kind = fields.get("type", "unknown")
    if kind == "config":
        return fields.get("action", "config")
    if kind == "commit" and fields.get("action") == "all":
        return "commit-all"
    if kind != "op":
        return kind
    found = name_command(parse_command(fields))
    return found[0] if found else "op"


def _shown(form: Form) -> Mapping[str, str]:
    return {**form.fields, "file": MASK} if form.file is not None else form.fields
