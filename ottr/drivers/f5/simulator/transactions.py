# SPDX-License-Identifier: Apache-2.0
"""``tm/transaction``: commands that are kept until the commit, and then all count or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal
from ottr.drivers.f5.simulator.calls import TRANSACTION, Call
from ottr.drivers.f5.simulator.state import State, Transaction

HEADER = "x-f5-rest-coordination-id"
Content = dict[str, Any]
Do = Callable[[State, Call], Any]


def answer_transaction(state: State, call: Call, do: Do) -> Content:
    """Open, show, commit or delete a transaction. ``do`` carries out a command. Raises Refusal."""
    forget_idle(state)
    if not call.rest:
        return _collection(state, call)
    transaction = _find(state, call.rest[0])
    if call.rest[1:]:
        return _commands(state, call, transaction)
    match call.method:
        case "GET":
            return _show(state, transaction)
        case "PATCH":
            return _commit(state, call, transaction, do)
        case "DELETE":
            del state.transactions[transaction.id]
            return {}
        case _:
            raise Refusal(405, f"Method {call.method} is not allowed")


def enqueue(state: State, call: Call, path: str) -> Content:
    """Keep a command for the commit; what is answered is the command. Raises Refusal."""
    forget_idle(state)
    transaction = _find(state, call.headers[HEADER])
    transaction.touched = state.clock()
    transaction.calls.append(call)
    number = len(transaction.calls)
    command = {
        "method": call.method,
        "uri": f"https://localhost{path}",
        "body": dict(call.body),
        "evalOrder": number,
        "commandId": number,
        "kind": "tm:transaction:commandsstate",
        "selfLink": state.link(f"{TRANSACTION}/{transaction.id}/commands/{number}"),
    }
    transaction.bodies.append(command)
    return command


def forget_idle(state: State) -> None:
    """Drop transactions that nobody has touched for too long."""
    limit_s = state.settings.unconfirmed.transaction_timeout_s
    now = state.clock()
    for number in [number for number, found in state.transactions.items() if now - found.touched > limit_s]:
        del state.transactions[number]


def _find(state: State, number: str) -> Transaction:
    found = state.transactions.get(int(number)) if number.isdigit() else None
    if found is None:
        raise Refusal(404, f"The requested transaction ({number}) was not found.")
    return found


def _collection(state: State, call: Call) -> Content:
    if call.method == "GET":
        items = [_show(state, found) for found in state.transactions.values()]
        head = {"kind": "tm:transactioncollectionstate", "selfLink": state.link(TRANSACTION)}
        return {**head, **({"items": items} if items else {})}
    if call.method != "POST":
        raise Refusal(405, f"Method {call.method} is not allowed")
    call.allow("timeoutSeconds", "validateOnly", "asyncExecution")
    number = state.next_number()
    state.transactions[number] = Transaction(number, call.user, state.clock())
    return _show(state, state.transactions[number])


def _show(state: State, transaction: Transaction, status: str = "STARTED") -> Content:
    return {
        "transId": transaction.id,
        "state": status,
        "timeoutSeconds": state.settings.unconfirmed.transaction_timeout_s,
        "asyncExecution": False,
        "validateOnly": False,
        "executionTimeout": 300,
        "executionTime": 0,
        "failureReason": "",
        "kind": "tm:transactionstate",
        "selfLink": state.link(f"{TRANSACTION}/{transaction.id}"),
    }


def _commands(state: State, call: Call, transaction: Transaction) -> Content:
    if call.method != "GET" or call.rest[1] != "commands":
        raise Refusal(404, f"Public URI path not registered: /mgmt/{TRANSACTION}/{'/'.join(call.rest)}")
    link = state.link(f"{TRANSACTION}/{transaction.id}/commands")
    head = {"kind": "tm:transaction:commandscollectionstate", "selfLink": link}
    return {**head, **({"items": transaction.bodies} if transaction.bodies else {})}


def _commit(state: State, call: Call, transaction: Transaction, do: Do) -> Content:
    call.allow("state", "validateOnly", "transId")
    if call.body.get("state") != "VALIDATING":
        raise Refusal(400, f'invalid property value "state":"{call.body.get("state")}"')
    if refused := state.faults.take("transaction_refused"):
        del state.transactions[transaction.id]
        text = "01070734:3: Configuration error: another transaction is in progress." if refused == "any" else refused
        raise _failed(state, Refusal(400, text))
    if call.body.get("validateOnly") is True:
        _carry_out(state, transaction, do, keep=False)
        return {**_show(state, transaction, "VALIDATED"), "validateOnly": True}
    del state.transactions[transaction.id]
    _carry_out(state, transaction, do, keep=True)
    return _show(state, transaction, "COMPLETED")


def _carry_out(state: State, transaction: Transaction, do: Do, *, keep: bool) -> None:
    try:
        with state.configuration.edit(keep=keep):
            for command in transaction.calls:
                do(state, command)
    except Refusal as refusal:
        raise _failed(state, refusal) from refusal


def _failed(state: State, refusal: Refusal) -> Refusal:
    prefix = "transaction failed:" if state.settings.unconfirmed.transaction_prefix else ""
    return Refusal(400 if refusal.status == 409 else refusal.status, f"{prefix}{refusal.message}")
