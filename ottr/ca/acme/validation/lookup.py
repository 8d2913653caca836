# SPDX-License-Identifier: Apache-2.0
"""DNS questions to the configured servers, and which addresses may be connected to."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.records import Identifier
from ottr.ca.acme.settings import ValidationSettings

_MOST_ALIASES = 8
_MOST_ADDRESSES = 4
_UDP_SIZE = 1232
_FINE = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class Deadline:
    """The end of all that one look does: nobody we ask or connect to can hold it up for longer, however slowly."""

    def __init__(self, span_s: float) -> None:
        self._end = time.monotonic() + span_s

    def rest_s(self) -> float:
        """What is left, more than nothing. Raises TimeoutError."""
        rest_s = self._end - time.monotonic()
        if rest_s <= 0:
            raise TimeoutError("the time for this look is over")
        return rest_s


class LookupFailed(Exception):
    """No server gave an answer that says yes or no."""


def ask(name: str, kind: str, settings: ValidationSettings) -> dns.rrset.RRset | None:
    """Records of a name, through aliases; None: there are none. Raises LookupFailed."""
    qname = dns.name.from_text(name)
    for _ in range(_MOST_ALIASES):
        chain = _ask_servers(qname, kind, settings).resolve_chaining()
        if chain.answer is not None or chain.canonical_name == qname:
            return chain.answer
        qname = chain.canonical_name  # an alias into a zone this server does not know
    raise LookupFailed(f"{name} is an alias of an alias of too many")


def find_addresses(identifier: Identifier, settings: ValidationSettings) -> tuple[str, ...]:
    """Addresses to connect to for a name; those that may not be are left out. Raises Problem."""
    if identifier.kind == "ip":
        found = [identifier.value]
    else:
        try:
            answers = [ask(identifier.value, kind, settings) for kind in ("A", "AAAA")]
        except LookupFailed as error:
            raise Problem("dns", str(error)) from error
        found = [record.to_text() for answer in answers if answer is not None for record in answer]
    if not found:
        raise Problem("dns", f"{identifier.value} has no address")
    allowed = tuple(address for address in found if _may_connect(address, settings))
    if not allowed:
        raise Problem("unauthorized", f"{identifier.value} has no address this server connects to")
    return allowed[:_MOST_ADDRESSES]


def _may_connect(text: str, settings: ValidationSettings) -> bool:
    """A CA that connects wherever it is told is a way into its network."""
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    if settings.networks:
        return any(address in network for network in settings.networks)
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )


def _ask_servers(qname: dns.name.Name, kind: str, settings: ValidationSettings) -> dns.message.QueryMessage:
    problems = []
    for address, port in settings.resolvers or _find_system_servers():
        query = dns.message.make_query(qname, kind, use_edns=0, payload=_UDP_SIZE)
        try:
            answer, _ = dns.query.udp_with_fallback(query, address, settings.timeout_s / 2, port)
        except (dns.exception.DNSException, OSError) as error:
            problems.append(f"{address}: {type(error).__name__}")
            continue
        if answer.rcode() in _FINE and isinstance(answer, dns.message.QueryMessage):
            return answer
        problems.append(f"{address}: {dns.rcode.to_text(answer.rcode())}")
    raise LookupFailed(f"no answer for {kind} of {qname}: " + ", ".join(problems))


def _find_system_servers() -> Iterable[tuple[str, int]]:
    try:
        return [(str(server), 53) for server in dns.resolver.get_default_resolver().nameservers]
    except dns.exception.DNSException as error:
        raise LookupFailed("this machine has no DNS servers configured") from error
