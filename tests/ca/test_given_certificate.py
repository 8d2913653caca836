# SPDX-License-Identifier: Apache-2.0
"""The server's certificate: of two files that somebody else renews, or its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from ottr.ca.authority import Authority, parse_row
from ottr.ca.exporting import export_key
from ottr.ca.given_certificate import GivenCertificate
from ottr.ca.keyed import issue_with_key, take_key
from ottr.ca.keys import PrivateKey
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import parse_names
from ottr.ca.own_certificate import OwnCertificate
from ottr.errors import AuthorityError
from tests.ca.acme.test_acme_connections import PATIENCE, shake_hands, wait_for
from tests.ca.acme.wire import run_server
from tests.ca.conftest import MovableClock, write_pem
from tests.ca.requests import SERVER, build_name


def make_pair(
    authority: Authority, algorithm: KeyAlgorithm = KeyAlgorithm.EC256
) -> tuple[x509.Certificate, PrivateKey]:
    names = parse_names(["ca.example.test"])
    row = issue_with_key(authority, names, build_name(""), SERVER, algorithm=algorithm)
    return parse_row(row), take_key(authority, row, "operator")


def test_replaced_files_are_served_without_a_restart_once_they_belong_together(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ottr.ca.serving._LOOK_S", 0.01)
    (first, first_key), (second, second_key) = make_pair(authority), make_pair(authority)
    certificate, key = write_pem(tmp_path / "server.pem", first), tmp_path / "server.key"
    key.write_bytes(export_key(first_key, None))
    with run_server(authority, PATIENCE, plain=False, certificate=str(certificate), key=str(key)) as port:
        assert shake_hands(port) == first
        write_pem(certificate, second)
        wait_for(lambda: "goes on with the certificate it has" in caplog.text)
        assert shake_hands(port) == first
        key.write_bytes(export_key(second_key, None))
        wait_for(lambda: shake_hands(port) == second)


class Loop:
    """Counts what it is given to run, and runs it, unless it has ended."""

    def __init__(self, *, has_ended: bool = False) -> None:
        self.has_ended = has_ended
        self.ran = 0

    def call_soon_threadsafe(self, work: Callable[..., None], *given: object) -> None:
        if self.has_ended:
            raise RuntimeError("Event loop is closed")
        work(*given)
        self.ran += 1


def test_what_has_not_changed_is_not_loaded_again(authority: Authority, tmp_path: Path) -> None:
    pairs = (make_pair(authority), make_pair(authority))
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"

    def put(number: int) -> None:
        write_pem(certificate, pairs[number][0])
        key.write_bytes(export_key(pairs[number][1], None))

    put(0)
    given = GivenCertificate(certificate, key)
    put(1)
    given.renew()  # before there is a loop
    ended, good = Loop(has_ended=True), Loop()
    given.follow(cast("asyncio.AbstractEventLoop", good))
    given.renew()
    assert good.ran == 0
    put(0)
    given.follow(cast("asyncio.AbstractEventLoop", ended))
    given.renew()
    given.follow(cast("asyncio.AbstractEventLoop", good))
    given.renew()
    given.renew()
    assert good.ran == 1


def test_another_kind_of_key_needs_a_new_start(authority: Authority, tmp_path: Path) -> None:
    """A context would have both certificates from then on, and most clients would still get the old one."""
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"

    def put(algorithm: KeyAlgorithm) -> None:
        leaf, secret = make_pair(authority, algorithm)
        write_pem(certificate, leaf)
        key.write_bytes(export_key(secret, None))

    put(KeyAlgorithm.EC256)
    given = GivenCertificate(certificate, key)
    put(KeyAlgorithm.EC384)
    given.renew()
    put(KeyAlgorithm.RSA2048)
    with pytest.raises(AuthorityError, match=r"must be started again"):
        given.renew()
    GivenCertificate(certificate, key)


@pytest.mark.parametrize("broken", ["encrypted", "missing"])
def test_a_key_that_cannot_be_read_is_said_and_nobody_asked_for_its_password(
    authority: Authority, tmp_path: Path, broken: str
) -> None:
    leaf, secret = make_pair(authority)
    certificate, key = write_pem(tmp_path / "server.pem", leaf), tmp_path / "server.key"
    if broken == "encrypted":
        key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(AuthorityError, match=r"server\.key cannot be used"):
        GivenCertificate(certificate, key)


class BusyLoop:
    """Runs what it is given when it comes to it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def call_soon_threadsafe(self, work: Callable[..., None], *given: object) -> None:
        self.waiting.append(lambda: work(*given))


def test_of_several_own_certificates_made_while_the_loop_is_busy_one_is_used(
    authority: Authority, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bytes] = []
    own, loop = OwnCertificate(authority, ("ca.example.test",)), BusyLoop()
    monkeypatch.setattr("ottr.ca.own_certificate.load_chain", lambda context, pem: loaded.append(pem))
    own.follow(cast("asyncio.AbstractEventLoop", loop))
    clock.move(days=4)
    own.renew()
    own.renew()
    assert len(loop.waiting) == 2
    for work in loop.waiting:
        work()
    own.renew()
    assert (len(loop.waiting), len(loaded)) == (2, 1)
