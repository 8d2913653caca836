# SPDX-License-Identifier: Apache-2.0
"""One request to the REST API, taken apart, and the paths that mean something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal, unavailable, unknown_property
from ottr.simulation.requests import Request

LOGIN = "shared/authn/login"
TOKENS = "shared/authz/tokens"
UPLOADS = "shared/file-transfer/uploads"
BULK = "shared/file-transfer/bulk"
CSR_TRANSFERS = "shared/file-transfer/ssl-csr-transfers"
TRANSACTION = "tm/transaction"
SECRETS = frozenset({"password", "x-f5-auth-token", "authorization", "challengepassword", "passphrase"})
"""Names of headers and body fields whose value the log masks."""
AREAS = (
    LOGIN,
    TOKENS,
    UPLOADS,
    BULK,
    CSR_TRANSFERS,
    "shared/echo-query",
    "shared/file-transfer",
    "tm/adc/fileobject/ssl-key",
    "tm/auth/partition",
    "tm/cm",
    "tm/cm/config-sync",
    "tm/cm/device",
    "tm/cm/device-group",
    "tm/cm/failover-status",
    "tm/cm/sync-status",
    "tm/ltm/profile/client-ssl",
    "tm/ltm/virtual",
    "tm/sys",
    "tm/sys/config",
    "tm/sys/crypto/cert",
    "tm/sys/crypto/csr",
    "tm/sys/crypto/key",
    "tm/sys/file/ssl-cert",
    "tm/sys/file/ssl-key",
    "tm/sys/folder",
    "tm/sys/global-settings",
    "tm/sys/hardware",
    "tm/sys/httpd",
    "tm/sys/service",
    "tm/sys/version",
    "tm/task/sys/config",
    "tm/task/sys/ucs",
    "tm/task/util/bash",
    TRANSACTION,
    "tm/util/bash",
    "tm/util/unix-ls",
    "tm/util/unix-mv",
    "tm/util/unix-rm",
)
"""Every path below /mgmt/ that this device knows; what follows is a name, and what is below it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``rest`` are the segments after the area."""

    method: str
    area: str
    rest: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)

    @property
    def operation(self) -> str:
        """``POST tm/sys/crypto/key``: the name for log and faults."""
        return f"{self.method} {self.area}"

    @property
    def collection(self) -> str:
        """The area without ``tm/``."""
        return self.area.removeprefix("tm/")

    def needed(self, name: str) -> str:
        """A field of the body as text. Raises Refusal."""
        value = self.body.get(name)
        if value in (None, ""):
            raise Refusal(400, f'one or more properties must be specified: "{name}"')
        return str(value)

    def allow(self, *names: str) -> None:
        """Raises Refusal when the body has other fields."""
        for name in self.body:
            if name not in names:
                raise unknown_property(name)


def parse_path(request: Request) -> tuple[str, tuple[str, ...]]:
    """Area and the segments after it. Raises Refusal."""
    segments = [segment for segment in request.path.split("/") if segment]
    if not segments or segments[0] != "mgmt":
        raise unavailable(request.path)
    for end in range(len(segments), 1, -1):
        if (area := "/".join(segments[1:end])) in AREAS:
            return area, tuple(segments[end:])
    raise unavailable(request.path)


def parse_body(request: Request) -> dict[str, Any]:
    """A JSON object; empty for no body. Raises Refusal."""
    if not request.body or request.headers.get("content-type", "").startswith("application/octet-stream"):
        return {}
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refusal(415, f"content-type {request.headers.get('content-type')!r} is not supported")
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise Refusal(400, f"Found invalid JSON body in the request. Error message: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "Found invalid JSON body in the request.")
    return body


def parse_call(request: Request) -> Call:
    """Take a request apart, whoever sent it. Raises Refusal."""
    area, rest = parse_path(request)
    return Call(request.method, area, rest, parse_body(request), dict(request.query), "", request.headers, request.body)
