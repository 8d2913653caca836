# SPDX-License-Identifier: Apache-2.0
"""A CA whose status is served over plain HTTP, in this process, and certificates of every status."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ottr.ca.authority import Authority, parse_row
from ottr.ca.model import Reason, Role
from ottr.ca.opening import init_authority, open_authority
from ottr.ca.serving import ServerSettings, build_server
from tests.ca.conftest import CHEAP, PASSPHRASE, write_pem
from tests.ca.requests import SERVER, build_name, build_request


@dataclass
class Site:
    """What a client of the CA has, in files."""

    folder: Path
    url: str
    authority: Authority

    @property
    def ocsp_url(self) -> str:
        return f"{self.url}/ocsp"

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def chain(self) -> Path:
        """The root and the intermediate."""
        return self.folder / "chain.pem"

    def issuer(self, kind: str) -> Path:
        return self.folder / ("stranger.pem" if kind == "foreign" else "intermediate.pem")

    def leaf(self, kind: str) -> Path:
        """``good``, ``unknown``, ``foreign``, or the value of a reason."""
        return self.folder / f"{kind}.pem"

    def load(self, kind: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.leaf(kind).read_bytes())


KINDS = ("good", *(reason.value for reason in Reason), "unknown", "foreign")


@contextmanager
def open_site(folder: Path, port: int, **sections: object) -> Iterator[Site]:
    """Make a CA, serve its status at a port of 127.0.0.1, and issue certificates of every kind."""
    url = f"http://127.0.0.1:{port}"
    text = "\n".join([f"base_url: {url}", *(f"{name}: {value}" for name, value in sections.items())])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ottr.ca.envelope.choose_derivation", lambda kdf: CHEAP)
        init_authority(folder / "ca", text, PASSPHRASE)
    with open_authority(folder / "ca", PASSPHRASE) as authority, serve(authority, port):
        _write_certificates(folder, authority)
        yield Site(folder, url, authority)


@contextmanager
def serve(authority: Authority, port: int) -> Iterator[None]:
    """The servers of a CA in a thread; plain HTTP for its status at ``port``, all else at a free one."""
    ready = threading.Event()
    settings = ServerSettings(port=0, plain=True, http_listen=("127.0.0.1", port))
    with ExitStack() as stack:
        server = build_server(authority, settings, lambda url: ready.set(), stack)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert ready.wait(20)
            yield
        finally:
            server.should_exit = True
            thread.join()


def _write_certificates(folder: Path, authority: Authority) -> None:
    intermediate = authority.active_issuer().certificate
    root = authority.active_issuer(Role.ROOT).certificate
    write_pem(folder / "root.pem", root)
    write_pem(folder / "intermediate.pem", intermediate)
    write_pem(folder / "chain.pem", root, intermediate)
    for kind in ("good", *(reason.value for reason in Reason)):
        row = authority.issue(build_request(f"{kind.replace('_', '-')}.example.test"), SERVER)
        write_pem(folder / f"{kind}.pem", parse_row(row))
        if kind == Reason.REMOVE_FROM_CRL.value:
            authority.hold(row.issuer_id, row.serial, "operator")
        if kind != "good":
            authority.revoke(row.issuer_id, row.serial, Reason(kind), "operator")
    # Signed by the issuer's key, and never issued.
    signer = authority.load_signer("intermediate-1")
    write_pem(folder / "unknown.pem", _forge(authority, intermediate.subject, signer.key, signer.public_key))
    stranger = ec.generate_private_key(ec.SECP256R1())
    write_pem(folder / "stranger.pem", _forge(authority, build_name("Stranger"), stranger, stranger.public_key()))
    write_pem(folder / "foreign.pem", _forge(authority, build_name("Stranger"), stranger, stranger.public_key()))


def _forge(authority: Authority, issuer: x509.Name, key: object, public_key: object) -> x509.Certificate:
    now = authority.clock()
    return (
        x509.CertificateBuilder()
        .subject_name(build_name("Stranger"))
        .issuer_name(issuer)
        .public_key(public_key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
