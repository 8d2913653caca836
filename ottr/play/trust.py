# SPDX-License-Identifier: Apache-2.0
"""The roots of the private CA that a trust store is to have, and those it is not to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes

from ottr.ca.authority import Authority
from ottr.ca.exporting import export_pem
from ottr.ca.model import Issuer, Role, Status
from ottr.cli.ca.place import describe_issuer


def describe_trust(authority: Authority, asked: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Roots in the ``phases`` asked for that are neither revoked nor over, the newest first; and all other roots."""
    del check  # nothing is changed anyway
    now = authority.clock()
    roots = [one for one in authority.issuers() if one.role is Role.ROOT]
    good = [
        one
        for one in roots
        if one.phase.value in asked["phases"] and one.status is Status.VALID and one.not_after > now
    ]
    return {
        "bundle": export_pem([one.certificate for one in good]).decode("ascii"),
        "roots": [_describe(one) for one in good],
        "others": [_describe(one) for one in roots if one not in good],
        "changed": False,
    }


def _describe(root: Issuer) -> dict[str, Any]:
    """As ``ottr ca list --issuers`` says it, with the certificate."""
    certificate = root.certificate
    return {
        **describe_issuer(root),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "certificate": export_pem([certificate]).decode("ascii"),
    }
