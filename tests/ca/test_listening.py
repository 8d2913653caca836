# SPDX-License-Identifier: Apache-2.0
"""How connections begin and end, on both event loops: counted, paused and let go, with TLS and before it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import uvicorn

from ottr.ca.authority import Authority
from ottr.ca.connections import DEFAULT_PATIENCE, Patience
from ottr.ca.serving import ServerSettings, build_server
from ottr.lab.network import Network
from ottr.lab.process import Process
from tests.ca.conftest import PASSPHRASE, SETTINGS
from tests.measuring import measured

ASK = b"GET /acme/directory HTTP/1.1\r\nHost: x\r\n\r\n"
ASK_LAST = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_BUFFER_BYTES = 4096


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)  # as on a platform that has none
    return str(request.param)


@contextmanager
def serve(authority: Authority, loop_name: str, patience: Patience = DEFAULT_PATIENCE) -> Iterator[int]:
    """Serve with TLS on the loop of that name, with small buffers in the kernel; yields the port."""
    with start(authority, loop_name, patience) as server:
        yield int(server.servers[0].sockets[0].getsockname()[1])


@contextmanager
def start(authority: Authority, loop_name: str, patience: Patience) -> Iterator[uvicorn.Server]:
    ready: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()
    with ExitStack() as stack:
        settings = ServerSettings(port=0, names=("x.test",))
        server = build_server(authority, settings, lambda _: ready.put(asyncio.get_running_loop()), stack, patience)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert type(ready.get(timeout=20)).__module__.partition(".")[0] == loop_name
            listener = server.servers[0].sockets[0]
            for kind in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listener.setsockopt(socket.SOL_SOCKET, kind, _BUFFER_BYTES)
            yield server
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def connect(port: int) -> Iterator[socket.socket]:
    with socket.socket() as plain:
        for kind in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            plain.setsockopt(socket.SOL_SOCKET, kind, _BUFFER_BYTES)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", port))
        yield plain


def trust_anybody() -> ssl.SSLContext:
    """The test's clock is not that of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextmanager
def connect_secured(port: int) -> Iterator[ssl.SSLSocket]:
    with connect(port) as plain, trust_anybody().wrap_socket(plain) as secured:
        yield secured


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    with suppress(ConnectionResetError):  # of what had begun and was not read
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_connections_that_have_ended_leave_room_for_others(authority: Authority, loop_name: str) -> None:
    """Whatever their end was, and before any garbage is collected."""
    gc.disable()
    try:
        with serve(authority, loop_name, Patience(headers_s=600, connections=3)) as port:
            for _ in range(4):
                with connect_secured(port) as secured:
                    secured.sendall(ASK_LAST)
                    assert b"404 Not Found" in read_all(secured)
                with connect(port) as plain:
                    plain.sendall(b"No TLS at all\r\n")
                    read_all(plain)
            with ExitStack() as stack:
                silent = [stack.enter_context(connect(port)) for _ in range(3)]
                assert read_all(stack.enter_context(connect(port))) == b""
                for one in silent:
                    one.close()
                wait_for(lambda: is_served(port))
    finally:
        gc.enable()


def is_served(port: int) -> bool:
    try:
        with connect_secured(port) as secured:
            secured.sendall(ASK_LAST)
            return b"404 Not Found" in read_all(secured)
    except OSError:
        return False


def test_who_has_gone_again_before_he_was_let_in_is_nobody(authority: Authority, loop_name: str) -> None:
    with start(authority, loop_name, DEFAULT_PATIENCE) as server:
        (listener,) = server.servers
        listener._loop.call_soon_threadsafe(listener._accept)
        assert is_served(int(listener.sockets[0].getsockname()[1]))


