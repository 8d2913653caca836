# SPDX-License-Identifier: Apache-2.0
"""One private Apache httpd: own configuration, own certificate files, own parent process."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.process import Process, find_program
from ottr.lab.x509 import write_self_signed

_CONFIGURATION = """\
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
{user}
StartServers 1
ServerLimit 4
ThreadsPerChild 8
MaxRequestWorkers 8
MinSpareThreads 1
MaxSpareThreads 8
Listen {address}:{port}
ServerName {server_name}
SSLEngine on
SSLCertificateFile {folder}/tls/fullchain.pem
SSLCertificateKeyFile {folder}/tls/key.pem
"""


class Apache:
    """A private Apache at ``address:port``; starts with a self-signed certificate for ``server_name``."""

    def __init__(self, folder: Path, address: str, port: int, server_name: str) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.server_name = server_name
        self.fullchain = folder / "tls" / "fullchain.pem"
        self.key = folder / "tls" / "key.pem"
        command = (find_program("apache2"), "-f", str(folder / "apache.conf"))
        self.test_command = (*command, "-t")
        self.reload_command = (*command, "-k", "graceful")
        self.process = Process((*command, "-DFOREGROUND"), log=folder / "apache.log", listens=[(address, port)])

    def __enter__(self) -> Self:
        self.fullchain.parent.mkdir(parents=True)
        write_self_signed(self.fullchain, self.key, self.server_name)
        user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        (self.folder / "apache.conf").write_text(
            _CONFIGURATION.format(
                folder=self.folder, address=self.address, port=self.port, server_name=self.server_name, user=user
            )
        )
        self.process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()
