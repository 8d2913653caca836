# SPDX-License-Identifier: Apache-2.0
"""The OCSP responder without a socket: a request in, an answer out (RFC 6960, RFC 9654)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ottr.ca.authority import Authority
from ottr.ca.certificates import find_certificate
from ottr.ca.model import Certificate
from ottr.ca.status.answer import AnswerWriter, Refusal, Validity, write_single
from ottr.ca.status.cache import Cache, Entry
from ottr.ca.status.identities import Identities
from ottr.ca.status.request import CertId, Malformed, OcspRequest, build_request, parse_request
from ottr.ca.status.settings import NoncePolicy, OcspSettings
from ottr.ca.status.watch import Heard, Watch
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
_UNKNOWN_S = 300.0
"""How long one may believe that a certificate was never issued."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An OCSPResponse in DER."""

    der: bytes
    validity: Validity | None = None
    """None: nobody may keep it."""


class Responder:
    """Answers for every issuer whose key the CA has. Safe for threads."""

    def __init__(self, authority: Authority, settings: OcspSettings, cache: Cache) -> None:
        self._authority = authority
        self.settings = settings
        self._cache = cache
        self._lock = threading.Lock()
        self._writers: dict[str, AnswerWriter] = {}
        self._known: tuple[frozenset[str], Identities] = (frozenset(), Identities(()))
        self.watch = Watch(authority.database, self.hear)

    def recall(self, request: bytes) -> Entry | None:
        """The answer in memory to a request as most clients send it, when it is still true; needs no signature.

        Raises StoreError.
        """
        entry = self._cache.find(request)
        if entry is None:
            return None
        self.watch.look()
        entry = self._cache.find(request)
        if entry is None or self._authority.clock() >= entry.validity.next_update:
            return None
        entry.asked = True
        return entry

    def answer(self, data: bytes) -> Answer:
        """Answer a request in DER, whatever it is."""
        try:
            return self._answer(parse_request(data))
        except Malformed as error:
            _LOG.debug("malformed OCSP request: %s", error)
            return Answer(Refusal.MALFORMED_REQUEST.value)
        except AuthorityError as error:
            _LOG.error("OCSP: %s", error)
            return Answer(Refusal.TRY_LATER.value)

    def refresh(self, request: bytes, entry: Entry) -> None:
        """Sign an answer in the cache anew. Raises AuthorityError."""
        self._sign_kept(request, entry.issuer_id, entry.cert_id, entry.serial)

    def hear(self, heard: Heard) -> None:
        """Drop what is about certificates whose status has changed, or was signed by one of them."""
        self._cache.drop(heard)
        writer = self._writers.get(heard.issuer_id)
        serial = "" if writer is None else format(writer.signer.certificate.serial_number, "x")
        if heard.serials is None or serial in heard.serials:
            self._writers.pop(heard.issuer_id, None)
            self._cache.drop(Heard(heard.issuer_id, None))

    def presign(self, issuer_id: str, row: Certificate, cert_id: bytes) -> tuple[bytes, Validity]:
        """An answer about a certificate as it is in ``row``, signed now and kept nowhere. Raises AuthorityError."""
        return self._write(issuer_id, [(cert_id, row)], None)

    def _answer(self, request: OcspRequest) -> Answer:
        nonce = request.nonce if self.settings.nonce is not NoncePolicy.IGNORE else None
        if self.settings.nonce is NoncePolicy.REQUIRED and nonce is None:
            raise Malformed("no nonce, and this responder wants one")
        self.watch.look()
        identities, now = self._identities(), self._authority.clock()
        found = {identities.find(one, now) for one in request.cert_ids}
        issuer_id = found.pop()
        if found or issuer_id is None:  # an answer is signed for one issuer: those of two are not for us either
            return Answer(Refusal.UNAUTHORIZED.value)
        if nonce is not None or len(request.cert_ids) > 1:
            return self._sign(issuer_id, request.cert_ids, nonce)
        cert_id = request.cert_ids[0]
        key = build_request(cert_id.raw)
        entry = self.recall(key)
        if entry is not None:
            return Answer(entry.der, entry.validity)
        return self._sign_kept(key, issuer_id, cert_id.raw, cert_id.serial)

    def _sign_kept(self, key: bytes, issuer_id: str, cert_id: bytes, serial: str) -> Answer:
        generation = self._cache.generation
        row = self._find(issuer_id, [serial])[0]
        der, validity = self._write(issuer_id, [(cert_id, row)], None)
        if row is None:
            return Answer(der)
        refresh_at = validity.produced_at + (validity.next_update - validity.produced_at) / 2
        self._cache.store(key, Entry(der, validity, issuer_id, serial, cert_id, refresh_at), generation)
        return Answer(der, validity)

    def _sign(self, issuer_id: str, cert_ids: Sequence[CertId], nonce: bytes | None) -> Answer:
        rows = self._find(issuer_id, [one.serial for one in cert_ids])
        der, validity = self._write(issuer_id, list(zip((one.raw for one in cert_ids), rows, strict=True)), nonce)
        return Answer(der, validity if nonce is None and None not in rows else None)

    def _write(
        self, issuer_id: str, asked: Sequence[tuple[bytes, Certificate | None]], nonce: bytes | None
    ) -> tuple[bytes, Validity]:
        writer, now, span_s = self._writer(issuer_id), self._authority.clock(), self.settings.archive_cutoff_s
        validity = self._choose_validity(writer, now, known=all(row is not None for _, row in asked))
        cutoff = now - timedelta(seconds=span_s) if span_s else None
        singles = [write_single(cert_id, row, validity, cutoff) for cert_id, row in asked]
        return writer.write(singles, validity, nonce), validity

    def _find(self, issuer_id: str, serials: Sequence[str]) -> list[Certificate | None]:
        with self._authority.database.read() as connection:
            return [find_certificate(connection, issuer_id, serial) for serial in serials]

    def _choose_validity(self, writer: AnswerWriter, now: datetime, *, known: bool) -> Validity:
        """Backdated as certificates are, for clocks that are behind; never beyond the signer's own end."""
        life_s = self.settings.lifetime_s if known else _UNKNOWN_S
        until = min(now + timedelta(seconds=life_s), writer.signer.certificate.not_valid_after_utc)
        return Validity(now, now - timedelta(seconds=self._authority.settings.backdate_s), until)

    def _writer(self, issuer_id: str) -> AnswerWriter:
        with self._lock:
            found = self._writers.get(issuer_id)
            if found is None or found.signer.renew_at <= self._authority.clock():
                generation = self._cache.generation
                found = AnswerWriter(self._authority.load_ocsp_signer(issuer_id))
                if generation == self._cache.generation:  # it has not been revoked since
                    self._writers[issuer_id] = found
            return found

    def _identities(self) -> Identities:
        """Read again when an issuer has come."""
        ids = frozenset(self.watch.versions)
        with self._lock:
            if self._known[0] != ids:
                self._known = (ids, Identities(self._authority.issuers()))
            return self._known[1]
