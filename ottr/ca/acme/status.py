# SPDX-License-Identifier: Apache-2.0
"""What orders and authorizations count as: rows, and what time and proofs make of them (RFC 8555 section 7.1.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ottr.ca.acme.records import Authorization, Order

OPEN = ("pending", "processing", "valid")
"""Statuses of an authorization that can still change."""


def read_authorization_status(found: Authorization, now: datetime) -> str:
    """What an authorization counts as: with the time it becomes ``expired`` or, unproven, ``invalid``."""
    if found.expires <= now and found.status in OPEN:
        return "expired" if found.status == "valid" else "invalid"
    return "pending" if found.status == "processing" else found.status


def read_error(found: Authorization) -> Mapping[str, Any] | None:
    """Why it failed."""
    return next((one["error"] for one in found.challenges.values() if "error" in one), None)


def read_order_status(order: Order, proofs: Sequence[Authorization], now: datetime) -> str:
    """What an order counts as (section 7.1.6): an open one follows its authorizations."""
    if order.status != "pending":
        return order.status
    states = {read_authorization_status(one, now) for one in proofs}
    if order.expires <= now or states - {"pending", "valid"}:
        return "invalid"
    return "ready" if states == {"valid"} and len(proofs) == len(set(order.authorizations)) else "pending"
