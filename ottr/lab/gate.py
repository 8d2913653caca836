# SPDX-License-Identifier: Apache-2.0
"""A door in front of Pebble that keeps apart what it cannot do at once.

Pebble 2.4 takes its locks in two orders: a new order holds the store and wants the authorizations of the account,
reading an authorization holds that and wants the store. With some fifty clients at work it soon stands still for good.
Here the two kinds of requests go through one at a time, from whichever client; all others pass freely.
"""

from __future__ import annotations

from pathlib import Path

from ottr.lab.process import Process, find_program

_CONFIGURATION = """\
global
    maxconn 2000
    nbthread 1
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 5m
    timeout server 5m
    timeout queue 5m
frontend acme
    bind {address}:{port} ssl crt "{folder}/gate.pem"
    acl alone path_beg /order-plz /authZ/
    use_backend alone if alone
    default_backend together
backend alone
    server pebble {address}:{inner_port} ssl verify required ca-file "{folder}/server-root.pem" maxconn 1
backend together
    server pebble {address}:{inner_port} ssl verify required ca-file "{folder}/server-root.pem"
"""


class Gate:
    """An HAProxy at ``address:port`` before the HTTPS server at ``inner_port``, whose certificate it shows too.

    ``folder`` has that certificate as ``x509.write_server_certificate`` leaves it.
    """

    def __init__(self, folder: Path, address: str, port: int, inner_port: int) -> None:
        self.folder = folder
        self._configuration = folder / "gate.cfg"
        self._text = _CONFIGURATION.format(folder=folder, address=address, port=port, inner_port=inner_port)
        command = (find_program("haproxy"), "-db", "-f", str(self._configuration))
        self.process = Process(command, log=folder / "gate.log", listens=[(address, port)])

    def prepare(self) -> None:
        """Write its configuration, and certificate and key in one file."""
        combined = self.folder / "gate.pem"
        combined.touch(mode=0o600)
        combined.write_text((self.folder / "server.pem").read_text() + (self.folder / "server.key").read_text())
        self._configuration.write_text(self._text)
