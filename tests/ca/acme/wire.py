# SPDX-License-Identifier: Apache-2.0
"""The CA's server on a port, in a thread of the test, and requests over connections."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

from ottr.ca.acme.exchange import Message, Reply
from ottr.ca.authority import Authority
from ottr.ca.connections import Patience
from ottr.ca.serving import ServerSettings, build_server


@contextmanager
def run_server(authority: Authority, patience: Patience, **settings: Any) -> Iterator[int]:
    """Serve, without TLS unless told; yields the port."""
    ready: SimpleQueue[int] = SimpleQueue()
    with ExitStack() as stack:
        chosen = ServerSettings(**{"port": 0, "plain": True, **settings})
        server = build_server(authority, chosen, lambda _: ready.put(0), stack, patience)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            ready.get(timeout=20)
            yield int(server.servers[0].sockets[0].getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


class Wire:
    """Stands in for an AcmeServer: what it is asked goes over a connection of its own."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def handle(self, message: Message) -> Reply:
        path = f"/acme{message.path}" + (f"?{message.query}" if message.query else "")
        self.connection.request(message.method, path, message.body, {"Content-Type": message.content_type})
        answer = self.connection.getresponse()
        body = answer.read()
        is_json = "json" in answer.getheader("Content-Type", "")
        headers = {name.title(): value for name, value in answer.getheaders()}
        links = tuple(answer.headers.get_all("Link", []))
        return Reply(answer.status, json.loads(body) if is_json else None, headers, links, body)
