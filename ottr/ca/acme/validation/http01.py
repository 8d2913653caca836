# SPDX-License-Identifier: Apache-2.0
"""http-01 (RFC 8555 section 8.3)."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.records import Identifier
from ottr.ca.acme.settings import ValidationSettings
from ottr.ca.acme.validation import Look
from ottr.ca.acme.validation.lookup import Deadline, find_addresses
from ottr.ca.names import parse_dns, parse_ip
from ottr.errors import NameRefused

_MOST_REDIRECTS = 5
_MOST_BYTES = 4096
_REDIRECTS = (301, 302, 303, 307, 308)


def validate(look: Look, settings: ValidationSettings) -> None:
    """The file of the token must hold the key authorization. Raises Problem."""
    path = f"/.well-known/acme-challenge/{look.token}"
    url = f"http://{_quote_host(look.identifier)}:{settings.http_port}{path}"
    deadline = Deadline(settings.timeout_s)
    for _ in range(_MOST_REDIRECTS + 1):
        status, location, body = _get(url, settings, deadline)
        if status not in _REDIRECTS or not location:
            break
        url = _join(url, location)
    if status != 200:
        raise Problem("unauthorized", f"{url} answered {status}")
    if body.rstrip() != look.key_authorization.encode():
        raise Problem("unauthorized", f"{url} has something else than the key authorization")


def _quote_host(identifier: Identifier) -> str:
    return f"[{identifier.value}]" if ":" in identifier.value else identifier.value


def _join(url: str, location: str) -> str:
    try:
        return quote(urljoin(url, location), safe="/:?#[]@!$&'()*+,;=%~")
    except ValueError as error:
        raise Problem("connection", f"{url} redirects to what is no URL") from error


def _get(url: str, settings: ValidationSettings, deadline: Deadline) -> tuple[int, str, bytes]:
    parts, identifier, port = _read_target(url, settings)
    target = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
    failed: Exception | None = None
    for address in find_addresses(identifier, settings):
        connection = http.client.HTTPConnection(address, port)
        try:
            with _connect(parts.scheme, address, port, deadline) as plain:
                connection.sock = _Stream(plain, deadline)
                connection.request("GET", target, headers={"Host": parts.netloc, "User-Agent": "ottr-ca"})
                answer = connection.getresponse()
                return answer.status, answer.getheader("Location", ""), answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            failed = error
    raise Problem("connection", f"{url}: {type(failed).__name__}") from failed


class _Stream(io.RawIOBase):
    """A socket of which nothing is read after the deadline; its own time-out would begin anew with each byte."""

    def __init__(self, plain: socket.socket, deadline: Deadline) -> None:
        self._socket = plain
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """As sockets do."""
        self._socket.settimeout(self._deadline.rest_s())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """As sockets do; reads only."""
        del mode
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, within the time that is left."""
        self._socket.settimeout(self._deadline.rest_s())
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        """Nothing: a connection closes its socket before its answer is read."""


def _connect(scheme: str, address: str, port: int, deadline: Deadline) -> socket.socket:
    """To the address that was judged, not to the name: it could resolve to another one the next time."""
    plain = socket.create_connection((address, port), deadline.rest_s() / 2)
    if scheme == "http":
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who asks for a certificate need not have a good one yet
    return context.wrap_socket(plain)


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
