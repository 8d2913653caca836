# SPDX-License-Identifier: Apache-2.0
"""What the observer sees of real TLS servers, and what it says of each that serves something else."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
from pathlib import Path

import pytest

from ottr import x509
from ottr.errors import VerificationError
from ottr.model import Endpoint
from ottr.probe import Probe
from tests.unit.authority import Authority, Issued, now
from tests.unit.servers import context_of, serve, talk_tls
from tests.unit.test_x509 import self_made

NAME = "web1.example.com"
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def intermediate(root) -> Authority:
    return Authority("R1", root)


@pytest.fixture
def trust(tmp_path: Path, root: Authority) -> Path:
    path = tmp_path / "root.pem"
    path.write_text(root.pem)
    return path


@pytest.fixture
def probe(trust) -> Probe:
    return Probe(trust)


def serving(issued: Issued, folder: Path, chain: str | None = None, address: str = "127.0.0.1"):
    context = context_of(issued, folder, chain)
    return serve(talk_tls(lambda: context), address)


def at(port: int, server_name: str | None = NAME, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(host, port, server_name)


def described(issued: Issued) -> x509.Certificate:
    return x509.parse_certificate(issued.leaf_pem)


def test_what_was_issued_and_is_served_is_verified(intermediate, probe, tmp_path):
    issued = intermediate.issue(NAME)
    with serving(issued, tmp_path) as port:
        probe.verify([at(port), at(port)], issued, 0)
        assert probe.serves(at(port), described(issued))
        served = probe.observe(at(port))
    assert served.certificate == described(issued)
    assert served.problem == ""


def test_a_wildcard_covers_its_names_and_no_other(intermediate, probe, tmp_path):
    issued = intermediate.issue("*.example.com")
    with serving(issued, tmp_path) as port:
        probe.verify([at(port)], issued, 0)
        assert "deep.web1.example.com" in probe.observe(at(port, "deep.web1.example.com")).problem


def test_an_address_may_be_the_server_name(intermediate, probe, tmp_path):
    issued = intermediate.issue("127.0.0.1")
    with serving(issued, tmp_path) as port:
        probe.verify([at(port, "127.0.0.1")], issued, 0)


def test_without_a_server_name_none_is_sent_and_no_name_is_checked(intermediate, probe, tmp_path):
    issued = intermediate.issue("another.example.com")
    asked: list[str | None] = []
    context = context_of(issued, tmp_path)
    context.sni_callback = lambda tls, name, this: asked.append(name)
    with serve(talk_tls(lambda: context)) as port:
        probe.verify([at(port, None)], issued, 0)
    assert asked == [None]


def test_a_certificate_that_depends_on_the_name_asked_for_is_the_one_seen(intermediate, probe, tmp_path):
    default, named = intermediate.issue("default.example.com"), intermediate.issue(NAME)
    context, other = context_of(default, tmp_path), context_of(named, tmp_path)

    def choose(tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, this: ssl.SSLContext) -> None:
        if name == NAME:
            tls.context = other

    context.sni_callback = choose
    with serve(talk_tls(lambda: context)) as port:
        probe.verify([at(port)], named, 0)
        assert probe.observe(at(port, None)).certificate == described(default)


def test_ipv6_endpoints_are_seen(intermediate, probe, tmp_path):
    if not Path("/proc/net/if_inet6").exists():
        pytest.xfail("this machine has no IPv6")
    issued = intermediate.issue(NAME)
    with serving(issued, tmp_path, address="::1") as port:
        probe.verify([at(port, host="::1")], issued, 0)


def difference(probe: Probe, issued: Issued, *endpoints: Endpoint) -> str:
    with pytest.raises(VerificationError) as caught:
        probe.verify(endpoints, issued, 0)
    assert "routing.yaml" in caught.value.hint
    return str(caught.value)


def test_another_key_is_named_before_anything_else(intermediate, probe, tmp_path):
    issued, other = intermediate.issue(NAME), Authority("X").issue(NAME)
    with serving(other, tmp_path) as port:
        told = difference(probe, issued, at(port))
    assert told.startswith(f"127.0.0.1:{port}: serves another key")
    assert described(other).sha256[:16] in told
    assert described(issued).sha256[:16] in told


def test_the_former_certificate_of_the_same_key_is_told_by_its_serial(intermediate, probe, tmp_path):
    former = intermediate.issue(NAME)
    issued = intermediate.issue(NAME, key=former.key)
    with serving(former, tmp_path) as port:
        told = difference(probe, issued, at(port))
        assert not probe.serves(at(port), described(issued))
    assert f"serves serial {described(former).serial}, issued was {described(issued).serial}" in told


@pytest.mark.parametrize(
    ("issue", "chain", "words"),
    [
        (lambda ca: ca.issue(NAME), "", "unable to get local issuer"),
        (lambda ca: ca.issue(NAME, start=now() - 10 * DAY, days=5), None, "expired"),
        (lambda ca: ca.issue(NAME, start=now() + DAY), None, "not yet valid"),
        (lambda ca: ca.issue("another.example.com"), None, "Hostname mismatch"),
    ],
    ids=["missing intermediate", "expired", "not yet valid", "wrong name"],
)
def test_what_a_client_would_refuse_is_refused_although_it_is_what_was_issued(
    intermediate, probe, tmp_path, issue, chain, words
):
    issued = issue(intermediate)
    with serving(issued, tmp_path, chain) as port:
        assert words in difference(probe, issued, at(port))
        served = probe.observe(at(port))
        assert not probe.serves(at(port), described(issued))
    assert served.certificate == described(issued)
    assert words in served.problem


def test_a_root_nobody_trusts_is_refused(probe, tmp_path):
    issued = Authority("Stranger").issue(NAME)
    with serving(issued, tmp_path) as port:
        assert "unable to get local issuer" in difference(probe, issued, at(port))


def test_without_roots_of_its_own_a_ca_is_looked_up_in_the_systems(intermediate, tmp_path, monkeypatch, trust):
    issued = intermediate.issue(NAME)
    with serving(issued, tmp_path) as port:
        assert "unable to get local issuer" in Probe(None).observe(at(port)).problem


def test_a_file_of_roots_that_changes_is_read_again(intermediate, trust, tmp_path, root):
    trust.write_text(Authority("Old root").pem)
    os.utime(trust, (1, 1))
    issued, probe = intermediate.issue(NAME), Probe(trust)
    with serving(issued, tmp_path) as port:
        assert probe.observe(at(port)).problem
        trust.write_text(root.pem)
        probe.verify([at(port)], issued, 0)


@pytest.mark.parametrize(
    ("globs", "good"), [((), True), (("CN=R?",), True), (("CN=X", "CN=*"), True), (("cn=r1",), False)]
)
def test_the_issuers_name_must_match_a_glob(intermediate, trust, tmp_path, globs, good):
    issued, probe = intermediate.issue(NAME), Probe(trust, globs)
    with serving(issued, tmp_path) as port:
        if good:
            probe.verify([at(port)], issued, 0)
        else:
            assert "is issued by CN=R1, which no glob of issuer_names matches" in difference(probe, issued, at(port))


def test_nothing_listening_is_no_handshake(intermediate, probe):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    served = probe.observe(at(port))
    assert served.certificate is None
    assert served.problem == "no handshake: Connection refused"
    assert "Connection refused" in difference(probe, intermediate.issue(NAME), at(port))
    assert not probe.serves(at(port), described(intermediate.issue(NAME)))


@pytest.mark.parametrize(
    "serve_one",
    [
        lambda connection: None,
        lambda connection: connection.recv(10000),
        lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n") or connection.recv(10000),
    ],
    ids=["closes", "closes after hello", "speaks no TLS"],
)
def test_a_server_without_tls_is_no_handshake(probe, serve_one):
    with serve(serve_one) as port:
        served = probe.observe(at(port))
    assert served.certificate is None
    assert served.problem.startswith("no handshake: ")
    assert len(served.problem) > len("no handshake: ")


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example.com", "no-such-host.invalid"])
def test_a_name_no_resolver_takes_is_no_handshake(probe, host):
    served = probe.observe(Endpoint(host, 443, NAME))
    assert served.certificate is None
    assert served.problem.startswith("no handshake: ")


def test_a_server_that_fails_only_the_second_look_is_no_handshake(probe, tmp_path):
    """The second look, which trusts anything, tells what it met."""
    issued = Authority("Stranger").issue(NAME)
    context = context_of(issued, tmp_path)
    connections: list[socket.socket] = []

    def serve_one(connection: socket.socket) -> None:
        connections.append(connection)
        if len(connections) == 1:
            talk_tls(lambda: context)(connection)

    with serve(serve_one) as port:
        served = probe.observe(at(port))
    assert len(connections) == 2
    assert served.certificate is None
    assert served.problem.startswith("no handshake: ")


def test_a_certificate_that_cannot_be_read_is_a_problem_not_a_crash(probe, tmp_path):
    """Old appliances serve such; the rotation that replaces it must be able to look."""
    folder = tmp_path / "old"
    folder.mkdir()
    key = folder / "key.pem"
    der = self_made("-newkey", "rsa:2048", "-keyout", str(key), "-addext", "2.5.29.17=DER:30:02:a3:00")
    (folder / "old.pem").write_text(ssl.DER_cert_to_PEM_cert(der))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "old.pem", key)
    with serve(talk_tls(lambda: context)) as port:
        served = probe.observe(at(port))
    assert served.certificate is None
    assert "not supported" in served.problem


def test_all_endpoints_must_serve_it_and_the_one_that_does_not_is_named(intermediate, probe, tmp_path):
    issued, other = intermediate.issue(NAME), intermediate.issue(NAME)
    with serving(issued, tmp_path) as good, serving(other, tmp_path) as bad:
        assert difference(probe, issued, at(good), at(bad)).startswith(f"127.0.0.1:{bad}: ")


def test_a_service_that_hands_over_after_a_moment_is_waited_for(intermediate, trust, tmp_path):
    former, issued = intermediate.issue(NAME), intermediate.issue(NAME)
    contexts = [context_of(former, tmp_path), context_of(former, tmp_path), context_of(issued, tmp_path)]
    waited: list[float] = []

    def current() -> ssl.SSLContext:
        return contexts[min(len(waited), 2)]

    with serve(talk_tls(current)) as port:
        Probe(trust, wait=waited.append).verify([at(port)], issued, 60)
    assert len(waited) == 2


def test_waits_grow_to_a_second_and_end_with_the_time(intermediate, trust, tmp_path, monkeypatch):
    """An hour passes on the probe's clock, without one on the wall."""
    former, issued = intermediate.issue(NAME), intermediate.issue(NAME)
    waited: list[float] = []
    monkeypatch.setattr("ottr.probe.time.monotonic", lambda: sum(waited))
    with serving(former, tmp_path) as port, pytest.raises(VerificationError):
        Probe(trust, wait=waited.append).verify([at(port)], issued, 5)
    assert waited[0] < 0.15
    assert waited[1:] == sorted(waited[1:])
    assert waited[1] < 0.1
    assert waited[-1] == 1.0
    assert 5 <= sum(waited) < 6.1


def test_a_former_certificate_is_awaited_although_nobody_trusts_it(trust, tmp_path):
    """Back to what was there before: a factory certificate, self-signed, is what is wanted."""
    new, former = Authority("X").issue(NAME), Authority("Factory").issue("factory.example.com")
    contexts = [context_of(new, tmp_path), context_of(new, tmp_path), context_of(former, tmp_path)]
    waited: list[float] = []

    def current() -> ssl.SSLContext:
        return contexts[min(len(waited), 2)]

    probe = Probe(trust, wait=waited.append)
    with serve(talk_tls(current)) as port:
        assert probe.await_served([at(port), at(port)], described(former), 60) == ""
        assert len(waited) == 2
        told = probe.await_served([at(port)], described(new), 0)
    assert told == f"127.0.0.1:{port} serves serial {described(former).serial}, not {described(new).serial}"
    assert "Connection refused" in probe.await_served([at(port)], described(former), 0)
