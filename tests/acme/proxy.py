# SPDX-License-Identifier: Apache-2.0
"""An HTTPS server in front of an ACME server that passes everything on, except where a test wrote something else."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3

from ottr.lab.x509 import write_server_certificate

ADDRESS = "127.0.0.1"
HOP = {"content-length", "transfer-encoding", "connection", "date"}


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes
    agent: str
    port: int
    """The client's: one number is one connection."""
    forward: Callable[[], Reply]

    def payload(self) -> Any:
        """The JSON inside the JWS; None for POST-as-GET."""
        encoded = json.loads(self.body)["payload"]
        return json.loads(base64.urlsafe_b64decode(encoded + "==")) if encoded else None

    def header(self) -> Any:
        encoded = json.loads(self.body)["protected"]
        return json.loads(base64.urlsafe_b64decode(encoded + "=="))


Action = Callable[[Request], Reply]


def answer(status: int, body: Any, **headers: str) -> Action:
    """Answer instead of the server. Underscores in header names stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda request: Reply(status, content, {name.replace("_", "-"): text for name, text in headers.items()})


def problem(status: int, code: str, detail: str = "no", **headers: str) -> Action:
    return answer(status, {"type": f"urn:ietf:params:acme:error:{code}", "detail": detail}, **headers)


def drop(request: Request) -> Reply:
    """The request never reaches the server."""
    raise Dropped


def lose(request: Request) -> Reply:
    """The server does as asked, and its answer is lost."""
    request.forward()
    raise Dropped


def edit(change: Callable[[dict[str, Any]], object], **headers: str) -> Action:
    """Pass the request on and change the JSON object of the answer."""

    def act(request: Request) -> Reply:
        reply = request.forward()
        jobj = json.loads(reply.body)
        change(jobj)
        more = {name.replace("_", "-"): text for name, text in headers.items()}
        return Reply(reply.status, json.dumps(jobj).encode(), reply.headers | more)

    return act


@dataclass
class _Rule:
    method: str
    path: str
    action: Action
    times: int
    after: int


class Proxy:
    """Serves ``directory``, checked by ``ca_bundle``; ``seen`` are the requests so far as "METHOD /path"."""

    def __init__(self, folder: Path, target: str, target_roots: Path) -> None:
        self.target, _, path = target.rpartition("/")
        self.ca_bundle = write_server_certificate(folder, ADDRESS)
        self.seen: list[str] = []
        self.requests: list[Request] = []
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(ca_certs=str(target_roots), maxsize=64)
        self._server = _Server((ADDRESS, 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"{ADDRESS}:{self._server.server_port}"
        self.directory = f"https://{self.host}/{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()
        self._pool.clear()
        assert not self._server.mistakes

    def on(self, method: str, path: str, action: Action, *, times: int = 1, after: int = 0) -> None:
        """Use ``action`` for the next ``times`` such requests whose path begins so, when ``after`` have passed."""
        with self._lock:
            self._rules.append(_Rule(method, path, action, times, after))

    def count(self, request: str) -> int:
        return sum(seen.startswith(request) for seen in self.seen)

    def _take(self, method: str, path: str) -> Action | None:
        with self._lock:
            self.seen.append(f"{method} {path}")
            for rule in self._rules:
                if rule.method == method and path.startswith(rule.path) and rule.times:
                    if rule.after:
                        rule.after -= 1
                        continue
                    rule.times -= 1
                    return rule.action
            return None

    def _forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        reply = self._pool.request(method, self.target + path, body=body, headers=headers, retries=False, timeout=30)
        kept = {name: text for name, text in reply.headers.items() if name.lower() not in HOP}
        return Reply(reply.status, reply.data, kept)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: text for name, text in self.headers.items() if name != "Connection"}
                request = Request(
                    self.command,
                    self.path,
                    body,
                    self.headers["User-Agent"],
                    self.client_address[1],
                    lambda: proxy._forward(self.command, self.path, body, headers),
                )
                proxy.requests.append(request)
                action = proxy._take(self.command, self.path) or (lambda request: request.forward())
                try:
                    self.reply(action(request))
                except Dropped:
                    self.close_connection = True

            def reply(self, reply: Reply) -> None:
                self.send_response_only(reply.status)
                if "Date" not in reply.headers:
                    self.send_header("Date", self.date_time_string())
                for name, text in reply.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            do_GET = do_HEAD = do_POST = serve

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    """Closes the kept-alive connections of its clients at the end, so that no thread stays."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[Any] = set()
        self.mistakes: list[BaseException | None] = []

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that went away is not this server's trouble; anything else fails the test."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.mistakes.append(error)
