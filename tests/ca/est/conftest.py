# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.datastructures import Headers
from starlette.responses import Response

from ottr.ca.authority import Authority, parse_row
from ottr.ca.csr import Request
from ottr.ca.est.server import Ask, EstServer
from ottr.ca.est.settings import EstSettings
from ottr.ca.issuance import Terms
from ottr.ca.keys import PrivateKey, generate_key
from ottr.ca.model import Certificate, KeyAlgorithm
from ottr.ca.names import ANY_NAME, parse_names
from ottr.ca.peers import Peer
from tests.ca.est.running import encode, read_certificates
from tests.ca.requests import build_csr, build_name

JSON = dict[str, Any]


@dataclass
class Holder:
    """A client with a key and, mostly, a certificate; asks without a socket."""

    server: EstServer
    row: Certificate | None = None
    key: PrivateKey = field(default_factory=lambda: generate_key(KeyAlgorithm.EC256))

    @property
    def certificate(self) -> x509.Certificate:
        assert self.row is not None
        return parse_row(self.row)

    @property
    def peer(self) -> Peer:
        return Peer("192.0.2.7", secure=True, certificate_der=None if self.row is None else self.row.der)

    def ask(
        self, path: str, body: bytes | None = None, /, method: str = "", peer: Peer | None = None, **headers: str
    ) -> Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            fields.setdefault("content-type", "application/pkcs10")
        verb = method or ("GET" if body is None else "POST")
        return self.server.handle(Ask(verb, path, peer or self.peer, Headers(fields), body or b""))

    def csr(self, *dns: str, common_name: str = "", key: PrivateKey | None = None, **more: Any) -> bytes:
        return encode(build_csr(*dns, common_name=common_name, key=key or self.key, **more))


def read_issued(response: Response) -> x509.Certificate:
    """The one certificate of an answer."""
    assert response.status_code == 200, bytes(response.body)
    assert response.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert response.headers["content-transfer-encoding"] == "base64"
    (issued,) = read_certificates(bytes(response.body))
    return issued


def say(response: Response) -> tuple[int, str]:
    """Status and text of a refusal."""
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    return response.status_code, bytes(response.body).decode().rstrip("\n")


Serve = Callable[..., EstServer]


@pytest.fixture
def serve(authority: Authority) -> Serve:
    return lambda **changes: EstServer(authority, EstSettings(enabled=True, **changes))


@pytest.fixture
def server(serve: Serve) -> EstServer:
    return serve(profiles=("client", "server"))


Issue = Callable[..., Holder]


@pytest.fixture
def issue(authority: Authority, server: EstServer) -> Issue:
    """Have the operator certify the key of a new client."""

    def make(
        common_name: str = "", *names: str, profile: str = "client", server: EstServer = server, **terms: Any
    ) -> Holder:
        holder = Holder(server)
        request = Request(holder.key.public_key(), parse_names(names), build_name(common_name))
        holder.row = authority.issue(request, Terms(profile, ANY_NAME, "operator", **terms))
        return holder

    return make


def write_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
