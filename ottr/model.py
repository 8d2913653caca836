# SPDX-License-Identifier: Apache-2.0
"""The words of Ottr as frozen values. Imports only the standard library.

Times are aware UTC. PEM is ``str``, DER is ``bytes``. Serial numbers are lower-case hex without
leading zeros; fingerprints are SHA-256 over the DER in lower-case hex; names are RFC 4514 strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

Clock = Callable[[], datetime]
"""Returns now as aware UTC."""

Waiter = Callable[[float], None]
"""Waits so many seconds."""


class Secret:
    """A string that never shows itself: ``repr``, ``str`` and formatting give asterisks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one call that must send it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('********')"

    def __str__(self) -> str:
        return "********"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class KeyType(StrEnum):
    """Key of an end-entity certificate (names as lego's and certbot's users know them)."""

    EC256 = "ec256"
    EC384 = "ec384"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"


class EndpointProtocol(StrEnum):
    """How TLS starts at an endpoint: at once (``tls``), or after a protocol's own STARTTLS."""

    TLS = "tls"
    SMTP = "smtp"
    LMTP = "lmtp"
    IMAP = "imap"
    POP3 = "pop3"
    FTP = "ftp"
    LDAP = "ldap"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a certificate is served and can be observed from outside."""

    host: str
    port: int = 443
    server_name: str | None = None
    """Sent as SNI and checked against the certificate; None: no SNI, names checked against the request."""
    protocol: EndpointProtocol = EndpointProtocol.TLS

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Device:
    """Who: one machine of the inventory that serves one certificate."""

    name: str
    """``inventory_hostname``."""
    platform: str
    """``host_platform``."""
    address: str
    """``ansible_host``, else the name."""
    dns_names: tuple[str, ...]
    """Every name of the certificate as lower-case A-labels, the common name first, none twice."""
    os_version: str = ""
    model: str = ""
    """``device_model``."""
    certificate_authority: str = ""
    """Key of ``issuers`` in ottr.yaml; empty: the route's or the default issuer."""
    ha_group: str = ""
    groups: frozenset[str] = frozenset()
    variables: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Rendered, without secrets; they belong to the driver, the core never looks in."""

    @property
    def common_name(self) -> str:
        """The first name: goes into the subject where it fits (at most 64 characters, RFC 5280 A.1)."""
        return self.dns_names[0]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in to one device. Lives as long as the batch it was looked up for."""

    username: str = ""
    password: Secret | None = None
    private_key_file: str = ""
    private_key_passphrase: Secret | None = None
    become: bool = False
    become_method: str = "sudo"
    become_user: str = "root"
    become_password: Secret | None = None
    ssh_arguments: Secret | None = None
    """What ssh's command line has beside; None: what the device's variables say, none of which is a secret."""
    known_hosts: tuple[Path, ...] = ()
    """Files with the SSH host keys that are trusted; empty: those of the user and of the system."""
    kept: MutableMapping[str, Secret] | None = field(default=None, compare=False, repr=False)
    """Where a driver keeps what a login gave it, such as an API key, for its other sessions of the same run."""


@dataclass(frozen=True, slots=True)
class Route:
    """How: what routing.yaml says about a device, with ottr.yaml's defaults filled in."""

    driver: str
    issuer: str
    key_type: KeyType = KeyType.EC256
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Belong to the driver; validated by it when routes are loaded."""
    endpoints: tuple[Endpoint, ...] = ()
    """Resolved for the device; all of them must serve the new certificate."""
    profile: str = ""
    renew_before: float | None = None
    """None: by the fraction of the lifetime. Else seconds before ``not_after``."""
    renew_fraction: float | None = None
    """Share of the lifetime after which it is due, instead of the settings'; never with ``renew_before``."""
    revoke_superseded: bool = False
    dead_man_s: int = 300
    """Seconds after which the device goes back by itself; 0 switches the dead-man timer off."""
    verify_timeout_s: float = 30.0
    before: tuple[tuple[str, ...], ...] = ()
    """Commands (argument vectors) before a device is touched, on the orchestrator."""
    after: tuple[tuple[str, ...], ...] = ()
    windows: tuple[str, ...] = ()
    """Maintenance windows; empty: always."""
    line: int = 0
    """Line of routing.yaml, for `explain`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``inspect`` saw on the device."""

    bound: str = ""
    """The driver's own word for what is bound now; given back to ``rollback``. Empty: nothing of ours."""
    leaf_pem: str = ""
    """The end-entity certificate that is configured now; empty when there is none."""
    os_version: str = ""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What the device is asked to make a key and a CSR for."""

    label: str
    """At most 31 characters of ``[a-z0-9-]``; every name on the device derives from it."""
    dns_names: tuple[str, ...]
    key_type: KeyType = KeyType.EC256


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A PKCS#10 certification request (RFC 2986) in PEM."""

    pem: str


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """What the CA returned: the leaf, and its issuers in order without the leaf, both PEM."""

    leaf_pem: str
    chain_pem: str

    @property
    def fullchain_pem(self) -> str:
        """Leaf first, then its issuers (RFC 8555 section 7.4.2)."""
        return self.leaf_pem + self.chain_pem


@dataclass(frozen=True, slots=True)
class TxtRecord:
    """One TXT value at one name (absolute, lower case, no trailing dot)."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """A CA's suggested renewal window (RFC 9773 section 4.2)."""

    start: datetime
    end: datetime
    retry_after_s: float
    explanation_url: str = ""


class Step(StrEnum):
    """The steps of a rotation, in order; ``rollback`` instead of the rest when one fails."""

    PREFLIGHT = "preflight"
    CSR = "csr"
    ORDER = "order"
    INSTALL = "install"
    VERIFY = "verify"
    RECORD = "record"
    ROLLBACK = "rollback"


class Outcome(StrEnum):
    """How one device came out of a run."""

    ROTATED = "rotated"
    HELD = "held"
    PLANNED = "planned"
    NOT_DUE = "not_due"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    UNREACHABLE = "unreachable"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    STRANDED = "stranded"


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error as results, the journal and notifications carry it."""

    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a run has to say about one device."""

    device: str
    outcome: Outcome
    reason: str = ""
    """Reason code of the selection (``policy``)."""
    step: str = ""
    """The step reached."""
    rotation_id: str = ""
    driver: str = ""
    issuer: str = ""
    old_sha256: str = ""
    new_sha256: str = ""
    serial: str = ""
    not_after: datetime | None = None
    error: ErrorReport | None = None
    warnings: tuple[str, ...] = ()
    diff: tuple[tuple[str, str, str], ...] = ()
    """Under ``--check``: what would change about the certificate, before, after."""
    started: datetime | None = None
    finished: datetime | None = None


class ServedStatus(StrEnum):
    """What ``verify`` found at an endpoint."""

    OK = "ok"
    DRIFT = "drift"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    """Something good is served of which nothing was known; it is now."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """One endpoint of one device: issued, installed, bound and served, each with its time."""

    device: str
    endpoint: str
    status: ServedStatus
    problem: str = ""
    sha256: str = ""
    """Of what is served; empty when nothing is."""
    serial: str = ""
    not_after: datetime | None = None
    issued_at: datetime | None = None
    installed_at: datetime | None = None
    bound_at: datetime | None = None
    served_at: datetime | None = None
    warnings: tuple[str, ...] = ()
