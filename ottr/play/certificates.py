# SPDX-License-Identifier: Apache-2.0
"""What the state database knows of devices' certificates, as plain JSON for inventories, lookups and modules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ottr.report import describe_time
from ottr.state.certificates import CertificateFacts, Certificates


def describe_certificate(certificates: Certificates, device: str, now: datetime) -> dict[str, Any] | None:
    """The certificate a device was last seen to serve, with its PEM; None when nothing is known."""
    facts = certificates.current(device).get(device)
    if facts is None:
        return None
    issued = certificates.pem(device, facts.sha256)
    pems = {
        "certificate": issued.leaf_pem if issued else None,
        "chain": issued.chain_pem if issued else None,
        "full_chain": issued.fullchain_pem if issued else None,
    }
    return {**describe_facts(facts, now), **pems}


def describe_all(certificates: Certificates, now: datetime) -> Mapping[str, dict[str, Any]]:
    """The current certificates of all devices, by device."""
    return {device: describe_facts(facts, now) for device, facts in certificates.current().items()}


def describe_facts(facts: CertificateFacts, now: datetime) -> dict[str, Any]:
    """One certificate. Serial and fingerprint in lower-case hex, names RFC 4514, times ISO 8601 UTC with Z."""
    return {
        "device": facts.device,
        "ca": facts.ca,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "sha256": facts.sha256,
        "dns_names": list(facts.dns_names),
        "subject_alt_name": [f"DNS:{name}" for name in facts.dns_names],
        "key_type": facts.key_type,
        "not_before": describe_time(facts.not_before),
        "not_after": describe_time(facts.not_after),
        "expired": facts.not_after <= now,
        "revoked": facts.revoked_at is not None,
        "rotation_id": facts.rotation_id,
        "issued_at": describe_time(facts.issued_at),
        "installed_at": describe_time(facts.installed_at),
        "bound_at": describe_time(facts.bound_at),
        "served_at": describe_time(facts.served_at),
    }
