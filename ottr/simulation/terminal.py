# SPDX-License-Identifier: Apache-2.0
"""Programs at the other end of an SSH channel."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

_CHUNK = 32768
_POLL_S = 0.2


class Channel(Protocol):
    """What is needed of an SSH library's channel."""

    @property
    def closed(self) -> bool:
        """Whether the client is gone."""

    def fileno(self) -> int:
        """A descriptor that can be read from when something has come."""

    def recv(self, nbytes: int) -> bytes:
        """What has come; empty at its end."""

    def sendall(self, s: bytes) -> None:
        """Send. Raises OSError when the client is gone."""

    def sendall_stderr(self, s: bytes) -> None:
        """Send to standard error. Raises OSError when the client is gone."""


class Watched:
    """A channel whose every byte that is sent is shown to ``watch`` first."""

    def __init__(self, channel: Channel, watch: Callable[[bytes], None]) -> None:
        self._channel, self._watch = channel, watch

    @property
    def closed(self) -> bool:
        """Whether the client is gone."""
        return self._channel.closed

    def fileno(self) -> int:
        """As the channel's."""
        return self._channel.fileno()

    def recv(self, nbytes: int) -> bytes:
        """As the channel's."""
        return self._channel.recv(nbytes)

    def sendall(self, s: bytes) -> None:
        """As the channel's."""
        self._watch(s)
        self._channel.sendall(s)

    def sendall_stderr(self, s: bytes) -> None:
        """As the channel's."""
        self._watch(s)
        self._channel.sendall_stderr(s)


def run_with_terminal(channel: Channel, command: list[str], size: tuple[int, int]) -> int:
    """Run a program on a terminal of ``size`` (rows, columns) until it or the session ends; its exit status."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    try:
        child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        while True:
            ready = _wait(channel.fileno(), ours)
            if ours in ready:
                try:
                    channel.sendall(os.read(ours, _CHUNK))
                except OSError:  # the last program has closed the terminal
                    break
            if channel.fileno() in ready:
                typed = channel.recv(_CHUNK)
                if not typed:
                    break
                os.write(ours, typed)
            if not ready and (child.poll() is not None or channel.closed):
                break
    finally:
        os.close(ours)
    return _end(child)


def run_with_pipes(
    channel: Channel,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> int:
    """Run a program until it ends and nothing holds its output; its exit status."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    feeder = threading.Thread(target=_feed, args=(channel, child), daemon=True)
    errors = threading.Thread(target=_drain, args=(child.stderr, channel.sendall_stderr), daemon=True)
    for thread in (feeder, errors):
        thread.start()
    _drain(child.stdout, channel.sendall)
    status = _describe(child.wait())
    errors.join()
    feeder.join()
    return status


def _feed(channel: Channel, child: subprocess.Popen[bytes]) -> None:
    if child.stdin is None:
        return
    with suppress(OSError, ValueError), child.stdin as pipe:
        while child.poll() is None:
            if not _wait(channel.fileno()):
                continue
            typed = channel.recv(_CHUNK)
            if not typed:
                return
            pipe.write(typed)
            pipe.flush()


def _drain(pipe: IO[bytes] | None, send: Callable[[bytes], object]) -> None:
    if pipe is None:
        return
    with pipe:
        while chunk := os.read(pipe.fileno(), _CHUNK):
            with suppress(OSError):  # who asked may be gone; what runs goes on
                send(chunk)


def _wait(*descriptors: int) -> list[int]:
    """Those that can be read from, or are at their end; poll, since select knows no descriptor above 1023."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(_POLL_S * 1000)]


def _end(child: subprocess.Popen[bytes]) -> int:
    try:
        return _describe(child.wait(1.0))
    except subprocess.TimeoutExpired:
        child.kill()
        return _describe(child.wait())


def _describe(status: int) -> int:
    """As a shell says that a signal has ended it: an SSH exit status is never negative."""
    return status if status >= 0 else 128 - status
