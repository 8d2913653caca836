# SPDX-License-Identifier: Apache-2.0
"""Names, the zones they are in, and the name of a challenge record."""

from __future__ import annotations

from collections.abc import Iterable

_CHALLENGE = "_acme-challenge."


def clean_name(name: str) -> str:
    """Return the name in the form records have: lower case, no trailing dot."""
    return name.rstrip(".").lower()


def challenge_name(identifier: str) -> str:
    """Return the name of the TXT record for an identifier (RFC 8555 section 8.4); a wildcard shares its parent's."""
    return _CHALLENGE + clean_name(identifier).removeprefix("*.")


def challenged_name(record_name: str) -> str:
    """Return the name that a challenge record speaks for; a delegated record's own name."""
    return record_name.removeprefix(_CHALLENGE)


def longest_zone(name: str, zones: Iterable[str]) -> str | None:
    """Return the longest zone that holds the name; None when there is none."""
    dotted = f".{clean_name(name)}"
    matches = [zone for zone in zones if dotted.endswith(f".{clean_name(zone)}")]
    return max(matches, key=lambda zone: len(clean_name(zone)), default=None)
