# SPDX-License-Identifier: Apache-2.0
"""Prepare, lint, sign: nothing is signed that was not linted, and nothing is handed out that is not recorded.

``prepare`` decides on every byte, signs it with a throw-away key of the issuer's kind, and lints that certificate.
``sign`` takes the prepared one, once, and has the issuer sign the very bytes that were linted, in the transaction that
records them. The caller may do more in it; only after it is committed the certificate may leave the process.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca import issuers
from ottr.ca.certificates import (
    Entry,
    describe_content,
    describe_encoding,
    insert_described,
    is_compromised,
    record_event,
)
from ottr.ca.csr import Request
from ottr.ca.der import BIT_STRING, SEQUENCE, read, write
from ottr.ca.keys import generate_key, verify_signature
from ottr.ca.lint import lint
from ottr.ca.model import AuditEvent, Certificate, Issuer, KeyAlgorithm, Names, Phase, Role, Status
from ottr.ca.names import NameRules, include_common_name
from ottr.ca.profiles import INTERNAL, OCSP, ROOT, Profile
from ottr.ca.settings import CaSettings
from ottr.ca.signer import Keyring, Signer, build_signer
from ottr.ca.template import Content, Pointers, build_certificate, build_subject
from ottr.errors import AuthorityError, KeyUnavailable, RequestRefused

_LEAST_LIFE_S = 60.0
MOST_AHEAD = timedelta(days=30)
"""Of the time a certificate begins to be valid, if that is asked for."""
_MOST_PENDING = 1000
"""Prepared and never signed: the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which conditions a request is certified."""

    profile: str
    rules: NameRules
    """Names the requester may have; ``ANY_NAME`` for the operator."""
    requester: str
    """``operator``, ``acme:ACCOUNT``, ``est:SERIAL``, ...: kept with the certificate and in the audit trail."""
    lifetime_s: float | None = None
    """None, or more than the profile's: the profile's. Never beyond the issuer's end."""
    not_before: datetime | None = None
    """None: now, backdated. (ACME orders may ask.)"""
    issuer: Issuer | None = None
    """None: the active intermediate, for sub-CAs the active root."""
    key_id: str = ""
    """Of the key the CA holds for it."""
    auto_renew: bool = False
    constraints: x509.NameConstraints | None = None
    """Of a sub-CA."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A certificate that only lacks its issuer's signature; good for one ``sign``."""

    token: str = field(repr=False)
    issuer: Issuer
    linted: x509.Certificate
    """Signed by nobody's key."""
    entry: Entry


