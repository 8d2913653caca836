# SPDX-License-Identifier: Apache-2.0
"""The server's certificate where somebody else makes it: two files, which may be replaced while the server runs."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import suppress
from pathlib import Path

from ottr.ca.own_certificate import load_chain
from ottr.errors import AuthorityError


class GivenCertificate:
    """A TLS context with the certificate and key of two PEM files; both are read again when one of them has changed.

    Raises AuthorityError when they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loaded = b""
        self._use(self._read())

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on load within a loop, that of the server's handshakes, as ``OwnCertificate`` does."""
        self._loop = loop

    def renew(self) -> None:
        """Load what is in the files by now; new connections get it. Raises AuthorityError, and keeps what it has."""
        pem = self._read()
        if _hash(pem) == self._loaded:
            return
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
        except (OSError, ssl.SSLError) as error:
            raise AuthorityError(
                f"the server's certificate {self._certificate} with key {self._key} cannot be used: {error}",
                hint="`server.certificate` and `server.key` in ca.yaml are PEM files that belong together",
            ) from error
        return pem


def _hash(pem: bytes) -> bytes:
    return hashlib.sha256(pem).digest()
