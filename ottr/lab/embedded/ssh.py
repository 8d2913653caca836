# SPDX-License-Identifier: Apache-2.0
"""The SSH door of a host: lets one key in, and runs each command by /bin/sh in the host's own folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from ottr.lab.sessions import MARK
from ottr.simulation.ssh import SshServer
from ottr.simulation.terminal import run_with_pipes

_PATH = "/usr/local/bin:/usr/bin:/bin"
_START_S = 10.0


def build_door(
    folder: Path, address: str, port: int, host_key: Path, authorized_key: str, mark: str
) -> SshServer[_Guest]:
    """Build the server of a host. ``authorized_key`` is a public line; ``mark`` as in ``ottr.lab.sessions``."""
    environment = _build_environment(folder, mark)

    def talk(channel: paramiko.Channel, guest: _Guest) -> None:
        command = guest.wait_command(channel)
        if command:
            argv = ("/bin/sh", "-c", command)
            channel.send_exit_status(run_with_pipes(channel, argv, environment=environment, folder=folder))

    key = paramiko.Ed25519Key(filename=str(host_key))
    return SshServer(address, port, key, lambda: _Guest(authorized_key), talk)


def _build_environment(folder: Path, mark: str) -> Mapping[str, str]:
    """Nothing of ours: a login begins with what sshd would give it."""
    user = {"HOME": str(folder), "SHELL": "/bin/sh", "PATH": f"{_PATH}:{os.environ.get('PATH', os.defpath)}"}
    return {**user, MARK: mark}


class _Guest(paramiko.ServerInterface):
    """Whoever has connected: with the right key, of any name, and for commands only."""

    def __init__(self, authorized_key: str) -> None:
        self._authorized_key = authorized_key.split()[:2]
        self._commands: dict[int, str] = {}
        self._changed = threading.Condition()

    def wait_command(self, channel: paramiko.Channel) -> str:
        """The command of a session; empty when none came."""
        number = channel.get_id()
        with self._changed:
            self._changed.wait_for(lambda: number in self._commands, _START_S)
            return self._commands.pop(number, "")

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        return AUTH_SUCCESSFUL if [key.get_name(), key.get_base64()] == self._authorized_key else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        with self._changed:
            self._commands[channel.get_id()] = command.decode()
            self._changed.notify_all()
        return True
