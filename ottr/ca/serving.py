# SPDX-License-Identifier: Apache-2.0
"""One process that serves the CA: uvicorn around the application, with a certificate of the CA itself."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette

from ottr.ca.acme.server import AcmeServer
from ottr.ca.authority import Authority
from ottr.ca.connections import DEFAULT_PATIENCE, Patience, build_protocol
from ottr.ca.direct import add_acme
from ottr.ca.downloads import build_trust_routes
from ottr.ca.est.routes import open_est_routes
from ottr.ca.est.settings import read_est_settings
from ottr.ca.fields import Fields
from ottr.ca.given_certificate import GivenCertificate
from ottr.ca.jwks import build_jwks_route
from ottr.ca.listening import Server, open_door
from ottr.ca.own_certificate import OwnCertificate
from ottr.ca.peers import ask_for_certificates, tell_peers
from ottr.ca.settings import CaSettings
from ottr.ca.status.listening import add_fast_path
from ottr.ca.status.pages import StatusPages
from ottr.ca.status.service import Status
from ottr.ca.status.web import STATUS_THREADS, StatusApp, build_status_routes
from ottr.ca.web import THREADS, build_app
from ottr.errors import AuthorityError, SettingsError

_LOG = logging.getLogger(__name__)
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
    http_listen: tuple[str, int] | None = None
    """Where CRLs, OCSP answers and issuers' certificates are served without TLS, and nothing else; None: nowhere."""


def read_server_settings(settings: CaSettings) -> ServerSettings:
    """Read the section. Raises SettingsError naming file and key."""
    fields = settings.section("server")
    host, port = _read_listen(fields, "listen", "127.0.0.1:14000")
    server = ServerSettings(
        host=host,
        port=port,
        names=fields.texts("names"),
        certificate=fields.text("certificate"),
        key=fields.text("key"),
        plain=fields.flag("plain", default=False),
        http_listen=_read_listen(fields, "http_listen", "") if "http_listen" in fields.keys() else None,  # noqa: SIM118
    )
    fields.finish()
    if bool(server.certificate) != bool(server.key):
        raise fields.error("certificate, key", "both files, or neither of them")
    return server


@dataclass(frozen=True, slots=True)
class Applications:
    """What is served, and where: over TLS, and without."""

    acme: AcmeServer
    pool: Executor
    """In which ACME works."""
    whole: Starlette
    """All but ACME."""
    plain: Starlette
    """What is public and signed: CRLs, OCSP answers, issuers' certificates, the trust bundle."""
    status: Status


def build_applications(
    authority: Authority,
    stack: ExitStack,
    patience: Patience = DEFAULT_PATIENCE,
    enrolled: Callable[[], None] = lambda: None,
) -> Applications:
    """Everything the CA serves; what it needs is closed with the stack. ``enrolled`` is called when EST has issued."""
    acme = AcmeServer(authority)
    stack.callback(acme.close)
    status = stack.enter_context(Status(authority))
    pool = stack.enter_context(ThreadPoolExecutor(THREADS, "ca-request"))
    status_pool = stack.enter_context(ThreadPoolExecutor(STATUS_THREADS, "ca-status"))
    status_app = StatusApp(StatusPages(status), status_pool, patience.body_s)
    public = [*build_trust_routes(authority, status_pool), *build_status_routes(status_app)]
    whole = build_app(
        [
            build_jwks_route(authority, pool),
            *open_est_routes(authority, pool, enrolled),
            *public,
        ]
    )
    acme_pool = stack.enter_context(ThreadPoolExecutor(acme.count_threads(), "acme-request"))
    return Applications(acme, acme_pool, whole, build_app(public), status)


def serve(authority: Authority, settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``ready`` is called with the URL of the directory once it is listening."""
    _allow_files()
    with ExitStack() as stack:
        server = build_server(authority, settings, ready, stack)
        stack.enter_context(_ending_on_sigterm())
        server.run()


def build_server(
    authority: Authority,
    settings: ServerSettings,
    ready: Callable[[str], None],
    stack: ExitStack,
    patience: Patience = DEFAULT_PATIENCE,
) -> uvicorn.Server:
    """A server that only needs to be run; what it needs is closed with the stack."""
    acme_url = str(authority.settings.section("acme").text("url"))
    tls, follow = _open_tls(authority, settings, acme_url, stack)
    enrolled = _prepare_est(authority, tls, stack)
    applications = build_applications(authority, stack, patience, enrolled)
    applications.status.keep()
    base, status = build_protocol(patience), applications.status
    whole = add_fast_path(tell_peers(add_acme(base, applications.acme, applications.pool)), status)
    doors = [open_door(applications.whole, (settings.host, settings.port), "server.listen", whole, stack)]
    doors[0].config.ssl = tls
    if settings.http_listen is not None:
        plain = add_fast_path(tell_peers(base), status)
        doors.append(open_door(applications.plain, settings.http_listen, "server.http_listen", plain, stack))

    def tell(port: int) -> None:
        follow(asyncio.get_running_loop())
        ready(_find_directory(settings, acme_url, port))

    return Server(doors, patience, tell)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Uvicorn sends itself the signal that ended it once more: nothing would be closed."""
    former = signal.signal(signal.SIGTERM, _ignore)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame


def _allow_files() -> None:
    """As many open files as this process may have: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


_Follow = Callable[[asyncio.AbstractEventLoop], None]


def _open_tls(
    authority: Authority, settings: ServerSettings, acme_url: str, stack: ExitStack
) -> tuple[ssl.SSLContext | None, _Follow]:
    """The context, if there is TLS, and what wants to know the server's loop."""
    if settings.plain:
        return None, lambda _: None
    if settings.certificate:
        given = GivenCertificate(Path(settings.certificate), Path(settings.key))
        _repeat(given.renew, "the server goes on with the certificate it has", stack)
        return given.context, given.follow
    names = settings.names or (urlsplit(acme_url).hostname or settings.host,)
    own = OwnCertificate(authority, names)
    _repeat(own.renew, "the server's own certificate cannot be renewed now", stack)
    return own.context, own.follow


def _prepare_est(authority: Authority, tls: ssl.SSLContext | None, stack: ExitStack) -> Callable[[], None]:
    """With EST, TLS asks for client certificates; without TLS, there must be a proxy that does.

    Returns what lets TLS know of new issuers at once.
    """
    est = read_est_settings(authority.settings)
    if est.enabled and tls is not None:
        refresh = ask_for_certificates(tls, authority)
        _repeat(refresh, "new issuers cannot be read now", stack)
        return refresh
    if est.enabled and est.proxy is None:
        raise SettingsError(
            "EST without TLS would see no client certificate",
            hint="est.proxy in ca.yaml names the proxy that verifies them, or leave server.plain out",
        )
    return lambda: None


def _repeat(work: Callable[[], None], trouble: str, stack: ExitStack) -> None:
    """Do something from time to time, until the stack is closed; what goes wrong may go well the next time."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(_LOOK_S):
            try:
                work()
            except AuthorityError as error:
                _LOG.error("%s: %s", trouble, error)

    thread = threading.Thread(target=run, name="ca-repeat", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(stopped.set)


def _find_directory(settings: ServerSettings, acme_url: str, port: int) -> str:
    scheme = "http" if settings.plain else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{acme_url.rstrip('/') or f'{scheme}://{host}:{port}/acme'}/directory"


def _read_listen(fields: Fields, key: str, default: str) -> tuple[str, int]:
    text = fields.text(key, default)
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise fields.error(key, "an address and port such as 127.0.0.1:14000 or [::]:14000") from error
