# SPDX-License-Identifier: Apache-2.0
"""What the event loop does itself: a glance into DNS, and issuing but for the wait for the disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, closing
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
import sqlalchemy as sa
import uvloop
from cryptography import x509

from ottr.ca.acme.disk import Disk
from ottr.ca.acme.exchange import Later, Message, Reply
from ottr.ca.acme.schema import order as orders
from ottr.ca.acme.server import AcmeServer
from ottr.ca.acme.validation.glance import Glance, confirms, find_loop, write_question
from ottr.ca.authority import Authority
from ottr.ca.certificates import list_certificates
from ottr.ca.database import Database
from ottr.ca.model import KeyAlgorithm
from ottr.ca.rollover import start_rollover
from ottr.ca.schema import issuer
from tests.ca.acme.client import BASE, TYPE, Client, b64, make_csr, write_jws
from tests.ca.acme.conftest import Prove, Publish, Serve

NAME = "_acme-challenge.www.lab.test"
VALUE = b"x" * 43


def list_families() -> list[socket.AddressFamily]:
    """Those this machine has on its loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return [socket.AF_INET]
    return [socket.AF_INET, socket.AF_INET6]


def answer(question: bytes, *values: str, kind: str = "TXT", name: str = "") -> dns.message.Message:
    """What a server would say."""
    asked = dns.message.from_wire(question)
    said = dns.message.make_response(asked)
    owner = dns.name.from_text(name) if name else asked.question[0].name
    said.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *values))
    return said


def test_a_question_is_one_that_others_understand() -> None:
    asked = dns.message.from_wire(write_question(NAME))
    [one] = asked.question
    assert (one.name.to_text(), one.rdtype.name, one.rdclass.name) == (f"{NAME}.", "TXT", "IN")
    assert (asked.edns, asked.payload, asked.flags) == (0, 1232, dns.flags.RD)
    assert len({write_question(NAME)[:2] for _ in range(50)}) > 40, "ids nobody can guess"


def test_a_name_that_DNS_cannot_say() -> None:
    with pytest.raises(ValueError, match="too long"):
        write_question(".".join(["a" * 60] * 5))
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert dns.message.from_wire(write_question(longest)).question[0].name.to_text() == f"{longest}."
    with pytest.raises(ValueError, match="too long"):
        write_question(f"{longest}a")


def test_a_plain_yes_counts() -> None:
    question = write_question(NAME)
    assert confirms(answer(question, VALUE.decode()).to_wire(), question, VALUE)
    assert confirms(answer(question, "other", VALUE.decode(), '""').to_wire(), question, VALUE)
    halves = f'"{VALUE[:20].decode()}" "{VALUE[20:].decode()}"'
    assert confirms(answer(question, halves).to_wire(), question, VALUE)


def test_nothing_else_does() -> None:
    question = write_question(NAME)
    good = answer(question, VALUE.decode())
    wire, other = good.to_wire(), answer(question, "y").to_wire()

    def spoil(place: int, value: int) -> bytes:
        return wire[:place] + bytes((value,)) + wire[place + 1 :]

    length = 12 + len(question) - 12 - 11 + 10  # of the record's data
    wrong = {
        "silence": b"",
        "the id of another": spoil(0, wire[0] ^ 1),
        "another question": answer(write_question("_acme-challenge.web.lab.test"), VALUE.decode()).to_wire(),
        "a question": spoil(2, wire[2] & 0x7F),
        "cut off": spoil(2, wire[2] | 2),
        "an error": spoil(3, 2),
        "two questions": spoil(5, 2),
        "no answers": spoil(7, 0),
        "more answers than there are": other[:7] + b"\x02" + other[8:],
        "another name": answer(question, VALUE.decode(), name="lab.test").to_wire(),
        "another type": answer(question, VALUE.decode(), kind="SPF").to_wire(),
        "an alias": answer(question, "lab.test.", kind="CNAME").to_wire(),
        "another value": answer(question, "y" * 43).to_wire(),
        "a part of it": answer(question, VALUE[:-1].decode()).to_wire(),
        "a longer one": answer(question, f"{VALUE.decode()}x").to_wire(),
        "a string beyond its record": spoil(length + 2, 44),
        "a record beyond the answer": spoil(length + 1, 255),
        "a record that ends after the answer": spoil(length + 1, 45)[:-11],
    }
    assert not {what for what, one in wrong.items() if confirms(one, question, VALUE)}
    assert not any(confirms(wire[:end], question, VALUE) for end in range(len(wire) - 11))
    assert confirms(wire[:-11], question, VALUE), "without what is said of EDNS it is whole"


