# SPDX-License-Identifier: Apache-2.0
"""The section ``issuers`` of ottr.yaml."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from ottr.files.document import Entry
from ottr.files.fields import (
    read_boolean,
    read_choice,
    read_contact,
    read_duration,
    read_each,
    read_integer,
    read_name,
    read_path,
    read_text,
    read_texts,
    read_url,
)
from ottr.files.secrets import read_secret
from ottr.model import KeyType, Secret
from ottr.settings import ExternalAccount, IssuerSettings

DIRECTORIES: Mapping[str, str] = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
"""Directories known by a short name."""

_ISSUER = frozenset(
    [
        "directory",
        "contact",
        "terms_of_service_agreed",
        "external_account",
        "profile",
        "profile_required",
        "preferred_chain",
        "ca_bundle",
        "trust",
        "issuer_names",
        "key_type",
        "staging",
        "timeout",
        "order_timeout",
        "connections",
    ]
)
_EXTERNAL_ACCOUNT = frozenset({"kid", "hmac_key", "algorithm"})
_ALGORITHMS = ("HS256", "HS384", "HS512")


def read_issuers(entry: Entry, environment: Mapping[str, str]) -> Mapping[str, IssuerSettings]:
    """Return the issuers by name. Raises SettingsError."""
    entries = entry.items()
    for name, issuer in entries.items():
        _check_other(issuer.items().get("staging"), name, entries)
    return {name: _read_issuer(name, issuer, environment) for name, issuer in entries.items()}


def find_default(issuers: Mapping[str, IssuerSettings], entry: Entry | None) -> str:
    """Return the issuer of devices that name none: as said, else the only one that stands in for no other."""
    if entry is not None:
        return read_issuer_name(entry, issuers)
    stand_ins = {issuer.staging for issuer in issuers.values()}
    names = [name for name in issuers if name not in stand_ins]
    return names[0] if len(names) == 1 else ""


def read_issuer_name(entry: Entry, issuers: Mapping[str, object]) -> str:
    """Return the name of an issuer that there is."""
    name = read_text(entry, "the name of an issuer")
    if name not in issuers:
        known = ", ".join(sorted(issuers)) or "none"
        raise entry.error(f"there is no issuer {name!r}; issuers of ottr.yaml: {known}")
    return name


def _check_other(entry: Entry | None, name: str, issuers: Mapping[str, Entry]) -> None:
    if entry is not None and read_issuer_name(entry, issuers) == name:
        raise entry.error("an issuer cannot stand in for itself")


def _read_issuer(name: str, entry: Entry, environment: Mapping[str, str]) -> IssuerSettings:
    read_name(Entry(entry.source, entry.line, entry.key, name, name))
    fields = entry.fields(_ISSUER)
    if "directory" not in fields:
        raise entry.error("directory is missing", hint=f"a URL (https://…), or one of {', '.join(DIRECTORIES)}")
    profile = _text(fields, "profile")
    required = "profile_required" in fields and read_boolean(fields["profile_required"])
    if required and not profile:
        raise fields["profile_required"].error("there is no profile to require")
    agreed = fields.get("terms_of_service_agreed")
    return IssuerSettings(
        name=name,
        directory=_read_directory(fields["directory"]),
        contact=read_each(fields["contact"], read_contact) if "contact" in fields else (),
        terms_of_service_agreed=agreed is not None and read_boolean(agreed),
        external_account=_read_external_account(fields.get("external_account"), environment),
        profile=profile,
        profile_required=required,
        preferred_chain=_text(fields, "preferred_chain"),
        ca_bundle=_read_roots(fields.get("ca_bundle")),
        trust=_read_roots(fields.get("trust")),
        issuer_names=read_texts(fields["issuer_names"]) if "issuer_names" in fields else (),
        key_type=read_choice(fields["key_type"], KeyType) if "key_type" in fields else KeyType.EC256,
        staging=_text(fields, "staging"),
        timeout_s=read_duration(fields["timeout"]) if "timeout" in fields else 30.0,
        order_timeout_s=read_duration(fields["order_timeout"]) if "order_timeout" in fields else 300.0,
        connections=read_integer(fields["connections"], 1, 256) if "connections" in fields else 8,
    )


def _text(fields: Mapping[str, Entry], key: str) -> str:
    return read_text(fields[key]) if key in fields else ""


def _read_directory(entry: Entry) -> str:
    if isinstance(entry.value, str) and entry.value in DIRECTORIES:
        return DIRECTORIES[entry.value]
    return read_url(entry)


def _read_roots(entry: Entry | None) -> Path | None:
    """A file of PEM certificates; None for ``system``."""
    if entry is None or entry.value == "system":
        return None
    path = read_path(entry)
    if not path.is_file():
        raise entry.error(f"{path}: there is no such file", hint="a file of PEM certificates, or `system`")
    return path


def _read_external_account(entry: Entry | None, environment: Mapping[str, str]) -> ExternalAccount | None:
    if entry is None:
        return None
    fields = entry.fields(_EXTERNAL_ACCOUNT)
    for key in ("kid", "hmac_key"):
        if key not in fields:
            raise entry.error(f"{key} is missing", hint="the CA hands out both, kid and hmac_key")
    algorithm = _text(fields, "algorithm") or "HS256"
    if algorithm not in _ALGORITHMS:
        raise fields["algorithm"].expected(f"one of {', '.join(_ALGORITHMS)}")
    hmac_key = read_secret(fields["hmac_key"], environment)
    _check_base64url(hmac_key, fields["hmac_key"])
    return ExternalAccount(read_text(fields["kid"], "a text in quotes"), hmac_key, algorithm)


def _check_base64url(secret: Secret, entry: Entry) -> None:
    text = secret.reveal().rstrip("=")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        # Not chained: the library's error may quote the secret.
        raise entry.error("expected base64url, as the CA hands it out") from None
