# SPDX-License-Identifier: Apache-2.0
"""Who asks: the client certificate that TLS has seen here, or that the proxy says it has seen.

A proxy proves itself twice: it connects from one of its addresses, and it sends its secret. Its headers from anybody
else are refused aloud rather than overlooked.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.datastructures import Headers

from ottr.ca.est.settings import ProxySettings
from ottr.ca.peers import Peer

SECRET_HEADER = "x-ottr-proxy-secret"  # noqa: S105  # its name, not the secret
CERTIFICATE_HEADER = "x-ssl-client-cert"
"""The client's certificate as PEM, percent-encoded: nginx's ``$ssl_client_escaped_cert``."""
VERIFY_HEADER = "x-ssl-client-verify"
"""``SUCCESS``, ``NONE`` or ``FAILED:why``: nginx's ``$ssl_client_verify``."""
_HEADERS = (SECRET_HEADER, CERTIFICATE_HEADER, VERIFY_HEADER)


class EstProblem(Exception):
    """An answer that is no certificate: its status and, in English, why. ``allow``: methods, for status 405."""

    def __init__(self, status: int, text: str, allow: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.allow = allow


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    secure: bool
    """Nobody between the client and us, or the client and our proxy, reads what is sent."""
    certificate_der: bytes | None = field(default=None, repr=False)


def find_caller(peer: Peer, headers: Headers, proxy: ProxySettings | None) -> Caller:
    """Who asks. Raises EstProblem for headers of a proxy that are not our proxy's, or that say the client failed."""
    said = {name: headers.getlist(name) for name in _HEADERS if name in headers}
    if not said:
        return Caller(peer.secure, peer.certificate_der)
    if any(len(values) > 1 for values in said.values()):
        raise EstProblem(401, "a header of the proxy comes twice")
    if proxy is None or not _is_proxy(peer, "".join(said.get(SECRET_HEADER, [])), proxy):
        raise EstProblem(401, "these headers count only when they come from this server's own proxy")
    verified = "".join(said.get(VERIFY_HEADER, []))
    certificate = "".join(said.get(CERTIFICATE_HEADER, []))
    if verified == "NONE" and not certificate:
        return Caller(secure=True)
    if verified != "SUCCESS":
        raise EstProblem(403, f"the proxy did not verify the client certificate: {verified[:200] or 'it says nothing'}")
    return Caller(secure=True, certificate_der=_read_certificate(certificate))


def _is_proxy(peer: Peer, secret: str, proxy: ProxySettings) -> bool:
    """Both, always compared: neither alone tells whether it was right."""
    knows = hmac.compare_digest(secret.encode("latin-1"), proxy.secret)
    return knows and any(_lies_in(peer.address, network) for network in proxy.addresses)


def _lies_in(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:  # a Unix socket has no address
        return False


def _read_certificate(escaped: str) -> bytes:
    try:
        return x509.load_pem_x509_certificate(unquote(escaped).encode("latin-1")).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion) as error:
        raise EstProblem(403, "the proxy's client certificate cannot be read") from error
