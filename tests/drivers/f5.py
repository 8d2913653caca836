# SPDX-License-Identifier: Apache-2.0
"""Speaks iControl REST to a simulator, for its tests: nothing of the driver, nothing of the simulator's code."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from ottr.drivers.f5.simulator import F5Simulator, Settings
from ottr.simulation.server import wait_until
from tests.drivers.panos_wire import fingerprint, issuer, sign

VERSIONS = ("14.1.2.1", "15.1.8", "16.1.2", "17.1.1.3")
FAST = Settings(restart_s=0.02, reboot_s=0.02, sync_s=0.01, task_s=0.01)
SITE = "tm/ltm/profile/client-ssl/~Common~site"
HTTPD_CERTIFICATE = "/config/httpd/conf/ssl.crt/server.crt"
HTTPD_KEY = "/config/httpd/conf/ssl.key/server.key"

__all__ = [
    "FAST",
    "VERSIONS",
    "Wire",
    "chain_sent",
    "fingerprint",
    "handshake",
    "issuer",
    "run_f5",
    "run_pair",
    "seen",
    "sign",
]


@dataclass(frozen=True)
class Answer:
    """One answer of the device."""

    status: int
    body: bytes
    headers: dict[str, str]

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json.get("message", ""))

    def __getitem__(self, name: str) -> Any:
        return self.json[name]


@dataclass
class Wire:
    """One client with a token."""

    device: F5Simulator
    username: str = ""
    password: str = ""
    token: str = field(default="", repr=False)
    transaction: str = ""

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, raw: bytes = b""
    ) -> Answer:
        """Raises OSError and http.client.HTTPException when there is no answer."""
        given = {"Content-Type": "application/json", **({"X-F5-Auth-Token": self.token} if self.token else {})}
        if self.transaction:
            given["X-F5-REST-Coordination-Id"] = self.transaction
        content = raw or (json.dumps(body).encode() if body is not None else None)
        connection = http.client.HTTPSConnection(
            self.device.address, self.device.port, timeout=20, context=ssl._create_unverified_context()
        )
        try:
            connection.request(method, f"/mgmt/{path}", content, {**given, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, **body: Any) -> Answer:
        return self.send("POST", path, {name.replace("__", "-"): value for name, value in body.items()})

    def patch(self, path: str, **body: Any) -> Answer:
        return self.send("PATCH", path, body)

    def put(self, path: str, **body: Any) -> Answer:
        return self.send("PUT", path, body)

    def delete(self, path: str) -> Answer:
        return self.send("DELETE", path)

    def log_in(self) -> Wire:
        user, password = self.username or self.device.username, self.password or self.device.password
        answer = self.post("shared/authn/login", username=user, password=password, loginProviderName="tmos")
        assert answer.status == 200, answer.body
        self.token = answer["token"]["token"]
        return self

    def log_out(self) -> None:
        assert self.delete(f"shared/authz/tokens/{self.token}").status == 200
        self.token = ""

    def bash(self, script: str) -> str:
        answer = self.post("tm/util/bash", command="run", utilCmdArgs=f"-c '{script}'")
        assert answer.status == 200, answer.body
        return str(answer.json.get("commandResult", ""))

    def make_key(self, name: str, **more: Any) -> Answer:
        body = {"keyType": "ec-private", "curveName": "prime256v1", **more}
        return self.post("tm/sys/crypto/key", name=name, partition="Common", **body)

    def make_csr(self, name: str, key: str, **more: Any) -> Answer:
        names = {"commonName": "site.example.com", "subjectAlternativeName": "DNS:site.example.com"}
        return self.post("tm/sys/crypto/csr", **{"name": name, "partition": "Common", "key": key, **names, **more})

    def read_csr(self, name: str) -> bytes:
        text = self.bash(f"tmsh list sys crypto csr {name}")
        start = text.rindex("-----BEGIN")
        return text[start:].encode()

    def upload(self, name: str, content: bytes, chunk: int = 512 * 1024) -> Answer:
        answer = None
        for start in range(0, len(content), chunk):
            piece = content[start : start + chunk]
            span = f"{start}-{start + len(piece) - 1}/{len(content)}"
            answer = self.send_chunk(name, piece, span)
        assert answer is not None
        return answer

    def send_chunk(self, name: str, piece: bytes, span: str) -> Answer:
        headers = {"Content-Type": "application/octet-stream", "Content-Range": span}
        return self.send("POST", f"shared/file-transfer/uploads/{name}", headers=headers, raw=piece)

    def install(self, name: str, pem: str) -> Answer:
        """Upload a certificate and install it under a name."""
        assert self.upload(f"{name}.pem", pem.encode()).status == 200
        place = f"/var/config/rest/downloads/{name}.pem"
        return self.post("tm/sys/crypto/cert", command="install", name=name, from__local__file=place)

    def bind(self, name: str, profile: str = SITE, chain: str = "none") -> Answer:
        entry = {"name": f"{name}_0", "cert": f"/Common/{name}.crt", "key": f"/Common/{name}.key", "chain": chain}
        return self.patch(profile, certKeyChain=[entry])

    def prepare(self, name: str) -> str:
        """Key and CSR made, certificate signed and installed; returns the certificate."""
        assert self.make_key(f"{name}.key").status == 200
        assert self.make_csr(f"{name}.csr", f"{name}.key").status == 200
        pem = sign(self.read_csr(f"{name}.csr"))
        answer = self.install(f"{name}.crt", pem)
        assert answer.status == 200, answer.body
        return pem

    def begin(self) -> Wire:
        """The same client inside a transaction."""
        number = self.post("tm/transaction")["transId"]
        return replace(self, transaction=str(number))

    def commit(self, inside: Wire) -> Answer:
        return self.patch(f"tm/transaction/{inside.transaction}", state="VALIDATING", validateOnly=False)

    def save(self) -> Answer:
        return self.post("tm/sys/config", command="save")

    def comes_back(self) -> bool:
        """Wait until REST answers again."""

        def answers() -> bool:
            try:
                return self.get("tm/sys/version").status in (200, 401)
            except (OSError, http.client.HTTPException):
                return False

        return wait_until(answers)


def handshake(address: str, port: int, name: str = "") -> str:
    """The fingerprint that a client sees, SHA-256 in lower-case hex. Raises OSError."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, port), 10) as plain,
        context.wrap_socket(plain, server_hostname=name or None) as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def seen(device: F5Simulator, service: str = "management", name: str = "") -> str:
    return handshake(device.address, device.ports[service], name)


def chain_sent(device: F5Simulator, service: str = "management") -> list[bytes]:
    """DER of each certificate a client gets, leaf first."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    with socket.create_connection((device.address, device.ports[service]), 10) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        chain = connection.get_peer_cert_chain(as_cryptography=True) or []
        return [certificate.public_bytes(Encoding.DER) for certificate in chain]


@contextmanager
def run_f5(version: str = "16.1.2", **settings: Any) -> Iterator[F5Simulator]:
    """A BIG-IP that is quick to come back."""
    with F5Simulator(os_version=version, settings=replace(FAST, **settings)) as device:
        yield device


@contextmanager
def run_pair(**settings: Any) -> Iterator[tuple[F5Simulator, F5Simulator]]:
    """Two units of one device group, the first one active."""
    chosen = replace(FAST, device_group="pair", **settings)
    with (
        F5Simulator(settings=chosen) as first,
        F5Simulator(settings=replace(chosen, hostname="bigip2.example.com"), peer=first) as second,
    ):
        yield first, second
