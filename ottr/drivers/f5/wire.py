# SPDX-License-Identifier: Apache-2.0
"""HTTPS with one device whose certificate may change while we talk to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ottr.errors import DeviceUnreachable, HostKeyRefused
from ottr.transports.http import HttpClient, HttpError, HttpResponse, fetch_fingerprint

Opener = Callable[[str], HttpClient]
"""Makes a client that accepts the certificate of a fingerprint only; with an empty one, any that can be checked."""


class Wire:
    """Sends to paths below one URL. The device must show a certificate that can be checked or is known.

    A handshake that fails has sent nothing, so each of them is tried in turn.
    """

    def __init__(self, name: str, url: str, open_client: Opener, timeout_s: float = 30.0) -> None:
        self.name = name
        self._url = url
        self._open = open_client
        self._timeout_s = timeout_s
        self._clients: dict[str, HttpClient] = {}
        self.trust("")

    def trust(self, fingerprint: str) -> None:
        """Accept the certificate of this SHA-256 (hex) too, and expect it first."""
        client = self._clients.pop(fingerprint) if fingerprint in self._clients else self._open(fingerprint)
        self._clients = {fingerprint: client, **self._clients}

    def look(self) -> str:
        """SHA-256 (hex) of the certificate that is served now, whoever signed it; empty when there is none."""
        try:
            return fetch_fingerprint(self._url, self._timeout_s)
        except HttpError:
            return ""

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpResponse:
        """Send one request, once. Raises DeviceUnreachable and HostKeyRefused."""
        refused: HttpError | None = None
        for fingerprint, client in tuple(self._clients.items()):
            try:
                response = client.request(method, f"{self._url}/mgmt/{path}", body=body, headers=headers)
            except HttpError as error:
                if not error.untrusted:
                    raise DeviceUnreachable(f"{self.name}: {error}") from error
                refused = refused or error
                continue
            self.trust(fingerprint)
            return response
        raise HostKeyRefused(
            f"{self.name}: {refused}",
            hint="while its certificate is self-signed, set ottr_tls_fingerprint: SHA256:... for the device, or "
            "certificate_validation: false until its first rotation; for a private CA, the option ca_bundle",
        ) from refused

    def close(self) -> None:
        """Close the idle connections."""
        for client in self._clients.values():
            client.close()
