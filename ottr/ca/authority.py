# SPDX-License-Identifier: Apache-2.0
"""The CA as one object: what the command line, the ACME server, EST and the responders call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from cryptography import x509
from cryptography.x509.oid import NameOID

from ottr.ca import held_keys, issuers
from ottr.ca.certificates import find_by_serial, find_certificate, list_certificates, refuse_unknown
from ottr.ca.csr import Request
from ottr.ca.database import Database
from ottr.ca.envelope import Passphrase
from ottr.ca.issuance import SELF, Issuance, Prepared, Terms
from ottr.ca.keys import generate_key
from ottr.ca.model import Certificate, Issuer, KeyAlgorithm, Phase, Reason, Role, Status
from ottr.ca.names import ANY_NAME
from ottr.ca.profiles import OCSP
from ottr.ca.revocation import Listener, Revocation
from ottr.ca.schema import certificate
from ottr.ca.settings import CaSettings
from ottr.ca.signer import Keyring, Signer, build_signer
from ottr.errors import RequestRefused, StoreError

Clock = Callable[[], datetime]


def read_clock() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class OcspSigner:
    """A delegated responder (RFC 6960 section 4.2.2.2) of one issuer."""

    signer: Signer
    certificate: x509.Certificate
    renew_at: datetime
    """Ask for another one from then on; answers signed before stay valid until its end."""


class Authority:
    """Issues and revokes for one CA. Safe for threads; several processes may work on one database."""

    def __init__(
        self,
        settings: CaSettings,
        database: Database,
        keyring: Keyring,
        passphrase: Passphrase,
        *,
        listeners: Sequence[Listener] = (),
        clock: Clock = read_clock,
    ) -> None:
        self.settings = settings
        self.database = database
        self.keyring = keyring
        self.clock = clock
        self.passphrase = passphrase
        self.issuance = Issuance(settings, keyring)
        self.revocation = Revocation(listeners)

    def prepare(self, request: Request, terms: Terms) -> Prepared:
        """Decide and lint, without signing. Raises RequestRefused, NameRefused, SettingsError, UnknownCertificate."""
        with self.database.read() as connection:
            return self.issuance.prepare(connection, request, terms, self.clock())

    def sign(self, connection: sa.Connection, prepared: Prepared) -> Certificate:
        """Sign and record in the caller's ``database.write()``; hand the certificate out after its commit only."""
        return self.issuance.sign(connection, prepared)

    def issue(self, request: Request, terms: Terms) -> Certificate:
        """Prepare, lint, sign and record, in a transaction of its own."""
        prepared = self.prepare(request, terms)
        with self.database.write() as connection:
            return self.sign(connection, prepared)

    def revoke(self, issuer_id: str, serial: str, reason: Reason, actor: str) -> Certificate:
        """Revoke, hold or release one certificate. Raises UnknownCertificate, StatusConflict."""
        with self.database.write() as connection:
            row = find_certificate(connection, issuer_id, serial)
            if row is None:
                raise refuse_unknown(serial)
            return self.revoke_row(connection, row, reason, actor)

    def revoke_row(self, connection: sa.Connection, row: Certificate, reason: Reason, actor: str) -> Certificate:
        """The same in the caller's transaction, in which ``row`` was read. Raises StatusConflict."""
        return self.revocation.change(connection, row, reason, self.clock(), actor)

    def hold(self, issuer_id: str, serial: str, actor: str) -> Certificate:
        """Suspend until ``release`` or ``revoke``."""
        return self.revoke(issuer_id, serial, Reason.CERTIFICATE_HOLD, actor)

    def release(self, issuer_id: str, serial: str, actor: str) -> Certificate:
        """Lift a hold."""
        return self.revoke(issuer_id, serial, Reason.REMOVE_FROM_CRL, actor)

    def find(self, issuer_id: str, serial: str) -> Certificate | None:
        """Look a certificate up; None: never issued."""
        with self.database.read() as connection:
            return find_certificate(connection, issuer_id, serial)

    def find_serial(self, serial: str, issuer_id: str = "") -> Certificate:
        """Look a certificate up by its serial, and its issuer if that is known. Raises UnknownCertificate."""
        with self.database.read() as connection:
            found = [row for row in find_by_serial(connection, serial) if issuer_id in ("", row.issuer_id)]
        if not found:
            raise refuse_unknown(serial)
        if len(found) > 1:
            raise StoreError(f"{len(found)} issuers have used the serial {serial}", hint="name the issuer too")
        return found[0]

    def active_issuer(self, role: Role = Role.INTERMEDIATE) -> Issuer:
        """Who signs now. Raises UnknownCertificate."""
        with self.database.read() as connection:
            return issuers.find_active(connection, role, self.clock())

    def issuers(self) -> tuple[Issuer, ...]:
        """Every issuer, the newest first."""
        with self.database.read() as connection:
            return issuers.list_issuers(connection)

    def chains(self, issuer_id: str) -> tuple[tuple[x509.Certificate, ...], ...]:
        """Chains to send with a certificate of an issuer, without the roots themselves: the usual one, then alternates.

        While an older root is trusted beside the new one, the usual one goes on to it over the cross-signed
        certificate: verifiers that have the new root stop there, those that have only the old one go on.
        """
        with self.database.read() as connection:
            return issuers.list_chains(connection, issuer_id)

    def trust_bundle(self) -> tuple[x509.Certificate, ...]:
        """Roots to trust: of every generation that is not retired, revoked or over, the newest first."""
        now = self.clock()
        return tuple(
            one.certificate
            for one in self.issuers()
            if one.role is Role.ROOT
            and one.phase is not Phase.RETIRED
            and one.status is Status.VALID
            and one.not_after > now
        )

    def load_signer(self, issuer_id: str) -> Signer:
        """The key of an issuer, for CRLs. Raises UnknownCertificate, KeyUnavailable."""
        with self.database.read() as connection:
            issuer = issuers.get_issuer(connection, issuer_id)
        if not issuer.key_id:
            raise RequestRefused(f"the CA does not have the key of {issuer_id}")
        return self.keyring.load(issuer.key_id)

    def load_ocsp_signer(self, issuer_id: str, *, common_name: str = "") -> OcspSigner:
        """The responder of an issuer, of P-256; a new one when less than half its life is left. Shared by processes."""
        with self.database.read() as connection:
            found = self._find_ocsp_signer(connection, issuer_id)
        if found is not None:
            return found
        request_key = generate_key(KeyAlgorithm.EC256)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or f"OCSP responder of {issuer_id}")])
        request = Request(request_key.public_key(), subject=subject)
        with self.database.write() as connection:
            found = self._find_ocsp_signer(connection, issuer_id)  # another process was quicker
            if found is not None:
                return found
            now = self.clock()
            key_id = held_keys.insert_key(connection, request_key, self.passphrase, now)
            issuer = issuers.get_issuer(connection, issuer_id)
            terms = Terms(OCSP, ANY_NAME, SELF, issuer=issuer, key_id=key_id)
            row = self.sign(connection, self.issuance.prepare(connection, request, terms, now))
            return _build_ocsp_signer(row, build_signer(request_key))

    def _find_ocsp_signer(self, connection: sa.Connection, issuer_id: str) -> OcspSigner | None:
        now, c = self.clock(), certificate.c
        # Not as a parameter: only so the index is used that has nothing but signers.
        where = (
            c.issuer_id == issuer_id,
            c.profile == sa.literal_column(f"'{OCSP}'"),
            c.status == Status.VALID.value,
            c.not_after > now,
        )
        for row in list_certificates(connection, *where, newest_first=True):
            if row.der is not None and row.not_before + (row.not_after - row.not_before) / 2 > now:
                key = held_keys.load_key(connection, row.key_id, self.passphrase)
                return _build_ocsp_signer(row, build_signer(key))
        return None


def _build_ocsp_signer(row: Certificate, signer: Signer) -> OcspSigner:
    half = timedelta(seconds=(row.not_after - row.not_before).total_seconds() // 2)
    return OcspSigner(signer, parse_row(row), row.not_before + half)


def parse_row(row: Certificate) -> x509.Certificate:
    """The certificate of a row. Raises StoreError when only its index entry was imported."""
    if row.der is None:
        raise StoreError(f"only the index entry of {row.serial} is known, not the certificate")
    return x509.load_der_x509_certificate(row.der)
