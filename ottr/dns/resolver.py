# SPDX-License-Identifier: Apache-2.0
"""Looking names up: through the operator's resolvers, or the system's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import dns.exception
import dns.flags
import dns.nameserver
import dns.rcode
import dns.resolver
from dns.rrset import RRset

from ottr.dns.question import ask, find_answer
from ottr.dns.servers import TRANSPORT_ERRORS, ServerAddress, describe_error, parse_server
from ottr.dns.zones import longest_zone
from ottr.errors import DnsError, SettingsError
from ottr.settings import SolverSettings

_LOOKUP_TIMEOUT_S = 6.0
_FIRST_TRY_S = 0.5
_SELDOM_THERE = ("CNAME", "CAA")
_DECISIVE = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class Resolver:
    """Answers questions about any name. Safe to share among threads.

    Without resolvers of the operator's, a zone whose servers are known (``authorities``) is asked there first:
    such zones often cannot be seen through the system's resolver (a lab, a split view).
    """

    def __init__(
        self,
        servers: Sequence[ServerAddress] = (),
        authorities: Mapping[str, tuple[ServerAddress, ...]] | None = None,
    ) -> None:
        self._authorities = {} if servers or authorities is None else authorities
        self._first = servers[0] if servers else None
        self._recursive = dns.resolver.Resolver(configure=False)
        self._recursive.timeout = 2.0
        self._recursive.lifetime = _LOOKUP_TIMEOUT_S
        if servers:
            self._recursive.nameservers = [dns.nameserver.Do53Nameserver(s.address, s.port) for s in servers]
        else:
            self._read_system()

    def _read_system(self) -> None:
        try:
            self._recursive.read_resolv_conf("/etc/resolv.conf")
        except dns.resolver.NoResolverConfiguration:
            self._recursive.nameservers = []

    def fetch(self, name: str, kind: str) -> RRset | None:
        """Return the records of this type, aliases followed (but for CNAME itself); None when there are none.

        Raises DnsError when nobody can say.
        """
        known, records = self._ask_authorities(name, kind)
        return records if known else self._ask_resolvers(name, kind)

    def _ask_authorities(self, name: str, kind: str) -> tuple[bool, RRset | None]:
        zone = longest_zone(name, self._authorities)
        for server in self._authorities[zone] if zone is not None else ():
            try:
                answer = ask(server, name, kind)
                if answer.denies():
                    return True, None
                response = answer.parse()
                records = find_answer(response)
            except TRANSPORT_ERRORS:
                continue
            # Without AA it is a referral: the name is in a zone below that this server does not hold.
            whole = response.flags & (dns.flags.AA | dns.flags.TC) == dns.flags.AA
            if whole and response.rcode() in _DECISIVE:
                leads_away = records is None and response.answer  # an alias to a zone held elsewhere
                return not leads_away, records
        return False, None

    def _ask_resolvers(self, name: str, kind: str) -> RRset | None:
        if kind in _SELDOM_THERE and self._first is not None and _denies(self._first, name, kind):
            return None
        try:
            return self._recursive.resolve(name, kind, search=False, raise_on_no_answer=False).rrset
        except dns.resolver.NXDOMAIN:
            return None
        except TRANSPORT_ERRORS as error:
            asked = ", ".join(str(server) for server in self._recursive.nameservers) or "none"
            raise DnsError(
                f"{kind} of {name} cannot be looked up (resolvers: {asked}): {_words(error)}",
                hint="check `resolvers` in ottr.yaml, or the machine's own resolver when it names none",
            ) from error


def _denies(server: ServerAddress, name: str, kind: str) -> bool:
    """Whether a resolver says at once that there is no such record; where it does not, dnspython asks with patience."""
    try:
        return ask(server, name, kind, recursive=True, timeout_s=_FIRST_TRY_S).denies(recursive=True)
    except TRANSPORT_ERRORS:
        return False


def _words(error: BaseException) -> str:
    if isinstance(error, dns.resolver.NoNameservers):
        errors: list[tuple[object, bool, int, object, object]] = error.kwargs.get("errors", [])
        return ", ".join(sorted({str(entry[3]) for entry in errors})) or "there is no resolver"
    return describe_error(error)


def parse_servers(texts: Iterable[str], where: str) -> tuple[ServerAddress, ...]:
    """Parse a setting that lists servers. Raises SettingsError that names the setting."""
    try:
        return tuple(parse_server(text) for text in texts)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def build_resolver(resolvers: Sequence[str], solvers: Sequence[SolverSettings]) -> Resolver:
    """Build the resolver that settings describe. Raises SettingsError."""
    authorities = {
        zone: parse_servers(solver.nameservers, f"solver {solver.name!r}: nameservers")
        for solver in solvers
        for zone in solver.zones
        if solver.nameservers
    }
    return Resolver(parse_servers(resolvers, "resolvers"), authorities)
