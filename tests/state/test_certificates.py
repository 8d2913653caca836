# SPDX-License-Identifier: Apache-2.0
"""Four facts of each certificate, and what endpoints were seen to serve."""

from __future__ import annotations

import datetime as dt

import pytest

from ottr import x509
from ottr.model import IssuedCertificate, Step
from ottr.policy import Known
from ottr.state import certificates as facts_of
from ottr.state.certificates import Observation
from ottr.state.journal import Entry, State, Status
from ottr.state.view import load_view
from tests.state.book import NOW, Clock, Process
from tests.unit.authority import Authority

HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("R1", Authority())


@pytest.fixture
def process(database) -> Process:
    return Process(database, Clock())


def issue(process: Process, authority: Authority, *facts: str, at: dt.datetime = NOW):
    """A rotation whose certificate is issued, with more facts true since the same moment."""
    open_ones = process.journal.open_rotations("web1")
    record = open_ones[0] if open_ones else process.begin() if not process.journal.history("web1") else None
    record = record or process.journal.begin(*_again(process))
    issued = authority.issue("web1.example.com")
    leaf = x509.parse_certificate(issued.leaf_pem)

    def also(connection) -> None:
        facts_of.insert_issued(connection, record, issued, at)
        if facts:
            facts_of.mark(connection, record.id, at, *facts)
        if "served_at" in facts:
            facts_of.mark_superseded(connection, "web1", leaf.sha256, at)

    process.journal.append(record, [Entry(Step.ORDER, Status.DONE, NOW)], [also])
    record = process.journal.update(record, state=State.ROTATED, finished_at=at)
    return record, issued, leaf


def _again(process: Process):
    from tests.state.book import DEVICE, ROUTE

    return DEVICE, ROUTE, "forced"


def test_an_issued_certificate_is_kept_whole_with_what_it_says(process, authority):
    record, issued, leaf = issue(process, authority)
    [facts] = process.certificates.of_device("web1")
    assert (facts.device, facts.rotation_id, facts.ca) == ("web1", record.id, "ca")
    assert (facts.sha256, facts.serial, facts.issuer) == (leaf.sha256, leaf.serial, "CN=R1")
    assert (facts.dns_names, facts.key_type) == (("web1.example.com",), "ec256")
    assert (facts.not_before, facts.not_after) == (leaf.not_before, leaf.not_after)
    assert facts.issued_at == NOW
    assert (facts.installed_at, facts.bound_at, facts.served_at, facts.revoked_at) == (None,) * 4
    kept = process.certificates.pem("web1", leaf.sha256)
    assert kept == IssuedCertificate(issued.leaf_pem, issued.chain_pem)
    assert process.certificates.pem("web1", "00") is None
    assert process.certificates.pem("web2", leaf.sha256) is None


def test_facts_become_true_and_untrue_one_by_one(process, authority, database):
    record, _, _ = issue(process, authority, "installed_at", "bound_at")
    [facts] = process.certificates.of_device("web1")
    assert (facts.installed_at, facts.bound_at, facts.served_at) == (NOW, NOW, None)
    with database.write() as connection:
        facts_of.mark(connection, record.id, None, "bound_at")
    [facts] = process.certificates.of_device("web1")
    assert (facts.installed_at, facts.bound_at) == (NOW, None)


def test_current_is_what_was_last_seen_to_be_served(process, authority):
    assert process.certificates.current() == {}
    issue(process, authority)
    assert process.certificates.current() == {}
    _, _, first = issue(process, authority, "served_at", at=NOW + HOUR)
    assert process.certificates.current()["web1"].sha256 == first.sha256
    _, _, second = issue(process, authority, "served_at", at=NOW + 2 * HOUR)
    assert process.certificates.current("web1")["web1"].sha256 == second.sha256
    assert process.certificates.current("web2") == {}
    old = next(one for one in process.certificates.of_device("web1") if one.sha256 == first.sha256)
    assert old.superseded_at == NOW + 2 * HOUR


