# SPDX-License-Identifier: Apache-2.0
"""An SSH server at one address: connections, sessions and their threads. Who may do what says its user."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

import paramiko

_POLL_S = 0.2
_LOG = "ottr.simulation.ssh"
logging.getLogger(_LOG).addHandler(logging.NullHandler())  # connections end here in every way there is
logging.getLogger(_LOG).propagate = False

Visitor = TypeVar("Visitor", bound=paramiko.ServerInterface)


class SshServer(Generic[Visitor]):
    """``admit`` makes the visitor of a connection, ``talk`` serves one session. Port 0 takes a free one."""

    def __init__(
        self,
        address: str,
        port: int,
        key: paramiko.PKey,
        admit: Callable[[], Visitor],
        talk: Callable[[paramiko.Channel, Visitor], None],
    ) -> None:
        self.address, self.port = address, port
        self._key, self._admit, self._talk = key, admit, talk
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
        """End every session; nothing is left when this returns."""
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
        # Without it each small packet waits for the acknowledgement of the one before (40 ms on Linux).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(connection)
        transport.set_log_channel(_LOG)
        with self._lock:
            self._transports.add(transport)
        try:
            transport.add_server_key(self._key)
            visitor = self._admit()
            transport.start_server(server=visitor)
            while transport.is_active() and self._listener:
                if channel := transport.accept(_POLL_S):
                    self._run(partial(self._converse, channel, visitor))
        finally:
            transport.close()
            with self._lock:
                self._transports.discard(transport)

    def _converse(self, channel: paramiko.Channel, visitor: Visitor) -> None:
        try:
            self._talk(channel, visitor)
        finally:
            channel.close()
