# SPDX-License-Identifier: Apache-2.0
"""A POSIX shell on the other side, that runs one script after another over one channel, also through sudo.

Cheaper than a channel for each command (sshd starts a process, a login shell and possibly sudo for every one),
and sudo asks once. Scripts come over standard input, so that nothing of them is in a process list; each runs in a
subshell with nothing on its own standard input, and between marks that it cannot know.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import join

from paramiko import Channel

from ottr.errors import AuthenticationFailed, DeviceRejected, DeviceUnreachable, DriverError, UnsupportedDevice
from ottr.model import Credentials, Secret
from ottr.transports.ssh import MAX_OUTPUT, Completed, SshSession, receive, translated

START_TIMEOUT_S = 30.0


@contextmanager
def open_shell(session: SshSession, credentials: Credentials, library: str = "") -> Iterator[RemoteShell]:
    """Start a shell as the user to become; ``library`` (functions) is sent ahead of the first script."""
    if not credentials.become:
        with session.start("exec sh -s", START_TIMEOUT_S) as channel:
            yield RemoteShell(channel, session, library, refusal=DeviceRejected(f"{session.name} gave no shell"))
        return
    if credentials.become_method != "sudo":
        raise UnsupportedDevice(f"become method {credentials.become_method!r} is not supported", hint="use sudo")
    password = credentials.become_password
    prompt, ready = f"[{secrets.token_hex(8)}]", secrets.token_hex(8)
    how = ("-n",) if password is None else ("-S", "-p", prompt)
    argv = ("sudo", "-H", *how, "-u", credentials.become_user or "root", "--", "sh")
    argv += ("-s",) if password is None else ("-c", f"echo {ready}; exec sh -s")
    with session.start(f"exec {join(argv)}", START_TIMEOUT_S) as channel:
        if password is not None:
            _answer_sudo(channel, session.name, password, prompt.encode(), ready.encode())
        yield RemoteShell(channel, session, library, refusal=_sudo_refused(session.name, "no password was given"))


def _answer_sudo(channel: Channel, name: str, password: Secret, prompt: bytes, ready: bytes) -> None:
    """Give the password when, and only when, sudo asks, and only once: a second question means it was wrong."""
    seen = b""
    asked = 0
    deadline = time.monotonic() + START_TIMEOUT_S
    with translated(name, "sudo"):
        channel.set_combine_stderr(True)
        while ready not in seen:
            if seen.count(prompt) > asked:
                asked += 1
                if asked > 1:
                    raise _sudo_refused(name, "the password is wrong")
                channel.sendall(password.reveal().encode() + b"\n")
            channel.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = channel.recv(4096)
            if not piece:
                raise _sudo_refused(name, _last_lines(seen.replace(prompt, b"")))
            seen += piece
        channel.set_combine_stderr(False)


def _sudo_refused(name: str, reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"sudo on {name} refused: {reason}",
        hint="check ansible_become_password, and that sudoers lets this user run sh (without requiretty)",
    )


class RemoteShell:
    """The running shell."""

    def __init__(self, channel: Channel, session: SshSession, library: str, *, refusal: DriverError) -> None:
        self._channel = channel
        self._session = session
        self._ahead = f"{library}\n" if library else ""
        self._refusal = refusal
        self._answered = False

    @property
    def name(self) -> str:
        """Of the device, for messages."""
        return self._session.name

    def alive(self) -> bool:
        """Whether another script can be run, as far as this side knows."""
        return self._session.alive() and not self._channel.closed and not self._channel.exit_status_ready()

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a script to its end. Raises DeviceUnreachable when the shell or the connection ends before that."""
        mark = secrets.token_hex(12)
        deadline = time.monotonic() + timeout_s
        end = f'printf "\\n%s %s\\n" {mark} "$?"; printf "\\n%s\\n" {mark} >&2'
        text = f"{self._ahead}echo {mark}\n(\n{script}\n) </dev/null\n{end}\n"
        try:
            with translated(self.name, "run a script"):
                self._channel.settimeout(timeout_s)
                self._send(text.encode())
                stdout = self._read_until(f"\n{mark} ".encode(), deadline)
                stderr = self._read_stderr_until(f"\n{mark}\n".encode(), deadline)
        except DeviceUnreachable:
            self._channel.close()
            raise
        self._ahead, self._answered = "", True
        _, _, body = stdout.partition(f"{mark}\n".encode())
        output, _, status = body.rpartition(f"\n{mark} ".encode())
        return Completed(int(status), output.decode(errors="replace"), stderr.decode(errors="replace"))

    def _send(self, data: bytes) -> None:
        """A shell that has ended takes nothing; what it printed before, which is read next, says why."""
        try:
            self._channel.sendall(data)
        except OSError:
            if not self._channel.closed:
                raise

    def _read_until(self, mark: bytes, deadline: float) -> bytes:
        data = bytearray()
        while mark not in data or not data.endswith(b"\n"):
            self._append(data, self._channel.recv, deadline)
        return bytes(data)

    def _read_stderr_until(self, mark: bytes, deadline: float) -> bytes:
        data = bytearray()
        while not data.endswith(mark):
            self._append(data, self._channel.recv_stderr, deadline)
        return bytes(data[: -len(mark)])

    def _append(self, data: bytearray, read: Callable[[int], bytes], deadline: float) -> None:
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = read(65536)
        if not piece:
            raise self._ended(bytes(data))
        data += piece
        if len(data) > MAX_OUTPUT:
            self._channel.close()
            raise DeviceRejected(f"{self.name} sent more than {MAX_OUTPUT} bytes")

    def _ended(self, printed: bytes) -> DriverError:
        """Say why the shell is gone; before its first answer it never was there."""
        with contextlib.suppress(TimeoutError, DriverError):
            printed += receive(self._channel.recv_stderr, self._channel, time.monotonic() + 1.0)
        said = f" ({words})" if (words := _last_lines(printed)) else ""
        if not self._answered and self._exit_status() != -1:
            return type(self._refusal)(f"{self._refusal}{said}", hint=self._refusal.hint)
        return DeviceUnreachable(f"the shell on {self.name} ended before its script was done{said}")

    def _exit_status(self) -> int:
        """Wait for it: the end of the output may come first. -1 when the connection is lost."""
        self._channel.status_event.wait(1.0)
        return self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1


def _last_lines(data: bytes) -> str:
    lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return "; ".join(lines[-3:])[:300]
