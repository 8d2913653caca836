# SPDX-License-Identifier: Apache-2.0
"""One private HAProxy in master-worker mode, with key and chain in one file."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.process import Process, find_program
from ottr.lab.x509 import write_self_signed

_CONFIGURATION = """\
global
    maxconn 64
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend tls
    bind {address}:{port} ssl crt {folder}/tls/combined.pem
    http-request return status 200 content-type text/plain string {server_name}
"""


class Haproxy:
    """A private HAProxy at ``address:port``; starts with a self-signed certificate for ``server_name``."""

    def __init__(self, folder: Path, address: str, port: int, server_name: str) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.server_name = server_name
        self.combined = folder / "tls" / "combined.pem"
        configuration, pid_file = str(folder / "haproxy.cfg"), str(folder / "haproxy.pid")
        program = find_program("haproxy")
        self.test_command = (program, "-c", "-q", "-f", configuration)
        self.reload_command = ("sh", "-c", f"kill -s USR2 $(cat {pid_file})")
        command = (program, "-W", "-db", "-f", configuration, "-p", pid_file)
        self.process = Process(command, log=folder / "haproxy.log", listens=[(address, port)])

    def __enter__(self) -> Self:
        self.combined.parent.mkdir(parents=True)
        certificate, key = self.folder / "first.pem", self.folder / "first.key"
        write_self_signed(certificate, key, self.server_name)
        self.combined.touch(mode=0o600)
        self.combined.write_text(certificate.read_text() + key.read_text())
        (self.folder / "haproxy.cfg").write_text(
            _CONFIGURATION.format(
                folder=self.folder, address=self.address, port=self.port, server_name=self.server_name
            )
        )
        self.process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()
