# SPDX-License-Identifier: Apache-2.0
"""The way from a connection to the ACME server and back, whatever the client does meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from ottr.ca import direct
from ottr.ca.acme.exchange import MOST_BYTES, Later, Message, Reply
from ottr.ca.connections import Patience, build_protocol
from ottr.ca.direct import AcmeProtocol, add_acme
from ottr.ca.wire import write_reply

_ANSWER = b"x" * 900
PATIENCE = Patience(headers_s=600, body_s=600)


@dataclass
class Desk:
    """In place of the ACME server: answers by the path alone, and some answers wait for a word."""

    word: threading.Event = field(default_factory=threading.Event)
    work: Future[None] = field(default_factory=Future)
    heard: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    """In which the ends came."""

    def is_quick(self, message: Message) -> bool:
        return not message.path.startswith("/slow")

    def begin(self, message: Message) -> Reply | Later:
        if not message.path.startswith("/later"):
            return self.handle(message)
        return Later(self.work, self.finish, 0.1 if message.path == "/later-than-that" else 600)

    def finish(self) -> Reply:
        self.heard.append("the end")
        self.threads.append(threading.get_ident())
        if not self.work.done():
            self.word.wait(30)
        return Reply(body=b"late")

    def resume(self, message: Message, later: Later) -> Reply | Later:
        return later.again() if later.again else self.end(message, later)

    def end(self, _: Message, later: Later) -> Reply:
        return later.finish()

    def handle(self, message: Message) -> Reply:
        self.heard.append(message.path)
        self.messages.append(message)
        if message.path == "/slow":
            self.word.wait(30)
        if message.path == "/wrong":
            raise ZeroDivisionError
        if message.path == "/big":
            return Reply(body=_ANSWER * 10_000)
        if message.path == "/nothing":
            return Reply(204)
        return Reply(headers={"X": "\N{SNOWMAN}"}) if message.path == "/odd" else Reply(body=_ANSWER)


@dataclass
class Place:
    """A server with one thread."""

    desk: Desk
    port: int
    kind: type[AcmeProtocol]
    made: list[AcmeProtocol]
    called: list[asyncio.StreamWriter] = field(default_factory=list)

    async def call(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.called.append(writer)
        return reader, writer

    async def close(self) -> None:
        self.desk.word.set()
        for transport in [*(one.transport for one in self.made), *(one.transport for one in self.called)]:
            if not transport.is_closing():
                transport.abort()
        for writer in self.called:
            with suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def visit(pool: ThreadPoolExecutor) -> Callable[..., None]:
    def run(visitor: Callable[[Place], Awaitable[None]], patience: Patience = PATIENCE) -> None:
        uvloop.run(asyncio.wait_for(serve(visitor, patience, pool), 60))

    return run


async def serve(visitor: Callable[[Place], Awaitable[None]], patience: Patience, pool: ThreadPoolExecutor) -> None:
    desk, made = Desk(), []
    kind = add_acme(build_protocol(patience), desk, pool)  # type: ignore[arg-type]
    config = uvicorn.Config(page, http=kind, ws="none", lifespan="off", timeout_keep_alive=600)
    config.load()
    state = ServerState()

    def connect() -> AcmeProtocol:
        made.append(kind(config=config, server_state=state, app_state={}))
        return made[-1]

    async with await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0) as server:
        place = Place(desk, server.sockets[0].getsockname()[1], kind, made)
        try:
            await visitor(place)
        finally:
            await place.close()


async def page(scope: Any, receive: Any, send: Any) -> None:
    """In place of all that is not ACME."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"900")]})
    await send({"type": "http.response.body", "body": _ANSWER})


def ask(path: str, length: int = 0, more: str = "") -> bytes:
    return f"POST /acme{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def ask_plainly(path: str, body: bytes = b"{}") -> bytes:
    """As most clients do."""
    head = f"POST /acme{path} HTTP/1.1\r\nHost: ca.test\r\nContent-Type: application/jose+json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def until(what: Callable[[], Any]) -> None:
    while not what():
        await asyncio.sleep(0.01)


