# SPDX-License-Identifier: Apache-2.0
"""The device's side of the programs in its shell: answers tmsh, bigstart and httpd over a socket in the sandbox."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal
from ottr.drivers.f5.simulator.sandbox import Sandbox, SandboxError
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.system import run_service
from ottr.drivers.f5.simulator.tmsh import prompt, run_tmsh

Told = dict[str, Any]
_IDLE_S = 10.0


class DeviceShell:
    """Runs scripts in the sandbox, and listens there for what they ask of the device."""

    def __init__(self, state: State, sandbox: Sandbox) -> None:
        self._state, self.sandbox = state, sandbox
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, script: str) -> tuple[str, str]:
        """What a script wrote. Raises Refusal when there are no namespaces."""
        state = self._state
        self.listen()
        try:
            return self.sandbox.run(script, disk_full=state.faults.armed("disk_full"))
        except SandboxError as error:
            raise Refusal(500, str(error)) from error

    def listen(self) -> None:
        """Take questions from now on."""
        with self._lock:
            if self._listener is None:
                self._listener = _bind(self.sandbox.root / "var" / "run", "mcpd.sock")
                self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End every process of the shell, and the socket."""
        self.sandbox.close()
        with self._lock:
            if self._listener:
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
            if self._thread:
                self._thread.join()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError):
            connection.settimeout(_IDLE_S)
            with connection.makefile("rb") as stream:
                told = self.do(stream.read().decode().split("\0"))
            fields = (told.get(name, "") for name in ("out", "error", "bash"))
            connection.sendall("\0".join((str(told.get("status", 0)), *fields)).encode())

    def do(self, words: list[str]) -> Told:
        """One command, by the program's name and its arguments."""
        state = self._state
        # While a transaction's commit waits for this command, the commit has the lock.
        with nullcontext() if state.lent else state.lock:
            try:
                return _do(state, words)
            except Refusal as refusal:
                return {"error": f"{refusal.message}\n", "status": 1}


def _do(state: State, words: list[str]) -> Told:
    match words:
        case ["prompt"]:
            return {"out": prompt(state)}
        case ["tmsh", line]:
            return run_tmsh(state, line)
        case ["bigstart", command, *names]:
            if command == "status":
                return {"out": "".join(f"{name} run\n" for name in names or ["httpd"])}
            for name in names:
                run_service(state, command, name)
            return {}
        case ["httpd" | "apachectl", *_]:
            if said := state.test_httpd():
                return {"error": f"{said}\n", "status": 1}
            return {"error": "Syntax OK\n"}
        case _:
            return {"error": f"usage: {words[0] if words else ''}\n", "status": 1}


def _bind(folder: Path, name: str) -> socket.socket:
    """Listen on a Unix socket in a folder, however long its path is."""
    (folder / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/{name}")
        listener.listen(16)
    finally:
        os.close(descriptor)
    return listener
