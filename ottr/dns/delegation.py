# SPDX-License-Identifier: Apache-2.0
"""Following the CNAMEs that delegate a challenge record to another name or zone."""

from __future__ import annotations

from ottr.dns.resolver import Resolver
from ottr.dns.zones import clean_name
from ottr.errors import DnsError

_DEEPEST = 10


def follow_aliases(name: str, resolver: Resolver) -> tuple[str, ...]:
    """Return the name and every CNAME target after it; the last one is where the record belongs.

    Raises DnsError for a loop and for more than ten aliases in a row.
    """
    path = [clean_name(name)]
    while target := _fetch_alias(path[-1], resolver):
        if target in path:
            raise DnsError(
                f"the CNAME of {path[-1]} leads back to {target}", hint="correct the CNAME: aliases must not go round"
            )
        if len(path) > _DEEPEST:
            raise DnsError(
                f"{path[0]} has more than {_DEEPEST} CNAMEs in a row", hint="let its CNAME name the last one directly"
            )
        path.append(target)
    return tuple(path)


def _fetch_alias(name: str, resolver: Resolver) -> str:
    records = resolver.fetch(name, "CNAME")
    return clean_name(str(records[0].target)) if records else ""
