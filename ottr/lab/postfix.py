# SPDX-License-Identifier: Apache-2.0
"""One private Postfix that offers STARTTLS and takes no mail. Needs root, as Postfix does."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from ottr.errors import LabError
from ottr.lab.process import Process, find_program
from ottr.lab.x509 import write_self_signed

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {data}
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = {server_name}
mydestination =
inet_protocols = ipv4
inet_interfaces = all
smtpd_client_restrictions = permit
smtpd_relay_restrictions = reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {folder}/tls/fullchain.pem
smtpd_tls_key_file = {folder}/tls/key.pem
smtpd_tls_session_cache_database =
"""

_MASTER = """\
{address}:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
cleanup unix n - n - 0 cleanup
"""

# The master changes its user for a moment, upon which the kernel forgets that it is to end with its parent.
_KEEPER = '"$@" & trap "kill $!" TERM; wait $!; wait $!'


class Postfix:
    """A private Postfix at ``address:port``; starts with a self-signed certificate for ``server_name``.

    Its small data directory is under the system's temporary one, as the user ``postfix`` must reach it.
    """

    def __init__(self, folder: Path, address: str, port: int, server_name: str) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.server_name = server_name
        self.fullchain = folder / "tls" / "fullchain.pem"
        self.key = folder / "tls" / "key.pem"
        command = (find_program("postfix"), "-c", str(folder / "etc"))
        self.test_command = (*command, "check")
        self.reload_command = (*command, "reload")
        # Not `postfix start-fg`: that is a chain of shells, whose end leaves the master alive.
        master = ("/usr/lib/postfix/sbin/master", "-c", str(folder / "etc"), "-d")
        self.process = Process(
            ("sh", "-c", _KEEPER, "keeper", *master), log=folder / "postfix.log", listens=[(address, port)]
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            data = stack.enter_context(TemporaryDirectory(prefix="ottr-postfix-"))
            shutil.chown(data, "postfix")
            self._write(data)
            self._create_queue()
            stack.enter_context(self.process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    def _write(self, data: str) -> None:
        self.fullchain.parent.mkdir(parents=True)
        write_self_signed(self.fullchain, self.key, self.server_name)
        for name in ("etc", "queue"):
            (self.folder / name).mkdir()
        words = {"address": self.address, "port": self.port, "server_name": self.server_name, "data": data}
        for name, text in (("main.cf", _MAIN), ("master.cf", _MASTER)):
            (self.folder / "etc" / name).write_text(text.format(folder=self.folder, **words))

    def _create_queue(self) -> None:
        done = subprocess.run(self.test_command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"postfix check failed: {done.stderr.strip()}", hint="Postfix needs root")
