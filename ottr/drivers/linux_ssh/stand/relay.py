# SPDX-License-Identifier: Apache-2.0
"""What sshd runs in the place of a login's command: that command, and a cut of the line where the stand says so.

Its argument is a folder. There it keeps ``requests`` (each command line, and a line for each script that the command
was sent) and ``received`` (all that was sent to the client), and reads ``cut``: ``before N`` or ``lost N``. When the
line has been cut there is ``was_cut``.
Scripts are told apart by what ``ottr.transports.shell`` puts at their ends. The line is cut by killing the sshd.

A program of its own for a bare Python: it imports nothing of Ottr.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, NoReturn

_END = re.compile(rb'printf "\\n%s %s\\n" ([0-9a-f]{24}) "\$\?"; printf [^\n]*\n')
_SCRIPT = b"(a script)\n"
_PIECE = 65536


class Relay:
    """One login."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._text = b""
        """What the client has sent of the next script."""
        self._lost: re.Pattern[bytes] | None = None
        """The end of the answer that is to be lost."""
        self._held = b""

    def run(self, command: str) -> int:
        """Pass everything on until the command ends; return its status."""
        self._keep("requests", f"{command}\n".encode())
        pipe = subprocess.PIPE
        with subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as shell:
            if not (shell.stdin and shell.stdout and shell.stderr):
                return 1
            targets = {shell.stdout.fileno(): 1, shell.stderr.fileno(): 2}
            sources = [0, *targets]
            while targets.keys() & set(sources):
                for source in select.select(sources, [], [])[0]:
                    piece = os.read(source, _PIECE)
                    if source == 0:
                        self._pass_in(piece, shell.stdin)
                    else:
                        self._pass_out(piece, targets[source])
                    if not piece:
                        sources.remove(source)
        return shell.returncode

    def _pass_in(self, piece: bytes, shell: IO[bytes]) -> None:
        self._text += piece
        while end := _END.search(self._text):
            self._begin_script(end[1])
            shell.write(self._text[: end.end()])
            self._text = self._text[end.end() :]
        if not piece:
            shell.close()

    def _begin_script(self, mark: bytes) -> None:
        number = self._read("requests").count(_SCRIPT) + 1
        how, _, at = self._read("cut").decode().partition(" ")
        if how == "before" and number >= int(at):
            self._cut()
        self._keep("requests", _SCRIPT)
        if how == "lost" and number == int(at):
            self._lost = re.compile(rb"\n" + mark + rb" [0-9]+\n")

    def _pass_out(self, piece: bytes, target: int) -> None:
        if self._lost is None:
            self._keep("received", piece)
            os.write(target, piece)
        elif target == 1:
            self._held += piece
            if self._lost.search(self._held):
                self._cut()

    def _cut(self) -> NoReturn:
        self._keep("was_cut", b"")
        os.kill(os.getppid(), signal.SIGKILL)
        sys.exit(1)

    def _keep(self, name: str, content: bytes) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(content)

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        return path.read_bytes() if path.exists() else b""


if __name__ == "__main__":
    sys.exit(Relay(Path(sys.argv[1])).run(os.environ.get("SSH_ORIGINAL_COMMAND", "")))
