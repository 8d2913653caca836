# SPDX-License-Identifier: Apache-2.0
"""Is a device due? Pure: everything it needs is an argument, ``now`` included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from ottr import x509
from ottr.model import Device, Route
from ottr.settings import RotationSettings


class Reason(StrEnum):
    """Why a device is due or not: exactly one for each device."""

    FORCED = "forced"
    REVOKED = "revoked"
    UNFINISHED = "unfinished"
    """A rotation is open: begun, perhaps issued, not yet served."""
    NEVER_ISSUED = "never_issued"
    ARI_WINDOW = "ari_window"
    NAMES_CHANGED = "names_changed"
    ISSUER_CHANGED = "issuer_changed"
    KEY_TYPE_CHANGED = "key_type_changed"
    DRIFT = "drift"
    LIFETIME_FRACTION = "lifetime_fraction"
    NOT_DUE = "not_due"
    QUARANTINED = "quarantined"
    DEFERRED = "deferred"
    OUTSIDE_WINDOW = "outside_window"


@dataclass(frozen=True, slots=True)
class Known:
    """A certificate as far as the policy cares."""

    sha256: str
    ca: str
    """Key of ``issuers``; empty: found on the device, judged by its issuer's name."""
    issuer: str
    dns_names: tuple[str, ...]
    key_type: str
    not_before: datetime
    not_after: datetime
    revoked: bool = False
    self_signed: bool = False

    @classmethod
    def of(cls, leaf: x509.Certificate) -> Known:
        """A certificate found on a device: judged by the name of its issuer."""
        key_type = leaf.key_type or ""
        times = (leaf.not_before, leaf.not_after)
        return cls(leaf.sha256, "", leaf.issuer, leaf.dns_names, key_type, *times, self_signed=leaf.self_signed)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a device when the question is asked; connects to nothing."""

    known: Known | None = None
    served_sha256: str | None = None
    """What the last ``verify`` saw; None: never looked since the certificate was installed."""
    unfinished: bool = False
    half_installed: bool = False
    """The open rotation was stopped between bind and verify: nothing is more urgent than its end."""
    forced: bool = False
    quarantined: bool = False
    not_before: datetime | None = None
    """Earliest time of another try: a CA's Retry-After, or back-off after a failure."""
    renewal_at: datetime | None = None
    """Instant chosen in the CA's window for the known certificate (RFC 9773 section 4.2)."""
    window_open: bool = True
    window_opens: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Due or not, one reason code, and when the answer may change."""

    due: bool
    reason: Reason
    next_at: datetime | None = None


def decide(
    device: Device,
    route: Route,
    situation: Situation,
    now: datetime,
    settings: RotationSettings,
    issuer_names: Sequence[str] = (),
) -> Decision:
    """Tell whether a device should be rotated now.

    ``issuer_names``: globs over the RFC 4514 name that the route's issuer signs with; empty: any.
    """
    if situation.quarantined and not situation.forced:
        return Decision(due=False, reason=Reason.QUARANTINED)
    reason, next_at = _cause(device, route, situation, now, settings, issuer_names)
    if reason is Reason.NOT_DUE:
        return Decision(due=False, reason=reason, next_at=next_at)
    if situation.forced or (situation.half_installed and reason is Reason.UNFINISHED):
        return Decision(due=True, reason=reason)
    if situation.not_before is not None and now < situation.not_before:
        return Decision(due=False, reason=Reason.DEFERRED, next_at=situation.not_before)
    if not situation.window_open:
        return Decision(due=False, reason=Reason.OUTSIDE_WINDOW, next_at=situation.window_opens)
    return Decision(due=True, reason=reason)


def renewal_time(known: Known, route: Route, settings: RotationSettings) -> datetime:
    """When a certificate becomes due by its lifetime alone.

    A ``renew_before`` that is no shorter than the lifetime would make it due at every run: the share counts then.
    """
    lifetime = known.not_after - known.not_before
    if route.renew_before is not None and timedelta(seconds=route.renew_before) < lifetime:
        return known.not_after - timedelta(seconds=route.renew_before)
    if route.renew_fraction is not None:
        return known.not_before + lifetime * route.renew_fraction
    short = lifetime.total_seconds() < settings.short_lifetime_s
    return known.not_before + lifetime * (settings.renew_fraction_short if short else settings.renew_fraction)


def changed(device: Device, route: Route, known: Known, issuer_names: Sequence[str]) -> Reason | None:
    """What about a certificate is not as the route asks; None: nothing."""
    if set(known.dns_names) != set(device.dns_names):
        return Reason.NAMES_CHANGED
    if not _same_issuer(route, known, issuer_names):
        return Reason.ISSUER_CHANGED
    if known.key_type != route.key_type:
        return Reason.KEY_TYPE_CHANGED
    return None


def _cause(
    device: Device,
    route: Route,
    situation: Situation,
    now: datetime,
    settings: RotationSettings,
    issuer_names: Sequence[str],
) -> tuple[Reason, datetime | None]:
    known = situation.known
    if situation.forced:
        return Reason.FORCED, None
    if known is not None and known.revoked:
        return Reason.REVOKED, None
    if situation.unfinished:
        return Reason.UNFINISHED, None
    if known is None or known.self_signed:
        return Reason.NEVER_ISSUED, None
    if situation.renewal_at is not None and situation.renewal_at <= now:
        return Reason.ARI_WINDOW, None
    difference = changed(device, route, known, issuer_names)
    if difference is not None:
        return difference, None
    if situation.served_sha256 is not None and situation.served_sha256 != known.sha256:
        return Reason.DRIFT, None
    at = renewal_time(known, route, settings)
    if at <= now:
        return Reason.LIFETIME_FRACTION, None
    return Reason.NOT_DUE, min(at, situation.renewal_at or at)


def _same_issuer(route: Route, known: Known, issuer_names: Sequence[str]) -> bool:
    if known.ca:
        return known.ca == route.issuer
    return not issuer_names or any(fnmatchcase(known.issuer, glob) for glob in issuer_names)


def urgency(decision: Decision, known: Known | None) -> tuple[int, float]:
    """Sort key when slots or rate limits are short: what cannot wait, then soonest expiry, then new ones."""
    if decision.reason in (Reason.REVOKED, Reason.FORCED, Reason.UNFINISHED):
        return 0, 0.0
    return (2, 0.0) if known is None else (1, known.not_after.timestamp())
