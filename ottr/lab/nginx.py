# SPDX-License-Identifier: Apache-2.0
"""One private nginx: own configuration, own certificate files, own master process."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.process import Process, find_program
from ottr.lab.x509 import write_self_signed

_CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    server {{
        listen {address}:{port} ssl;
        server_name {server_name};
        ssl_certificate {folder}/tls/fullchain.pem;
        ssl_certificate_key {folder}/tls/privkey.pem;
        location / {{ return 200 "{server_name}\\n"; }}
    }}
}}
"""


class Nginx:
    """A private nginx at ``address:port``; starts with a self-signed certificate for ``server_name``.

    ``fullchain`` and ``key`` are the paths it reads; ``test_command`` and ``reload_command`` are argument vectors
    for this nginx alone. ``within`` is a command prefix that enters another namespace.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        port: int,
        server_name: str,
        *,
        lifetime: timedelta = timedelta(days=30),
        within: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.server_name = server_name
        self.configuration = folder / "nginx.conf"
        self.fullchain = folder / "tls" / "fullchain.pem"
        self.key = folder / "tls" / "privkey.pem"
        files = ("-p", str(folder), "-e", str(folder / "error.log"), "-c", str(self.configuration))
        command = (find_program("nginx"), *files)
        self.test_command = (*command, "-t", "-q")
        self.reload_command = (*command, "-s", "reload")
        self.process = Process((*within, *command), log=folder / "nginx.log", listens=[(address, port)])
        self._lifetime = lifetime

    def __enter__(self) -> Self:
        self.prepare()
        self.process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()

    def rests(self) -> bool:
        """Whether no reload is on its way, and one generation of workers is all there is.

        The command for a reload ends when it has sent its signal; the former worker goes on for a moment.
        """
        master = Path(f"/proc/{self.process.pid}")
        pending = re.search(r"^ShdPnd:\s*(\w+)$", (master / "status").read_text(), re.MULTILINE)
        if pending is None or int(pending[1], 16) & 1 << (signal.SIGHUP - 1):
            return False
        return len((master / "task" / master.name / "children").read_text().split()) == 1

    def prepare(self) -> None:
        """Write configuration and the first certificate."""
        self.fullchain.parent.mkdir(parents=True, exist_ok=True)
        write_self_signed(self.fullchain, self.key, self.server_name, lifetime=self._lifetime)
        self.configuration.write_text(
            _CONFIGURATION.format(
                # As root the worker stays root: the lab's folder may be closed to everybody else.
                user="user root;" if os.geteuid() == 0 else "",
                folder=self.folder,
                address=self.address,
                port=self.port,
                server_name=self.server_name,
            )
        )
