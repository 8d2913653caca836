# SPDX-License-Identifier: Apache-2.0
"""Problem documents (RFC 7807) with the types of RFC 8555 section 6.7 and RFC 9773 section 7.4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

PREFIX = "urn:ietf:params:acme:error:"
_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "accountDoesNotExist": 400,
        "alreadyReplaced": 409,
        "conflict": 409,
        "orderNotReady": 403,
        "rateLimited": 429,
        "rejectedIdentifier": 403,
        "serverInternal": 500,
        "unauthorized": 403,
        "userActionRequired": 403,
    }
)
"""HTTP statuses of the types that are not 400."""


@dataclass
class Problem(Exception):
    """What the server answers instead; also kept with orders and challenges that failed."""

    kind: str
    """Type without its prefix."""
    detail: str
    status: int = 0
    """HTTP status; 0: the usual one of the type."""
    identifier: Mapping[str, str] | None = None
    subproblems: Sequence[Problem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    algorithms: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__init__(self.detail)
        self.status = self.status or _STATUS.get(self.kind, 400)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of it."""
        document: dict[str, Any] = {"type": PREFIX + self.kind, "detail": self.detail, "status": self.status}
        if self.identifier:
            document["identifier"] = dict(self.identifier)
        if self.algorithms:
            document["algorithms"] = list(self.algorithms)
        if self.subproblems:
            document["subproblems"] = [_strip(problem.document) for problem in self.subproblems]
        return document


def malformed(detail: str, status: int = 400) -> Problem:
    """The request is not of the form it must have."""
    return Problem("malformed", detail, status)


def unauthorized(detail: str) -> Problem:
    """The requester may not do this."""
    return Problem("unauthorized", detail)


def missing(what: str) -> Problem:
    """Nothing is at this URL, for this account."""
    return malformed(f"there is no such {what}", 404)


def _strip(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "status"}
