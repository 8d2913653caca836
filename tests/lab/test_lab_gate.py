# SPDX-License-Identifier: Apache-2.0
"""What the door in front of Pebble keeps apart, and what it lets pass."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ottr.lab.bind import Bind
from ottr.lab.gate import Gate
from ottr.lab.network import Network
from ottr.lab.pebble import Pebble
from ottr.lab.x509 import write_server_certificate


class Server:
    """Takes down who came, and answers requests for ``/order-plz`` only when told to."""

    def __init__(self, folder: Path, address: str) -> None:
        self.came: list[str] = []
        self.first = threading.Event()
        self.go = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.came.append(self.path)
                if self.path == "/order-plz":
                    server.first.set()
                    server.go.wait(20)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.http = ThreadingHTTPServer((address, 0), Handler)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)


@contextmanager
def serving(server: Server) -> Iterator[None]:
    thread = threading.Thread(target=server.http.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.go.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def test_new_orders_and_authorizations_go_through_one_at_a_time_and_nothing_else_waits(
    tmp_path: Path, network: Network
) -> None:
    address, port = network.address(1100), 14000
    write_server_certificate(tmp_path, address)
    context = ssl.create_default_context(cafile=str(tmp_path / "server-root.pem"))

    def ask(path: str) -> int:
        connection = http.client.HTTPSConnection(address, port, timeout=30, context=context)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    server = Server(tmp_path, address)
    gate = Gate(tmp_path, address, port, server.http.server_port)
    gate.prepare()
    with ExitStack() as stack:
        stack.enter_context(serving(server))
        stack.enter_context(gate.process)
        pool = stack.enter_context(ThreadPoolExecutor())
        first: Future[int] = pool.submit(ask, "/order-plz")
        assert server.first.wait(20)
        second = pool.submit(ask, "/authZ/1")
        for path in ("/dir", "/chalZ/1", "/my-order/1", "/dir"):
            assert ask(path) == 200
        assert "/authZ/1" not in server.came
        server.go.set()
        assert first.result() == second.result() == 200
        assert server.came[-1] == "/authZ/1"


def test_a_gated_pebble_is_the_same_to_its_clients_also_after_a_restart(
    tmp_path: Path, bind: Bind, network: Network
) -> None:
    address = network.address(1101)
    with Pebble(tmp_path / "pebble", address, bind.server, gated=True) as server:
        context = ssl.create_default_context(cafile=str(server.ca_bundle))
        connection = http.client.HTTPSConnection(address, 14000, timeout=30, context=context)
        for _ in range(2):
            connection.request("GET", "/dir")
            assert f"https://{address}:14000/order-plz" in connection.getresponse().read().decode()
            server.restart()
        connection.close()
