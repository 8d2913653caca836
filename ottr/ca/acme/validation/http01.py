# SPDX-License-Identifier: Apache-2.0
"""http-01 (RFC 8555 section 8.3)."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import SplitResult, urljoin, urlsplit

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.records import Identifier
from ottr.ca.acme.settings import ValidationSettings
from ottr.ca.acme.validation import Look
from ottr.ca.acme.validation.lookup import find_addresses
from ottr.ca.names import parse_dns, parse_ip
from ottr.errors import NameRefused

_MOST_REDIRECTS = 5
_MOST_BYTES = 4096
_REDIRECTS = (301, 302, 303, 307, 308)


def validate(look: Look, settings: ValidationSettings) -> None:
    """The file of the token must hold the key authorization. Raises Problem."""
    path = f"/.well-known/acme-challenge/{look.token}"
    url = f"http://{_quote_host(look.identifier)}:{settings.http_port}{path}"
    for _ in range(_MOST_REDIRECTS + 1):
        status, location, body = _get(url, settings)
        if status not in _REDIRECTS or not location:
            break
        url = urljoin(url, location)
    if status != 200:
        raise Problem("unauthorized", f"{url} answered {status}")
    if body.rstrip() != look.key_authorization.encode():
        raise Problem("unauthorized", f"{url} has something else than the key authorization")


def _quote_host(identifier: Identifier) -> str:
    return f"[{identifier.value}]" if ":" in identifier.value else identifier.value


def _get(url: str, settings: ValidationSettings) -> tuple[int, str, bytes]:
    parts, identifier, port = _read_target(url, settings)
    target = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
    failed: Exception | None = None
    for address in find_addresses(identifier, settings):
        connection = _connect(parts.scheme, address, port, settings)
        try:
            connection.request("GET", target, headers={"Host": parts.netloc, "User-Agent": "ottr-ca"})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Location", ""), answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            failed = error
        finally:
            connection.close()
    raise Problem("connection", f"{url}: {type(failed).__name__}") from failed


def _connect(scheme: str, address: str, port: int, settings: ValidationSettings) -> http.client.HTTPConnection:
    """To the address that was judged, not to the name: it could resolve to another one the next time."""
    if scheme == "http":
        return http.client.HTTPConnection(address, port, timeout=settings.timeout_s)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who asks for a certificate need not have a good one yet
    return http.client.HTTPSConnection(address, port, timeout=settings.timeout_s, context=context)


def _read_target(url: str, settings: ValidationSettings) -> tuple[SplitResult, Identifier, int]:
    """A redirect may lead to another host, but only to the ports of the web."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme not in ("http", "https") or port not in (settings.http_port, 80, 443):
            raise ValueError
        return parts, _read_host(host), port
    except (ValueError, NameRefused) as error:
        raise Problem("connection", "redirected to where this server does not go") from error


def _read_host(host: str) -> Identifier:
    try:
        return Identifier("ip", parse_ip(host))
    except NameRefused:
        return Identifier("dns", parse_dns(host))
