# SPDX-License-Identifier: Apache-2.0
"""dns-01 (RFC 8555 section 8.4)."""

from __future__ import annotations

from dns.rdtypes.ANY.TXT import TXT

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.settings import ValidationSettings
from ottr.ca.acme.validation import Look
from ottr.ca.acme.validation.lookup import LookupFailed, ask
from ottr.ca.jose import encode


def validate(look: Look, settings: ValidationSettings) -> None:
    """One of the TXT values must be the digest. Raises Problem."""
    name = f"_acme-challenge.{look.identifier.value}"
    try:
        answer = ask(name, "TXT", settings)
    except LookupFailed as error:
        raise Problem("dns", str(error)) from error
    values = [b"".join(record.strings) for record in answer or () if isinstance(record, TXT)]
    if encode(look.digest).encode() not in values:
        seen = f"{len(values)} other values" if values else "no TXT record"
        raise Problem("unauthorized", f"{name} has {seen}")
