# SPDX-License-Identifier: Apache-2.0
"""One process that serves the CA: uvicorn around the application, with a certificate of the CA itself."""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette

from ottr.ca.acme.server import AcmeServer
from ottr.ca.authority import Authority, parse_row
from ottr.ca.csr import Request
from ottr.ca.fields import Fields
from ottr.ca.issuance import Terms
from ottr.ca.keys import generate_key
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import ANY_NAME, parse_names
from ottr.ca.settings import CaSettings
from ottr.ca.web import build_acme_route, build_app
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
_LIFETIME_S = 7 * 86400.0
_KEEP_ALIVE_S = 75
_LOOK_S = 60.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The section ``server`` of ca.yaml."""

    host: str = "127.0.0.1"
    port: int = 14000
    """0: a free one."""
    names: tuple[str, ...] = ()
    """Of the server's own certificate; empty: the host of ``acme.url``, else ``host``."""
    certificate: str = ""
    """PEM file with chain; empty: the CA issues one to itself, in memory, and renews it."""
    key: str = ""
    plain: bool = False
    """Without TLS: behind a proxy that has it."""


def read_server_settings(settings: CaSettings) -> ServerSettings:
    """Read the section. Raises SettingsError naming file and key."""
    fields = settings.section("server")
    host, port = _read_listen(fields)
    server = ServerSettings(
        host=host,
        port=port,
        names=fields.texts("names"),
        certificate=fields.text("certificate"),
        key=fields.text("key"),
        plain=fields.flag("plain", default=False),
    )
    fields.finish()
    if bool(server.certificate) != bool(server.key):
        raise fields.error("certificate, key", "both files, or neither of them")
    return server


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
        self.renew()

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
        _load_chain(self.context, secret + pem)
        self._renew_at = now + timedelta(seconds=(row.not_after - now).total_seconds() / 2)


def build_application(authority: Authority, stack: ExitStack) -> Starlette:
    """Everything the CA serves; what it needs is closed with the stack."""
    acme = AcmeServer(authority)
    stack.callback(acme.close)
    return build_app([build_acme_route(acme)])


def serve(authority: Authority, settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``ready`` is called with the URL of the directory once it is listening."""
    with ExitStack() as stack:
        application = build_application(authority, stack)
        acme_url = str(authority.settings.section("acme").text("url"))
        tls = None if settings.plain else _open_tls(authority, settings, acme_url, stack)
        config = uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            limit_concurrency=1000,
            lifespan="on",
        )
        config.load()
        config.ssl = tls
        _Server(config, lambda port: ready(_find_directory(settings, acme_url, port))).run()


class _Server(uvicorn.Server):
    """Tells when it listens, and where."""

    def __init__(self, config: uvicorn.Config, started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._tell(int(self.servers[0].sockets[0].getsockname()[1]))


def _open_tls(authority: Authority, settings: ServerSettings, acme_url: str, stack: ExitStack) -> ssl.SSLContext:
    if settings.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise AuthorityError(
                f"the server's certificate {settings.certificate} with key {settings.key} cannot be used: {error}",
                hint="`server.certificate` and `server.key` in ca.yaml are PEM files that belong together",
            ) from error
        return context
    names = settings.names or (urlsplit(acme_url).hostname or settings.host,)
    own = OwnCertificate(authority, names)
    stopped = threading.Event()
    thread = threading.Thread(target=_keep_fresh, args=(own, stopped), name="ca-own-certificate", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(stopped.set)
    return own.context


def _keep_fresh(own: OwnCertificate, stopped: threading.Event) -> None:
    while not stopped.wait(_LOOK_S):
        try:
            own.renew()
        except AuthorityError as error:  # half its life is left to try again in
            _LOG.error("the server's own certificate cannot be renewed now: %s", error)


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """From memory that has a file's name, so that no disk ever has the key, even when the process dies here."""
    descriptor = os.memfd_create("ottr-ca")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _find_directory(settings: ServerSettings, acme_url: str, port: int) -> str:
    scheme = "http" if settings.plain else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{acme_url.rstrip('/') or f'{scheme}://{host}:{port}/acme'}/directory"


def _read_listen(fields: Fields) -> tuple[str, int]:
    text = fields.text("listen", "127.0.0.1:14000")
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise fields.error("listen", "an address and port such as 127.0.0.1:14000 or [::]:14000") from error
