# SPDX-License-Identifier: Apache-2.0
"""Requests over a socket in a private folder: one connection, one line of JSON there, one back."""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Answers one request; never raises."""

SOCKET = "socket"
_BACKLOG = 1024
_POLL_S = 1.0


class Server:
    """Answers until the play's process is gone, and every request it has taken even then."""

    def __init__(self, folder: Path, play: int, answer: Answer) -> None:
        """``play``: pid of the process that runs the play."""
        self._folder = folder
        self._play = play
        self._answer = answer
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        """Listen; return when the play is over."""
        with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
            _bind(listener, self._folder)
            selector.register(listener, selectors.EVENT_READ)
            watched = _watch(selector, self._play)
            while not _is_over(self._play, watched, selector.select(_POLL_S)):
                self._accept(listener)

    def finish(self) -> None:
        """Wait for what is under way."""
        for thread in self._threads:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(True)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._talk, args=(connection,), name="ottr-play")
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        """A host that does not wait for its answer is worked on to the end all the same."""
        with connection, suppress(OSError, ValueError), connection.makefile("rwb") as stream:
            answer = self._answer(json.loads(stream.readline()))
            stream.write(json.dumps(answer).encode() + b"\n")


def _bind(listener: socket.socket, folder: Path) -> None:
    """Relative to the folder: the name of a socket has some 100 characters at most. Appears when it can be used."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        listener.bind(f"{SOCKET}.new")
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        os.rename(f"{SOCKET}.new", SOCKET)  # noqa: PTH104 - by the same relative name
    finally:
        os.fchdir(here)
        os.close(here)


def _watch(selector: selectors.BaseSelector, play: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has no such thing."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        handle = os.pidfd_open(play)
    except ProcessLookupError:
        return None
    selector.register(handle, selectors.EVENT_READ)
    return handle


def _is_over(play: int, watched: int | None, events: list[tuple[selectors.SelectorKey, int]]) -> bool:
    if watched is not None:
        return any(key.fd == watched for key, _ in events)
    try:
        os.kill(play, 0)
    except ProcessLookupError:
        return True
    return False
