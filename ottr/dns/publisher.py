# SPDX-License-Identifier: Apache-2.0
"""Publishing challenge records: which name, which solver, and whether everybody can see it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ottr.dns import Solver
from ottr.dns.authority import Authorities
from ottr.dns.caa import fetch_policy
from ottr.dns.delegation import follow_aliases
from ottr.dns.propagation import wait_for_value
from ottr.dns.resolver import Resolver, build_resolver, parse_servers
from ottr.dns.zones import challenge_name, clean_name, longest_zone
from ottr.errors import DnsError, DnsRefused, SettingsError
from ottr.model import TxtRecord, Waiter
from ottr.settings import SolverSettings


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a trial at the name of a challenge record found."""

    aliases: tuple[str, ...]
    """``_acme-challenge.NAME`` and every CNAME target after it; the last is where the value was written."""
    zone: str
    solver: str

    @property
    def name(self) -> str:
        """Where the value was written."""
        return self.aliases[-1]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one zone is written."""

    zone: str
    settings: SolverSettings
    solver: Solver


class ZonePublisher:
    """Every zone that can be written. Safe to share among threads."""

    def __init__(
        self,
        solvers: Sequence[tuple[SolverSettings, Solver]],
        resolvers: Sequence[str] = (),
        *,
        waiter: Waiter = time.sleep,
    ) -> None:
        """Raises SettingsError for a zone in two solvers, and for an address that is none."""
        self._places = _index_zones(solvers)
        self._resolver = build_resolver(resolvers, [settings for settings, _ in solvers])
        self._authorities = Authorities(self._resolver)
        self._waiter = waiter

    @property
    def resolver(self) -> Resolver:
        """The resolver that names are looked up with."""
        return self._resolver

    def locate(self, identifier: str) -> str:
        """Name of the TXT record for an identifier: ``_acme-challenge.NAME`` with CNAMEs followed. Raises DnsError."""
        return self._follow(identifier)[-1]

    def solver_name(self, name: str) -> str:
        """Name of the solver that writes at a record's name. Raises DnsError when there is none."""
        return self._find(name).settings.name

    def present(self, record: TxtRecord) -> None:
        """Add the value through the solver of the longest matching zone. Raises DnsError."""
        self._find(record.name).solver.present(record)

    def wait(self, record: TxtRecord) -> None:
        """Return when every authoritative server answers with the value, over UDP and TCP. Raises DnsError."""
        place = self._find(record.name)
        wait_for_value(
            record,
            self._authorities.find(place.settings, place.zone),
            timeout_s=place.settings.propagation_timeout_s,
            interval_s=place.settings.propagation_interval_s,
            waiter=self._waiter,
        )

    def cleanup(self, record: TxtRecord) -> None:
        """Remove the value. Raises DnsError."""
        self._find(record.name).solver.cleanup(record)

    def refusing_caa(self, identifier: str, identities: Sequence[str]) -> str:
        """Name whose CAA records keep a CA of these identities from issuing; empty: none does. Raises DnsError."""
        policy = fetch_policy(identifier, self._resolver)
        return "" if policy.allows(*identities) else policy.found_at

    def probe(self, identifier: str) -> ProbeReport:
        """Write a random value where the identifier's would go, see it everywhere, remove it. Raises DnsError."""
        aliases = self._follow(identifier)
        record = TxtRecord(aliases[-1], secrets.token_urlsafe(32))
        place = self._find(record.name)
        try:
            self.present(record)
            self.wait(record)
        except BaseException:
            with suppress(DnsError):  # the first error says more
                self.cleanup(record)
            raise
        self.cleanup(record)
        return ProbeReport(aliases, place.zone, place.settings.name)

    def _follow(self, identifier: str) -> tuple[str, ...]:
        return follow_aliases(challenge_name(identifier), self._resolver)

    def _find(self, name: str) -> _Place:
        zone = longest_zone(name, self._places)
        if zone is None:
            zones = ", ".join(sorted(self._places)) or "none"
            raise DnsRefused(
                f"no solver in ottr.yaml writes the zone of {name} (zones: {zones})",
                hint="add the zone to a solver, or delegate the name by a CNAME into one of these zones",
            )
        return self._places[zone]


def _index_zones(solvers: Sequence[tuple[SolverSettings, Solver]]) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for settings, solver in solvers:
        parse_servers(settings.nameservers, f"solver {settings.name!r}: nameservers")
        for zone in map(clean_name, settings.zones):
            if zone in places:
                raise SettingsError(
                    f"zone {zone} is in the solvers {places[zone].settings.name!r} and {settings.name!r}",
                    hint="name every zone in one solver only",
                )
            places[zone] = _Place(zone, settings, solver)
    return places
