# SPDX-License-Identifier: Apache-2.0
"""What each protocol says before TLS starts, with servers that are friendly, chatty, refusing or gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import sqlalchemy as sa

from ottr import starttls
from ottr.lab.network import claim_network
from ottr.lab.postgresql import run_postgresql
from ottr.model import Endpoint, EndpointProtocol
from ottr.probe import Probe
from ottr.starttls import StartTlsRefused
from tests.unit.authority import Authority
from tests.unit.servers import by_lines, by_octets, context_of, serve, talk_tls

NAME = "mail.example.com"
LDAP_REQUEST = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
LDAP_SUCCESS = bytes.fromhex("300c02010178070a010004000400")
LDAP_LONG_FORM = bytes.fromhex("30840000000c02010178070a010004000400")
LDAP_UNAVAILABLE = bytes.fromhex("300c02010178070a013404000400")
POSTGRES_REQUEST = bytes.fromhex("0000000804d2162f")

FRIENDLY = [
    (EndpointProtocol.TLS, lambda sock: True),
    (EndpointProtocol.SMTP, by_lines("220 hi\r\n", ("EHLO ottr.invalid", "250 hi\r\n"), ("STARTTLS", "220 go\r\n"))),
    (
        EndpointProtocol.SMTP,
        by_lines(
            "220-mail.example.com ESMTP\r\n220 ready\r\n",
            ("EHLO ottr.invalid", "250-mail.example.com\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
            ("STARTTLS", "220\r\n"),
        ),
    ),
    (EndpointProtocol.LMTP, by_lines("220 hi\r\n", ("LHLO ottr.invalid", "250 hi\r\n"), ("STARTTLS", "220 go\r\n"))),
    (EndpointProtocol.FTP, by_lines("220 hi\r\n", ("AUTH TLS", "234 go\r\n"))),
    (
        EndpointProtocol.FTP,
        by_lines("220-Welcome\r\n 220 is not the end\r\n\r\n221 nor this\r\n220 end\r\n", ("AUTH TLS", "234 go\r\n")),
    ),
    (EndpointProtocol.IMAP, by_lines("* OK hi\r\n", ("a1 STARTTLS", "a1 OK go\r\n"))),
    (EndpointProtocol.IMAP, by_lines("* OK hi\r\n", ("a1 STARTTLS", "* CAPABILITY IMAP4rev2\r\na1 OK go\r\n"))),
    (EndpointProtocol.POP3, by_lines("+OK hi\r\n", ("STLS", "+OK go\r\n"))),
    (EndpointProtocol.LDAP, by_octets(LDAP_REQUEST, LDAP_SUCCESS)),
    (EndpointProtocol.LDAP, by_octets(LDAP_REQUEST, LDAP_LONG_FORM)),
    (EndpointProtocol.POSTGRES, by_octets(POSTGRES_REQUEST, b"S")),
]

REFUSING = [
    (EndpointProtocol.SMTP, by_lines("554 go away\r\n"), "554 go away"),
    (EndpointProtocol.SMTP, by_lines("220 hi\r\n", ("EHLO ottr.invalid", "502 no\r\n")), "expected 250"),
    (
        EndpointProtocol.SMTP,
        by_lines("220 hi\r\n", ("EHLO ottr.invalid", "250 hi\r\n"), ("STARTTLS", "454 no TLS\r\n")),
        "454 no TLS",
    ),
    (EndpointProtocol.LMTP, by_lines("220 hi\r\n", ("LHLO ottr.invalid", "500 no\r\n")), "500 no"),
    (EndpointProtocol.FTP, by_lines("220 hi\r\n", ("AUTH TLS", "530 login first\r\n")), "530 login first"),
    (EndpointProtocol.IMAP, by_lines("* PREAUTH hi\r\n"), "PREAUTH"),
    (EndpointProtocol.IMAP, by_lines("* OK hi\r\n", ("a1 STARTTLS", "a1 BAD no\r\n")), "a1 BAD no"),
    (EndpointProtocol.POP3, by_lines("-ERR busy\r\n"), "-ERR busy"),
    (EndpointProtocol.POP3, by_lines("+OK hi\r\n", ("STLS", "-ERR no\r\n")), "-ERR no"),
    (EndpointProtocol.LDAP, by_octets(LDAP_REQUEST, LDAP_UNAVAILABLE), "refused StartTLS"),
    (EndpointProtocol.LDAP, by_octets(LDAP_REQUEST, bytes.fromhex("30840fffffff")), "without end"),
    (EndpointProtocol.POSTGRES, by_octets(POSTGRES_REQUEST, b"N"), "does not offer TLS"),
    (EndpointProtocol.SMTP, by_lines("220-and so on\r\n" * 200), "without end"),
    (EndpointProtocol.SMTP, by_lines("2" * 10000), "without end"),
    (EndpointProtocol.IMAP, by_lines("* OK hi\r\n", ("a1 STARTTLS", "* and so on\r\n" * 200)), "without end"),
]


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("starttls")


@pytest.fixture(scope="module")
def authority(folder) -> Authority:
    authority = Authority()
    (folder / "root.pem").write_text(authority.pem)
    return authority


@pytest.mark.parametrize(("protocol", "dialogue"), FRIENDLY)
def test_tls_starts_where_the_server_offers_it(authority, folder, protocol, dialogue):
    issued = authority.issue(NAME)
    context = context_of(issued, folder)
    with serve(talk_tls(lambda: context, dialogue)) as port:
        endpoint = Endpoint("127.0.0.1", port, NAME, protocol)
        Probe(folder / "root.pem").verify([endpoint], issued, 0)


def test_every_protocol_of_a_route_is_known():
    assert {protocol for protocol, _ in FRIENDLY} == set(EndpointProtocol)


@pytest.mark.parametrize(("protocol", "dialogue", "words"), REFUSING)
def test_a_refusal_is_reported_in_the_servers_words(protocol, dialogue, words):
    def refuse(connection: socket.socket) -> None:
        dialogue(connection)
        connection.recv(1)  # until the client has had enough

    with serve(refuse) as port, connect(port) as sock, pytest.raises(StartTlsRefused, match=words):
        starttls.start(sock, protocol)


@pytest.mark.parametrize(
    "protocol", [protocol for protocol in EndpointProtocol if protocol is not EndpointProtocol.TLS]
)
def test_a_server_that_closes_is_a_refusal(protocol):
    silent = serve(lambda connection: connection.shutdown(socket.SHUT_WR))
    with silent as port, connect(port) as sock, pytest.raises(StartTlsRefused, match="TLS"):
        starttls.start(sock, protocol)


def test_what_a_server_says_is_cut_and_quoted():
    dialogue = by_lines("\x1b[2J" + "x" * 500 + "\r\n")
    server = serve(lambda connection: dialogue(connection) and connection.recv(1))
    with server as port, connect(port) as sock, pytest.raises(StartTlsRefused) as caught:
        starttls.start(sock, EndpointProtocol.POP3)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 150


def test_a_real_postgresql_is_observed(authority, folder):
    """Its own dialogue, TLS off and then on."""
    issued = authority.issue(NAME)
    probe = Probe(folder / "root.pem")
    with claim_network() as network, run_postgresql(network.address(0)) as server:
        endpoint = Endpoint(server.address, server.port, NAME, EndpointProtocol.POSTGRES)
        assert "does not offer TLS" in probe.observe(endpoint).problem
        engine = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            data = Path(connection.execute(sa.text("SHOW data_directory")).scalar())
            certificate, key = issued.write(folder)
            _hand_over(certificate, data / "server.crt")
            _hand_over(key, data / "server.key")
            connection.execute(sa.text("ALTER SYSTEM SET ssl = on"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        engine.dispose()
        probe.verify([endpoint], issued, 20)


def _hand_over(source: Path, target: Path) -> None:
    owner = target.parent.stat()
    target.touch(mode=0o600)
    target.write_bytes(source.read_bytes())
    if owner.st_uid != target.stat().st_uid:
        os.chown(target, owner.st_uid, owner.st_gid)


def test_the_observer_ends_its_connections_so_that_servers_see_it(authority, folder):
    """A server that serves one client at a time is free again after each look."""
    issued = authority.issue(NAME)
    context = context_of(issued, folder)
    ended: list[bytes] = []

    def serve_one(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as tls:
            ended.append(tls.recv(1))

    with serve(serve_one) as port:
        for _ in range(3):
            assert not Probe(folder / "root.pem").observe(Endpoint("127.0.0.1", port, NAME)).problem
    assert ended == [b""] * 3
