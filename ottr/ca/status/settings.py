# SPDX-License-Identifier: Apache-2.0
"""The sections ``crl`` and ``ocsp`` of ca.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ottr.ca.fields import Fields
from ottr.ca.profiles import BUILT_IN, DAY_S, OCSP
from ottr.ca.settings import CaSettings
from ottr.ca.status.request import HASHES

_LEAST_S = 60.0
_MOST_CRL_S = 365 * DAY_S


class NoncePolicy(Enum):
    """What a nonce in a request does (RFC 9654)."""

    OPTIONAL = "optional"
    """An answer of its own with the nonce; without one, an answer from the cache."""
    REQUIRED = "required"
    """Requests without one are malformed."""
    IGNORE = "ignore"
    """Every answer is from the cache."""


@dataclass(frozen=True, slots=True)
class CrlSettings:
    """The section ``crl``."""

    lifetime_s: float = 7 * DAY_S
    """From thisUpdate to nextUpdate; a new one is made when half of it is over."""
    deltas: bool = False
    delta_lifetime_s: float = DAY_S
    complete_every_s: float = 3600.0
    """With deltas: how long a revocation waits for the next complete CRL. Without: not at all."""
    issuing_point: bool = True
    """Say in the CRLs of intermediates which address they are of (RFC 5280 section 5.2.5)."""
    urls: tuple[str, ...] = ()
    """Other addresses, with ``{issuer}``, that certificates issued earlier carry."""


@dataclass(frozen=True, slots=True)
class OcspSettings:
    """The section ``ocsp``."""

    enabled: bool = True
    lifetime_s: float = DAY_S
    """From thisUpdate to nextUpdate; signed anew when half of it is over."""
    nonce: NoncePolicy = NoncePolicy.OPTIONAL
    archive_cutoff_s: float = 0.0
    """How long the status of expired certificates is kept, said in every answer; 0: nothing is said."""
    most_cached: int = 100_000
    """Answers in memory, about a kilobyte each."""
    published_hashes: tuple[str, ...] = ("sha1", "sha256")
    """Of the requests that ``ottr ca publish`` writes answers for."""


def read_crl_settings(settings: CaSettings) -> CrlSettings:
    """Read the section. Raises SettingsError naming file and key."""
    fields, usual = settings.section("crl"), CrlSettings()
    read = CrlSettings(
        lifetime_s=_read_span(fields, "lifetime", usual.lifetime_s, _MOST_CRL_S),
        deltas=fields.flag("deltas", default=usual.deltas),
        delta_lifetime_s=_read_span(fields, "delta_lifetime", usual.delta_lifetime_s, _MOST_CRL_S),
        complete_every_s=fields.span("complete_every", usual.complete_every_s),
        issuing_point=fields.flag("issuing_point", default=usual.issuing_point),
        urls=fields.texts("urls"),
    )
    fields.finish()
    if any("{issuer}" not in url for url in read.urls):
        raise fields.error("urls", "addresses with {issuer} where the issuer's id belongs")
    return read


def read_ocsp_settings(settings: CaSettings) -> OcspSettings:
    """Read the section. Raises SettingsError naming file and key."""
    fields, usual = settings.section("ocsp"), OcspSettings()
    signer_s = BUILT_IN[OCSP].lifetime_s
    read = OcspSettings(
        enabled=fields.flag("enabled", default=usual.enabled),
        lifetime_s=_read_span(fields, "lifetime", usual.lifetime_s, signer_s / 2),
        nonce=NoncePolicy(fields.choice("nonce", [policy.value for policy in NoncePolicy], usual.nonce.value)),
        archive_cutoff_s=fields.span("archive_cutoff", usual.archive_cutoff_s),
        most_cached=fields.number("cached", usual.most_cached),
        published_hashes=fields.texts("published_hashes", usual.published_hashes),
    )
    fields.finish()
    if not set(read.published_hashes) <= set(HASHES):
        raise fields.error("published_hashes", "some of " + ", ".join(HASHES))
    return read


def _read_span(fields: Fields, key: str, default_s: float, most_s: float) -> float:
    span_s = fields.span(key, default_s)
    if not _LEAST_S <= span_s <= most_s:
        raise fields.error(key, f"a span from 1m to {most_s / DAY_S:.0f}d")
    return span_s
