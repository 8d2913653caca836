# SPDX-License-Identifier: Apache-2.0
"""The child process that reads the inventory with Ansible: one JSON line there, one back."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Final

from ottr.errors import InventoryError
from ottr.headstart import Begun, spawn

_END_WAIT_S: Final = 5.0


class ReaderChild:
    """A running reader. Requests are written at once and answered in order; whoever needs an answer waits for it."""

    def __init__(self, *, begun: Begun | None = None, timeout_s: float = 900.0) -> None:
        """Take over a reader that was begun, or start one."""
        self._timeout_s = timeout_s
        self._rest = b""
        try:
            self._process, self._errors = begun or spawn()
        except OSError as error:
            raise InventoryError(f"the inventory reader does not start: {error}") from error

    def send(self, request: Mapping[str, Any]) -> None:
        """Write one request. A child that is gone shows when its answer is awaited."""
        stream = self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            if stream is not None:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()

    def receive(self) -> dict[str, Any]:
        """Wait for the next answer. Raises InventoryError when the child is gone or takes too long."""
        line = self._read_line()
        if not line:
            self._end()
            words = self._last_words()
            self.close()
            raise InventoryError(
                f"the inventory reader ended: {words}",
                hint="it needs ansible-core in the same Python as ottr, and a UTF-8 locale",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send and receive."""
        self.send(request)
        return self.receive()

    def close(self) -> None:
        """End the child: it goes when its standard input ends."""
        self._end()
        self._errors.close()

    def _end(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired:
            self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read_line(self) -> bytes:
        pipe = self._process.stdout
        if pipe is None or pipe.closed:
            return b""
        parts = [self._rest]
        deadline = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._kill()
                    raise InventoryError(
                        f"the inventory was not read within {self._timeout_s:g} s",
                        hint="a dynamic inventory source may hang; `ansible-inventory --list` shows it",
                    )
                chunk = os.read(pipe.fileno(), 1 << 20)
                if not chunk:
                    return b""
                parts.append(chunk)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def _last_words(self) -> str:
        if self._errors.closed:
            return "it was closed"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"
