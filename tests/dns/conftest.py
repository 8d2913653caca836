# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from ottr.dns.publisher import ZonePublisher
from ottr.dns.rfc2136 import Rfc2136Solver
from ottr.dns.solvers import load_solver
from ottr.lab.bind import Bind
from ottr.lab.network import Network, claim_network
from ottr.lab.pdns import PowerDns
from ottr.model import Secret
from ottr.settings import SolverSettings

LOCAL = "127.0.0.1"


def _chain(name: str, length: int) -> list[str]:
    names = [f"_acme-challenge.{name}", *(f"{name}{number}" for number in range(1, length + 1))]
    return [f"{one}.lab.test. IN CNAME {other}.lab.test." for one, other in itertools.pairwise(names)]


RECORDS = (
    "_acme-challenge.once.lab.test. IN CNAME once.target.test.",
    "_acme-challenge.twice.lab.test. IN CNAME hop.lab.test.",
    "hop.lab.test. IN CNAME twice.Target.test.",
    "_acme-challenge.loop.lab.test. IN CNAME loop2.lab.test.",
    "loop2.lab.test. IN CNAME _acme-challenge.loop.lab.test.",
    *(
        f"{'_acme-challenge.' if n == 0 else ''}deep{n or ''}.lab.test. IN CNAME deep{n + 1}.lab.test."
        for n in range(11)
    ),
    *_chain("ten", 10),
    "_acme-challenge.outside.lab.test. IN CNAME outside.elsewhere.test.",
    "below.lab.test. IN NS ns1.below.lab.test.",
    "ns1.below.lab.test. IN A 127.0.0.1",
    'caa.lab.test. IN CAA 0 issue "ca.test; accounturi=https://ca.test/1"',
    'caa.lab.test. IN CAA 0 issue "other.test"',
    'caa.lab.test. IN CAA 0 issuewild "wild.test"',
    'plain.lab.test. IN CAA 0 issue "CA.test"',
    'nobody.lab.test. IN CAA 0 issue ";"',
    'mail.lab.test. IN CAA 0 iodef "mailto:a@lab.test"',
    'critical.lab.test. IN CAA 128 tbs "unknown"',
    'critical.lab.test. IN CAA 0 issue "ca.test"',
    'http.lab.test. IN CAA 0 issue "ca.test; validationmethods=http-01"',
    'http.lab.test. IN CAA 0 issue "both.test; validationmethods=http-01,dns-01"',
)


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with claim_network() as network:
        yield network


@pytest.fixture(scope="session")
def bind(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    """Primary of lab.test, target.test and the zone inside.lab.test within the first."""
    folder = tmp_path_factory.mktemp("bind")
    zones = ("lab.test", "inside.lab.test", "target.test")
    with Bind(folder, LOCAL, network.port(0), zones=zones, records=RECORDS) as server:
        yield server


@pytest.fixture(scope="session")
def laggard(network: Network, bind: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    """A secondary of lab.test that gets no NOTIFY: it asks for changes once in a minute, unless a test tells it."""
    folder = tmp_path_factory.mktemp("laggard")
    with Bind(folder, LOCAL, network.port(1), zones=("lab.test",), primary=bind.server) as server:
        yield server


@pytest.fixture
def other_port() -> Iterator[int]:
    """A port for one more BIND in one test: a second network's, since the first one's are taken."""
    with claim_network() as second:
        yield second.port(0)


@pytest.fixture(scope="session")
def pdns(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    folder = tmp_path_factory.mktemp("pdns")
    with PowerDns(folder, LOCAL, network.port(2), api_port=network.port(3), zones=("cloud.test",)) as server:
        yield server


@pytest.fixture(scope="session")
def settings(bind: Bind) -> SolverSettings:
    return SolverSettings(
        "lab",
        "rfc2136",
        bind.zones,
        {"server": bind.server, "key_name": bind.tsig_name, "key_secret": Secret(bind.tsig_secret)},
        nameservers=(bind.server,),
        propagation_timeout_s=10,
        propagation_interval_s=0.2,
    )


@pytest.fixture
def solver(settings: SolverSettings) -> Rfc2136Solver:
    solver = load_solver(settings)
    assert isinstance(solver, Rfc2136Solver)
    return solver


@pytest.fixture
def publisher(settings: SolverSettings, solver: Rfc2136Solver) -> ZonePublisher:
    return ZonePublisher([(settings, solver)])


Reply = Callable[[bytes], bytes | None]


def bind_both() -> tuple[socket.socket, socket.socket]:
    """Sockets for UDP and TCP on one port; of those that are free for UDP somebody may have one for TCP."""
    while True:
        datagrams, stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        datagrams.bind((LOCAL, 0))
        try:
            stream.bind(datagrams.getsockname())
        except OSError:
            datagrams.close()
            stream.close()
            continue
        return datagrams, stream


class ScriptedServer:
    """A DNS server on a port of its own whose answers a test writes; None: no answer. Knows UDP, and TCP if told."""

    def __init__(self, udp: Reply, tcp: Reply | None = None) -> None:
        self.asked = 0
        self._stack = ExitStack()
        self._udp, self._tcp = udp, tcp
        self._closing = threading.Event()

    def __enter__(self) -> ScriptedServer:
        self._datagrams, self._stream = map(self._stack.enter_context, bind_both())
        self.port = self._datagrams.getsockname()[1]
        self._datagrams.settimeout(0.05)
        self._stream.settimeout(0.05)
        loops = [self._serve_udp]
        if self._tcp:
            self._stream.listen()
            loops.append(self._serve_tcp)
        self._threads = [threading.Thread(target=loop) for loop in loops]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()

    @property
    def server(self) -> str:
        return f"{LOCAL}:{self.port}"

    def _serve_udp(self) -> None:
        while not self._closing.is_set():
            try:
                wire, peer = self._datagrams.recvfrom(65535)
            except TimeoutError:
                continue
            self.asked += 1
            if answer := self._udp(wire):
                self._datagrams.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        assert self._tcp
        while not self._closing.is_set():
            try:
                connection, _ = self._stream.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                size = int.from_bytes(connection.recv(2), "big")
                self.asked += 1
                if answer := self._tcp(connection.recv(size)):
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as stack:
        yield lambda udp, tcp=None: stack.enter_context(ScriptedServer(udp, tcp))


@pytest.fixture
def say() -> Callable[..., Reply]:
    """Build replies: ``say(rcode, "TXT", *values)``."""

    def build(rcode: str = "NOERROR", *values: str, kind: str = "TXT", flags: int = dns.flags.AA) -> Reply:
        def reply(wire: bytes) -> bytes:
            query = dns.message.from_wire(wire, keyring=False, continue_on_error=True)
            query.keyring = None
            answer = dns.message.make_response(query)
            answer.flags |= flags
            answer.set_rcode(dns.rcode.from_text(rcode))
            if values:
                answer.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", kind, *values))
            return answer.to_wire()

        return reply

    return build


@pytest.fixture
def relay(bind: Bind) -> Reply:
    """Reply with what BIND replies, over TCP, bytes as they are."""

    def reply(wire: bytes) -> bytes:
        with socket.create_connection((bind.address, bind.port), timeout=5) as connection:
            connection.sendall(len(wire).to_bytes(2, "big") + wire)
            stream = connection.makefile("rb")
            return stream.read(int.from_bytes(stream.read(2), "big"))

    return reply


@pytest.fixture
def hook(tmp_path: Path) -> Callable[[str], str]:
    """Write a shell script and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "hook"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return str(path)

    return write
