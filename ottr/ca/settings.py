# SPDX-License-Identifier: Apache-2.0
"""What ca.yaml, in the CA's folder, says."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import yaml

from ottr.ca.database import sqlite_url
from ottr.ca.fields import Fields, read_choices
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import Constraints, parse_dns
from ottr.ca.profiles import BUILT_IN, INTERNAL, NO_STATUS_MOST_S, ROOT, SUB_CA, Profile, Usage
from ottr.errors import NameRefused, SettingsError

FILE_NAME = "ca.yaml"
SECTIONS = ("acme", "crl", "ocsp", "est", "jwks", "server")
"""Mappings of ca.yaml that other parts of the CA read."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """A PKCS#11 token that holds the keys of issuers."""

    module: Path
    """The shared library."""
    token: str
    """Label."""


@dataclass(frozen=True, slots=True)
class CaSettings:
    """All of ca.yaml but the sections of other parts."""

    folder: Path
    database_url: str = field(repr=False)
    """SQLAlchemy URL; may hold a password."""
    organization: str = "Ottr"
    base_url: str = ""
    """Where relying parties find issuers, CRLs and OCSP: plain http, no slash at the end; empty: nowhere."""
    key_algorithm: KeyAlgorithm = KeyAlgorithm.EC256
    backdate_s: float = 300.0
    """How long before its issuance a certificate begins to be valid, for clocks that are behind."""
    renew_fraction: float = 2 / 3
    """Share of the lifetime after which what the CA holds keys for is renewed."""
    token: TokenSettings | None = None
    constraints: Constraints = field(default_factory=Constraints)
    """Of new intermediates."""
    profiles: Mapping[str, Profile] = field(default_factory=lambda: BUILT_IN, hash=False)
    sections: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """``acme``, ``crl``, ``ocsp``, ``est``, ``jwks``, ``server`` as they stand, for ``section``."""

    @property
    def keys_folder(self) -> Path:
        """Sealed keys of issuers."""
        return self.folder / "keys"

    def section(self, name: str) -> Fields:
        """A section to read; empty when it is not there."""
        return Fields(f"{self.folder / FILE_NAME}: {name}", self.sections.get(name))

    def profile(self, name: str) -> Profile:
        """A profile by name. Raises SettingsError."""
        if name not in self.profiles:
            known = ", ".join(sorted(set(self.profiles) - INTERNAL))
            raise SettingsError(f"there is no profile {name!r}", hint=f"this CA has {known}")
        return self.profiles[name]

    def issuer_url(self, issuer_id: str) -> str:
        """Where the DER certificate of an issuer is (AIA caIssuers); empty without ``base_url``."""
        return self.base_url and f"{self.base_url}/ca/{issuer_id}.der"

    def crl_url(self, issuer_id: str) -> str:
        """Where the CRL of an issuer is (CDP); empty without ``base_url``."""
        return self.base_url and f"{self.base_url}/crl/{issuer_id}.crl"

    @property
    def ocsp_url(self) -> str:
        """Where the OCSP responder is (AIA OCSP); empty without ``base_url``, or when it is switched off."""
        off = isinstance(section := self.sections.get("ocsp"), dict) and section.get("enabled") is False
        return "" if off or not self.base_url else f"{self.base_url}/ocsp"


def load_settings(folder: Path) -> CaSettings:
    """Read ca.yaml of a folder. Raises SettingsError naming file and key."""
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"{path} cannot be read: {said}", hint="`ottr ca init` makes a CA") from error
    return parse_settings(text, folder)


def parse_settings(text: str, folder: Path) -> CaSettings:
    """Return the settings of the text of a ca.yaml. Raises SettingsError."""
    path = folder / FILE_NAME
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}: not YAML{line}") from error
    fields = Fields(str(path), content)
    settings = CaSettings(
        folder=folder,
        database_url=fields.text("database") or sqlite_url(folder.absolute() / "ca.db"),
        organization=fields.text("organization", "Ottr"),
        base_url=_read_base_url(fields),
        key_algorithm=KeyAlgorithm(fields.choice("key_type", [kind.value for kind in KeyAlgorithm], "ec256")),
        backdate_s=fields.span("backdate", 300.0),
        renew_fraction=fields.fraction("renew_fraction", 2 / 3),
        token=_read_token(fields.section("token")),
        constraints=_read_constraints(fields.section("name_constraints")),
        profiles=_read_profiles(fields),
        sections=MappingProxyType({name: fields.raw(name) for name in SECTIONS}),
    )
    fields.finish()
    return settings


def write_settings(organization: str, base_url: str, key_algorithm: KeyAlgorithm) -> str:
    """The text of a first ca.yaml."""
    return _TEMPLATE.format(
        organization=json.dumps(organization), base_url=json.dumps(base_url), key_type=key_algorithm.value
    )