def test_who_never_ends_TLS_is_not_waited_for_long(authority: Authority, loop_name: str) -> None:
    with serve(authority, loop_name, Patience(headers_s=2, body_s=600)) as port, connect(port) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust_anybody().wrap_bio(incoming, outgoing)
        exchange(plain, incoming, outgoing, client.do_handshake)
        client.write(ASK_LAST)
        while exchange(plain, incoming, outgoing, lambda: client.read(65536)):
            pass  # up to its goodbye, which is not answered
        with suppress(ConnectionResetError):
            assert plain.recv(1) == b""


def exchange(plain: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, step: Callable[[], Any]) -> Any:
    """Do a step of TLS, bringing bytes to and fro until it is done."""
    while True:
        try:
            done = step()
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
            incoming.write(plain.recv(65536))
        else:
            plain.sendall(outgoing.read())
            return done


def test_who_begins_TLS_when_the_server_ends_is_not_let_in(authority: Authority, loop_name: str) -> None:
    """Else he would be served, and waited for."""
    with ExitStack() as stack:
        late, busy = socket.socket(), socket.socket()
        for one in (stack.enter_context(late), stack.enter_context(busy)):
            one.settimeout(20)
        with start(authority, loop_name, Patience(headers_s=600, body_s=600)) as server:
            listener = server.servers[0].sockets[0]
            port = int(listener.getsockname()[1])
            busy.connect(("127.0.0.1", port))
            secured = stack.enter_context(trust_anybody().wrap_socket(busy))
            secured.sendall(b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
            late.connect(("127.0.0.1", port))
            assert is_served(port)  # so he is in
            server.should_exit = True
            wait_for(lambda: listener.fileno() == -1)
            with pytest.raises((ConnectionResetError, ssl.SSLError)):
                trust_anybody().wrap_socket(late)
            secured.close()


def test_who_does_not_read_is_not_read_from_until_he_does(authority: Authority, loop_name: str) -> None:
    many, sent = 4000, 0
    padded = ASK.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 3000 + b"\r\n\r\n")
    with serve(authority, loop_name, Patience(headers_s=600, body_s=600)) as port, connect_secured(port) as secured:

        def send() -> None:
            nonlocal sent
            for sent in range(1, many + 1):  # noqa: B007 for the others
                secured.sendall(padded)

        thread = threading.Thread(target=send)
        thread.start()
        seen = -1
        while seen != sent:
            seen = sent
            thread.join(0.5)
        assert sent < many
        answers = 0
        while answers < many:
            answers += secured.recv(65536).count(b'"newOrder"')
        thread.join()
        assert answers == many


def test_without_more_open_files_it_goes_on_later_and_ends_well(folder: Path, network: Network, tmp_path: Path) -> None:
    """The whole of it, as an operator starts it."""
    port = network.port(5)
    (folder / "ca.yaml").write_text(f'{SETTINGS}server: {{listen: "127.0.0.1:{port}"}}\n')
    command = (sys.executable, "-m", "ottr", "ca", "serve", "--dir", str(folder))
    environment = {**measured(), "OTTR_CA_PASSPHRASE": PASSPHRASE.reveal().decode()}
    log = tmp_path / "serve.log"
    with (
        Process(command, log=log, listens=[("127.0.0.1", port)], environment=environment) as process,
        ExitStack() as stack,
    ):
        idle = stack.enter_context(connect_secured(port))
        idle.sendall(ASK)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        stack.enter_context(connect(port))  # in its handshake, to the end
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        most = max(int(one.name) for one in Path(f"/proc/{process.pid}/fd").iterdir()) + 1
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, limits[1]))
        for _ in range(most):  # some of those below are free
            stack.enter_context(connect(port))
        wait_for(lambda: "nobody can connect" in log.read_text())
        idle.sendall(ASK)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert log.read_text().count("nobody can connect") < 20  # it does not try again and again
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        assert is_served(port)
        idle.close()
        process.begin_stop()
        wait_for(lambda: find_end(process.pid))
        assert find_end(process.pid) == (os.CLD_EXITED, 0)
    assert "Traceback" not in log.read_text()


def find_end(pid: int) -> tuple[int, int] | None:
    """How a child has ended, which may be asked again."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found and (found.si_code, found.si_status)
