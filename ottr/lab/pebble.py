# SPDX-License-Identifier: Apache-2.0
"""A private Pebble, Let's Encrypt's ACME server for tests, that validates through a DNS server of ours."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.gate import Gate
from ottr.lab.process import Process
from ottr.lab.x509 import write_server_certificate

_PORT = 14000
_INNER_PORT = 14001
_MANAGEMENT_PORT = 15000


class Pebble:
    """An ACME server; all it knows is lost when it restarts.

    ``directory`` is its URL and ``ca_bundle`` the root its own HTTPS certificate leads to; the roots it
    issues under are ``roots()``. ``eab`` maps key ids to HMAC keys (base64url) and makes them mandatory.
    ``nonce_reject`` and ``authz_reuse`` are percentages; without ``nosleep`` its validator sleeps for up to
    five seconds. ``gated`` puts a ``Gate`` before it, for more than some thirty clients at once.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        dns_server: str,
        *,
        nosleep: bool = True,
        nonce_reject: int = 0,
        authz_reuse: int = 0,
        eab: Mapping[str, str] | None = None,
        alternate_roots: int = 0,
        chain_length: int = 1,
        validity_s: int | None = None,
        blocked_domains: Sequence[str] = (),
        strict: bool = False,
        gated: bool = False,
    ) -> None:
        self.folder = folder
        self.address = address
        self.directory = f"https://{address}:{_PORT}/dir"
        self.ca_bundle = folder / "server-root.pem"
        self._alternate_roots = alternate_roots
        self._validity_s = validity_s
        self.eab = dict(eab or {})
        self._blocked_domains = list(blocked_domains)
        self._port = _INNER_PORT if gated else _PORT
        self._gate = Gate(folder, address, _PORT, _INNER_PORT) if gated else None
        self.process = Process(
            (
                "pebble",
                "-config",
                str(folder / "pebble.json"),
                "-dnsserver",
                dns_server,
                f"-strict={str(strict).lower()}",
            ),
            log=folder / "pebble.log",
            listens=[(address, self._port), (address, _MANAGEMENT_PORT)],
            environment={
                "PEBBLE_VA_NOSLEEP": "1" if nosleep else "0",
                "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
                "PEBBLE_AUTHZREUSE": str(authz_reuse),
                "PEBBLE_ALTERNATE_ROOTS": str(alternate_roots),
                "PEBBLE_CHAIN_LENGTH": str(chain_length),
            },
        )

    def __enter__(self) -> Self:
        self.prepare()
        with ExitStack() as stack:
            for process in self.processes:
                stack.enter_context(process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    @property
    def processes(self) -> tuple[Process, ...]:
        """Pebble, and the gate if there is one."""
        return (self.process, self._gate.process) if self._gate else (self.process,)

    def restart(self) -> None:
        """Restart; accounts, orders and issuing keys are new ones afterwards."""
        self.process.restart()

    def prepare(self) -> None:
        """Write configuration and the certificate of its own HTTPS."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_server_certificate(self.folder, self.address)
        settings = {
            "listenAddress": f"{self.address}:{self._port}",
            "managementListenAddress": f"{self.address}:{_MANAGEMENT_PORT}",
            "certificate": str(self.folder / "server.pem"),
            "privateKey": str(self.folder / "server.key"),
            "httpPort": 5002,
            "tlsPort": 5001,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(self.eab),
            "externalAccountMACKeys": self.eab,
            "domainBlocklist": self._blocked_domains,
        }
        if self._validity_s is not None:
            settings["certificateValidityPeriod"] = self._validity_s
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        if self._gate:
            self._gate.prepare()

    def roots(self) -> list[str]:
        """PEM of every root it issues under; the first is the default chain's."""
        return [self._download(f"/roots/{number}") for number in range(1 + self._alternate_roots)]

    def intermediates(self) -> list[str]:
        """PEM of the issuing certificate below each root."""
        return [self._download(f"/intermediates/{number}") for number in range(1 + self._alternate_roots)]

    def _download(self, path: str) -> str:
        context = ssl.create_default_context(cafile=str(self.ca_bundle))
        connection = http.client.HTTPSConnection(self.address, _MANAGEMENT_PORT, timeout=30, context=context)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()
