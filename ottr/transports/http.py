# SPDX-License-Identifier: Apache-2.0
"""HTTP with kept-alive connections for many threads, checked TLS, timeouts, and errors without secrets.

It stands on urllib3 itself: its pool may be shared by threads, which a ``requests`` session may not, and a request
costs about half the CPU time; and on the standard library alone (``kept``) where nothing special is asked for.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import ssl
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import urllib3

from ottr import __version__
from ottr.transports.kept import KeptConnections

# urllib3's own words have whole paths in them, and that of a webhook is a secret.
logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL + 1)

USER_AGENT = f"ottr/{__version__}"

_Pool = urllib3.HTTPConnectionPool | urllib3.ProxyManager
_ONCE = urllib3.Retry(False, redirect=False)
_SAFE = "/?%:@!$&'()*+,;="
"""Besides letters, digits and ``-._~``: what stands in a URL as it is (RFC 3986 section 2)."""

# At DEBUG it writes down the path of every request, and the path of a webhook is the key to it.
logging.getLogger("urllib3").setLevel(logging.WARNING)


class HttpError(Exception):
    """No answer came. The text names the host and the cause, never a path, a query or a credential."""

    def __init__(self, message: str, *, untrusted: bool = False) -> None:
        super().__init__(message)
        self.untrusted = untrusted
        """The server's TLS certificate was refused."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer, whatever its status. Header names are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests; one is meant to be shared by all threads.

    Certificates are always checked, with the roots of ``ca_bundle`` or the system's. The proxies named by the
    environment (``https_proxy``, ``no_proxy``) are used. Redirects are not followed: nobody said that the other
    server may be trusted with the request. At most ``pool_size`` requests to one server are under way at a time;
    the next wait for their turn, up to ``timeout_s``, and fail then as if it had not answered.

    ``server_name`` is asked for and checked in the place of the URL's host. With ``fingerprint`` (SHA-256 in hex)
    exactly that certificate is accepted, whoever signed it and whatever names it has.
    """

    def __init__(
        self,
        *,
        ca_bundle: Path | None = None,
        timeout_s: float = 30.0,
        pool_size: int = 8,
        server_name: str = "",
        fingerprint: str = "",
    ) -> None:
        self._ca_bundle = ca_bundle
        self._server_name = server_name
        self._fingerprint = fingerprint
        self._timeout_s = timeout_s
        self._timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
        self._pool_size = pool_size
        self._pools: dict[str, _Pool | KeptConnections] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Send one request, once. Raises HttpError when no whole answer comes."""
        origin = _origin(url)
        try:
            pool = self._pool(origin, url)
            everything = {"User-Agent": USER_AGENT, **(headers or {})}
            if isinstance(pool, KeptConnections):
                status, found, data = pool.request(method, quote(_target(url), _SAFE), body, everything)
                return HttpResponse(status, urllib3.HTTPHeaderDict(found), data)
            response = pool.urlopen(
                method,
                url if isinstance(pool, urllib3.ProxyManager) else _target(url),
                body=body,
                headers=everything,
                timeout=self._timeout,
                pool_timeout=self._timeout_s,  # type: ignore[arg-type]  # it is handed to a queue, which takes both
                retries=_ONCE,
                redirect=False,
            )
        except (urllib3.exceptions.SSLError, ssl.SSLError) as error:
            untrusted = "CERTIFICATE" in str(error) or "Fingerprints did not match" in str(error)
            raise HttpError(f"{origin}: TLS failed: {_reason(error)}", untrusted=untrusted) from error
        except (urllib3.exceptions.LocationValueError, http.client.InvalidURL, ValueError) as error:
            raise HttpError(f"{origin}: the URL or a header is not valid") from error
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise HttpError(f"{origin}: {_reason(error)}") from error
        return HttpResponse(response.status, response.headers, response.data)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            for pool in self._pools.values():
                if isinstance(pool, urllib3.ProxyManager):
                    pool.clear()
                else:
                    pool.close()
            self._pools.clear()

    def _pool(self, origin: str, url: str) -> _Pool | KeptConnections:
        """Return the connections to one server, opened the first time; the environment is asked only then."""
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._open_pool(origin, _proxy(url))
            return self._pools[origin]

    def _open_pool(self, origin: str, proxy: str) -> _Pool | KeptConnections:
        context = self._tls_context()
        parts = urlsplit(origin)
        if parts.scheme == "https" and parts.hostname and not (proxy or self._server_name or self._fingerprint):
            return KeptConnections(parts.hostname, parts.port or 443, context, self._pool_size, self._timeout_s)
        identity: dict[str, Any] = {"server_hostname": self._server_name or None}
        identity["assert_fingerprint"] = self._fingerprint or None
        if not proxy:
            manager = urllib3.PoolManager(maxsize=self._pool_size, block=True, ssl_context=context, **identity)
            return manager.connection_from_url(origin)
        parts = urlsplit(proxy)
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        return urllib3.ProxyManager(
            proxy,
            maxsize=self._pool_size,
            block=True,
            ssl_context=context,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=login),
            **identity,
        )

    def _tls_context(self) -> ssl.SSLContext:
        if self._fingerprint:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # urllib3 compares the fingerprint
            return context
        try:
            return ssl.create_default_context(cafile=self._ca_bundle)
        except OSError as error:
            raise HttpError(f"ca_bundle {self._ca_bundle} cannot be read: {_reason(error)}", untrusted=True) from error


def encode_multipart(fields: Mapping[str, str | tuple[str, bytes]]) -> tuple[bytes, str]:
    """Build a form with files (RFC 7578), a file as its name and content; returns body and content type."""
    return urllib3.encode_multipart_formdata(fields)


def fetch_fingerprint(url: str, timeout_s: float = 30.0) -> str:
    """Look which certificate a server shows, whoever signed it: SHA-256 in hex. Raises HttpError."""
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=timeout_s)
    except OSError as error:
        raise HttpError(f"{_origin(url)}: {_reason(error)}") from error
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def _origin(url: str) -> str:
    """Scheme, host and port of a URL: what an error may show."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _target(url: str) -> str:
    """Path and query of a URL."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _proxy(url: str) -> str:
    """URL of the proxy that the environment names for a URL; empty when none."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    if parts.scheme not in proxies or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return proxies[parts.scheme]


def _reason(error: BaseException) -> str:
    return str(error).replace("\n", " ") or type(error).__name__
