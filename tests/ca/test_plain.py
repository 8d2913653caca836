# SPDX-License-Identifier: Apache-2.0
"""Requests that are told from their bytes, and those that are left to the parser."""

from __future__ import annotations

import pytest

from ottr.ca.plain import Head, Posts

USUAL = (
    b"POST /acme/new-order HTTP/1.1\r\nHost: ca.test:14000\r\nUser-Agent: any/1.0 (of them)\r\nAccept: */*\r\n"
    b"content-type: application/JOSE+json\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
)


@pytest.fixture
def posts() -> Posts:
    return Posts("/acme", "application/jose+json")


def test_what_is_beyond_doubt(posts: Posts) -> None:
    head = Head("ca.test:14000", 2)
    assert posts.read(USUAL) == ("/new-order", head, b"{}")
    assert posts.read(USUAL.replace(b"/new-order", b"/chall/a_-Z/0").replace(b"{}", b"\r\n")) == (
        "/chall/a_-Z/0",
        head,
        b"\r\n",
    )
    longest = b"x" * 99_999
    found = posts.read(USUAL.replace(b"Length: 2", b"Length: 99999").replace(b"{}", longest))
    assert found == ("/new-order", Head("ca.test:14000", 99_999), longest)


@pytest.mark.parametrize(
    ("former", "other"),
    [
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"POST", b"post"),
        (b"POST ", b"POST  "),
        (b"/acme/", b"/acme"),
        (b"/acme/new-order", b"/acme/"),
        (b"/acme/new-order", b"https://ca.test/acme/new-order"),
        (b"/new-order", b"/new-order?cursor=1"),
        (b"/new-order", b"/new%2Dorder"),
        (b"/new-order", b"/../new-order"),
        (b"/new-order", b"/" + b"a" * 201),
        (b"Host: ca.test:14000\r\n", b""),
        (b"Host: ca.test:14000\r\n", b"Host: ca.test:14000\r\nHost: ca.test:14000\r\n"),
        (b"Host: ca.test:14000", b"Host: ca.test\xe9"),
        (b"Host: ca.test:14000", b"Host:"),
        (b"application/JOSE+json", b"application/json"),
        (b"application/JOSE+json", b"application/jose+json; charset=utf-8"),
        (b"content-type: application/JOSE+json\r\n", b""),
        (b"Connection: keep-alive", b"Connection: close"),
        (b"Connection: keep-alive", b"Connection: keep-alive, TE"),
        (b"Content-Length: 2\r\n", b""),
        (b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", b"Connection: keep-alive\r\n\r\n{"),
        (b"Content-Length: 2", b"Content-Length: 02"),
        (b"Content-Length: 2", b"Content-Length: +2"),
        (b"Content-Length: 2", b"Content-Length: 2, 2"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        (b"Content-Length: 2", b"Content-Length: 100000"),
        (b"Content-Length: 2\r\n", b"Content-Length : 2\r\n"),
        (b"Content-Length: 2\r\n", b"Content-Length: 2\n"),
        (b"Accept: */*", b"Transfer-Encoding: chunked"),
        (b"Accept: */*", b"Expect: 100-continue"),
        (b"Accept: */*", b"Upgrade: h2c"),
        (b"Accept: */*", b"X-Forwarded-For: 192.0.2.1"),
        (b"Accept: */*", b"Accept: a\r\n b"),
        (b"Accept: */*", b"Accept: a\rb"),
        (b"Accept: */*", b"Accept: \x00"),
        (b"Accept: */*", b"Accept: " + b"a" * 1024),
        (b"\r\n\r\n", b"\r\n"),
        (b"{}", b"{"),
        (b"{}", b"{}P"),
    ],
)
def test_what_is_left_to_the_parser(posts: Posts, former: bytes, other: bytes) -> None:
    assert former in USUAL
    assert posts.read(USUAL.replace(former, other)) is None
    assert posts.read(USUAL) is not None
