# SPDX-License-Identifier: Apache-2.0
"""Requests and answers of a simulated device, and the log of them, in which secrets are masked."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

MASK = "********"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters in the URL, decoded."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/xml; charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class DropConnection(Exception):
    """End the connection without an answer."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """What the log keeps of a request. No field holds a secret's value."""

    number: int
    operation: str
    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    url_secrets: tuple[str, ...]
    """Names of the secret parameters that came in the URL."""
    status: int
    """HTTP status of the answer; 0 when the connection was dropped."""


def _watch_not(_request: Request, _sent: bytes) -> None:
    """Nobody watches."""


class RequestLog:
    """Every request a device got, oldest first. ``secrets`` are the lower-case names of what is masked.

    ``watch`` is called with each request and the body that is sent back, nothing masked, before it is sent.
    ``in_path`` finds what is secret in a path, for devices that have it there.
    """

    def __init__(self, secrets: frozenset[str], in_path: re.Pattern[str] | None = None) -> None:
        self._in_path = in_path
        self.watch: Callable[[Request, bytes], None] = _watch_not
        self._secrets = secrets
        self._entries: list[LoggedRequest] = []
        self._lock = threading.Lock()

    def add(self, request: Request, operation: str, parameters: Mapping[str, str], status: int) -> None:
        """Note a request that was answered, or dropped (status 0)."""
        in_url = tuple(name for name, value in request.query if name.lower() in self._secrets and value)
        with self._lock:
            number = len(self._entries) + 1
            self._entries.append(
                LoggedRequest(
                    number,
                    operation,
                    request.method,
                    self.mask_path(request.path),
                    self._mask(parameters),
                    self._mask(request.headers),
                    in_url,
                    status,
                )
            )

    def mask_path(self, path: str) -> str:
        """Return a path or a target without what is secret in paths by the device's own design."""
        return self._in_path.sub(MASK, path) if self._in_path else path

    def _mask(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: MASK if name.lower() in self._secrets and value else value for name, value in values.items()}

    def operations(self) -> list[str]:
        """The operations' names, oldest first."""
        return [entry.operation for entry in self]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def __iter__(self) -> Iterator[LoggedRequest]:
        with self._lock:
            return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
