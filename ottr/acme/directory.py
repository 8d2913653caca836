# SPDX-License-Identifier: Apache-2.0
"""The directory (RFC 8555 section 7.1.1): where a CA wants which request, and what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ottr.acme.network import Network, parse_json
from ottr.acme.patience import Patience
from ottr.errors import AcmeProblem


@dataclass(frozen=True, slots=True)
class Directory:
    """URLs by their names in RFC 8555; those a CA may leave out are empty then."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke_cert: str = ""
    key_change: str = ""
    renewal_info: str = ""
    """RFC 9773; empty: the CA has no renewal information and takes no ``replaces``."""
    terms_of_service: str = ""
    external_account_required: bool = False
    caa_identities: tuple[str, ...] = ()
    """Names by which CAA records mean this CA (RFC 8659)."""
    profiles: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Name to description (draft-ietf-acme-profiles)."""


def fetch_directory(network: Network, url: str, patience: Patience) -> Directory:
    """GET a directory. Raises IssuanceError."""
    return parse_directory(parse_json(network.get(url, patience), f"the directory {url}"), url)


def parse_directory(jobj: Mapping[str, Any], url: str) -> Directory:
    """Read a directory, without its unknown entries. Raises AcmeProblem when one that every order needs is missing."""
    missing = [name for name in ("newNonce", "newAccount", "newOrder") if not isinstance(jobj.get(name), str)]
    if missing:
        raise AcmeProblem(
            f"{url} is not an ACME directory: {', '.join(missing)} is missing",
            hint="check the directory URL of the issuer in ottr.yaml",
        )
    meta = _mapping(jobj.get("meta"))
    return Directory(
        new_nonce=jobj["newNonce"],
        new_account=jobj["newAccount"],
        new_order=jobj["newOrder"],
        revoke_cert=_text(jobj, "revokeCert"),
        key_change=_text(jobj, "keyChange"),
        renewal_info=_text(jobj, "renewalInfo"),
        terms_of_service=_text(meta, "termsOfService"),
        external_account_required=meta.get("externalAccountRequired") is True,
        caa_identities=_texts(meta.get("caaIdentities")),
        profiles=_mapping(meta.get("profiles")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _text(jobj: Mapping[str, Any], name: str) -> str:
    value = jobj.get(name)
    return value if isinstance(value, str) else ""
