# SPDX-License-Identifier: Apache-2.0
"""The HTTP transport against real servers."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ottr.transports.http import HttpClient, HttpError
from tests.acme.proxy import Dropped, Reply, answer, drop


@pytest.fixture
def client(proxy):
    with_roots = HttpClient(ca_bundle=proxy.ca_bundle, timeout_s=5)
    yield with_roots
    with_roots.close()


def test_connections_are_kept_and_shared(proxy, client):
    ports = set()
    proxy.on("GET", "/x", lambda request: ports.add(request.port) or Reply(200), times=200)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.request("GET", f"https://{proxy.host}/x"), range(40)))
    assert len(ports) <= 4


def test_only_so_many_requests_are_under_way(proxy):
    client = HttpClient(ca_bundle=proxy.ca_bundle, timeout_s=10, pool_size=3)
    lock, too_many, now = threading.Lock(), threading.Event(), set()

    def stay(request):
        with lock:
            now.add(request.port)
            if len(now) > 3:
                too_many.set()
        too_many.wait(timeout=0.5)  # long enough for a fourth to come, if it may
        with lock:
            now.discard(request.port)
        return Reply(200)

    proxy.on("GET", "/x", stay, times=6)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: client.request("GET", f"https://{proxy.host}/x"), range(6)))
    client.close()
    assert not too_many.is_set()


def test_silent_server_does_not_hold_one_thread_after_the_other(proxy):
    client = HttpClient(ca_bundle=proxy.ca_bundle, timeout_s=0.5, pool_size=1)
    release = threading.Event()

    def hold(request):
        release.wait(timeout=10)
        raise Dropped

    proxy.on("GET", "/held", hold, times=8)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(client.request, "GET", f"https://{proxy.host}/held") for _ in range(8)]
        errors = [one.exception() for one in asked]
    release.set()
    client.close()
    assert {type(error) for error in errors} == {HttpError}
    assert proxy.count("GET /held") < 8  # the others gave up before it was their turn


def test_header_names_have_no_case(proxy, client):
    proxy.on("GET", "/x", answer(404, b"text", X_Some="thing"))
    response = client.request("GET", f"https://{proxy.host}/x")
    assert (response.status, response.body, response.headers["x-sOME"]) == (404, b"text", "thing")


@pytest.mark.parametrize("fault", ["drop", "refuse", "silent", "untrusted", "nonsense", "resolve"])
def test_errors_show_no_path_no_query_and_no_login(proxy, client, pebble, fault):
    host = proxy.host
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if fault == "drop":
            proxy.on("GET", "/s3cret-path", drop)
        elif fault == "refuse":
            host = f"127.0.0.1:{silent.getsockname()[1]}"
        elif fault == "silent":
            silent.listen()
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            client = HttpClient(ca_bundle=proxy.ca_bundle, timeout_s=0.2)
        elif fault == "untrusted":
            client = HttpClient(ca_bundle=pebble.ca_bundle)
        elif fault == "nonsense":
            host = "::::"
        else:
            host = "nowhere.invalid"
        with pytest.raises(HttpError) as raised:
            client.request("GET", f"https://user:s3cret@{host}/s3cret-path?token=s3cret")
    assert "s3cret" not in str(raised.value)
    assert host in str(raised.value)
    assert raised.value.untrusted is (fault == "untrusted")


def test_roots_that_cannot_be_read(proxy, tmp_path):
    with pytest.raises(HttpError, match=r"ca_bundle .*missing\.pem cannot be read") as raised:
        HttpClient(ca_bundle=tmp_path / "missing.pem").request("GET", proxy.directory)
    assert raised.value.untrusted


def test_system_roots_do_not_vouch_for_the_lab(proxy):
    with pytest.raises(HttpError, match="CERTIFICATE_VERIFY_FAILED"):
        HttpClient().request("GET", proxy.directory)


class ConnectProxy:
    """A forward proxy that takes one CONNECT at a time and notes what it was told."""

    def __enter__(self):
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)  # a client that never comes must not hold the test
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def serve(self):
        try:
            near, _ = self.listener.accept()
        except TimeoutError:
            return
        near.settimeout(5)
        with near:
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(4096)
            self.heads.append(head.decode())
            host, port = head.split()[1].decode().split(":")
            with socket.create_connection((host, int(port))) as far:
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=self.copy, args=(far, near))
                back.start()
                self.copy(near, far)
                back.join()

    @staticmethod
    def copy(source, target):
        while data := source.recv(65536):
            target.sendall(data)
        with contextlib.suppress(OSError):  # it was gone first
            target.shutdown(socket.SHUT_WR)

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


@pytest.mark.parametrize("login", ["", "me:p%40ss@", "me@"])
def test_forward_proxy_of_the_environment(proxy, monkeypatch, login):
    with ConnectProxy() as forward:
        monkeypatch.setenv("https_proxy", f"http://{login}{forward.address}")
        monkeypatch.delenv("no_proxy", raising=False)
        client = HttpClient(ca_bundle=proxy.ca_bundle, timeout_s=5)
        assert client.request("GET", proxy.directory).status == 200
        client.close()
    (head,) = forward.heads
    assert head.startswith(f"CONNECT {proxy.host} ")
    sent = {"": None, "me:p%40ss@": b"me:p@ss", "me@": b"me:"}[login]
    assert ("Basic " + base64.b64encode(sent).decode() in head) if sent else ("Basic" not in head)


def test_no_proxy_is_honoured(proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    client = HttpClient(ca_bundle=proxy.ca_bundle, timeout_s=5)
    assert client.request("GET", proxy.directory).status == 200
    client.close()


def test_a_path_is_sent_in_characters_of_a_url(proxy, client):
    proxy.on("GET", "/a%20path/%C3%A9?x=%25", answer(200, b"here"))
    assert client.request("GET", f"https://{proxy.host}/a path/é?x=%25").body == b"here"


def test_several_headers_of_one_name_are_one_list(proxy, client):
    proxy.on("GET", "/x", lambda _: Reply(200, headers={"Link": "<a>;rel=alternate", "link": "<b>;rel=alternate"}))
    found = client.request("GET", f"https://{proxy.host}/x").headers["link"]
    assert found == "<a>;rel=alternate, <b>;rel=alternate"


def test_a_header_that_cannot_be_sent_is_not_shown(proxy, client):
    with pytest.raises(HttpError, match="not valid") as raised:
        client.request("GET", f"https://{proxy.host}/x", headers={"X-Key": "s3cret\n"})
    assert "s3cret" not in str(raised.value)


def test_a_connection_that_the_server_ended_is_not_used_again(proxy, client):
    ports = []
    said = {"Connection": "close"}
    for headers in (said, {}, {}):
        proxy.on("GET", "/x", lambda request, headers=headers: ports.append(request.port) or Reply(200, b"", headers))
    assert client.request("GET", f"https://{proxy.host}/x").status == 200
    assert client.request("GET", f"https://{proxy.host}/x").status == 200
    proxy._server.close_connections()
    assert client.request("GET", f"https://{proxy.host}/x").status == 200
    assert len(set(ports)) == 3
