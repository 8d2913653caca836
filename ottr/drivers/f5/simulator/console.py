# SPDX-License-Identifier: Apache-2.0
"""SSH to the device: bash or tmsh in its sandbox, whatever state httpd is in. Passwords only."""

from __future__ import annotations

import hmac
import threading

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
from ottr.simulation.ssh import SshServer
from ottr.simulation.terminal import Watched, run_with_pipes, run_with_terminal


class Console:
    """The SSH server of one device; port 0 takes a free one."""

    def __init__(self, state: State, shell: DeviceShell, address: str, port: int) -> None:
        self._state, self._shell = state, shell
        self._server = SshServer(address, port, paramiko.ECDSAKey.generate(), lambda: _Visitor(state), self._talk)
        self.start, self.stop = self._server.start, self._server.stop
        self.end_sessions = self._server.end_sessions

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def host_key(self) -> str:
        """The public key, as in known_hosts after the host's name."""
        return self._server.host_key

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
