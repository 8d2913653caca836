# SPDX-License-Identifier: Apache-2.0
"""Authorizations (RFC 8555 section 7.5): proving by dns-01 that the names are ours."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import josepy
from acme import challenges
from josepy import b64

from ottr.acme import OrderLog
from ottr.acme.network import parse_json
from ottr.acme.problem import build_error, code_of, decode_problem, describe, hint_for
from ottr.acme.session import POLL_FIRST_S, Session
from ottr.dns import Publisher
from ottr.errors import AcmeProblem, ChallengeFailed, IssuanceError
from ottr.model import TxtRecord

logger = logging.getLogger(__name__)

_UNSETTLED = frozenset({"pending", "processing"})
_NOT_ABOUT_THE_NAME = ("rateLimited", "serverInternal")


@dataclass(frozen=True, slots=True)
class _Proof:
    """What is still to be proved, and how."""

    identifier: str
    authorization_url: str
    challenge_url: str
    answered: bool
    """By an earlier run, or by another order that shares the authorization."""
    record: TxtRecord


def authorize(session: Session, urls: Sequence[str], publisher: Publisher, log: OrderLog) -> None:
    """Bring every authorization of an order to ``valid``. Raises IssuanceError.

    All records are published, then all are waited for, then all challenges are answered, so that the waits overlap.
    No record stays, whatever happens.
    """
    found = [_prepare(session, url, publisher) for url in urls]
    proofs = [proof for proof in found if proof is not None]
    if not proofs:
        return
    with ExitStack() as records:
        for proof in proofs:
            log.presenting(proof.record)
            records.callback(_withdraw, proof.record, publisher, log)
            publisher.present(proof.record)
        for proof in proofs:
            publisher.wait(proof.record)
        for proof in proofs:
            _answer(session, proof)
        session.patience.pause(POLL_FIRST_S, "the challenges were answered")
        for proof in proofs:
            _await_valid(session, proof)


def _prepare(session: Session, url: str, publisher: Publisher) -> _Proof | None:
    """Read an authorization; None when there is nothing left to prove."""
    jobj = _fetch(session, url)
    if jobj.get("status") == "valid":
        return None
    identifier = _identifier(jobj)
    if jobj.get("status") not in _UNSETTLED:
        raise _failed(session, identifier, jobj)
    challenge = _find_dns01(jobj, identifier)
    authorized = f"{_decode_dns01(challenge, identifier).encode('token')}.{session.signer.thumbprint}"  # section 8.1
    value = b64.b64encode(hashlib.sha256(authorized.encode()).digest()).decode()  # section 8.4
    return _Proof(
        identifier=identifier,
        authorization_url=url,
        challenge_url=str(challenge.get("url")),
        answered=challenge.get("status") != "pending",
        record=TxtRecord(publisher.locate(identifier.removeprefix("*.")), value),
    )


def _answer(session: Session, proof: _Proof) -> None:
    """Ask the CA to look (RFC 8555 section 7.5.1)."""
    if proof.answered:
        return
    try:
        session.post(proof.challenge_url, b"{}")
    except AcmeProblem:
        jobj = _fetch(session, proof.authorization_url)
        if _find_dns01(jobj, proof.identifier).get("status") == "pending":
            raise
        # another order shares this authorization and answered in between: its outcome is ours


def _await_valid(session: Session, proof: _Proof) -> None:
    jobj = session.poll(proof.authorization_url, _UNSETTLED, f"the authorization of {proof.identifier}")
    if jobj.get("status") != "valid":
        raise _failed(session, proof.identifier, jobj, f"; its TXT record was at {proof.record.name}")


def _withdraw(record: TxtRecord, publisher: Publisher, log: OrderLog) -> None:
    """Remove a record; a failure is told, but neither fails a good order nor hides why a bad one failed."""
    try:
        publisher.cleanup(record)
    except IssuanceError as error:
        logger.warning("the TXT record at %s stays until the next run removes it: %s", record.name, error)
        return
    log.removed(record)


def _fetch(session: Session, url: str) -> dict[str, Any]:
    return parse_json(session.fetch(url), f"the authorization {url}")


def _identifier(jobj: dict[str, Any]) -> str:
    """Return the name as it was ordered: the CA gives a wildcard without its asterisk (RFC 8555 section 7.1.4)."""
    identifier = jobj.get("identifier")
    if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
        raise AcmeProblem("the CA sent an authorization without identifier")
    return ("*." if jobj.get("wildcard") is True else "") + str(identifier["value"])


def _find_dns01(jobj: dict[str, Any], identifier: str) -> dict[str, Any]:
    """Return the dns-01 challenge; kinds nobody here knows are no reason to stumble."""
    offered = [entry for entry in jobj.get("challenges", ()) if isinstance(entry, dict)]
    for challenge in offered:
        if challenge.get("type") == "dns-01":
            return challenge
    kinds = ", ".join(sorted(str(challenge.get("type")) for challenge in offered)) or "nothing"
    raise ChallengeFailed(
        f"{identifier}: the CA offers no dns-01 challenge, but {kinds}", hint="choose an issuer that validates by DNS"
    )


def _decode_dns01(challenge: dict[str, Any], identifier: str) -> challenges.DNS01:
    try:
        return challenges.DNS01.from_json(challenge)
    except josepy.errors.DeserializationError as error:
        raise AcmeProblem(f"{identifier}: the CA sent a dns-01 challenge without a usable token") from error


def _failed(session: Session, identifier: str, jobj: dict[str, Any], where: str = "") -> IssuanceError:
    """Say why an authorization is not valid and will not be."""
    errors = [entry["error"] for entry in jobj.get("challenges", ()) if isinstance(entry, dict) and entry.get("error")]
    if not errors:
        return ChallengeFailed(
            f"{identifier}: the authorization is {jobj.get('status')}", hint="the next run orders anew"
        )
    problem = decode_problem(errors[0])
    code = code_of(str(problem.typ))
    if code in _NOT_ABOUT_THE_NAME:
        return build_error(problem, what=identifier, status=0, now=session.patience.clock())
    return ChallengeFailed(f"{identifier}: {describe(problem)}{where}", hint=hint_for(code))
