# SPDX-License-Identifier: Apache-2.0
"""The section ``acme`` of ca.yaml."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from ottr.ca.fields import Fields
from ottr.ca.names import NameRules
from ottr.ca.profiles import INTERNAL
from ottr.ca.settings import CaSettings
from ottr.errors import SettingsError

CHALLENGES = ("dns-01", "http-01", "tls-alpn-01")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_RATE = re.compile(r"(\d+)\s*/\s*(\S+)")
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in any span of so many seconds."""

    most: int
    span_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Rate limits; None: none."""

    orders: Rate | None = None
    """New orders of an account."""
    failures: Rate | None = None
    """Failed validations of an account for one identifier."""
    accounts: Rate | None = None
    """New accounts from an address."""
    certificates: Rate | None = None
    """Certificates for exactly the same names, whoever asks; renewals by ARI are exempt."""


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """How control of names is looked at."""

    challenges: tuple[str, ...] = CHALLENGES
    resolvers: tuple[tuple[str, int], ...] = ()
    """Address and port of DNS servers; empty: the system's."""
    http_port: int = 80
    tls_port: int = 443
    networks: tuple[Network, ...] = ()
    """Where http-01 and tls-alpn-01 may connect; empty: anywhere but this machine, link-local and multicast."""
    caa: bool = False
    caa_identities: tuple[str, ...] = ()
    timeout_s: float = 10.0
    workers: int = 16


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """All of the section."""

    url: str = ""
    """Of the server as clients see it, without a slash at the end; empty: as the request has it."""
    terms_of_service: str = ""
    website: str = ""
    eab_required: bool = False
    rules: NameRules = field(default_factory=lambda: NameRules(dns=("*",), ip=("0.0.0.0/0", "::/0")))
    """Names of accounts without an external account binding."""
    profiles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"server": "TLS servers"}), hash=False)
    """Profiles of the CA that may be ordered, with their descriptions; the first is the usual one."""
    order_lifetime_s: float = _DAY_S
    authorization_lifetime_s: float = 30 * _DAY_S
    reuse_orders: bool = False
    """Whether an order for the same names that is still open is given again."""
    reuse_authorizations: bool = False
    """Whether a valid authorization of the account counts for new orders, as long as it lives."""
    orders_per_page: int = 50
    renew_fraction: float = 2 / 3
    """Share of the lifetime around which ARI suggests to renew."""
    renewal_retry_s: float = 6 * 3600.0
    limits: Limits = field(default_factory=Limits)
    validation: ValidationSettings = field(default_factory=ValidationSettings)


def read_acme_settings(settings: CaSettings) -> AcmeSettings:
    """Read the section. Raises SettingsError naming file and key."""
    fields = settings.section("acme")
    acme = AcmeSettings(
        url=_read_url(fields),
        terms_of_service=fields.text("terms_of_service"),
        website=fields.text("website"),
        eab_required=fields.flag("eab_required", default=False),
        rules=_read_rules(fields.section("names")),
        profiles=_read_profiles(fields, settings),
        order_lifetime_s=fields.span("order_lifetime", _DAY_S),
        authorization_lifetime_s=fields.span("authorization_lifetime", 30 * _DAY_S),
        reuse_orders=fields.flag("reuse_orders", default=False),
        reuse_authorizations=fields.flag("reuse_authorizations", default=False),
        orders_per_page=fields.number("orders_per_page", 50, least=1),
        renew_fraction=fields.fraction("renew_fraction", settings.renew_fraction),
        renewal_retry_s=fields.span("renewal_retry", 6 * 3600.0),
        limits=_read_limits(fields.section("limits")),
        validation=_read_validation(fields.section("validation")),
    )
    fields.finish()
    if acme.validation.caa and not acme.validation.caa_identities:
        raise fields.error("validation.caa_identities", "the names this CA has in CAA records")
    return acme


def _read_url(fields: Fields) -> str:
    url = fields.text("url").rstrip("/")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise fields.error("url", "the URL of the ACME server as clients see it, such as https://ca.example.com/acme")
    return url


def _read_rules(fields: Fields) -> NameRules:
    rules = NameRules(dns=fields.texts("dns", ("*",)), ip=fields.texts("ip", ("0.0.0.0/0", "::/0")))
    for text in rules.ip:
        _parse_network(fields, "ip", text)
    fields.finish()
    return rules


def _read_profiles(fields: Fields, settings: CaSettings) -> Mapping[str, str]:
    section = fields.section("profiles")
    profiles = {name: section.text(name) for name in section.keys()} or {"server": "TLS servers"}  # noqa: SIM118
    for name in profiles:
        if name in INTERNAL or name not in settings.profiles or settings.profiles[name].is_ca:
            raise SettingsError(f"{section.where}: {name}: there is no such profile that clients may ask for")
    return MappingProxyType(profiles)


def _read_limits(fields: Fields) -> Limits:
    rates = {name: _read_rate(fields, name) for name in ("orders", "failures", "accounts", "certificates")}
    fields.finish()
    return Limits(**rates)


def _read_rate(fields: Fields, key: str) -> Rate | None:
    text = fields.text(key)
    if not text:
        return None
    found = _RATE.fullmatch(text)
    if not found or not int(found[1]):
        raise fields.error(key, "a rate such as 300/3h")
    return Rate(int(found[1]), Fields(fields.where, {key: found[2]}).span(key, 0))


def _read_validation(fields: Fields) -> ValidationSettings:
    challenges = fields.texts("challenges", CHALLENGES)
    if not challenges or set(challenges) - set(CHALLENGES):
        raise fields.error("challenges", "some of " + ", ".join(CHALLENGES))
    validation = ValidationSettings(
        challenges=challenges,
        resolvers=tuple(_parse_resolver(fields, text) for text in fields.texts("resolvers")),
        http_port=fields.number("http_port", 80, least=1),
        tls_port=fields.number("tls_port", 443, least=1),
        networks=tuple(_parse_network(fields, "networks", text) for text in fields.texts("networks")),
        caa=fields.flag("caa", default=False),
        caa_identities=tuple(text.lower() for text in fields.texts("caa_identities")),
        timeout_s=fields.span("timeout", 10.0),
        workers=fields.number("workers", 16, least=1),
    )
    fields.finish()
    return validation


def _parse_resolver(fields: Fields, text: str) -> tuple[str, int]:
    """``192.0.2.1``, ``192.0.2.1:5353`` or ``[2001:db8::1]:5353``."""
    has_port = text.count(":") == 1 or "]:" in text
    host, port = text.rsplit(":", 1) if has_port else (text, "53")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise fields.error("resolvers", "addresses such as 192.0.2.1 or 192.0.2.1:5353") from error


def _parse_network(fields: Fields, key: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise fields.error(key, "networks such as 192.0.2.0/24") from error
