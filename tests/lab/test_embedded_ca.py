# SPDX-License-Identifier: Apache-2.0
"""The embedded lab's CA, and what CRL and OCSP are believed to say of its certificates."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.ca.authority import Authority
from ottr.ca.csr import Request
from ottr.ca.envelope import Passphrase
from ottr.ca.issuance import Terms
from ottr.ca.keys import generate_key
from ottr.ca.model import Certificate, KeyAlgorithm, Reason
from ottr.ca.names import ANY_NAME, parse_names
from ottr.ca.opening import open_authority
from ottr.errors import LabError
from ottr.lab.embedded.ca import PrivateCa
from ottr.lab.embedded.standing import Standing, ask_standings
from ottr.lab.network import Network
from ottr.lab.x509 import write_self_signed


@pytest.fixture(scope="module")
def ca(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCa]:
    server = PrivateCa(tmp_path_factory.mktemp("pki"), network.address(1170), f"{network.address(1171)}:5353")
    server.prepare()
    with server.process:
        yield server


@pytest.fixture(scope="module")
def authority(ca: PrivateCa) -> Iterator[Authority]:
    passphrase = (ca.folder / "passphrase").read_text().strip().encode()
    with open_authority(ca.folder / "ca", Passphrase(passphrase)) as opened:
        yield opened


def issue(authority: Authority, name: str) -> Certificate:
    request = Request(generate_key(KeyAlgorithm.EC256).public_key(), parse_names([name]))
    return authority.issue(request, Terms("server", ANY_NAME, "the test"))


def test_good_and_revoked_are_seen_in_both(ca: PrivateCa, authority: Authority) -> None:
    rows = [issue(authority, f"web{number}.lab.test") for number in range(3)]
    for row, reason in ((rows[0], Reason.SUPERSEDED), (rows[2], Reason.UNSPECIFIED)):
        authority.revoke(row.issuer_id, row.serial, reason, "the test")

    found = ask_standings([row.der or b"" for row in rows], ca.ca_bundle)

    superseded, good, unspecified = found
    assert superseded == Standing("revoked (superseded)", "revoked (superseded)")
    assert good == Standing("good", "good")
    assert unspecified == Standing("revoked", "revoked")
    assert [one.revoked for one in found] == [True, False, True]
    assert [one.good for one in found] == [False, True, False]
    assert ask_standings([], ca.ca_bundle) == ()


def test_an_answer_that_does_not_lead_to_the_root_is_not_believed(
    ca: PrivateCa, authority: Authority, tmp_path: Path
) -> None:
    write_self_signed(tmp_path / "other.pem", tmp_path / "other.key", "other.test")
    row = issue(authority, "web.lab.test")

    with pytest.raises(LabError, match="did not get a good answer"):
        ask_standings([row.der or b""], tmp_path / "other.pem")


def test_a_ca_that_is_away_is_said_so(ca: PrivateCa, authority: Authority) -> None:
    row = issue(authority, "web.lab.test")
    ca.process.stop()
    try:
        with pytest.raises(LabError, match="cannot be read"):
            ask_standings([row.der or b""], ca.ca_bundle)
    finally:
        ca.process.start()
        ca.process.wait_ready()


def test_its_passphrase_is_nobody_elses_and_in_no_command_line(ca: PrivateCa) -> None:
    file = ca.folder / "passphrase"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in " ".join(ca.process.argv)
