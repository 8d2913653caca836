# SPDX-License-Identifier: Apache-2.0
"""Who commits what on the simulated firewall: jobs, locks, other administrators, reverts, reboots, faults."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ottr.drivers.panos.simulator import Admin, PanosSimulator, Settings, Unconfirmed
from ottr.simulation.server import wait_until
from tests.drivers.panos_wire import CERTIFICATES, PROFILE, Wire, fingerprint, seen

FAST = Settings(commit_s=0.02, restart_s=0.05, reboot_s=0.05)
SLOW = replace(FAST, commit_s=3600.0)
GONE = (OSError, http.client.HTTPException)
ADDRESS = "/config/shared/address/entry[@name='web']"
REVERT_OURS = "<revert><config><partial><admin><member>ottr</member></admin></partial></config></revert>"
CHANGES = "<show><config><list><changes></changes></list></config></show>"


@pytest.fixture
def firewall() -> Iterator[PanosSimulator]:
    with PanosSimulator(settings=FAST) as running:
        yield running


@pytest.fixture
def wire(firewall: PanosSimulator) -> Wire:
    return Wire(firewall).log_in()


@pytest.fixture
def alice(firewall: PanosSimulator) -> Wire:
    return Wire(firewall, "alice", "alice-simulated").log_in()


def result(answer: object) -> str:
    return answer.find("result/job/result")  # type: ignore[attr-defined, no-any-return]


def test_nothing_to_commit_makes_no_job(wire: Wire) -> None:
    answer = wire.commit()
    assert (answer.status, answer.code, answer.text) == ("success", "19", "There are no changes to commit.")
    assert answer.root.find("result/job") is None


def test_a_custom_role_hears_of_an_empty_commit_as_an_error() -> None:
    robot = {"robot": Admin("pw", custom_role=True)}
    with PanosSimulator(settings=replace(FAST, other_admins=robot)) as firewall:
        answer = Wire(firewall, "robot", "pw").log_in().commit()
        assert answer.code == "13"
        assert answer.text.startswith("The result of this commit would be the same as the previous")


def test_a_forced_commit_makes_a_job_without_changes(wire: Wire) -> None:
    assert result(wire.finish(wire.post(type="commit", cmd="<commit><force/></commit>"))) == "OK"


def test_a_partial_commit_takes_only_ours(firewall: PanosSimulator, wire: Wire, alice: Wire) -> None:
    alice.config("set", ADDRESS, element="<ip-netmask>192.0.2.1</ip-netmask>")
    wire.prepare("ottr-1")
    wire.bind("ottr-1")
    assert result(wire.finish(wire.commit())) == "OK"
    assert firewall.wait_until_idle()
    assert wire.config("show", ADDRESS).text == "No such node"
    assert wire.config("get", ADDRESS).find("result/entry/ip-netmask") == "192.0.2.1"
    owners = [entry.findtext("owner") for entry in wire.op(CHANGES).root.iter("entry")]
    assert owners == ["alice"]


def test_a_foreign_full_commit_takes_ours_along(firewall: PanosSimulator, wire: Wire, alice: Wire) -> None:
    leaf = wire.prepare("ottr-1")
    wire.bind("ottr-1")
    assert result(alice.finish(alice.commit_all())) == "OK"
    assert firewall.wait_until_idle()
    assert seen(firewall) == fingerprint(leaf)
    assert wire.commit().text == "There are no changes to commit."


def test_a_partial_commit_that_needs_what_somebody_else_has_pending_fails(wire: Wire, alice: Wire) -> None:
    alice.prepare("theirs")
    wire.bind("theirs")
    job = wire.finish(wire.commit())
    assert result(job) == "FAIL"
    assert "'theirs' is not a valid reference" in job.text
    assert "Commit failed" in job.text
    assert wire.config("show", PROFILE).find("result/entry/certificate") == "management-first"


@pytest.mark.parametrize(
    ("excluded", "jobs"), [("shared-object", 0), ("policy-and-objects", 1), ("device-and-network", 1)]
)
def test_parts_can_be_excluded(wire: Wire, excluded: str, jobs: int) -> None:
    wire.prepare("ottr-1")
    member = "<admin><member>ottr</member></admin>"
    cmd = f"<commit><partial>{member}<{excluded}>excluded</{excluded}></partial></commit>"
    answer = wire.post(type="commit", action="partial", cmd=cmd)
    assert len(answer.root.findall("result/job")) == jobs


def test_what_changes_during_a_commit_stays_pending() -> None:
    with PanosSimulator(settings=SLOW) as firewall:
        wire = Wire(firewall).log_in()
        wire.prepare("ottr-1")
        number = wire.commit().find("result/job")
        wire.bind("ottr-1")
        job = wire.job(number)
        assert (job.find("result/job/status"), result(job), job.find("result/job/tfin")) == (
            "ACT",
            "PEND",
            "Still Active",
        )
        firewall.finish_job()
        assert result(wire.job(number)) == "OK"
        assert wire.config("show", PROFILE).find("result/entry/certificate") == "management-first"
        assert wire.commit().find("result/job")


def test_a_second_commit_waits_or_is_refused() -> None:
    for queued in (True, False):
        with PanosSimulator(settings=replace(SLOW, commit_queue=queued)) as firewall:
            wire = Wire(firewall).log_in()
            wire.config("set", ADDRESS, element="<ip-netmask>192.0.2.1</ip-netmask>")
            first = wire.commit().find("result/job")
            wire.config("set", ADDRESS, element="<ip-netmask>192.0.2.2</ip-netmask>")
            second = wire.commit()
            if queued:
                number = second.find("result/job")
                waiting = wire.job(number)
                assert (waiting.find("result/job/status"), waiting.find("result/job/positionInQ")) == ("PEND", "1")
                firewall.finish_job()
                assert wire.job(number).find("result/job/status") == "ACT"
                firewall.finish_job()
                assert result(wire.job(number)) == "OK"
            else:
                assert (second.code, second.text) == (
                    "13",
                    "Another commit/validate is in progress. Please try again later",
                )
                firewall.finish_job()
                assert result(wire.job(first)) == "OK"


def test_progress_of_a_finished_job_may_be_a_time() -> None:
    with PanosSimulator(settings=replace(FAST, finished_progress="time")) as firewall:
        wire = Wire(firewall).log_in()
        wire.prepare("ottr-1")
        job = wire.finish(wire.commit())
        assert job.find("result/job/progress") == job.find("result/job/tfin")


def test_a_job_nobody_knows(wire: Wire) -> None:
    answer = wire.job("19")
    assert (answer.code, answer.text) == ("7", "job 19 not found")
    assert wire.op("<show><jobs><all></all></jobs></show>").status == "success"


class TestLocks:
    def test_a_commit_lock_of_somebody_else(self, wire: Wire, alice: Wire) -> None:
        lock = "<request><commit-lock><add><comment>change 7</comment></add></commit-lock></request>"
        answer = alice.op(lock)
        assert answer.find("result").startswith("Successfully acquired lock. Other administrators will not be able")
        assert wire.op(lock).text == "Commit lock is already held by alice"
        shown = wire.op("<show><commit-locks/></show>").root.find("result/commit-locks/entry")
        assert shown is not None
        assert (shown.get("name"), shown.findtext("comment")) == ("alice", "change 7")
        wire.prepare("ottr-1")
        refused = wire.commit()
        assert (refused.code, refused.text) == ("14", "Other administrators are holding device wide commit locks.")
        unlock = "<request><commit-lock><remove/></commit-lock></request>"
        assert alice.op(unlock).status == "success"
        assert "is not currently locked for scope shared" in alice.op(unlock).text
        assert wire.commit().find("result/job")

    @pytest.mark.parametrize("released", [True, False])
    def test_our_own_commit_lock_and_our_commit(self, released: bool) -> None:
        settings = replace(FAST, unconfirmed=Unconfirmed(lock_released_by_commit=released))
        with PanosSimulator(settings=settings) as firewall:
            wire = Wire(firewall).log_in()
            wire.op("<request><commit-lock><add/></commit-lock></request>")
            wire.prepare("ottr-1")
            assert result(wire.finish(wire.commit())) == "OK"
            assert (not firewall.state.commit_locks.held) is released

    def test_a_configuration_lock_of_somebody_else(self, wire: Wire, alice: Wire) -> None:
        lock = "<request><config-lock><add/></config-lock></request>"
        assert alice.op(lock, vsys="shared").status == "success"
        assert "You already own a config lock" in alice.op(lock).text
        for answer in (wire.op(lock), wire.generate("a"), wire.bind("a"), wire.op(REVERT_OURS)):
            assert "Config for scope shared is currently locked by alice" in answer.text
        remove = "<request><config-lock><remove><admin>alice</admin></remove></config-lock></request>"
        assert wire.op(remove).status == "success"
        assert wire.generate("a").status == "success"


class TestReverts:
    def test_a_partial_revert_undoes_only_ours(self, wire: Wire, alice: Wire) -> None:
        alice.config("set", ADDRESS, element="<ip-netmask>192.0.2.1</ip-netmask>")
        wire.prepare("ottr-1")
        wire.bind("ottr-1")
        assert wire.op(REVERT_OURS).find("result") == "All changes were reverted from configuration"
        assert wire.config("get", f"{CERTIFICATES}/entry[@name='ottr-1']").code == "7"
        assert wire.config("get", PROFILE).find("result/entry/certificate") == "management-first"
        assert wire.config("get", ADDRESS).code == "19"

    def test_a_release_without_partial_reverts(self) -> None:
        with PanosSimulator(settings=replace(FAST, unconfirmed=Unconfirmed(partial_revert=False))) as firewall:
            assert Wire(firewall).log_in().op(REVERT_OURS).code == "17"

    def test_loading_the_running_configuration_drops_everything(self, wire: Wire) -> None:
        wire.prepare("ottr-1")
        answer = wire.op("<load><config><from>running-config.xml</from></config></load>")
        assert answer.text == "Config loaded from running-config.xml"
        assert wire.op("<check><pending-changes/></check>").find("result") == "no"
        assert wire.export("ottr-1").status == "error"
        assert wire.op("<load><config><from>nothing.xml</from></config></load>").status == "error"

    def test_a_saved_configuration_comes_back(self, wire: Wire) -> None:
        wire.prepare("ottr-1")
        wire.op("<save><config><to>before.xml</to></config></save>")
        wire.op("<revert><config></config></revert>")
        wire.op("<load><config><from>before.xml</from></config></load>")
        assert wire.export("ottr-1").body.startswith(b"-----BEGIN CERTIFICATE REQUEST")

    def test_no_revert_during_a_commit(self) -> None:
        with PanosSimulator(settings=SLOW) as firewall:
            wire = Wire(firewall).log_in()
            wire.prepare("ottr-1")
            wire.commit()
            assert "Failed to revert configuration." in wire.op(REVERT_OURS).text

    def test_the_changes_of_one_administrator(self, wire: Wire, alice: Wire) -> None:
        alice.config("set", ADDRESS, element="<ip-netmask>192.0.2.1</ip-netmask>")
        wire.prepare("ottr-1")
        partial = CHANGES.replace("<changes>", "<changes><partial><admin><member>alice</member></admin></partial>")
        entries = wire.op(partial).root.findall("result/journal/entry")
        assert [entry.findtext("xpath") for entry in entries] == ["/config/shared/address"]
        wire.op("<revert><config></config></revert>")
        assert wire.op(CHANGES).root.find("result/journal") is None

    def test_validation_changes_nothing(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        job = wire.finish(wire.op("<validate><full></full></validate>"))
        assert (result(job), job.find("result/job/type")) == ("OK", "Validate")
        assert wire.config("show", f"{CERTIFICATES}/entry[@name='ottr-1']").code == "7"


class TestFaults:
    def test_a_name_nobody_knows(self, firewall: PanosSimulator) -> None:
        with pytest.raises(ValueError, match="there is no fault 'earthquake'"):
            firewall.faults.arm("earthquake")

    def test_a_job_that_fails(self, firewall: PanosSimulator, wire: Wire) -> None:
        before = seen(firewall)
        wire.prepare("ottr-1")
        wire.bind("ottr-1")
        firewall.faults.arm("job_fails")
        job = wire.finish(wire.commit())
        assert (result(job), "Commit failed" in job.text) == ("FAIL", True)
        assert seen(firewall) == before
        assert result(wire.finish(wire.commit())) == "OK"

    def test_a_job_that_never_ends(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        firewall.faults.arm("job_never_ends")
        number = wire.commit().find("result/job")
        job = wire.job(number)
        assert (job.find("result/job/status"), job.find("result/job/progress")) == ("ACT", "55")

    def test_a_device_that_is_busy(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        firewall.faults.arm("busy", times=2)
        assert [wire.commit().code for _ in range(3)] == ["13", "13", "19"]

    def test_a_lock_by_somebody_else(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        firewall.faults.arm("lock_held_by", "bob")
        assert wire.commit().code == "14"
        assert wire.op("<show><commit-locks/></show>").root.find("result/commit-locks/entry[@name='bob']") is not None

    def test_a_configuration_lock_by_somebody_else(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.faults.arm("config_lock_held_by", "bob")
        assert "locked by bob" in wire.generate("a").text

    def test_a_commit_refused_in_given_words(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.faults.arm(
            "commit_refused", "You cannot commit while an install is in progress. Please try again later."
        )
        assert wire.commit().text.startswith("You cannot commit while an install")

    def test_a_key_that_expires(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.faults.arm("token_expires", "import")
        wire.generate("ottr-1")
        assert wire.export("ottr-1").http == 200
        assert wire.upload("ottr-1", "x").http == 403
        old = wire.key
        assert wire.log_in().key != old

    def test_a_connection_that_ends_before_or_after(self, firewall: PanosSimulator, wire: Wire) -> None:
        name = "request certificate generate"
        for fault, made in (("drop_before", False), ("drop_after", True)):
            firewall.faults.arm(fault, name)
            with pytest.raises(GONE):
                wire.generate(fault)
            assert (wire.export(fault).headers["content-type"] == "application/octet-stream") is made
        assert [entry.status for entry in firewall.requests if entry.operation == name] == [0, 0]

    def test_a_fault_after_some_occasions(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.faults.arm("drop_before", skip=1)
        assert wire.post(type="version").http == 200
        with pytest.raises(GONE):
            wire.post(type="version")
        assert not firewall.faults.armed("drop_before")

    def test_a_foreign_revert_a_foreign_commit_a_foreign_change(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        firewall.faults.arm("foreign_commit", "set")
        assert wire.bind("ottr-1").code == "20"
        assert wire.config("show", f"{CERTIFICATES}/entry[@name='ottr-1']").status == "success"
        firewall.faults.arm("revert_candidate", "commit")
        assert wire.commit().text == "There are no changes to commit."
        firewall.faults.arm("foreign_change", "check pending-changes")
        assert wire.op("<check><pending-changes/></check>").find("result") == "yes"

    def test_an_operation_that_is_rejected_and_an_import_that_fails(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.faults.arm("reject", "set")
        assert wire.bind("management-first").code == "14"
        firewall.faults.arm("import_fails")
        wire.generate("a")
        assert "Failed to extract certificate" in wire.upload("a", "x").text

    def test_services_that_keep_the_old_certificate(self, firewall: PanosSimulator, wire: Wire) -> None:
        before = seen(firewall)
        wire.prepare("ottr-1")
        wire.bind("ottr-1")
        firewall.faults.arm("serve_old_after_install")
        assert result(wire.finish(wire.commit())) == "OK"
        assert seen(firewall) == before

    def test_a_web_server_that_stays_down(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        wire.bind("ottr-1")
        firewall.faults.arm("web_server_stays_down")
        wire.commit()
        assert wait_until(lambda: firewall.served_fingerprint() == "")
        with pytest.raises(ConnectionRefusedError):
            seen(firewall)

    def test_slow_answers(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.faults.arm("slow", 0.01, times=None)
        assert wire.post(type="version").http == 200
        firewall.faults.clear()
        assert not firewall.faults.armed("slow")

    @pytest.mark.parametrize("survives", [True, False])
    def test_a_reboot_before_the_commit(self, survives: bool) -> None:
        settings = replace(FAST, unconfirmed=Unconfirmed(candidate_survives_reboot=survives))
        with PanosSimulator(settings=settings) as firewall:
            wire = Wire(firewall).log_in()
            wire.prepare("ottr-1")
            firewall.faults.arm("reboot_before", "commit")
            with pytest.raises(GONE):
                wire.commit()
            assert wait_until(lambda: bool(firewall.served_fingerprint()))
            assert (wire.export("ottr-1").headers["content-type"] == "application/octet-stream") is survives

    def test_a_reboot_after_the_commit_forgets_the_job(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.prepare("ottr-1")
        firewall.faults.arm("reboot_after", "commit")
        with pytest.raises(GONE):
            wire.commit()
        assert wait_until(lambda: bool(firewall.served_fingerprint()))
        assert wire.job("2").text == "job 2 not found"

    def test_restart_by_command(self, firewall: PanosSimulator, wire: Wire) -> None:
        with pytest.raises(GONE):
            wire.op("<request><restart><system></system></restart></request>")
        assert wait_until(lambda: bool(firewall.served_fingerprint()))


def test_looking_changes_nothing(firewall: PanosSimulator, wire: Wire) -> None:
    before = firewall.state_hash()
    for cmd in (
        "<show><system><info></info></system></show>",
        "<show><clock></clock></show>",
        "<show><jobs><all></all></jobs></show>",
        "<show><commit-locks/></show>",
        "<show><config-locks/></show>",
        "<show><config><running/></config></show>",
        "<show><config><candidate/></config></show>",
        "<show><high-availability><state></state></high-availability></show>",
        "<check><pending-changes></pending-changes></check>",
        CHANGES,
    ):
        assert wire.op(cmd).status == "success"
    wire.config("get", "/config")
    wire.post(type="version")
    assert firewall.state_hash() == before
    wire.generate("ottr-1")
    assert firewall.state_hash() != before


def test_what_others_do_from_outside(firewall: PanosSimulator, wire: Wire) -> None:
    firewall.foreign_lock("bob")
    wire.prepare("ottr-1")
    assert wire.commit().code == "14"
    firewall.foreign_change("bob")
    firewall.revert()
    assert wire.op(CHANGES).root.find("result/journal") is None
    firewall.foreign_change()
    firewall.foreign_commit()
    assert wire.config("show", "/config/shared/address").status == "success"


@pytest.mark.parametrize(("mode", "status"), [("active", "success"), ("passive", "error")])
def test_high_availability(mode: str, status: str) -> None:
    with PanosSimulator(settings=replace(FAST, high_availability=mode)) as firewall:  # type: ignore[arg-type]
        wire = Wire(firewall).log_in()
        shown = wire.op("<show><high-availability><state></state></high-availability></show>")
        assert shown.find("result/group/running-sync") == "synchronized"
        assert shown.find("result/group/local-info/state") == mode
        sync = "<high-availability><sync-to-remote><running-config/></sync-to-remote></high-availability>"
        assert wire.op(f"<request>{sync}</request>").status == status
