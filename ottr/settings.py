# SPDX-License-Identifier: Apache-2.0
"""What ottr.yaml says, as frozen values. Every error names the file, the key and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ottr.model import KeyType, Secret


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """External account binding (RFC 8555 section 7.3.4)."""

    kid: str
    hmac_key: Secret
    """base64url, as CAs hand it out."""
    algorithm: str = "HS256"


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One CA, reached by ACME."""

    name: str
    directory: str
    contact: tuple[str, ...] = ()
    """``mailto:`` URLs."""
    terms_of_service_agreed: bool = False
    external_account: ExternalAccount | None = None
    profile: str = ""
    profile_required: bool = False
    preferred_chain: str = ""
    """Common name of the topmost issuer wanted among alternate chains."""
    ca_bundle: Path | None = None
    """Roots that the directory's own TLS certificate is checked with; None: the system's."""
    trust: Path | None = None
    """Roots that issued chains must lead to; None: the system's."""
    issuer_names: tuple[str, ...] = ()
    """Globs over the RFC 4514 name of the leaf's issuer; empty: any."""
    key_type: KeyType = KeyType.EC256
    staging: str = ""
    """Name of the issuer that stands in for this one under ``--staging``."""
    timeout_s: float = 30.0
    order_timeout_s: float = 300.0
    connections: int = 8
    """Requests under way at once, whatever the number of forks."""


@dataclass(frozen=True, slots=True)
class SolverSettings:
    """One way to write TXT records, for the zones it names."""

    name: str
    kind: str
    """``rfc2136``, ``lexicon`` or ``exec``."""
    zones: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Belong to the solver; secrets in them are ``Secret``."""
    nameservers: tuple[str, ...] = ()
    """``address`` or ``address:port`` of the servers asked for propagation; empty: the zone's NS records."""
    propagation_timeout_s: float = 120.0
    propagation_interval_s: float = 2.0
    withheld: frozenset[str] = frozenset()
    """As ``Settings.withheld``."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret stands: in the file itself, in an environment variable, or in a file of its own."""

    where: str
    """File, line and key, for errors."""
    literal: Secret | None = None
    env: str = ""
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """How to log in to the devices of one platform or of some names; looked up when a batch needs it."""

    pattern: str
    """A ``host_platform``, or a glob over the names of devices."""
    username: SecretReference | None = None
    password: SecretReference | None = None
    private_key_file: Path | None = None
    private_key_passphrase: SecretReference | None = None
    become_password: SecretReference | None = None


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Where a run tells what happened."""

    command: tuple[str, ...] = ()
    """Argument vector; the JSON event is its standard input."""
    webhook: Secret | None = None
    """URL; a secret, since the URL of a webhook often is the key to it."""
    on: frozenset[str] = frozenset({"failed", "stranded", "summary"})


@dataclass(frozen=True, slots=True)
class Freeze:
    """A span of time (ISO 8601, aware; the end not included) in which nothing is rotated."""

    start: str
    end: str = ""
    """Empty: until the freeze is taken out of ottr.yaml."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """Defaults of every rotation."""

    forks: int = 50
    renew_fraction: float = 2 / 3
    """Share of the lifetime after which a certificate is due."""
    renew_fraction_short: float = 1 / 2
    """The same for lifetimes under ``short_lifetime_s``."""
    short_lifetime_s: float = 10 * 86400.0
    quarantine_after: int = 5
    """Permanent failures in a row after which a device is left alone until ``ottr release``."""
    retry_install: int = 3
    """Times one certificate is tried on a device before its rotation is abandoned."""
    keep_history_s: float | None = 365 * 86400.0
    """How long ended rotations stay in the state database; None: for ever."""
    windows: tuple[str, ...] = ()
    freezes: tuple[Freeze, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """All of ottr.yaml."""

    path: Path | None
    """The file itself; None when there was none."""
    issuers: Mapping[str, IssuerSettings]
    solvers: tuple[SolverSettings, ...]
    state_url: Secret
    """SQLAlchemy URL; may hold a password."""
    state_dir: Path
    """Account keys live here, folder 0700, files 0600."""
    default_issuer: str = ""
    inventory: tuple[str, ...] = ()
    routing: Path = Path("routing.yaml")
    resolvers: tuple[str, ...] = ()
    """``address`` or ``address:port`` of the recursive resolvers; empty: the system's."""
    known_hosts: tuple[Path, ...] = ()
    rotation: RotationSettings = RotationSettings()
    notify: NotifySettings = NotifySettings()
    credentials: tuple[CredentialSource, ...] = ()
    """In the order of the file; variables of the inventory go first."""
    withheld: frozenset[str] = frozenset()
    """Variables of the environment that secrets come from (``{env: NAME}``): commands of the operator's do not get
    them."""
