# SPDX-License-Identifier: Apache-2.0
"""Which CAs a name's CAA records let issue (RFC 8659), as far as it can be said before asking the CA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dns.rrset import RRset

from ottr.dns.resolver import Resolver
from ottr.dns.zones import clean_name

_CRITICAL = 128
_KNOWN = {b"issue", b"issuewild", b"iodef", b"issuemail", b"contactemail", b"contactphone", b"issuevmc"}


@dataclass(frozen=True, slots=True)
class CaaPolicy:
    """What CAA says about one name."""

    found_at: str = ""
    """Name that has the records; empty when there are none up to the root."""
    issuers: frozenset[str] | None = None
    """Domain names of the CAs that may issue; None: every CA; empty: none."""

    def allows(self, *identities: str) -> bool:
        """Whether a CA known by any of these names (``caaIdentities`` of its directory) may issue."""
        return self.issuers is None or not self.issuers.isdisjoint(map(clean_name, identities))


def fetch_policy(identifier: str, resolver: Resolver) -> CaaPolicy:
    """Climb from the name towards the root to the first CAA records (RFC 8659 section 3). Raises DnsError."""
    wild = identifier.startswith("*.")
    for name in _climb(clean_name(identifier).removeprefix("*.")):
        records = resolver.fetch(name, "CAA")
        if records:
            return CaaPolicy(name, _issuers(records, wild))
    return CaaPolicy()


def _climb(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.partition(".")[2]


def _issuers(records: RRset, wild: bool) -> frozenset[str] | None:
    tagged = [(record.flags, record.tag.lower(), record.value.decode("ascii", "replace")) for record in records]
    if any(flags & _CRITICAL and tag not in _KNOWN for flags, tag, _ in tagged):
        return frozenset()  # section 4.1: a CA must not issue when it does not know a critical property
    issue = [value for _, tag, value in tagged if tag == b"issue"]
    issue_wild = [value for _, tag, value in tagged if tag == b"issuewild"]
    rules = (issue_wild or issue) if wild else issue
    return frozenset(filter(None, map(_issuer, rules))) if rules else None


def _issuer(rule: str) -> str:
    """Return the CA a rule names; empty when it names none, or does not let it use dns-01 (RFC 8657)."""
    issuer, *parameters = (part.strip() for part in rule.split(";"))
    for parameter in parameters:
        tag, _, methods = parameter.partition("=")
        if tag.strip().lower() == "validationmethods" and "dns-01" not in [m.strip() for m in methods.split(",")]:
            return ""
    return clean_name(issuer)
