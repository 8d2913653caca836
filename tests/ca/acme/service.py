# SPDX-License-Identifier: Apache-2.0
"""A CA that `ottr ca serve` serves, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from ottr.ca.envelope import Passphrase
from ottr.ca.opening import init_authority
from ottr.lab.bind import Bind
from ottr.lab.network import Network
from ottr.lab.process import Process
from tests.measuring import measured

PASSPHRASE = "correct horse battery staple"


@dataclass
class Service:
    """A CA that is being served."""

    folder: Path
    directory: str
    """URL."""
    ca_bundle: Path
    environment: dict[str, str] = field(default_factory=dict)

    def ottr(self, *arguments: str) -> Any:
        """Run an `ottr ca` command and return its JSON."""
        command = [sys.executable, "-m", "ottr", "ca", *arguments, "--dir", str(self.folder), "--output", "json"]
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def status(self, leaf: x509.Certificate) -> tuple[str, str | None]:
        found = self.ottr("show", format(leaf.serial_number, "x"))["certificate"]
        return found["status"], found["reason"]


@contextmanager
def serve(folder: Path, network: Network, bind: Bind, number: int, **server: Any) -> Iterator[Service]:
    port = network.port(number)
    scheme = "http" if server.get("plain") else "https"
    acme: dict[str, Any] = {
        "url": f"{scheme}://localhost:{port}/acme",
        "validation": {
            "resolvers": [bind.server],
            "http_port": network.port(3),
            "tls_port": network.port(3),
            "networks": ["127.0.0.0/8"],
        },
        **server.pop("acme", {}),
    }
    content = {"organization": "Test", "acme": acme, "server": {"listen": f"127.0.0.1:{port}", **server}}
    init_authority(folder, json.dumps(content), Passphrase(PASSPHRASE.encode()))
    service = Service(folder, f"{acme['url']}/directory", folder / "roots.pem", {"OTTR_CA_PASSPHRASE": PASSPHRASE})
    service.ottr("export", "--out", str(service.ca_bundle))
    command = (sys.executable, "-m", "ottr", "ca", "serve", "--dir", str(folder))
    environment = {**measured(), **service.environment}
    with Process(command, log=folder / "serve.log", listens=[("127.0.0.1", port)], environment=environment):
        yield service
