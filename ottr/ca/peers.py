# SPDX-License-Identifier: Apache-2.0
"""Who is at the other end of a connection: its real address, and its certificate when TLS asked for one.

ASGI servers tell an application neither: uvicorn may put the address of a forwarding header in place of the real
one, and leaves the certificate out. So the protocol of each connection reads both from the transport, once, and puts
them into the scope of every request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import ASGIApp, Receive, Scope, Send

from ottr.ca.authority import Authority
from ottr.ca.clients import is_trusted

_EXTENSION = "ottr.peer"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection."""

    address: str = ""
    """Of the socket, whatever headers say; empty for Unix sockets."""
    secure: bool = False
    """TLS ends here."""
    certificate_der: bytes | None = field(default=None, repr=False)
    """That it proved the key of; TLS has seen it as one of an issuer it was told of."""


def tell_peers(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """One of uvicorn's protocols that also puts the peer of its connection into every scope."""

    class PeerProtocol(protocol):  # type: ignore[misc,valid-type]
        app: ASGIApp

        def connection_made(self, transport: asyncio.BaseTransport) -> None:  # after the handshake
            super().connection_made(transport)
            self.app = _tell(self.app, _read(transport))

    return PeerProtocol


def read_peer(scope: Scope) -> Peer:
    """The peer of a request's connection; one of whom nothing is known when the server is another one."""
    found = scope.get("extensions", {}).get(_EXTENSION)
    return found if isinstance(found, Peer) else Peer()


def write_peer(scope: Scope, peer: Peer) -> None:
    """Put the peer where ``read_peer`` finds it."""
    scope["extensions"] = {**scope.get("extensions", {}), _EXTENSION: peer}


def ask_for_certificates(context: ssl.SSLContext, authority: Authority) -> Callable[[], None]:
    """Have a TLS context ask clients for certificates of the CA, without insisting; return what to call again.

    Calling it adds the issuers that are new. None is taken out: what counts in the end is ``verify_client``.
    """
    context.verify_mode = ssl.CERT_OPTIONAL
    known = set[str]()

    def refresh() -> None:
        found = authority.issuers()
        for one in found:
            if one.id not in known and is_trusted(one, found, authority.clock()):
                context.load_verify_locations(cadata=one.certificate.public_bytes(Encoding.DER))
                known.add(one.id)

    refresh()
    return refresh


def _read(transport: asyncio.BaseTransport) -> Peer:
    name, tls = transport.get_extra_info("peername"), transport.get_extra_info("ssl_object")
    address = str(name[0]) if isinstance(name, tuple) else ""
    return Peer(address, secure=tls is not None, certificate_der=tls.getpeercert(binary_form=True) if tls else None)


def _tell(app: ASGIApp, peer: Peer) -> ASGIApp:
    async def told(scope: Scope, receive: Receive, send: Send) -> Any:
        write_peer(scope, peer)
        return await app(scope, receive, send)

    return told
