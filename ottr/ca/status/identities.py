# SPDX-License-Identifier: Apache-2.0
"""Issuers as OCSP requests name them: by hashes of name and key (RFC 6960 section 4.1.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ottr.ca.keys import encode_public_key
from ottr.ca.model import Issuer
from ottr.ca.status.answer import read_key_bits
from ottr.ca.status.request import HASHES, CertId


@dataclass(frozen=True, slots=True)
class Hashable:
    """What of an issuer is hashed."""

    name: bytes
    """DER of its subject."""
    key: bytes
    """The bits of its public key."""


def read_hashable(issuer: Issuer) -> Hashable:
    """The name and key of an issuer."""
    certificate = issuer.certificate
    public_key: Any = certificate.public_key()
    return Hashable(certificate.subject.public_bytes(), read_key_bits(encode_public_key(public_key)))


class Identities:
    """Finds the issuer that a CertID means: issuers with one name have different keys."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self._ids = {
            (digest, *(hashlib.new(digest, part).digest() for part in (one.name, one.key))): issuer
            for issuer, one in ((issuer, read_hashable(issuer)) for issuer in issuers if issuer.key_id)
            for digest in HASHES
        }

    def find(self, cert_id: CertId, now: datetime) -> str | None:
        """Id of the issuer; None: not ours, or it can sign no answer, for its key is elsewhere or its life over."""
        found = self._ids.get((cert_id.digest, cert_id.name_hash, cert_id.key_hash))
        return found.id if found is not None and found.not_after > now else None
