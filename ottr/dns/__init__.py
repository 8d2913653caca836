# SPDX-License-Identifier: Apache-2.0
"""Putting TXT records for dns-01 (RFC 8555 section 8.4) into zones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ottr.model import TxtRecord


class Solver(Protocol):
    """One zone service. Values are added and removed singly: others may use the same name at the same time."""

    def present(self, record: TxtRecord) -> None:
        """Add this value; no error when it is there already. Raises DnsError."""

    def cleanup(self, record: TxtRecord) -> None:
        """Remove this value and no other; no error when it is gone already. Raises DnsError."""


class Publisher(Protocol):
    """What an ACME order needs of DNS, whatever the zone."""

    def locate(self, identifier: str) -> str:
        """Name of the TXT record for an identifier: ``_acme-challenge.NAME`` with CNAMEs followed."""

    def present(self, record: TxtRecord) -> None:
        """Add the value through the solver of the longest matching zone."""

    def wait(self, record: TxtRecord) -> None:
        """Return when every authoritative server answers with the value, over UDP and TCP. Raises DnsError."""

    def cleanup(self, record: TxtRecord) -> None:
        """Remove the value."""

    def refusing_caa(self, identifier: str, identities: Sequence[str]) -> str:
        """Name whose CAA records keep a CA of these identities from issuing; empty: none does. Raises DnsError."""

    def probe(self, identifier: str) -> object:
        """Write a random value where the identifier's would go, see it everywhere, remove it. Raises DnsError."""