def test_who_does_not_read_the_answers_is_not_answered_further(visit: Callable[..., None]) -> None:
    many = 20_000

    async def flood(place: Place) -> None:
        reader, writer = await place.call()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(ask("/quick") * many)
        await until(lambda: place.made and place.made[0].flow.write_paused)
        heard = len(place.desk.heard)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(place.desk.heard) == heard
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        writer.write(ask("/quick", more="Connection: close\r\n"))
        assert (await reader.read()).count(_ANSWER) == many + 1

    async def leave(place: Place) -> None:
        reader, writer = await place.call()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(ask("/quick") * many)
        await until(lambda: place.made and place.made[0].transport.is_closing())
        writer.transport.abort()

    visit(flood)
    visit(leave, Patience(headers_s=600, body_s=0.1))


def test_plain_requests_may_be_cut_anywhere(visit: Callable[..., None]) -> None:
    sent = ask_plainly("/one", b"first") + ask_plainly("/two", b"second") + ask_plainly("/three", b"third")

    async def cut(place: Place) -> None:
        for at in range(len(sent)):
            reader, writer = await place.call()
            await until(lambda: len(place.made) == at + 1)  # noqa: B023 for this round
            place.made[-1].data_received(sent[:at])
            place.made[-1].data_received(sent[at:])
            for _ in range(3):
                assert (await reader.readuntil(_ANSWER)).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
        assert place.desk.heard == ["/one", "/two", "/three"] * len(sent)
        assert [one.body for one in place.desk.messages] == [b"first", b"second", b"third"] * len(sent)

    visit(cut)


def test_a_plain_request_says_the_same_without_the_parser(visit: Callable[..., None]) -> None:
    async def say(place: Place) -> None:
        reader, writer = await place.call()
        for sent in (ask_plainly("/a/b_-9"), ask_plainly("/a/b_-9").replace(b"Host", b"X-Other: 1\r\nHost")):
            writer.write(sent)
            await reader.readuntil(_ANSWER)
        shortly, parsed = place.desk.messages
        assert shortly == parsed
        assert (parsed.url, parsed.body, parsed.address) == ("http://ca.test/acme/a/b_-9", b"{}", "127.0.0.1")

    visit(say)


def test_what_looks_like_a_request_inside_of_another_is_none(visit: Callable[..., None]) -> None:
    async def smuggle(place: Place) -> None:
        for outer in (b"POST /acme/one HTTP/1.1\r\nHost: x\r\nX-Rest: ", b"POST /acme", ask("/quick", 1000)):
            reader, _ = await place.call()
            await until(lambda: place.made and not place.made[-1].transport.is_closing())
            place.made[-1].data_received(outer)
            place.made[-1].data_received(ask_plainly("/two"))
            place.made[-1].transport.close()
            await reader.read()
        assert "/two" not in place.desk.heard

    visit(smuggle)


