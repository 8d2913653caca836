# SPDX-License-Identifier: Apache-2.0
"""iControl REST: who may do what, and which part of the device does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal, answer, page, refused
from ottr.drivers.f5.simulator.calls import LOGIN, SECRETS, TOKENS, TRANSACTION, Call, parse_call
from ottr.drivers.f5.simulator.cluster import answer_cluster
from ottr.drivers.f5.simulator.configuration import CLIENT_SSL, KEY
from ottr.drivers.f5.simulator.crypto import answer_crypto
from ottr.drivers.f5.simulator.objects import OBJECTS, answer_objects
from ottr.drivers.f5.simulator.showing import kind
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.store import cache_path
from ottr.drivers.f5.simulator.system import answer_system
from ottr.drivers.f5.simulator.transactions import HEADER, answer_transaction, enqueue
from ottr.drivers.f5.simulator.transfer import answer_transfer
from ottr.drivers.f5.simulator.utilities import answer_task, answer_utility
from ottr.simulation.requests import MASK, DropConnection, Request, Response

_UNAUTHORIZED = page(401, "401 F5 Authorization Required", {"WWW-Authenticate": "Basic realm='Enterprise Manager'"})
_CERTIFICATE_MANAGER = ("tm/sys/crypto", "tm/sys/file", "tm/ltm/profile/client-ssl", TRANSACTION)
_SELF = (TOKENS, "shared/echo-query")


class Api:
    """Answers the requests of one device."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self, request: Request) -> tuple[str, Mapping[str, str]]:
        """The operation, ``POST tm/sys/crypto/key``, and the body's fields."""
        try:
            call = parse_call(request)
        except Refusal:
            return "unknown", {}
        return call.operation, {name: _shown(name, value) for name, value in call.body.items()}

    def answer(self, request: Request, operation: str) -> Response:
        """Do what a request asks for."""
        state = self._state
        with state.lock:
            if state.not_ready > 0 or state.faults.take("restarting_page", operation):
                state.not_ready = max(0, state.not_ready - 1)
                return page(state.settings.unconfirmed.restarting_status, "Configuration Utility restarting...")
        try:
            response = self._answer(request, operation)
        except Refusal as refusal:
            response = refused(refusal)
        state.note_key(operation, response.body)
        if state.faults.take("reboot_after", operation):
            state.reboot()
            raise DropConnection
        return response

    def _answer(self, request: Request, operation: str) -> Response:
        state = self._state
        with state.lock:
            self._interfere(operation)
            call = parse_call(request)
            if call.area == LOGIN:
                return self._log_in(call)
            user = self._authenticate(request)
            if user is None:
                return _UNAUTHORIZED
            call = replace(call, user=user)
            self._authorize(call)
            if not _waits(call):
                return self._act(request, call)
        return _packed(do(state, call))

    def _act(self, request: Request, call: Call) -> Response:
        state = self._state
        if call.area == TOKENS:
            return answer(_answer_tokens(state, call))
        if call.area == "shared/echo-query":
            return answer({"stage": "STARTED", "kind": "shared:echo-query"})
        if call.area == TRANSACTION:
            return answer(answer_transaction(state, call, do))
        if call.area.startswith("tm/") and call.method != "GET" and call.headers.get(HEADER):
            return answer(enqueue(state, call, request.path))
        return _packed(do(state, call))

    def _log_in(self, call: Call) -> Response:
        if call.method != "POST" or call.rest:
            raise Refusal(405, f"Method {call.method} is not allowed")
        return answer(self._state.accounts.log_in(call.body))

    def _authenticate(self, request: Request) -> str | None:
        if token := request.headers.get("x-f5-auth-token", ""):
            return self._state.accounts.check_token(token)
        basic = request.headers.get("authorization", "")
        return self._state.accounts.check_basic(basic) if basic.startswith("Basic ") else None

    def _authorize(self, call: Call) -> None:
        role = self._state.accounts.user(call.user).role
        if role == "admin" or call.method == "GET" or call.area in _SELF:
            return
        if role == "resource-admin" and not call.area.startswith(("tm/util", "tm/task/util", "shared/file-transfer")):
            return
        if role == "certificate-manager" and call.area.startswith(_CERTIFICATE_MANAGER):
            return
        uploads = not self._state.settings.unconfirmed.upload_needs_admin
        if role == "certificate-manager" and uploads and call.area.startswith("shared/file-transfer"):
            return
        link = f"https://localhost/mgmt/shared/authz/users/{call.user}"
        message = f"Authorization failed: user={link} resource=/mgmt/{call.area} verb={call.method}"
        status = self._state.settings.unconfirmed.unauthorized_status
        raise Refusal(status, message, referer="127.0.0.1", kind=":resterrorresponse")

    def _interfere(self, operation: str) -> None:
        """Let happen what others do, or what the device does by itself, before an operation."""
        state, faults = self._state, self._state.faults
        if faults.take("reboot_before", operation):
            state.reboot()
            raise DropConnection
        if faults.take("token_expires", operation):
            state.accounts.expire_tokens()
        if faults.take("transaction_lost", operation):
            state.transactions.clear()
        if faults.take("foreign_change", operation):
            foreign_change(state)
        if faults.take("foreign_sync_change", operation):
            for peer in state.peers:
                foreign_change(peer)
        if faults.take("busy", operation):
            raise Refusal(503, "There is an active asynchronous task executing.")
        if faults.take("reject", operation):
            raise Refusal(400, f"01070734:3: Configuration error: {operation} is not possible")


