# SPDX-License-Identifier: Apache-2.0
"""Who asks again and again gets what there is, while that is good."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.authority import Authority
from ottr.ca.model import Reason, Role
from ottr.ca.passphrase import VARIABLE
from ottr.ca.rollover import start_rollover
from ottr.play.authorities import Authorities, Place
from ottr.play.certifying import certify
from tests.ca.conftest import MovableClock
from tests.ca.requests import build_csr

ASKED = {
    "csr": None,
    "names": ["a.test"],
    "subject": "",
    "profile": "server",
    "days": None,
    "key_type": "ec256",
    "force": False,
}


def test_what_is_below_a_revoked_root_is_not_handed_out_again(authority: Authority, clock: MovableClock) -> None:
    asked = {**ASKED, "csr": build_csr("a.test").public_bytes(Encoding.PEM).decode(), "names": []}
    first = certify(authority, asked, check=False)
    assert certify(authority, asked, check=False)["serial"] == first["serial"]
    old = authority.active_issuer(Role.ROOT)
    start_rollover(authority)
    authority.revoke(old.id, old.serial, Reason.SUPERSEDED, "operator")
    clock.move(minutes=5)
    assert certify(authority, asked, check=False)["serial"] != first["serial"]


def test_hosts_that_ask_for_the_same_at_once_get_one_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "correct horse battery staple")
    authorities, barrier, serials = Authorities(), threading.Barrier(4), list[str]()

    def ask() -> None:
        barrier.wait()
        serials.append(authorities.act("ca_certificate", Place(folder), ASKED, check=False)["serial"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    authorities.close()
    assert len(serials) == 4
    assert len(set(serials)) == 1