def test_what_looks_like_a_request_in_a_body_that_nobody_reads_is_none(visit: Callable[..., None]) -> None:
    """The answer comes before the body, which goes nowhere; what follows it is a request again."""
    inner = ask_plainly("/two")

    async def smuggle(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(f"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: {2 * len(inner)}\r\n\r\n".encode())
        await reader.readuntil(_ANSWER)
        for part in (inner, inner, ask_plainly("/three")):
            place.made[0].data_received(part)
        await reader.readuntil(_ANSWER)
        assert place.desk.heard == ["/three"]

    visit(smuggle)


def test_what_follows_a_plain_request_has_its_turn_after_it(visit: Callable[..., None]) -> None:
    async def follow(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask_plainly("/later"))
        await until(lambda: place.made and place.made[0]._asked)
        place.made[0].data_received(ask_plainly("/one"))
        place.made[0].data_received(ask_plainly("/two") + ask("/three"))
        assert place.desk.heard == []
        place.desk.work.set_result(None)
        assert (await reader.readuntil(b"late")).startswith(b"HTTP/1.1 200")
        for _ in range(3):
            await reader.readuntil(_ANSWER)
        writer.write(ask_plainly("/four"))
        await reader.readuntil(_ANSWER)
        assert place.desk.heard == ["the end", "/one", "/two", "/three", "/four"]

    visit(follow)


def test_who_does_not_read_the_answers_to_plain_requests_is_not_answered_further(visit: Callable[..., None]) -> None:
    async def flood(place: Place) -> None:
        reader, writer = await place.call()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: place.made)
        count = 0
        while not place.made[0].flow.write_paused:
            place.made[0].data_received(ask_plainly("/big"))
            count += 1
        place.made[0].data_received(ask_plainly("/quick"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert place.desk.heard == ["/big"] * count
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        writer.write(ask("/quick", more="Connection: close\r\n"))
        assert (await reader.read()).count(b"HTTP/1.1 200") == count + 2

    visit(flood)


def test_a_server_that_ends_answers_a_plain_request_first(visit: Callable[..., None]) -> None:
    async def end(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask_plainly("/later"))
        await until(lambda: place.made and place.made[0]._asked)
        place.made[0].shutdown()
        place.desk.work.set_result(None)
        answer = await reader.read()
        assert answer.endswith(b"late")
        assert b"connection: close\r\n" in answer

    visit(end)


@pytest.mark.parametrize("former", [b"", ask_plainly("/quick"), b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("asked", [ask_plainly("/later"), ask("/later")])
@pytest.mark.parametrize("following", [b"", b"POST /acme"])
def test_who_waits_for_an_answer_has_any_time_and_is_not_in_the_way(
    visit: Callable[..., None], former: bytes, asked: bytes, following: bytes
) -> None:
    async def wait(place: Place) -> None:
        reader, writer = await place.call()
        await until(lambda: place.made)
        place.made[0].timeout_keep_alive = 0.1  # type: ignore[assignment]
        if former:
            writer.write(former)
            await reader.readuntil(_ANSWER)
        writer.write(asked)
        await until(lambda: place.made[0]._asked)
        if following:
            place.made[0].data_received(following)
        end = place.made[0].loop.time() + 0.3
        await until(lambda: place.made[0].loop.time() > end)
        for count in (2, 3):  # of these one has to go
            await place.call()
            await until(lambda: len(place.made) == count)  # noqa: B023 for this round
        place.made[0].timeout_keep_alive = 600
        place.desk.work.set_result(None)
        assert (await reader.readuntil(b"late")).startswith(b"HTTP/1.1 200")
        if following:
            assert await reader.read() == b"", "for the rest of the next one it has its time"

    visit(wait, Patience(headers_s=0.2, body_s=0.1, waiting=1))


def test_who_is_silent_after_an_answer_is_hung_up_on(visit: Callable[..., None]) -> None:
    async def wait(place: Place) -> None:
        reader, writer = await place.call()
        await until(lambda: place.made)
        place.made[0].timeout_keep_alive = 0.1  # type: ignore[assignment]
        writer.write(ask_plainly("/quick"))
        assert (await reader.read()).endswith(_ANSWER)
        await until(lambda: place.made[0]._idle is None)

    visit(wait)


def test_of_those_that_are_silent_the_first_has_to_go(visit: Callable[..., None]) -> None:
    async def come(place: Place) -> None:
        calls = []
        for count in (1, 2):
            calls.append(await place.call())
            await until(lambda: len(place.made) == count)  # noqa: B023 for this round
        heard_at = []
        for reader, writer in (*calls, calls[0]):
            writer.write(ask_plainly("/quick"))
            await reader.readuntil(_ANSWER)
            heard_at.append(place.made[0]._idle._heard_at)  # type: ignore[union-attr]
            await until(lambda: place.made[0].loop.time() > heard_at[0])
        assert heard_at[0] < heard_at[2]
        await place.call()
        assert await calls[1][0].read() == b""
        assert not place.made[0].transport.is_closing()

    visit(come, Patience(headers_s=600, body_s=600, waiting=2))


def test_a_body_that_comes_in_pieces(visit: Callable[..., None]) -> None:
    async def send(place: Place) -> None:
        for length, status in ((100_000, b"200"), (300_000, b"413")):
            reader, writer = await place.call()
            writer.write(ask("/quick", length, "Expect: 100-continue\r\n"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"x" * 70_000)
            await until(lambda: len(place.made[-1].cycle.body) == 70_000)
            writer.write(b"x" * (length - 70_000))
            assert (await reader.readline()).split()[1] == status
            if status == b"200":
                writer.write(ask("/quick", more="Connection: close\r\n"))
                assert (await reader.read()).count(_ANSWER) == 2
            writer.transport.abort()

    visit(send)


def test_answers_of_any_size(visit: Callable[..., None]) -> None:
    async def ask_for_them(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask("/nothing") + ask("/big", more="Connection: close\r\n"))
        nothing, big = (await reader.read()).split(b"HTTP/1.1 200")
        assert nothing.startswith(b"HTTP/1.1 204")
        assert nothing.endswith(b"\r\n\r\n")
        assert big.endswith(b"\r\n\r\n" + _ANSWER * 10_000)

    visit(ask_for_them)


def test_the_last_answer_is_waited_for_a_while(visit: Callable[..., None]) -> None:
    async def ask_and_leave_it(place: Place) -> None:
        reader, writer = await place.call()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(ask("/big", more="Connection: close\r\n"))
        await until(lambda: place.made and place.made[0].transport.is_closing())
        await until(lambda: place.made[0].parser is None)

    visit(ask_and_leave_it, Patience(headers_s=600, body_s=0.1))


@pytest.mark.parametrize(("length", "status"), [(MOST_BYTES, b"200"), (MOST_BYTES + 1, b"413")])
def test_how_long_a_body_may_be(visit: Callable[..., None], length: int, status: bytes) -> None:
    async def send(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask("/quick", length) + b"x" * length)
        assert (await reader.readline()).split()[1] == status

    visit(send)


def test_a_body_that_does_not_come(visit: Callable[..., None]) -> None:
    async def wait(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask("/quick", 10))
        assert (await reader.read()).startswith(b"HTTP/1.1 408")

    visit(wait, Patience(headers_s=600, body_s=0.1))


def test_a_request_that_has_begun_beside_another_has_its_time(visit: Callable[..., None]) -> None:
    async def begin(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask("/quick") + b"POST /acme")
        assert (await reader.read()).count(_ANSWER) == 1

    visit(begin, Patience(headers_s=0.5, body_s=600))


def test_who_hangs_up_leaves_nothing_behind(visit: Callable[..., None]) -> None:
    """One is at work, one waits for a thread, one has a further request behind: no one is answered or kept."""

    async def hang_up(place: Place) -> None:
        for sent in (ask("/slow"), ask("/slow-other"), ask("/slow-third") + ask("/quick")):
            _, writer = await place.call()
            writer.write(sent)
            await until(lambda: len(place.kind.working) == len(place.made))
            writer.transport.abort()
        for one in place.made:
            one.flow.resume_reading()  # else nobody sees that the third has gone
        await until(lambda: all(one.transport.is_closing() for one in place.made))
        place.desk.word.set()
        await until(lambda: not place.kind.working)
        assert place.desk.heard == ["/slow"]
        assert not place.kind.crowd._waiting

    visit(hang_up)


def test_when_too_many_wait_for_a_thread_the_next_is_told_to_come_again(
    visit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_MOST_WORKING", 1)

    async def crowd(place: Place) -> None:
        first, writer = await place.call()
        writer.write(ask("/slow"))
        await until(lambda: place.kind.working)
        second, other = await place.call()
        other.write(ask("/slow"))
        refused = await second.read()
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5\r\n" in refused
        place.desk.word.set()
        assert (await first.readline()).startswith(b"HTTP/1.1 200")

    visit(crowd)


def test_an_answer_that_is_to_wait(visit: Callable[..., None]) -> None:
    async def wait(place: Place) -> None:
        reader, writer = await place.call()
        _, gone = await place.call()
        writer.write(ask("/later") + ask("/quick"))
        gone.write(ask("/later"))
        await until(lambda: len(place.made) == 2 and all(one._asked for one in place.made))
        gone.transport.abort()
        await until(lambda: any(one.transport.is_closing() for one in place.made))
        place.desk.work.set_result(None)
        assert (await reader.readuntil(b"late")).startswith(b"HTTP/1.1 200")
        assert (await reader.readuntil(_ANSWER)).startswith(b"HTTP/1.1 200")
        assert place.desk.heard.count("the end") == 1, "who has gone is not answered"

    visit(wait)


def test_what_a_thread_has_done_is_answered_by_the_event_loop(visit: Callable[..., None]) -> None:
    async def wait(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask_plainly("/later"))
        await until(lambda: place.made and place.made[0]._asked)
        await asyncio.to_thread(place.desk.work.set_result, None)
        await reader.readuntil(b"late")
        assert place.desk.threads == [threading.get_ident()]

    visit(wait)


def test_who_has_waited_long_enough_and_gone_needs_no_thread(visit: Callable[..., None]) -> None:
    async def go(place: Place) -> None:
        _, writer = await place.call()
        writer.write(ask("/later-than-that"))
        await until(lambda: place.made and place.made[0]._asked)
        writer.transport.abort()
        await until(lambda: place.made[0].transport.is_closing())
        reader, other = await place.call()
        other.write(ask("/later-than-that"))
        await until(lambda: place.kind.working)
        assert place.kind.working == {place.made[1]}
        place.desk.word.set()
        await reader.readuntil(b"late")
        assert place.desk.heard == ["the end"]

    visit(go)


def test_who_has_waited_long_enough_is_not_let_in_where_too_many_are(
    visit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_MOST_WORKING", 1)

    async def crowd(place: Place) -> None:
        _, writer = await place.call()
        writer.write(ask("/slow"))
        await until(lambda: place.kind.working)
        reader, other = await place.call()
        other.write(ask("/later-than-that"))
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
        assert len(place.kind.working) == 1

    visit(crowd)


def test_an_answer_that_has_waited_long_enough_is_given_once(visit: Callable[..., None]) -> None:
    """What it waited for comes while it is written after all."""

    async def wait(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask("/later-than-that") + ask("/quick", more="Connection: close\r\n"))
        await until(lambda: place.desk.heard)
        place.desk.work.set_result(None)
        for _ in range(10):
            await asyncio.sleep(0)
        place.desk.word.set()
        answers = await reader.read()
        assert answers.count(b"HTTP/1.1 200") == 2
        assert answers.endswith(_ANSWER)

    visit(wait)


def test_what_is_waited_for_may_come_when_the_server_has_stopped(
    visit: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    desks = []

    async def ask_and_stop(place: Place) -> None:
        _, writer = await place.call()
        writer.write(ask("/later"))
        await until(lambda: place.made and place.made[0]._asked)
        desks.append(place.desk)

    visit(ask_and_stop)
    desks[0].work.set_result(None)
    assert caplog.text == ""  # where what goes wrong in such a callback would be told


@pytest.mark.parametrize("path", ["/wrong", "/odd"])
def test_a_mistake_in_the_server_is_answered_and_written_down(
    visit: Callable[..., None], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async def ask_for_it(place: Place) -> None:
        reader, writer = await place.call()
        writer.write(ask(path))
        assert (await reader.read()).startswith(b"HTTP/1.1 500")

    visit(ask_for_it)
    assert path in caplog.text


def test_who_hangs_up_with_requests_under_way_is_forgotten_at_once(visit: Callable[..., None]) -> None:
    """Without a collector, which seldom comes."""
    left = list[weakref.ref[AcmeProtocol]]()

    async def hang_up(place: Place) -> None:
        _, writer = await place.call()
        writer.write(ask("/later") + ask("/quick"))
        await until(lambda: place.made and place.made[0].pipeline)
        left.append(weakref.ref(place.made[0]))
        place.made[0].transport.abort()
        place.made.clear()
        place.desk.work.set_result(None)
        place.desk.work = Future()
        await until(lambda: left[0]() is None)

    gc.disable()
    try:
        visit(hang_up)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("reply", "head_only", "said", "content"),
    [
        (Reply(204, body=b"none"), False, set[bytes](), b""),
        (Reply(304, body=b"none"), False, set[bytes](), b""),
        (Reply(200), False, {b"content-length: 0"}, b""),
        (Reply(200, body=b"x"), False, {b"content-type: application/json", b"content-length: 1"}, b"x"),
        (Reply(200, body=b"x"), True, {b"content-type: application/json", b"content-length: 1"}, b""),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
def test_an_answer_says_how_long_it_is_unless_it_never_has_content(
    reply: Reply, head_only: bool, said: set[bytes], content: bytes, keep: bool
) -> None:
    """RFC 9110 section 8.6: an answer of status 204 or 304 must not, or need not."""
    raw = write_reply(reply, [(b"server", b"any")], head_only=head_only, keep=keep)
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert first.startswith(b"HTTP/1.1 %d " % reply.status)
    assert set(fields) == {b"server: any"} | said | (set() if keep else {b"connection: close"})
    assert rest == content
