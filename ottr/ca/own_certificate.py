# SPDX-License-Identifier: Apache-2.0
"""The certificate that the CA issues to its own server."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ottr.ca import issuers
from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import get_certificate
from ottr.ca.clients import is_trusted
from ottr.ca.csr import Request
from ottr.ca.issuance import Terms
from ottr.ca.keys import generate_key
from ottr.ca.model import Certificate, KeyAlgorithm, Status
from ottr.ca.names import ANY_NAME, parse_names

_PROFILE = "server"
_LIFETIME_S = 7 * 86400.0


class OwnCertificate:
    """A TLS context with a certificate that the CA issues to its own server; made anew at half its life.

    The key is never stored. Linux only, since Python's ``ssl`` reads keys from files.
    """

    def __init__(self, authority: Authority, names: Sequence[str]) -> None:
        self._authority = authority
        self._names = parse_names(names)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._row: Certificate | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.renew()

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on load within a loop, that of the server's handshakes.

        One that began between the loading of a certificate and that of its key would find no pair.
        """
        self._loop = loop

    def renew(self) -> None:
        """Load a new certificate when this one has lived half its life or counts no more; new connections get it."""
        former = self._row
        if former is not None and self._is_good(former):
            return
        key = generate_key(self._choose_algorithm())
        terms = Terms(_PROFILE, ANY_NAME, "ca:server", lifetime_s=_LIFETIME_S)
        row = self._authority.issue(Request(key.public_key(), self._names), terms)
        chain = (parse_row(row), *self._authority.chains(row.issuer_id)[0])
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        if self._loop is None:
            self._use(former, row, secret + pem)
        else:
            with suppress(RuntimeError):  # the loop has ended, and the server with it
                self._loop.call_soon_threadsafe(self._use, former, row, secret + pem)

    def _use(self, former: Certificate | None, row: Certificate, pem: bytes) -> None:
        """What could not be loaded (no more open files, say) is not this server's: the next look makes another.

        Of several that were made while the loop was busy the first is loaded.
        """
        if self._row is former:
            load_chain(self.context, pem)
            self._row = row

    def _is_good(self, row: Certificate) -> bool:
        """Half of its life is left, and neither it nor who vouches for it was revoked or retired."""
        now = self._authority.clock()
        with self._authority.database.read() as connection:
            found = get_certificate(connection, row.id)
            known = issuers.list_issuers(connection)
        issuer = next(one for one in known if one.id == row.issuer_id)
        half = row.issued_at + (row.not_after - row.issued_at) / 2
        return found.status is Status.VALID and now < half and is_trusted(issuer, known, now)

    def _choose_algorithm(self) -> KeyAlgorithm:
        """P-256 where the profile certifies it."""
        kinds = self._authority.settings.profile(_PROFILE).keys
        return next(kind for kind in KeyAlgorithm if kind in kinds)


def load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a key and a chain from memory that has a file's name, so that no disk has the key, even after a crash.

    Nobody is asked for the password of an encrypted key. Raises OSError, ssl.SSLError.
    """
    descriptor = os.memfd_create("ottr-ca")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)
