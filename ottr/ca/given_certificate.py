# SPDX-License-Identifier: Apache-2.0
"""The server's certificate where somebody else makes it: two files, which may be replaced while the server runs."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import suppress
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates
from cryptography.x509.oid import ObjectIdentifier

from ottr.ca.own_certificate import load_chain
from ottr.errors import AuthorityError


class GivenCertificate:
    """A TLS context with the certificate and key of two PEM files; both are read again when one of them has changed.

    Only by a pair with the same kind of key: a context keeps one of each kind, and OpenSSL chooses between them for
    each client. Raises AuthorityError when they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loaded = b""
        pem = self._read()
        self._kind = _find_kind(pem)
        self._use(pem)

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on load within a loop, that of the server's handshakes, as ``OwnCertificate`` does."""
        self._loop = loop

    def renew(self) -> None:
        """Load what is in the files by now; new connections get it. Raises AuthorityError, and keeps what it has."""
        pem = self._read()
        if _hash(pem) == self._loaded:
            return
        if _find_kind(pem) != self._kind:
            raise AuthorityError(
                f"{self._certificate} has another kind of key than the certificate that is served, which is not renewed"
                " any more: `ottr ca serve` must be started again"
            )
        if self._loop is None:
            self._use(pem)
        else:
            with suppress(RuntimeError):  # the loop has ended, and the server with it
                self._loop.call_soon_threadsafe(self._use, pem)

    def _use(self, pem: bytes) -> None:
        load_chain(self.context, pem)
        self._loaded = _hash(pem)

    def _read(self) -> bytes:
        """Key and chain, tried on a context that nobody uses: one that did not take a pair would have neither."""
        try:
            pem = self._key.read_bytes() + b"\n" + self._certificate.read_bytes()
            load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)
            _find_kind(pem)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise AuthorityError(
                f"the server's certificate {self._certificate} with key {self._key} cannot be used: {error}",
                hint="`server.certificate` and `server.key` in ca.yaml are PEM files that belong together",
            ) from error
        return pem


def _find_kind(pem: bytes) -> ObjectIdentifier:
    return load_pem_x509_certificates(pem)[0].public_key_algorithm_oid


def _hash(pem: bytes) -> bytes:
    return hashlib.sha256(pem).digest()
