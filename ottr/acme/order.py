# SPDX-License-Identifier: Apache-2.0
"""Orders (RFC 8555 section 7.4): placing, finding again, finalizing."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import Any

from josepy import b64

from ottr.acme.network import parse_json
from ottr.acme.problem import build_error, build_own, code_of, decode_problem
from ottr.acme.session import Session
from ottr.errors import AcmeProblem, IssuanceError
from ottr.transports.http import HttpResponse

logger = logging.getLogger(__name__)

FIRST_LOOK_S = 0.05
"""Before a finalized order is looked at: Pebble up to 2.10 can stop for good when that happens at once (issue 554)."""

_PENDING = frozenset({"pending"})
_UNSETTLED = frozenset({"pending", "ready", "processing"})
_LIVE = _UNSETTLED | {"valid"}
_UNKNOWN_ORDER = (403, 404, 410)
_REPLACES_CODES = ("alreadyReplaced", "malformed")
_PROFILE_CODES = ("invalidProfile", "malformed")


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the CA described it last."""

    url: str
    status: str
    authorizations: tuple[str, ...]
    finalize_url: str
    certificate_url: str
    error: Any


@dataclass(frozen=True, slots=True)
class Wish:
    """What an order is placed for."""

    dns_names: tuple[str, ...]
    profile: str = ""
    """draft-ietf-acme-profiles; empty: the CA's default."""
    profile_required: bool = False
    """Otherwise a CA that does not have the profile is asked without it."""
    replaces: str = ""
    """Identifier of the certificate this one follows (RFC 9773 section 4.1)."""


def create_order(session: Session, wish: Wish) -> Order:
    """Place an order, without what the CA does not take if that was only preferred. Raises IssuanceError."""
    wish = _offered(session, wish)
    while True:
        try:
            response = session.post(session.directory.new_order, _encode(wish), repeatable=True)
        except AcmeProblem as problem:
            less = _give_way(wish, problem)
            if less is None:
                raise
            wish = less
        else:
            return parse_order(response, response.headers.get("Location", ""))


def find_order(session: Session, url: str) -> Order | None:
    """Look for an order of an earlier run; None when the CA has it no more, or it can come to nothing.

    Raises IssuanceError.
    """
    try:
        order = parse_order(session.fetch(url), url)
    except AcmeProblem as problem:
        if problem.status not in _UNKNOWN_ORDER:
            raise
        logger.info("order %s is gone: %s", url, problem)
        return None
    return order if order.status in _LIVE else None


def finalize_order(session: Session, order: Order, csr_der: bytes) -> tuple[Order, bool]:
    """Send the CSR and wait; return the valid order and whether our CSR made it so. Raises IssuanceError."""
    payload = json.dumps({"csr": b64.b64encode(csr_der).decode()}).encode()
    try:
        response = session.post(order.finalize_url, payload)
    except AcmeProblem as problem:
        if code_of(problem.type) != "orderNotReady":
            raise
        # the CA is slower than its authorizations, or handed the same order to somebody else who was faster
        order = _poll(session, order, _PENDING)
        if order.status != "ready":
            return await_order(session, order), False
        response = session.post(order.finalize_url, payload)
    order = parse_order(response, order.url)
    if order.status in _UNSETTLED:
        session.wait_as_told(response, FIRST_LOOK_S, f"order {order.url} was finalized")
    return await_order(session, order), True


def await_order(session: Session, order: Order) -> Order:
    """Wait until the CA has issued. Raises IssuanceError."""
    if order.status in _UNSETTLED:
        order = _poll(session, order, _UNSETTLED)
    if order.status != "valid":
        raise _failed(session, order)
    return order


def parse_order(response: HttpResponse, url: str) -> Order:
    """Read an order. Raises AcmeProblem."""
    return _decode(parse_json(response, f"the order {url}"), url)


def _decode(jobj: dict[str, Any], url: str) -> Order:
    order = Order(
        url=url,
        status=str(jobj.get("status")),
        authorizations=tuple(jobj.get("authorizations") or ()),
        finalize_url=str(jobj.get("finalize") or ""),
        certificate_url=str(jobj.get("certificate") or ""),
        error=jobj.get("error"),
    )
    if not url or not order.finalize_url or (order.status == "valid" and not order.certificate_url):
        raise AcmeProblem(f"the CA sent an order without its URLs (status {order.status})")
    return order


def _poll(session: Session, order: Order, waiting: frozenset[str]) -> Order:
    return _decode(session.poll(order.url, waiting, f"order {order.url}"), order.url)


def _offered(session: Session, wish: Wish) -> Wish:
    """Leave out what the directory does not announce."""
    if not session.directory.renewal_info:
        wish = replace(wish, replaces="")
    if not wish.profile or wish.profile in session.directory.profiles:
        return wish
    offered = ", ".join(sorted(session.directory.profiles)) or "none"
    if wish.profile_required:
        raise build_own("invalidProfile", f"the CA does not offer the profile {wish.profile} (it offers: {offered})")
    logger.warning("the CA does not offer the profile %s (it offers: %s); its default is used", wish.profile, offered)
    return replace(wish, profile="")


def _encode(wish: Wish) -> bytes:
    payload: dict[str, Any] = {"identifiers": [{"type": "dns", "value": name} for name in wish.dns_names]}
    if wish.profile:
        payload["profile"] = wish.profile
    if wish.replaces:
        payload["replaces"] = wish.replaces
    return json.dumps(payload).encode()


def _give_way(wish: Wish, problem: AcmeProblem) -> Wish | None:
    """Leave out what a problem is about; None when nothing optional is left that it may be about."""
    code = code_of(problem.type)
    words = str(problem).lower()
    if wish.replaces and (code in _REPLACES_CODES or problem.status in (404, 409) or "replac" in words):
        logger.warning("the CA does not take the order as a replacement, so it is placed as a new one: %s", problem)
        return replace(wish, replaces="")
    if wish.profile and not wish.profile_required and (code in _PROFILE_CODES or "profile" in words):
        logger.warning("the CA does not take the profile %s; its default is used: %s", wish.profile, problem)
        return replace(wish, profile="")
    return None


def _failed(session: Session, order: Order) -> IssuanceError:
    problem = decode_problem(order.error or {"detail": f"the order is {order.status} and the CA does not say why"})
    return build_error(problem, what=f"order {order.url}", status=0, now=session.patience.clock())
