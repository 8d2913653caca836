# SPDX-License-Identifier: Apache-2.0
"""The lab's own CA: Ottr's private one, served over ACME in a process of its own."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.envelope import Passphrase
from ottr.ca.opening import init_authority, open_authority
from ottr.lab.process import Process

_PORT = 14000
_STATUS_PORT = 14080


class PrivateCa:
    """An ACME server at ``address``; ``dns_server`` (``address:port``) is asked for the challenges.

    ``directory`` is its URL, and ``ca_bundle`` the root that its own HTTPS certificate and all others lead to.
    Certificates name its CRL and its OCSP responder, which are on a port of their own, without TLS.
    """

    def __init__(self, folder: Path, address: str, dns_server: str) -> None:
        self.folder = folder
        self.directory = f"https://{address}:{_PORT}/acme/directory"
        self.ca_bundle = folder / "root.pem"
        self.eab: Mapping[str, str] = {}
        self._address = address
        self._dns_server = dns_server
        self._passphrase_file = folder / "passphrase"
        own = ("--dir", str(folder / "ca"), "--passphrase-file", str(self._passphrase_file))
        self.process = Process(
            (sys.executable, "-m", "ottr", "ca", "serve", *own),
            log=folder / "ca.log",
            listens=[(address, _PORT), (address, _STATUS_PORT)],
            announces="Ctrl-C",
        )

    def prepare(self) -> None:
        """Make root and intermediate."""
        self.folder.mkdir(parents=True, exist_ok=True)
        passphrase = secrets.token_hex(16)
        self._passphrase_file.touch(mode=0o600)
        self._passphrase_file.write_text(f"{passphrase}\n")
        own = Passphrase(passphrase.encode())
        init_authority(self.folder / "ca", yaml.safe_dump(self._describe()), own)
        with open_authority(self.folder / "ca", own) as authority:
            roots = authority.trust_bundle()
        self.ca_bundle.write_bytes(b"".join(root.public_bytes(Encoding.PEM) for root in roots))

    def roots(self) -> list[str]:
        """PEM of the root it issues under."""
        return [self.ca_bundle.read_text()]

    def _describe(self) -> Mapping[str, object]:
        """Its ca.yaml."""
        return {
            "organization": "Ottr lab",
            "base_url": f"http://{self._address}:{_STATUS_PORT}",
            "server": {
                "listen": f"{self._address}:{_PORT}",
                "http_listen": f"{self._address}:{_STATUS_PORT}",
            },
            "acme": {"validation": {"resolvers": [self._dns_server], "challenges": ["dns-01"]}},
        }
