# SPDX-License-Identifier: Apache-2.0
"""Revocation by the account (RFC 8555 section 7.6)."""

from __future__ import annotations

import json

from josepy import b64

from ottr import x509
from ottr.acme.problem import code_of
from ottr.acme.session import Session
from ottr.errors import AcmeProblem


def revoke_certificate(session: Session, leaf: x509.Certificate, reason: int) -> None:
    """Revoke; a certificate that is revoked already is what was wanted. Raises IssuanceError."""
    if not session.directory.revoke_cert:
        raise AcmeProblem("the CA does not offer revocation by ACME", hint="revoke by the CA's own means")
    payload = json.dumps({"certificate": b64.b64encode(leaf.der).decode(), "reason": reason}).encode()
    try:
        session.post(session.directory.revoke_cert, payload, repeatable=True)
    except AcmeProblem as problem:
        if code_of(problem.type) != "alreadyRevoked":
            raise
