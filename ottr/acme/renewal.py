# SPDX-License-Identifier: Apache-2.0
"""ACME Renewal Information (RFC 9773): when the CA would like a certificate to be replaced."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from josepy import b64

from ottr import x509
from ottr.acme.network import Network, parse_json
from ottr.acme.patience import Patience, parse_retry_after
from ottr.model import RenewalInfo

logger = logging.getLogger(__name__)

SHORTEST_RETRY_S = 60.0
LONGEST_RETRY_S = 86400.0
USUAL_RETRY_S = 6 * 3600.0
"""For a CA that names no time (RFC 9773 section 4.3.3)."""


def build_certificate_id(leaf: x509.Certificate) -> str:
    """Name a certificate as RFC 9773 section 4.1 does; empty when it has no authority key identifier."""
    if leaf.authority_key_id is None:
        return ""
    serial = int(leaf.serial, 16)
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # as in DER: the first bit is the sign
    return f"{b64.b64encode(leaf.authority_key_id).decode()}.{b64.b64encode(octets).decode()}"


def fetch_renewal_info(network: Network, base_url: str, certificate_id: str, patience: Patience) -> RenewalInfo | None:
    """GET the suggested window; None, with a warning, when what the CA says makes no sense. Raises IssuanceError."""
    response = network.get(f"{base_url.rstrip('/')}/{certificate_id}", patience)
    jobj = parse_json(response, "the renewal information")
    window = _read_window(jobj)
    if window is None:
        logger.warning("the CA suggests a renewal window that makes no sense: %r", jobj.get("suggestedWindow"))
        return None
    retry_s = parse_retry_after(response.headers, patience.clock())
    return RenewalInfo(
        start=window[0],
        end=window[1],
        retry_after_s=min(max(USUAL_RETRY_S if retry_s is None else retry_s, SHORTEST_RETRY_S), LONGEST_RETRY_S),
        explanation_url=str(jobj.get("explanationURL") or ""),
    )


def _read_window(jobj: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    window = jobj.get("suggestedWindow")
    try:
        start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))  # type: ignore[index]
        sensible = start < end and start.tzinfo is not None
        return (start.astimezone(UTC), end.astimezone(UTC)) if sensible else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
