# SPDX-License-Identifier: Apache-2.0
"""The device's side of the programs in its shell: answers tmsh, bigstart and httpd."""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
from contextlib import nullcontext, suppress
from typing import IO, Any

from ottr.drivers.f5.simulator.answers import Refusal
from ottr.drivers.f5.simulator.sandbox import Sandbox, SandboxError
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.stub import PLACE
from ottr.drivers.f5.simulator.system import run_service
from ottr.drivers.f5.simulator.tmsh import prompt, run_tmsh

Told = dict[str, Any]
_IDLE_S = 10.0


class DeviceShell:
    """Runs scripts in the sandbox, and listens for what they ask of the device."""

    def __init__(self, state: State, sandbox: Sandbox) -> None:
        self._state, self.sandbox = state, sandbox
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._secret = secrets.token_hex(16)
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
                self._listener = socket.create_server(("127.0.0.1", 0))
                self.sandbox.environment[PLACE] = f"{self._secret}:{self._listener.getsockname()[1]}"
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
                secret, number = _read_field(stream), int(_read_field(stream))
                words = [_read_field(stream) for _ in range(number)]
            if hmac.compare_digest(secret.encode(), self._secret.encode()):
                told = self.do(words)
                fields = (str(told.get("status", 0)), *(told.get(name, "") for name in ("out", "error", "bash")))
                connection.sendall("".join(f"{field}\0" for field in fields).encode())

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


def _read_field(stream: IO[bytes]) -> str:
    """What comes before the next zero byte. Raises ValueError when there is none."""
    field = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            raise ValueError("the program has gone")
        field += byte
    return field.decode()
