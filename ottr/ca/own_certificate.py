# SPDX-License-Identifier: Apache-2.0
"""The certificate that the CA issues to its own server."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ottr.ca.authority import Authority, parse_row
from ottr.ca.csr import Request
from ottr.ca.issuance import Terms
from ottr.ca.keys import generate_key
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import ANY_NAME, parse_names

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
        self._renew_at = datetime.min.replace(tzinfo=authority.clock().tzinfo)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.renew()

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on load within a loop, that of the server's handshakes.

        One that began between the loading of a certificate and that of its key would find no pair.
        """
        self._loop = loop

    def renew(self) -> None:
        """Load a new certificate when half the life of this one is over; new connections get it."""
        now = self._authority.clock()
        if now < self._renew_at:
            return
        key = generate_key(KeyAlgorithm.EC256)
        terms = Terms("server", ANY_NAME, "ca:server", lifetime_s=_LIFETIME_S)
        row = self._authority.issue(Request(key.public_key(), self._names), terms)
        chain = (parse_row(row), *self._authority.chains(row.issuer_id)[0])
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        if self._loop is None:
            _load_chain(self.context, secret + pem)
        else:
            with suppress(RuntimeError):  # the loop has ended, and the server with it
                self._loop.call_soon_threadsafe(_load_chain, self.context, secret + pem)
        self._renew_at = now + timedelta(seconds=(row.not_after - now).total_seconds() / 2)


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """From memory that has a file's name, so that no disk ever has the key, even when the process dies here."""
    descriptor = os.memfd_create("ottr-ca")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
