# SPDX-License-Identifier: Apache-2.0
"""An HTTPS server whose certificate can change while it runs, and which can be away for a while."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ottr.simulation.http import Answer, converse
from ottr.simulation.pair import Pair, build_context
from ottr.simulation.requests import DropConnection

_IDLE_S = 30.0
_BACKLOG = 128


class TlsServer:
    """Answers HTTPS requests, each connection in a thread of its own. Port 0 takes a free one, and keeps it.

    A pair whose key does not match is served as a real web server would: no handshake succeeds.
    """

    def __init__(self, address: str, port: int, answer: Answer) -> None:
        self.address, self.port = address, port
        self.pair: Pair | None = None
        self._answer = answer
        self._context: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._stopped = False

    def serve(
        self,
        pair: Pair | None,
        minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        """Show this certificate to connections from now on; None: show none, so that no handshake succeeds."""
        try:
            context = build_context(pair, minimum, maximum) if pair else None
        except (ssl.SSLError, ValueError):
            context = None
        self.show(pair, context)

    def show(self, pair: Pair | None, context: ssl.SSLContext | None) -> None:
        """The same with a context that was built elsewhere, which may know more pairs than this one."""
        with self._lock:
            self.pair, self._context = pair, context

    @property
    def fingerprint(self) -> str:
        """SHA-256 (lower-case hex) of the certificate that clients see now; empty when they see none."""
        with self._lock:
            return self.pair.fingerprint if self.pair and self._context and self._listener else ""

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._stopped = False
        self._listen()

    def stop(self) -> None:
        """End every connection and thread; nothing is left when this returns."""
        with self._lock:
            self._stopped = True
            if self._timer:
                self._timer.cancel()
        self._close()
        if self._timer:
            self._timer.join()
        while threads := self._running():  # a connection that came last has its thread from one of the others
            for thread in threads:
                thread.join()

    def _running(self) -> list[threading.Thread]:
        with self._lock:
            return [thread for thread in self._threads if thread is not threading.current_thread()]

    def restart(self, down_s: float | None) -> None:
        """End every connection and refuse new ones for so many seconds; None: never come back."""
        self._close()
        with self._lock:
            if self._timer:
                self._timer.cancel()
            if self._stopped or down_s is None:
                return
            self._timer = threading.Timer(down_s, self._listen)
            self._timer.daemon = True
            self._timer.start()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, self.port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        with self._lock:
            if self._stopped or self._listener:
                listener.close()
                return
            self.port = listener.getsockname()[1]
            self._listener = listener
        self._run(self._accept, listener)

    def _close(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            connections = tuple(self._connections)
        if listener:
            _shut(listener)
            listener.close()
        for connection in connections:
            _shut(connection)

    def _run(self, target: Callable[[socket.socket], None], argument: socket.socket) -> None:
        def work() -> None:
            try:
                target(argument)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._threads.add(thread)
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._run(self._serve_connection, connection)

    def _serve_connection(self, connection: socket.socket) -> None:
        connection.settimeout(_IDLE_S)
        with self._lock:
            context = self._context
            self._connections.add(connection)
            refused = self._listener is None
        try:
            if context is not None and not refused:
                self._speak(context, connection)
        except OSError:
            pass  # the client went away, or does not like the certificate
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _speak(self, context: ssl.SSLContext, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            with self._lock:
                self._connections.add(secured)
            try:
                converse(secured, self._answer)
            except DropConnection:
                pass
            finally:
                with self._lock:
                    self._connections.discard(secured)


def _shut(connection: socket.socket) -> None:
    # socket.socket's own shutdown: that of an SSLSocket drops the TLS layer under the thread that uses it.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def wait_until(condition: Callable[[], bool], deadline_s: float = 10.0, interval_s: float = 0.01) -> bool:
    """Wait for a condition; False when it has not come true in time. For tests and the simulators themselves."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval_s)
    return True