_TEMPLATE = """\
# Settings of a private CA. Time spans: 90d, 12h, 1h30m, or seconds.

# Part of the names of its issuers.
organization: {organization}

# Where issuers, CRLs and OCSP answers are found: a plain http:// URL, which every certificate carries for its whole
# life. Empty: certificates carry none, and their status can be learnt nowhere.
base_url: {base_url}

# Of new issuers: ec256, ec384, ec521, rsa2048, rsa3072, rsa4096, ed25519 (which not every client knows).
key_type: {key_type}

# An SQLAlchemy URL; else ca.db in this folder.
# database: postgresql://ca@db.example.com/ca

# Keys of issuers in a PKCS#11 token, whose PIN is the passphrase; else sealed files in keys/.
# token: {{module: /usr/lib/softhsm/libsofthsm2.so, token: ca}}

# What new intermediates may certify (RFC 5280 section 4.2.1.10).
# name_constraints:
#   permitted_dns: [example.com]
#   excluded_ip: [0.0.0.0/0, "::/0"]

# How long before its issuance a certificate begins to be valid.
# backdate: 5m

# Where `ottr ca serve` has CRLs, OCSP answers and issuers without TLS, for base_url. Or see `ottr ca publish`.
# server: {{http_listen: "0.0.0.0:80"}}

# Share of the lifetime after which `ottr ca renew --due` renews what the CA holds the keys for.
# renew_fraction: 0.67

# Built in: server (90d), client (365d), sub_ca (1825d), root (3650d). Others are like one of them.
# profiles:
#   server: {{lifetime: 47d}}
#   node: {{like: server, usages: [server_auth, client_auth]}}
#   short: {{like: server, lifetime: 7d, revocable: false}}
"""


def _read_base_url(fields: Fields) -> str:
    url = fields.text("base_url").rstrip("/")
    parts = urlsplit(url)
    if url and (parts.scheme != "http" or not parts.hostname or parts.path or parts.query or parts.fragment):
        raise fields.error(
            "base_url",
            "a plain http:// URL without a path: who asks for a status cannot check TLS with it first, and /crl, /ca "
            "and /ocsp are where they are",
        )
    return url


def _read_token(fields: Fields) -> TokenSettings | None:
    if not fields.keys():
        return None
    module, label = fields.text("module"), fields.text("token")
    fields.finish()
    if not module or not label:
        raise fields.error("module, token", "the PKCS#11 library and the label of the token")
    return TokenSettings(Path(module), label)


def _read_constraints(fields: Fields) -> Constraints:
    names = ("permitted_dns", "excluded_dns", "permitted_ip", "excluded_ip")
    lists = {name: fields.texts(name) for name in names}
    fields.finish()
    for key, texts in lists.items():
        for text in texts:
            _check_subtree(fields, key, text)
    return Constraints(**lists)


def _check_subtree(fields: Fields, key: str, text: str) -> None:
    try:
        if not key.endswith("dns"):
            ipaddress.ip_network(text)
        elif parse_dns(text).startswith("*"):
            raise ValueError
    except (NameRefused, ValueError) as error:
        raise fields.error(key, "DNS names without wildcards, or networks such as 192.0.2.0/24") from error


def _read_profiles(fields: Fields) -> Mapping[str, Profile]:
    section = fields.section("profiles")
    profiles = dict(BUILT_IN)
    for name in section.keys():  # noqa: SIM118
        one = section.section(name)
        like = one.text("like", name)
        if like not in profiles or name in INTERNAL - {ROOT} or like in INTERNAL - {name}:
            raise one.error(
                "like", "the name of a profile before this one: " + ", ".join(sorted({*profiles} - INTERNAL))
            )
        profiles[name] = _read_profile(one, replace(profiles[like], name=name))
    return MappingProxyType(profiles)


def _read_profile(fields: Fields, base: Profile) -> Profile:
    usages = read_choices(fields, "usages", {usage.value: usage for usage in Usage if usage is not Usage.OCSP_SIGNING})
    keys = read_choices(fields, "keys", {kind.value: kind for kind in KeyAlgorithm})
    points = fields.flag("revocable", default=base.points_to_status)
    profile = replace(
        base,
        lifetime_s=fields.span("lifetime", base.lifetime_s),
        usages=usages or base.usages,
        keys=frozenset(keys) or base.keys,
        points_to_status=points,
    )
    fields.finish()
    if base.is_ca and (usages or points != base.points_to_status):
        raise fields.error("usages, revocable", f"neither of them for {ROOT} and {SUB_CA}")
    if not base.is_ca and not points and profile.lifetime_s > NO_STATUS_MOST_S:
        raise fields.error("lifetime", "at most 7d for certificates that cannot be revoked")
    return profile