@pytest.mark.parametrize("family", list_families())
def test_a_glance(family: socket.AddressFamily) -> None:
    question = write_question(NAME)

    async def look() -> bool:
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1" if family is socket.AF_INET else "::1", 0))
            server.settimeout(30)
            Glance(loop, server.getsockname()[:2], question, VALUE, done.set_result)
            asked, client = server.recvfrom(4096)
            assert asked == question
            server.sendto(answer(asked, VALUE.decode()).to_wire(), client)
            return bool(await asyncio.wait_for(done, 30))

    assert uvloop.run(look())


def test_a_glance_that_sees_nothing_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottr.ca.acme.validation.glance._WAIT_S", 0.05)

    async def look(*, listens: bool) -> bool:
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            place = server.getsockname()
            if not listens:
                server.close()
            Glance(loop, place, write_question(NAME), VALUE, done.set_result)
            return bool(await asyncio.wait_for(done, 30))

    assert not uvloop.run(look(listens=True))
    assert not uvloop.run(look(listens=False))
    assert find_loop() is None


def test_a_question_that_cannot_be_sent() -> None:
    async def look() -> None:
        with pytest.raises(OSError, match=r"denied|unreachable"):
            Glance(asyncio.get_running_loop(), ("255.255.255.255", 53), write_question(NAME), VALUE, print)

    uvloop.run(look())


class Hurry:
    """A client whose requests are handled as a connection's callbacks do it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.server = client.server

    def begin(self, url: str, payload: Any) -> tuple[Message, Reply | Later]:
        body = json.dumps(write_jws(self.client.key, self.client.header(url), payload)).encode()
        message = Message("POST", url.removeprefix(BASE), BASE, body, TYPE)
        return message, self.server.begin(message)

    async def ask(self, url: str, payload: Any) -> Reply:
        message, begun = self.begin(url, payload)
        while isinstance(begun, Later):
            if begun.work is None:
                return await asyncio.to_thread(self.server.end, message, begun)
            await asyncio.wait_for(asyncio.wrap_future(begun.work), 30)
            begun = self.server.resume(message, begun)
        return begun


def challenge_of(client: Client, order: Reply, publish: Publish | None) -> dict[str, Any]:
    [found] = client.authorizations(order)
    challenge = client.challenge(found)
    if publish is not None:
        digest = hashlib.sha256(client.key_authorization(challenge).encode()).digest()
        publish(f"_acme-challenge.{found['identifier']['value']}", b64(digest))
    return challenge


@pytest.fixture
def threads(server: AcmeServer, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each look in a thread."""
    begun, work = list[None](), server._authorized._looks._work

    def count(*given: Any) -> None:
        begun.append(None)
        work(*given)

    monkeypatch.setattr(server._authorized._looks, "_work", count)
    return begun


def test_a_challenge_that_is_met_needs_no_thread(client: Client, publish: Publish, threads: list[None]) -> None:
    challenge = challenge_of(client, client.order("www.lab.test"), publish)
    reply = uvloop.run(Hurry(client).ask(challenge["url"], {}))
    assert (reply.document["status"], len(threads)) == ("valid", 0)


