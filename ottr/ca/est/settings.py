# SPDX-License-Identifier: Apache-2.0
"""The section ``est`` of ca.yaml."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from ottr.ca.fields import Fields
from ottr.ca.passphrase import find_passphrase
from ottr.ca.profiles import CLIENT, INTERNAL, Usage
from ottr.ca.settings import CaSettings

_LEAST_SECRET = 32
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """A TLS proxy before us. What it says of a client counts when it comes from its address and has its secret."""

    addresses: tuple[Network, ...]
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EstSettings:
    """The section ``est``."""

    enabled: bool = False
    profiles: tuple[str, ...] = (CLIENT,)
    """Profiles to enrol for, the first unless the label of the URL is another one; certificates of no other profile
    are renewed."""
    bootstrap: tuple[str, ...] = ()
    """Profiles whose certificates are good for a first enrolment, for the names they have."""
    proxy: ProxySettings | None = None


def read_est_settings(settings: CaSettings) -> EstSettings:
    """Read the section, and the proxy's secret. Raises SettingsError naming file and key, KeyUnavailable."""
    fields = settings.section("est")
    est = EstSettings(
        enabled=fields.flag("enabled", default=False),
        profiles=_read_profiles(fields, settings),
        bootstrap=_read_bootstrap(fields, settings),
        proxy=_read_proxy(fields.section("proxy"), settings),
    )
    fields.finish()
    return est


def _read_profiles(fields: Fields, settings: CaSettings) -> tuple[str, ...]:
    names = fields.texts("profiles", (CLIENT,))
    ends = [name for name, profile in settings.profiles.items() if not profile.is_ca and name not in INTERNAL]
    if not names or set(names) - set(ends):
        raise fields.error("profiles", "some of " + ", ".join(ends))
    return names


def _read_bootstrap(fields: Fields, settings: CaSettings) -> tuple[str, ...]:
    names = fields.texts("bootstrap")
    clients = [name for name, profile in settings.profiles.items() if Usage.CLIENT_AUTH in profile.usages]
    if set(names) - set(clients):
        raise fields.error("bootstrap", "some of the profiles with client_auth: " + ", ".join(clients))
    return names


def _read_proxy(fields: Fields, settings: CaSettings) -> ProxySettings | None:
    if not fields.keys():
        return None
    texts, file = fields.texts("addresses"), fields.text("secret_file")
    fields.finish()
    if not texts or not file:
        raise fields.error("addresses, secret_file", "where the proxy connects from, and a file with its secret")
    try:
        addresses = tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise fields.error("addresses", "addresses or networks such as 192.0.2.7 or 10.0.0.0/24") from error
    secret = find_passphrase(settings.folder / file, {}, None)
    if len(secret) < _LEAST_SECRET:
        raise fields.error("secret_file", f"a file with a secret of at least {_LEAST_SECRET} characters")
    return ProxySettings(addresses, secret)