def do(state: State, call: Call) -> Any:
    """Carry out what an authorised request asks for. Raises Refusal."""
    area, collection = call.area, call.collection
    if area.startswith("shared/file-transfer"):
        return answer_transfer(state, call)
    if area.startswith("tm/task"):
        return answer_task(state, call)
    if area.startswith("tm/util"):
        return answer_utility(state, call)
    if area.startswith("tm/cm"):
        return answer_cluster(state, call)
    if area.startswith("tm/sys/crypto"):
        return answer_crypto(state, call)
    if area.startswith("tm/adc"):
        return _file_objects(state, call)
    return answer_objects(state, call) if collection in OBJECTS else answer_system(state, call)


def foreign_change(state: State) -> None:
    """Another administrator changes the first profile's description."""
    with state.configuration.edit():
        path, found = next(iter(state.configuration.of(CLIENT_SSL).items()))
        text = f"changed {state.next_number()}"
        state.configuration.put(CLIENT_SSL, path, {**found, "description": text})


def _answer_tokens(state: State, call: Call) -> Any:
    accounts = state.accounts
    if not call.rest:
        if call.method != "GET":
            raise Refusal(405, f"Method {call.method} is not allowed")
        items = [accounts.show(token) for token in accounts.tokens_of(call.user)]
        return {"items": items, "kind": "shared:authz:tokens:authtokencollectionstate"}
    token = accounts.own_token(call.rest[0], call.user)
    match call.method:
        case "GET":
            return accounts.show(token)
        case "PATCH":
            return accounts.show(accounts.extend(token, call.body))
        case "DELETE":
            accounts.delete(token)
            return accounts.show(token)
        case _:
            raise Refusal(405, f"Method {call.method} is not allowed")


def _file_objects(state: State, call: Call) -> Any:
    items = [
        {"name": path, "cachePath": cache_path(KEY, path, found), "size": len(found["_pem"])}
        for path, found in sorted(state.configuration.of(KEY).items())
    ]
    if call.method != "GET" or call.rest:
        raise Refusal(405, f"Method {call.method} is not allowed")
    return {"kind": kind("adc/fileobject/ssl-key", listed=True), "items": items}


def _waits(call: Call) -> bool:
    # The shell talks back to the device, which must not be locked meanwhile.
    return call.area.startswith("tm/util") and not call.headers.get(HEADER)


def _packed(content: Any) -> Response:
    if isinstance(content, Response):
        return content
    return answer(*content) if isinstance(content, tuple) else answer(content)


def _shown(name: str, value: Any) -> str:
    return MASK if name.lower() in SECRETS else str(value)