def test_the_former_certificate_is_the_one_served_last_before(process, authority):
    first, _, _ = issue(process, authority, "served_at")
    assert process.certificates.former("web1", first.id) is None
    second, _, _ = issue(process, authority, "served_at", at=NOW + HOUR)
    third, _, _ = issue(process, authority, "served_at", at=NOW + 2 * HOUR)
    issue(process, authority, at=NOW + 3 * HOUR)  # never served
    assert process.certificates.former("web1", third.id).rotation_id == second.id


def test_a_certificate_found_on_a_device_is_adopted_once(process, authority):
    issue(process, authority, "served_at")
    found = authority.issue("web1.example.com")
    sha256 = x509.parse_certificate(found.leaf_pem).sha256
    process.certificates.adopt("web1", "ca", found.leaf_pem, NOW + HOUR)
    process.certificates.adopt("web1", "ca", found.leaf_pem, NOW + 2 * HOUR)
    current = process.certificates.current()["web1"]
    assert (current.sha256, current.rotation_id, current.issued_at) == (sha256, "", None)
    assert current.served_at == NOW + 2 * HOUR
    assert len(process.certificates.of_device("web1")) == 2
    assert current.known == Known(
        sha256, "ca", "CN=R1", ("web1.example.com",), "ec256", current.not_before, current.not_after
    )


def test_a_certificate_that_is_served_again_is_current_again(process, authority):
    _, issued, leaf = issue(process, authority, "served_at")
    issue(process, authority, "served_at", at=NOW + HOUR)
    process.certificates.adopt("web1", "ca", issued.leaf_pem, NOW + 2 * HOUR)
    assert process.certificates.current()["web1"].sha256 == leaf.sha256
    assert len(process.certificates.of_device("web1")) == 2


def test_a_revoked_certificate_is_known_as_such(process, authority):
    _, _, leaf = issue(process, authority, "served_at")
    assert not process.certificates.current()["web1"].known.revoked
    process.certificates.mark_revoked("web1", leaf.sha256, NOW + HOUR)
    current = process.certificates.current()["web1"]
    assert current.revoked_at == NOW + HOUR
    assert current.known.revoked


def seen(sha256: str, endpoint: str = "a:443", device: str = "web1", problem: str = "") -> Observation:
    return Observation(device, endpoint, NOW, sha256, problem)


def test_the_last_look_at_an_endpoint_counts(process):
    process.certificates.observe([seen("aa"), seen("bb", "b:443"), seen("cc", device="web2")])
    process.certificates.observe([seen("dd", problem="expired")])
    assert set(process.certificates.observations("web1")) == {seen("dd", problem="expired"), seen("bb", "b:443")}
    assert len(process.certificates.observations()) == 3


def view(process: Process, device: str | None = None):
    return load_view(process.journal, process.certificates, process.schedules, device)


def situation(process: Process, **more):
    return view(process).situation("web1", forced=False, **more)


def test_the_policy_knows_nothing_of_a_device_nobody_has_touched(process):
    known = situation(process, window_open=False, window_opens=NOW)
    assert known.known is None
    assert known.served_sha256 is None
    assert True not in (known.unfinished, known.quarantined, known.forced, known.window_open)
    assert known.window_opens == NOW


def test_the_policy_knows_the_current_certificate_and_an_open_rotation(process, authority):
    _, _, leaf = issue(process, authority, "served_at")
    assert situation(process).known.sha256 == leaf.sha256
    assert not situation(process).unfinished
    process.journal.begin(*_again(process))
    assert situation(process).unfinished
    assert view(process, "web2").open_rotations == {}


def test_the_first_endpoint_that_serves_something_else_is_what_is_served(process, authority):
    _, _, leaf = issue(process, authority, "served_at")
    process.certificates.observe([seen(leaf.sha256), seen(leaf.sha256, "b:443")])
    assert situation(process).served_sha256 == leaf.sha256
    process.certificates.observe([seen("bb", "b:443")])
    assert situation(process).served_sha256 == "bb"


def test_an_endpoint_that_serves_nothing_does_not_ask_for_another_certificate(process, authority):
    """A device that was down while `ottr verify` looked comes back with what it had."""
    _, _, leaf = issue(process, authority, "served_at")
    process.certificates.observe([seen("", problem="no handshake")])
    assert situation(process).served_sha256 is None
    process.certificates.observe([seen(leaf.sha256, "b:443")])
    assert situation(process).served_sha256 == leaf.sha256