class Issuance:
    """Signs for the issuers of one CA. Safe for threads."""

    def __init__(self, settings: CaSettings, keyring: Keyring) -> None:
        self._settings = settings
        self._keyring = keyring
        self._tokens: dict[str, x509.Certificate] = {}
        self._throw_away: dict[KeyAlgorithm, Signer] = {}
        self._lock = threading.Lock()

    def prepare(self, connection: sa.Connection, request: Request, terms: Terms, now: datetime) -> Prepared:
        """Decide, build and lint. Raises RequestRefused, NameRefused, SettingsError, UnknownCertificate."""
        now = now.replace(microsecond=0)
        profile = self._settings.profile(terms.profile)
        if profile.name in INTERNAL and terms.requester != SELF:
            raise RequestRefused(f"nobody can ask for the profile {profile.name}")
        if profile.is_ca and terms.requester not in (SELF, OPERATOR):
            raise RequestRefused("only the operator makes CAs")
        role = Role.ROOT if profile.is_ca else Role.INTERMEDIATE
        issuer = terms.issuer or issuers.find_active(connection, role, now)
        names = select_names(request, profile)
        terms.rules.check(names)
        common_name = _select_common_name(request, profile, names, terms.rules)
        subject = build_subject(profile, names, request.subject, common_name, whole=terms.rules.whole_subject)
        not_before, not_after = self._choose_dates(profile, terms, issuer, now)
        certificate = issuer.certificate
        content = Content(
            profile=profile,
            public_key=request.public_key,
            subject=subject,
            names=names,
            issuer=certificate.subject,
            issuer_key_identifier=bytes.fromhex(issuer.key_identifier),
            serial=x509.random_serial_number(),
            not_before=not_before,
            not_after=not_after,
            pointers=self.pointers(issuer.id),
            constraints=terms.constraints if profile.is_ca else None,
        )
        entry = Entry(
            issuer.id, profile.name, terms.requester, now, names, key_id=terms.key_id, auto_renew=terms.auto_renew
        )
        return self.check(content, issuer, certificate, entry)

    def check(self, content: Content, issuer: Issuer, certificate: x509.Certificate | None, entry: Entry) -> Prepared:
        """Lint content, given the issuer's certificate (None: a root), and return what may be signed once."""
        stand_in = self._find_stand_in(self._keyring.load(issuer.key_id).algorithm)
        try:
            linted = build_certificate(content).sign(stand_in.key, stand_in.digest)
        except ValueError as error:
            raise RequestRefused(f"the certificate cannot be encoded: {error}") from error
        lint(linted, content.profile, certificate)
        token = secrets.token_hex(16)
        with self._lock:
            self._tokens[token] = linted
            while len(self._tokens) > _MOST_PENDING:
                self._tokens.pop(next(iter(self._tokens)))
        return Prepared(token, issuer, linted, entry)

    def sign(self, connection: sa.Connection, prepared: Prepared) -> Certificate:
        """Sign and record what was linted, in the caller's transaction.

        Raises AuthorityError when it was signed before, RequestRefused when issuer or key have been revoked since,
        KeyUnavailable when the key cannot sign.
        """
        with self._lock:
            linted = self._tokens.pop(prepared.token, None)
        if linted is None:
            raise AuthorityError("this certificate was prepared for one signature, and that has been made")
        described = describe_content(linted)
        self._check_still(connection, prepared, described["spki_sha256"])
        der = _sign(linted.public_bytes(Encoding.DER), self._keyring.load(prepared.issuer.key_id))
        row = insert_described(connection, {**described, **describe_encoding(der)}, prepared.entry)
        record_event(
            connection,
            prepared.entry.issued_at,
            AuditEvent("issue", row.requester, row.issuer_id, row.serial, {"profile": row.profile}),
        )
        return row

    def discard(self, prepared: Prepared) -> None:
        """Forget a prepared certificate that will not be signed."""
        with self._lock:
            self._tokens.pop(prepared.token, None)

    def pointers(self, issuer_id: str) -> Pointers:
        """Addresses that certificates of an issuer carry."""
        settings = self._settings
        return Pointers(settings.issuer_url(issuer_id), settings.crl_url(issuer_id), settings.ocsp_url)

    def _choose_dates(self, profile: Profile, terms: Terms, issuer: Issuer, now: datetime) -> tuple[datetime, datetime]:
        """Whole seconds, within the life of the issuer."""
        start = terms.not_before or now
        if start < now - timedelta(seconds=self._settings.backdate_s) or start > now + MOST_AHEAD:
            raise RequestRefused(f"a certificate begins to be valid now, or within {MOST_AHEAD.days} days")
        lifetime_s = profile.lifetime_s if terms.lifetime_s is None else min(terms.lifetime_s, profile.lifetime_s)
        if lifetime_s < _LEAST_LIFE_S:
            raise RequestRefused(f"a certificate lives for at least {_LEAST_LIFE_S:g} seconds, not {lifetime_s:g}")
        not_after = min(start + timedelta(seconds=lifetime_s), issuer.not_after)
        not_before = max(start - timedelta(seconds=self._settings.backdate_s), issuer.not_before)
        if (not_after - max(start, now)).total_seconds() < _LEAST_LIFE_S:
            raise RequestRefused(
                f"{issuer.id} ends at {issuer.not_after:%Y-%m-%dT%H:%M:%SZ}, too soon for another certificate",
                hint="`ottr ca rollover` makes a new generation",
            )
        return not_before, not_after

    def _check_still(self, connection: sa.Connection, prepared: Prepared, spki_sha256: str) -> None:
        """What another process may have changed since ``prepare``: asked in the transaction that signs."""
        if prepared.entry.profile not in (ROOT, OCSP):  # answers about a retired or revoked issuer go on
            issuers.share_issuer(connection, prepared.issuer.id)
            issuer = issuers.get_issuer(connection, prepared.issuer.id)
            signs = issuer.phase in (Phase.ACTIVE, Phase.RETIRING) or prepared.entry.requester == SELF
            if issuer.status is not Status.VALID or not signs:
                raise RequestRefused(f"{issuer.id} signs no more: it is {issuer.status.value} and {issuer.phase.value}")
        if is_compromised(connection, spki_sha256):
            raise RequestRefused("this key is known to others: a certificate of it was revoked for that", hint=_NEW_KEY)

    def _find_stand_in(self, algorithm: KeyAlgorithm) -> Signer:
        """A key of the issuer's kind that is thrown away with the process; the size of RSA keys does not matter."""
        kind = KeyAlgorithm.RSA2048 if algorithm.name.startswith("RSA") else algorithm
        with self._lock:
            if kind not in self._throw_away:
                self._throw_away[kind] = build_signer(generate_key(kind))
            return self._throw_away[kind]


SELF = "ca"
"""The requester of what the CA issues to itself."""
OPERATOR = "operator"
"""Who sits at the command line."""
_NEW_KEY = "make a new key and ask again"
_OTHER_KEY = "nothing was issued; look whether the key file or the token's key is still the issuer's"


def select_names(request: Request, profile: Profile) -> Names:
    """The names of a request under a profile: for servers a common name that is one counts as well."""
    if profile.subject_is_a_name and request.common_name:
        return include_common_name(request.names, request.common_name)
    return request.names


def _select_common_name(request: Request, profile: Profile, names: Names, rules: NameRules) -> str:
    """The asked common name where the profile has free ones; it must be one of the names or match a rule."""
    common_name = request.common_name
    if not profile.subject_is_a_name and common_name and common_name not in names.texts:
        rules.check_common_name(common_name)
    return common_name


def _sign(linted_der: bytes, signer: Signer) -> bytes:
    """The linted certificate with another signature, and not one byte of it made anew.

    A token that signs wrongly, or in another way than the certificate says, must not go unnoticed.
    """
    content, algorithm, _ = read(linted_der).children()  # RFC 5280 section 4.1.1
    signature = signer.sign(content.raw)
    der = write(SEQUENCE, content.raw, algorithm.raw, write(BIT_STRING, b"\x00", signature))
    leaf = x509.load_der_x509_certificate(der)
    if leaf.signature_algorithm_oid != signer.signature_oid:
        raise KeyUnavailable("the issuer's key signs in another way than the certificate says", hint=_OTHER_KEY)
    try:
        verify_signature(signer.public_key, leaf.signature, content.raw, signer.digest)
    except InvalidSignature as error:
        raise KeyUnavailable("the issuer's key made a wrong signature", hint=_OTHER_KEY) from error
    return der