def test_what_is_not_seen_at_a_glance_is_looked_at(client: Client, publish: Publish, threads: list[None]) -> None:
    """An alias is followed there, and what is missing is said."""
    challenge = challenge_of(client, client.order("www.lab.test"), None)
    reply = uvloop.run(Hurry(client).ask(challenge["url"], {}))
    assert (reply.document["status"], len(threads)) == ("invalid", 1)
    assert "no TXT record" in reply.document["error"]["detail"]
    order = client.order("away.lab.test")
    challenge = challenge_of(client, order, None)
    publish("proof.lab.test", b64(hashlib.sha256(client.key_authorization(challenge).encode()).digest()))
    reply = uvloop.run(Hurry(client).ask(challenge["url"], {}))
    assert (reply.document["status"], len(threads)) == ("valid", 2)


def test_without_a_server_that_can_be_asked_at_once_a_thread_looks(
    client: Client, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {"resolvers": (("255.255.255.255", 53),), "timeout_s": 0.2}
    for validation in (refused, {"resolvers": ()}):
        client.server = serve(validation=validation)
        monkeypatch.setattr("dns.resolver.get_default_resolver", lambda: type("Resolver", (), {"nameservers": []}))
        challenge = challenge_of(client, client.order("www.lab.test"), None)
        reply = uvloop.run(Hurry(client).ask(challenge["url"], {}))
        assert reply.document["status"] == "invalid"


def test_what_was_seen_is_recorded_when_others_have_written(
    client: Client,
    publish: Publish,
    elsewhere: Database,
    threads: list[None],
) -> None:
    """Another process writes: a thread waits for it. A commit of this one is under way: it is done after that."""
    hurry, disk = Hurry(client), client.server._disk

    async def meet(enter: Callable[[], Any], leave: Callable[[], None]) -> Reply:
        challenge = challenge_of(client, client.order("www.lab.test"), publish)
        message, begun = hurry.begin(challenge["url"], {})
        assert isinstance(begun, Later)
        assert begun.work is not None
        enter()
        glances = client.server._authorized._looks._glances
        while glances:
            await asyncio.sleep(0.01)
        leave()
        await asyncio.wait_for(asyncio.wrap_future(begun.work), 30)
        reply = client.server.resume(message, begun)
        assert isinstance(reply, Reply)
        return reply

    with ExitStack() as stack:
        reply = uvloop.run(meet(lambda: stack.enter_context(elsewhere.write()), stack.close))
    assert (reply.document["status"], len(threads)) == ("valid", 1)
    with ExitStack() as stack:
        reply = uvloop.run(
            meet(
                lambda: stack.enter_context(client.server._authority.database.write()),
                lambda: disk.commit(stack.pop_all().close) and None,
            )
        )
    assert (reply.document["status"], len(threads)) == ("valid", 2)
    with ExitStack() as stack:
        under_way = Future[None]()

        def enter() -> None:
            stack.enter_context(client.server._authority.database.write())
            disk._last = under_way

        def leave() -> None:
            stack.close()
            under_way.set_result(None)

        reply = uvloop.run(meet(enter, leave))
    assert (reply.document["status"], len(threads)) == ("valid", 2)


def test_looks_that_end_with_the_server(client: Client, serve: Serve) -> None:
    """A question is on its way, or what was seen waits for a commit: neither holds anything up."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind(("127.0.0.1", 0))
        client.server = serve(validation={"resolvers": (silent.getsockname(),)})
        challenge = challenge_of(client, client.order("www.lab.test"), None)

        async def leave() -> None:
            _, begun = Hurry(client).begin(challenge["url"], {})
            assert isinstance(begun, Later)

        uvloop.run(leave())
        [glance] = client.server._authorized._looks._glances.values()
        assert not glance._socket.getblocking(), "a datagram that is thrown away would hold up the event loop"
        client.server.close()
        assert glance._socket.fileno() == -1


def prepare(client: Client, prove: Prove, names: int) -> list[Reply]:
    """Ready orders, after one that was finalized: from then on it is known how the issuer signs."""
    made = [client.order(f"n{number}.lab.test") for number in range(names + 1)]
    for order in made:
        prove(client, order)
    assert client.finalize(made.pop(), make_csr(f"n{names}.lab.test")).status == 200
    return made


def test_issuing_waits_for_nothing_but_the_disk(client: Client, prove: Prove, authority: Authority) -> None:
    """Of two at once the second waits for the commit of the first; each certificate is in the table."""
    made, hurry = prepare(client, prove, 2), Hurry(client)
    payloads = [{"csr": b64(make_csr(f"n{number}.lab.test"))} for number in range(2)]

    async def both() -> list[Reply]:
        asked = (hurry.ask(one.document["finalize"], payload) for one, payload in zip(made, payloads, strict=True))
        return await asyncio.gather(*asked)

    replies = uvloop.run(both())
    assert [one.document["status"] for one in replies] == ["valid", "valid"]
    with authority.database.read() as connection:
        recorded = {f"{one.issuer_id}/{one.serial}" for one in list_certificates(connection)}
    assert {one.document["certificate"].partition("/cert/")[2] for one in replies} <= recorded


def test_before_the_commit_nobody_is_told(client: Client, prove: Prove, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes its time: the order is what it was, and the answer is not there."""
    [order], hurry, held = prepare(client, prove, 1), Hurry(client), list[Callable[[], None]]()
    under_way = Future[None]()
    monkeypatch.setattr(client.server._disk, "commit", lambda commit: held.append(commit) or under_way)
    payload = {"csr": b64(make_csr("n0.lab.test"))}
    message, begun = hurry.begin(order.document["finalize"], payload)
    assert isinstance(begun, Later)
    assert client.post(order.headers["Location"]).document["status"] == "ready"
    held[0]()
    under_way.set_result(None)
    assert client.server.end(message, begun).document["status"] == "valid"
    assert client.post(order.headers["Location"]).document["status"] == "valid"


def test_a_commit_that_fails_is_told_and_leaves_nothing(
    client: Client, prove: Prove, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    [order], hurry = prepare(client, prove, 1), Hurry(client)
    late = "REFERENCES event (id) DEFERRABLE INITIALLY DEFERRED"
    with authority.database.write() as connection:
        connection.execute(sa.text(f"CREATE TABLE child (of_event INTEGER {late})"))
        trigger = "AFTER INSERT ON certificate BEGIN INSERT INTO child VALUES (-1); END"
        connection.execute(sa.text(f"CREATE TRIGGER spoil {trigger}"))
    with caplog.at_level(logging.CRITICAL):
        message, begun = hurry.begin(order.document["finalize"], {"csr": b64(make_csr("n0.lab.test"))})
        assert isinstance(begun, Later)
        assert client.server.end(message, begun).status == 503
    with authority.database.write() as connection:
        connection.execute(sa.text("DROP TRIGGER spoil"))
        assert connection.execute(sa.select(orders.c.status).where(orders.c.certificate == "")).scalar() == "pending"
    assert client.finalize(order, make_csr("n0.lab.test")).document["status"] == "valid"


def test_a_commit_that_nobody_can_do_leaves_nothing_and_others_can_write(
    client: Client, prove: Prove, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no further thread can be started."""
    [order], hurry = prepare(client, prove, 1), Hurry(client)
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("acme-commit"):
            raise RuntimeError("can't start new thread")
        started(thread)

    payload = {"csr": b64(make_csr("n0.lab.test"))}
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            hurry.begin(order.document["finalize"], payload)
    writer: Any = authority.database._writer
    if held := writer._turn.locked():
        writer.end(well=False, told=None)  # else this test would not end
    assert not held
    with authority.database.write(wait=False) as connection:
        assert connection.execute(sa.select(orders.c.status).where(orders.c.certificate == "")).scalar() == "pending"
    reply = uvloop.run(hurry.ask(order.document["finalize"], payload))
    assert reply.document["status"] == "valid"


def test_the_first_certificate_of_a_new_issuer_is_signed_in_a_thread(
    client: Client, prove: Prove, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key may have to be opened, or sign slowly."""
    made, hurry = prepare(client, prove, 2), Hurry(client)
    start_rollover(authority, KeyAlgorithm.RSA2048)
    signed_by = list[str]()
    prepare_one = authority.issuance.prepare

    def note(*given: Any) -> Any:
        signed_by.append(threading.current_thread().name)
        return prepare_one(*given)

    monkeypatch.setattr(authority.issuance, "prepare", note)
    for number, order in enumerate(made):
        payload = {"csr": b64(make_csr(f"n{number}.lab.test"))}
        reply = uvloop.run(hurry.ask(order.document["finalize"], payload))
        assert reply.document["status"] == "valid"
    assert "MainThread" not in signed_by
    assert len(signed_by) == 2


def test_without_an_issuer_a_thread_says_so(client: Client, prove: Prove) -> None:
    [order], hurry = prepare(client, prove, 1), Hurry(client)
    with client.server._authority.database.write() as connection:
        connection.execute(sa.update(issuer).values(phase="prepared"))
    _, begun = hurry.begin(order.document["finalize"], {"csr": b64(make_csr("n0.lab.test"))})
    assert isinstance(begun, Later)
    assert begun.work is None
    assert client.finalize(order, make_csr("n0.lab.test")).status == 503


def test_only_so_many_wait_for_the_same_commit_in_the_event_loop() -> None:
    """They all go on at once then; after the next commit there is room again."""
    disk, go = Disk(), threading.Event()
    try:
        for _ in range(2):
            go.clear()
            work = disk.commit(lambda: go.wait(30) and None)
            joined = [disk.join() for _ in range(33)]
            assert joined == [work] * 32 + [None]
            go.set()
            work.result(30)
            assert disk.join() is None
    finally:
        go.set()
        disk.close()


def test_who_comes_when_enough_wait_for_a_commit_goes_to_a_thread(
    client: Client, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ottr.ca.acme.disk._MOST_BEHIND", 1)
    disk, payload = client.server._disk, {"identifiers": [{"type": "dns", "value": "a.lab.test"}]}
    under_way = disk._last = Future[None]()
    with authority.database.write():
        begun = [Hurry(client).begin(f"{BASE}/new-order", payload)[1] for _ in range(2)]
    assert [isinstance(one, Later) and one.work for one in begun] == [under_way, None]
    under_way.set_result(None)


@pytest.mark.parametrize("what", ["replaces", "reuse_orders"])
def test_many_orders_before_are_looked_at_in_a_thread(
    serve: Serve, prove: Prove, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As those who try again and again leave them."""
    monkeypatch.setattr("ottr.ca.acme.records._MANY", 3)
    client = Client(serve(reuse_orders=what == "reuse_orders")).register()
    fields: dict[str, Any] = {}
    if what == "replaces":
        first = client.order("a.lab.test")
        prove(client, first)
        chain = client.post(client.finalize(first, make_csr("a.lab.test")).document["certificate"]).body
        leaf = x509.load_pem_x509_certificate(chain)
        found = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert found is not None
        fields = {"replaces": f"{b64(found)}.{b64(leaf.serial_number.to_bytes(21, 'big'))}"}
    payload = {"identifiers": [{"type": "dns", "value": "a.lab.test"}], **fields}
    for begun_kind in (Reply, Reply, Reply, Later, Later):
        message, begun = Hurry(client).begin(f"{BASE}/new-order", payload)
        assert isinstance(begun, begun_kind)
        reply = client.server.end(message, begun) if isinstance(begun, Later) else begun
        assert reply.status == 201
        client.post(reply.document["authorizations"][0], {"status": "deactivated"})


def test_what_is_refused_holds_nobody_up(client: Client, prove: Prove) -> None:
    made, hurry = prepare(client, prove, 1), Hurry(client)
    for csr in (make_csr("other.lab.test"), make_csr("n0.lab.test", key=client.key), b"nonsense"):
        _, begun = hurry.begin(made[0].document["finalize"], {"csr": b64(csr)})
        assert isinstance(begun, Reply)
        assert begun.document["type"].endswith(":badCSR")
    reply = uvloop.run(hurry.ask(made[0].document["finalize"], {"csr": b64(make_csr("n0.lab.test"))}))
    assert reply.document["status"] == "valid"


def test_who_signs_slowly_does_so_in_a_thread(authority: Authority) -> None:
    key_id = authority.active_issuer().key_id
    authority.keyring.load(key_id)
    assert authority.keyring.is_quick(key_id)
    authority.keyring.create("slow-1", KeyAlgorithm.RSA2048)
    assert not authority.keyring.is_quick("slow-1")
    assert not authority.keyring.is_quick("unheard-of")


def test_a_long_order_goes_to_a_thread(client: Client) -> None:
    def is_quick(path: str, size: int) -> bool:
        return client.server.is_quick(Message("POST", path, BASE, b"x" * size, TYPE))

    assert (is_quick("/new-order", 4096), is_quick("/new-order", 4097)) == (True, False)
    assert (is_quick("/order/x/finalize", 4096), is_quick("/order/x/finalize", 4097)) == (True, False)


def test_what_takes_no_time_is_begun_by_the_event_loop(
    client: Client, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere than in a file even reading waits, and CAA is asked for in DNS: that needs threads."""
    read, written = b'{"payload" : ""}', b'{"payload": "e30"}'
    quick = [
        ("HEAD", "/new-nonce", b""),
        ("GET", "/directory", b""),
        ("POST", "/chall/x/dns-01", written),
        ("POST", "/order/x", read),
        ("POST", "/acct/x", read),
    ]
    slow = [("POST", "/acct/x", written), ("POST", "/new-account", written), ("POST", "/acct/x/orders", read)]

    def judge(asked: list[tuple[str, str, bytes]]) -> list[bool]:
        return [client.server.is_quick(Message(method, path, BASE, body, TYPE)) for method, path, body in asked]

    assert (judge(quick), judge(slow)) == ([True] * 5, [False] * 3)
    assert client.server.count_threads() == 2
    assert serve(validation={"caa": True}).count_threads() > 2
    monkeypatch.setattr(Database, "is_local", False)
    assert not any(judge(quick))
    assert client.server.count_threads() > 2


def test_where_CAA_is_asked_for_a_thread_issues(serve: Serve, prove: Prove, authority: Authority) -> None:
    """The answers of DNS are waited for, for the first certificate and for those after it."""
    client = Client(serve(validation={"caa": True, "caa_identities": ("ca.example",)})).register()
    authority.keyring.load(authority.active_issuer().key_id)
    for name in ("a.lab.test", "b.lab.test"):
        order = client.order(name)
        prove(client, order)
        message, begun = Hurry(client).begin(order.document["finalize"], {"csr": b64(make_csr(name))})
        assert isinstance(begun, Later)
        assert begun.work is None
        assert client.server.end(message, begun).document["status"] == "valid"


def test_who_issues_does_not_wait_for_another_process(client: Client, prove: Prove, elsewhere: Database) -> None:
    [order], hurry = prepare(client, prove, 1), Hurry(client)
    with elsewhere.write():
        message, begun = hurry.begin(order.document["finalize"], {"csr": b64(make_csr("n0.lab.test"))})
        assert isinstance(begun, Later)
        assert begun.work is None
        assert client.post(order.headers["Location"]).document["status"] == "ready"
    assert client.server.end(message, begun).document["status"] == "valid"
