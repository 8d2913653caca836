# SPDX-License-Identifier: Apache-2.0
"""SSH to the device: bash or tmsh in its sandbox, whatever state httpd is in. Passwords only."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from ottr.drivers.f5.simulator.sandbox import SandboxError
from ottr.drivers.f5.simulator.settings import User
from ottr.drivers.f5.simulator.shell import DeviceShell
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.terminal import Watched, run_with_pipes, run_with_terminal

_POLL_S = 0.2
_LOG = "ottr.simulation.ssh"
logging.getLogger(_LOG).addHandler(logging.NullHandler())  # connections end here in every way there is
logging.getLogger(_LOG).propagate = False


class Console:
    """The SSH server of one device; port 0 takes a free one."""

    def __init__(self, state: State, shell: DeviceShell, address: str, port: int) -> None:
        self._state, self._shell = state, shell
        self.address, self.port = address, port
        self._key = paramiko.ECDSAKey.generate()
        self._listener: socket.socket | None = None
        self._threads: set[threading.Thread] = set()
        self._transports: set[paramiko.Transport] = set()
        self._lock = threading.Lock()

    @property
    def host_key(self) -> str:
        """The public key, as in known_hosts after the host's name."""
        return f"{self._key.get_name()} {self._key.get_base64()}"

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        listener = socket.create_server((self.address, self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._run(lambda: self._accept(listener))

    def stop(self) -> None:
        """End every session."""
        self.end_sessions()
        listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        while threads := self._others():
            for thread in threads:
                thread.join()

    def end_sessions(self) -> None:
        """Cut every connection, as a reboot does."""
        with self._lock:
            transports = tuple(self._transports)
        for transport in transports:
            transport.close()

    def _others(self) -> list[threading.Thread]:
        with self._lock:
            return [thread for thread in self._threads if thread is not threading.current_thread()]

    def _run(self, act: Callable[[], None]) -> None:
        def work() -> None:
            try:
                with suppress(OSError, EOFError, paramiko.SSHException):
                    act()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            self._run(partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.set_log_channel(_LOG)
        with self._lock:
            self._transports.add(transport)
        try:
            transport.add_server_key(self._key)
            visitor = _Visitor(self._state)
            transport.start_server(server=visitor)
            while transport.is_active() and self._listener:
                if channel := transport.accept(_POLL_S):
                    self._run(partial(self._talk, channel, visitor))
        finally:
            transport.close()
            with self._lock:
                self._transports.discard(transport)

    def _talk(self, channel: paramiko.Channel, visitor: _Visitor) -> None:
        try:
            if visitor.begin.wait(10):
                self._shell.listen()
                command = self._command(visitor)
                watched = Watched(channel, lambda sent: self._state.note_key("ssh", sent))
                if visitor.has_terminal:
                    status = run_with_terminal(watched, command, visitor.size)
                else:
                    status = run_with_pipes(watched, command)
                channel.send_exit_status(status)
        except SandboxError as error:
            channel.sendall_stderr(f"{error}\n".encode())
            channel.send_exit_status(255)
        finally:
            channel.close()

    def _command(self, visitor: _Visitor) -> list[str]:
        sandbox, settings = self._shell.sandbox, self._state.settings
        unit = "Active" if self._state.active else "Standby"
        begin = ["setsid", "--ctty", "--wait"] if visitor.has_terminal else []
        terminal = visitor.terminal if visitor.has_terminal else ""
        if visitor.user.shell == "tmsh" or not settings.bash:
            command = ["tmsh", *(["-c", visitor.command] if visitor.command else [])]
        elif visitor.command:
            command = ["/bin/bash", "-c", visitor.command]
        else:
            prompt = f"[{visitor.name}@{settings.hostname.partition('.')[0]}:{unit}:Standalone] config # "
            command = ["env", f"PS1={prompt}", "/bin/bash", "--norc", "--noprofile", *(["-i"] if begin else [])]
        return sandbox.command(*begin, *command, terminal=terminal)


class _Visitor(paramiko.ServerInterface):
    """Who logs in, and what they want: one session for each connection at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.name, self.user = "", User("")
        self.command, self.terminal, self.has_terminal = "", "", False
        self.size = 24, 80
        self.begin = threading.Event()

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        try:
            user = self._state.accounts.user(username)
        except KeyError:
            return AUTH_FAILED
        if user.shell == "none" or not hmac.compare_digest(user.password.encode(), password.encode()):
            return AUTH_FAILED
        self.name, self.user = username, user
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        if kind != "session":
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        self.command, self.has_terminal = "", False
        self.begin.clear()
        return OPEN_SUCCEEDED

    def check_channel_pty_request(
        self,
        channel: paramiko.Channel,  # noqa: ARG002
        term: bytes,
        width: int,
        height: int,
        *_more: object,
    ) -> bool:
        self.terminal, self.has_terminal = term.decode("ascii", "replace"), True
        self.size = height, width
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:  # noqa: ARG002
        self.begin.set()
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002
        self.command = command.decode()
        self.begin.set()
        return True
