# SPDX-License-Identifier: Apache-2.0
"""The PAN-OS driver when the device, its web server or other administrators are in the way."""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

import pytest

from ottr.drivers.panos.client import Client
from ottr.drivers.panos.configuration import Configuration
from ottr.drivers.panos.simulator import Settings, Unconfirmed
from ottr.errors import (
    AuthenticationFailed,
    DeviceBusy,
    DeviceRejected,
    DeviceUnreachable,
    DriverError,
    HostKeyRefused,
    KeyLost,
)
from tests.drivers import panos
from tests.drivers.panos import make_request, run_site, wait_briefly
from tests.drivers.panos_wire import PROFILE, Wire
from tests.drivers.panos_wire import fingerprint as fingerprint_of

CHANGES = ("request certificate generate", "export", "import", "set", "commit", "show jobs id", "show jobs all")


def count_foreign(site):
    with site.simulator.state.lock:
        return [change for change in site.simulator.state.configuration.changes.values() if change.owner == "alice"]


@pytest.mark.parametrize("operation", CHANGES)
def test_key_that_expires_before_any_operation(operation):
    with run_site(settings=Settings(key_lifetime_minutes=60)) as site:
        site.simulator.faults.arm("token_expires", operation)
        assert site.serves(site.rotate())
        assert 3 <= site.requests().count("keygen") <= 4  # the restart may swallow the answer to one


def test_refused_key_is_tried_once_again_only():
    with run_site() as site, site.open() as driver:
        site.simulator.faults.arm("token_expires", times=None)
        site.simulator.requests.clear()
        with pytest.raises(AuthenticationFailed, match="new key"):
            driver.inspect()
        assert site.requests() == ["show", "keygen", "show"]


def test_job_that_fails_leaves_the_former_certificate_and_can_be_tried_again():
    request = make_request()
    with run_site() as site:
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            site.simulator.faults.arm("job_fails")
            with pytest.raises(DeviceRejected, match="FAIL"):
                driver.install(request, issued)
            commits = site.requests().count("commit")
            driver.rollback(request, before)
            assert site.requests().count("commit") == commits
            assert site.simulator.served_fingerprint() == first
            driver.install(request, issued)
        assert site.serves(issued)


def test_commit_whose_answer_is_lost_and_that_outlasts_the_patience_with_others():
    with run_site(settings=Settings(commit_s=0.5)) as site:
        site.options["busy_timeout"] = 0.1
        site.simulator.faults.arm("drop_after", "commit")
        assert site.serves(site.rotate())


def test_commit_that_is_never_answered():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        site.simulator.faults.arm("drop_before", "commit", times=None)
        with site.open() as driver, pytest.raises(DeviceUnreachable):
            driver.install(request, issued)
        assert site.requests().count("commit") < 20


def test_job_that_never_ends():
    request = make_request()
    with run_site() as site:
        site.options["commit_timeout"] = 0.3
        issued = site.issue(request)
        site.simulator.faults.arm("job_never_ends")
        with site.open() as driver, pytest.raises(DeviceBusy, match="has not ended") as caught:
            driver.install(request, issued)
        assert "show jobs id" in caught.value.hint


@pytest.mark.parametrize("commit_s", [0.05, 0.8])
def test_requests_of_a_job_are_bounded(commit_s, monkeypatch):
    """A pause before each request but the first, never shorter than the operator wants."""
    pauses = []
    monkeypatch.setattr(panos, "wait_briefly", lambda seconds: (pauses.append(seconds), wait_briefly(seconds)))
    with run_site(settings=Settings(commit_s=commit_s)) as site:
        site.options["poll_interval"] = 0.2
        site.rotate()
        assert 1 <= site.requests().count("show jobs id") <= 1 + len(pauses)
        assert all(pause >= 0.2 for pause in pauses)


@pytest.mark.parametrize("survives", [False, True])
@pytest.mark.parametrize("operation", ["import", "set", "commit", "show jobs id"])
def test_reboot_during_an_install(operation, survives):
    """What was committed is there afterwards; a key that was not is lost, or is still there, by the release."""
    request = make_request()
    with run_site(settings=Settings(unconfirmed=Unconfirmed(candidate_survives_reboot=survives))) as site:
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
        site.simulator.faults.arm("reboot_after", operation)
        try:
            with site.open() as driver:
                driver.install(request, issued)
        except DriverError:
            assert site.simulator.wait_until_idle()
            with site.open() as driver:
                driver.rollback(request, before)
            assert site.simulator.wait_until_idle()
            assert site.simulator.served_fingerprint() == first
            try:
                with site.open() as driver:
                    driver.install(request, issued)
            except KeyLost:
                assert not survives
                issued = site.rotate("ottr-abcd-2")
        assert site.serves(issued)


@pytest.mark.parametrize("operation", ["show jobs all", "import", "set", "commit"])
def test_foreign_revert_is_a_lost_key(operation):
    request = make_request()
    with run_site() as site:
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        site.simulator.faults.arm("revert_candidate", operation)
        with site.open() as driver:
            before = driver.inspect()
            with pytest.raises(KeyLost) as caught:
                driver.install(request, issued)
            assert caught.value.hint
            driver.rollback(request, before)
            driver.cleanup(frozenset({request.label}))
        assert site.simulator.served_fingerprint() == first
        assert site.serves(site.rotate("ottr-abcd-2"))


@pytest.mark.parametrize("version", ["8.1.26", "9.1.17"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_certificate_that_was_imported_without_a_key_is_not_bound(version, kept):
    request = make_request()
    unconfirmed = Unconfirmed(csr_kept=kept)
    with run_site(version, settings=Settings(unconfirmed=unconfirmed)) as site:
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        site.simulator.faults.arm("revert_candidate", "import")
        for _ in ("at once", "by the next run"):
            with site.open() as driver, pytest.raises(KeyLost, match="has no key now"):
                driver.install(request, issued)
            assert site.simulator.served_fingerprint() == first
        assert site.serves(site.rotate("ottr-abcd-2"))


def test_a_device_that_cannot_say_whether_it_has_a_key_is_believed():
    unconfirmed = Unconfirmed(csr_kept=False, child_predicates=False)
    with run_site("9.1.17", settings=Settings(unconfirmed=unconfirmed)) as site:
        assert site.serves(site.rotate())


@pytest.mark.parametrize("operation", ["export", "show jobs all", "import", "set", "commit", "show jobs id"])
def test_foreign_full_commit_that_takes_our_candidate_along_is_harmless(operation):
    with run_site() as site:
        site.options["busy_timeout"] = 10  # their commit restarts the web server, and may take its time
        site.simulator.faults.arm("foreign_commit", operation)
        assert site.serves(site.rotate())


@pytest.mark.parametrize("operation", ["import", "set", "commit"])
def test_foreign_change_that_comes_in_between_stays_pending(operation):
    with run_site() as site:
        site.simulator.faults.arm("foreign_change", operation)
        issued = site.rotate()
        assert count_foreign(site)
        assert site.serves(issued)


def test_foreign_changes_are_waited_for_and_named():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        site.simulator.foreign_change()
        with site.open() as driver:
            assert any("alice" in problem for problem in driver.check())
            before = driver.inspect()
            with pytest.raises(DeviceBusy, match="alice") as caught:
                driver.install(request, issued)
            assert caught.value.retryable
            assert "commit" not in site.requests()
            driver.rollback(request, before)
            assert count_foreign(site)
            site.options["others_changes"] = "leave"
        with site.open() as driver:
            driver.install(request, issued)
        assert site.serves(issued)
        assert count_foreign(site)


def test_foreign_changes_survive_a_rollback_after_the_commit():
    request = make_request()
    with run_site() as site:
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            site.simulator.foreign_change()
            driver.rollback(request, before)
        assert site.simulator.wait_until_idle()
        assert site.simulator.served_fingerprint() == first
        assert count_foreign(site)


def test_foreign_commit_lock_is_named():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        site.simulator.foreign_lock()
        with site.open() as driver, pytest.raises(DeviceBusy, match="alice holds a commit lock"):
            driver.install(request, issued)
        assert {"import", "commit"}.isdisjoint(site.requests())


def test_lock_that_comes_with_the_commit_is_named_and_waited_for():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        site.simulator.faults.arm("lock_held_by", "alice", times=None)
        with site.open() as driver:
            before = driver.inspect()
            with pytest.raises(DeviceBusy, match="alice"):
                driver.install(request, issued)
            driver.rollback(request, before)
        site.simulator.faults.clear()


def test_running_commit_is_waited_for():
    with run_site() as site:
        site.simulator.faults.arm("busy", times=2)
        assert site.serves(site.rotate())
        assert site.requests().count("commit") == 3


@pytest.mark.parametrize("operation", ["request certificate generate", "export", "import", "set", "commit"])
def test_refusal_is_told_in_the_device_s_words(operation):
    with run_site() as site:
        site.simulator.faults.arm("reject", operation)
        with pytest.raises(DeviceRejected, match="operation not possible"):
            site.rotate()


def test_import_that_finds_no_certificate():
    with run_site() as site:
        first = site.simulator.served_fingerprint()
        site.simulator.faults.arm("import_fails")
        with pytest.raises(DeviceRejected, match="Failed to extract certificate"):
            site.rotate()
        assert "set" not in site.requests()
        assert site.simulator.served_fingerprint() == first


def test_restart_of_the_web_server_is_ridden_out():
    with run_site(settings=Settings(restart_s=1.0)) as site:
        assert site.serves(site.rotate())


class Killed(BaseException):
    """The process ends while it waits."""


def die(_seconds):
    raise Killed


def test_web_server_that_an_earlier_run_s_commit_restarts_is_ridden_out(monkeypatch):
    """That run was killed while its commit ran, which ends when the next run has logged in."""
    request = make_request()
    with run_site(settings=Settings(commit_s=3600, restart_s=0.5)) as site:
        issued = site.issue(request)
        with monkeypatch.context() as patch:
            patch.setattr(panos, "wait_briefly", die)
            with pytest.raises(Killed), site.open() as driver:
                driver.install(request, issued)
        with site.open() as driver:
            site.simulator.finish_job()
            driver.install(request, issued)
        assert site.requests().count("commit") == 1
        assert site.serves(issued)


INSTALLING = ("show high-availability state", "show commit-locks", "get", "export", "import", "set", "commit", "show")
GOING_BACK = ("show jobs all", "get", "set", "commit", "show")


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_connection_that_is_lost_at_any_request_of_a_change_does_not_end_it(fault):
    with run_site(settings=Settings(commit_s=0.02, restart_s=0.02)) as site:
        first = site.simulator.served_fingerprint()
        for number, operation in enumerate(INSTALLING):
            request = make_request(f"ottr-abcd-{number}")
            issued = site.issue(request)
            with site.open() as driver:
                before = driver.inspect()
                site.simulator.faults.arm(fault, operation)
                driver.install(request, issued)
                assert not site.simulator.faults.armed(fault)
                assert site.serves(issued)
                site.simulator.faults.arm(fault, GOING_BACK[number % len(GOING_BACK)])
                driver.rollback(request, before)
            assert not site.simulator.faults.armed(fault)
            assert site.simulator.wait_until_idle()
            assert site.simulator.served_fingerprint() == first


QUICKEST = Settings(commit_s=0.02, restart_s=0.02, portals=("portal",))
PORTAL = "/config/shared/ssl-tls-service-profile/entry[@name='globalprotect']"
SYSTEM = "/config/devices/entry[@name='localhost.localdomain']/deviceconfig/system"
PROFILE_TAG = "ssl-tls-service-profile"
HA_STATE = "show high-availability state"


class Colleague:
    """Somebody else with a certificate of their own, which they bind and commit."""

    def __init__(self, site):
        self._site = site
        self._wire = Wire(site.simulator, "alice", "alice-simulated").log_in()
        self.leaf = self._wire.prepare("theirs")
        self._commit()

    def bind(self, name="theirs", profile=PORTAL):
        self._wire.bind(name, profile)
        self._commit()

    def show_another_profile(self):
        """With the certificate that the web interface had at first."""
        self._wire.bind("management-first", PROFILE.replace("management", "another"))
        self._wire.config("set", SYSTEM, element=f"<{PROFILE_TAG}>another</{PROFILE_TAG}>")
        self._commit()

    def _commit(self):
        assert self._wire.finish(self._wire.commit()).find("result/job/result") == "OK"
        assert self._site.simulator.wait_until_idle()


@contextmanager
def run_portal(**more):
    with run_site(settings=replace(QUICKEST, **more)) as site:
        site.options |= {"ssl_tls_service_profile": "globalprotect", "bind": "profile"}
        yield site


def stays(theirs, site):
    """Whether theirs is served, also when somebody commits everything that is pending."""
    site.simulator.foreign_commit()
    assert site.simulator.wait_until_idle()
    return site.simulator.served_fingerprint("portal") == fingerprint_of(theirs.leaf)


def act_while_away(act, site, monkeypatch):
    """While the driver waits for the web server, since the answer to what it asks first was lost."""

    def wait(seconds):
        if site.requests()[-1] == HA_STATE:
            act()
        wait_briefly(seconds)

    monkeypatch.setattr(panos, "wait_briefly", wait)


@pytest.mark.parametrize("lost", ["drop_after", "drop_before"])
def test_what_somebody_else_binds_while_an_install_waits_is_not_taken_back(lost, monkeypatch):
    """Whether our commit was done when its answers were lost, or not."""
    request = make_request("ottr-abcd-2")
    with run_portal() as site:
        theirs = Colleague(site)
        site.rotate("ottr-abcd-1")
        issued = site.issue(request)
        act_while_away(theirs.bind, site, monkeypatch)
        with site.open() as driver:
            before = driver.inspect()
            site.simulator.faults.arm(lost, "commit", times=5)
            site.simulator.faults.arm("drop_before", HA_STATE, skip=1)
            with pytest.raises(DeviceRejected, match="theirs bound, neither ottr-abcd-1 nor ottr-abcd-2") as caught:
                driver.install(request, issued)
            assert "somebody else" in caught.value.hint
            driver.rollback(request, before)
        assert stays(theirs, site)


def test_profile_that_somebody_else_gives_the_web_interface_meanwhile_stays(monkeypatch):
    request = make_request()
    with run_site(settings=QUICKEST) as site:
        first, theirs = site.simulator.served_fingerprint(), Colleague(site)
        issued = site.issue(request)
        act_while_away(theirs.show_another_profile, site, monkeypatch)
        with site.open() as driver:
            before = driver.inspect()
            site.simulator.faults.arm("drop_after", "commit", times=5)
            site.simulator.faults.arm("drop_before", HA_STATE, skip=1)
            with pytest.raises(DeviceRejected, match="another"):
                driver.install(request, issued)
            driver.rollback(request, before)
            assert json.loads(driver.inspect().bound) == {"certificate": before.bound, "management": "another"}
        assert site.simulator.wait_until_idle()
        assert site.simulator.served_fingerprint() == first


def test_what_another_run_of_ours_was_committing_is_not_somebody_else_s(monkeypatch):
    """It is bound when that run's job ends, and replaced."""
    with run_portal(commit_s=3600.0) as site:
        monkeypatch.setattr(panos, "wait_briefly", die)
        with pytest.raises(Killed):
            site.rotate("ottr-abcd-1")
        monkeypatch.setattr(panos, "wait_briefly", lambda _: site.simulator.finish_job())
        issued = site.rotate("ottr-abcd-2")
        assert site.simulator.wait_until_idle()
        assert site.simulator.served_fingerprint("portal") == panos.fingerprint(issued)


def test_what_somebody_else_binds_while_a_rollback_waits_is_not_taken_back(monkeypatch):
    request = make_request("ottr-abcd-2")
    with run_portal() as site:
        theirs = Colleague(site)
        site.rotate("ottr-abcd-1")
        issued = site.issue(request)
        act_while_away(theirs.bind, site, monkeypatch)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            site.simulator.faults.arm("drop_after", "commit", times=5)
            site.simulator.faults.arm("drop_before", HA_STATE)
            driver.rollback(request, before)
        assert stays(theirs, site)


def test_rollback_leaves_nothing_pending_that_would_take_back_what_somebody_else_has_bound(monkeypatch):
    """They commit directly before our profile is set, and our commit never comes."""
    request = make_request("ottr-abcd-2")
    with run_portal() as site:
        theirs, bind = Colleague(site), Configuration.bind
        site.rotate("ottr-abcd-1")
        issued = site.issue(request)
        monkeypatch.setattr(Configuration, "bind", lambda self, label: (theirs.bind(), bind(self, label)))
        with site.open() as driver:
            before = driver.inspect()
            site.simulator.faults.arm("drop_before", "commit", skip=1, times=5)  # the first one is theirs
            with pytest.raises(DeviceRejected, match="theirs bound"):
                driver.install(request, issued)
            driver.rollback(request, before)
        assert stays(theirs, site)


@pytest.mark.parametrize("operation", [HA_STATE, "show commit-locks", "get", "import", "set", "commit"])
def test_login_that_is_refused_for_a_moment_does_not_end_an_install(operation):
    request = make_request()
    with run_site(settings=QUICKEST) as site:
        issued = site.issue(request)
        with site.open() as driver:
            site.simulator.faults.arm("token_expires", operation, times=2)  # the new key is refused too
            driver.install(request, issued)
        assert not site.simulator.faults.armed("token_expires")
        assert site.serves(issued)


def test_login_that_stays_refused_ends_an_install_before_anything_was_changed():
    request = make_request()
    with run_site(settings=QUICKEST) as site:
        site.options["restart_timeout"] = 0.2
        issued = site.issue(request)
        with site.open() as driver:
            site.simulator.faults.arm("token_expires", times=None)
            with pytest.raises(AuthenticationFailed):
                driver.install(request, issued)
        assert {"import", "set", "commit"}.isdisjoint(site.requests())


@pytest.mark.parametrize("lasts", [False, True])
def test_certificate_of_the_web_server_that_is_another_one_is_ridden_out_unless_it_lasts(lasts, monkeypatch):
    request = make_request()
    with run_portal() as site:
        theirs, upload = Colleague(site), Client.import_certificate
        first, portal = site.simulator.served_fingerprint(), site.simulator.served_fingerprint("portal")
        site.options["restart_timeout"] = 0.2 if lasts else 5
        issued = site.issue(request)

        def show_theirs_and_import(client, name, pem):
            theirs.bind(profile=PROFILE)
            upload(client, name, pem)

        def wait(seconds):
            if site.simulator.served_fingerprint() == fingerprint_of(theirs.leaf) and not lasts:
                monkeypatch.setattr(Client, "import_certificate", upload)
                theirs.bind("management-first", PROFILE)
            wait_briefly(seconds)

        monkeypatch.setattr(Client, "import_certificate", show_theirs_and_import)
        monkeypatch.setattr(panos, "wait_briefly", wait)
        with site.open() as driver, pytest.raises(HostKeyRefused) if lasts else nullcontext():
            driver.install(request, issued)
        assert site.simulator.wait_until_idle()
        assert (site.simulator.served_fingerprint() == first) is not lasts
        assert site.simulator.served_fingerprint("portal") == (portal if lasts else panos.fingerprint(issued))


def test_device_that_is_lost_each_time_is_given_up_and_was_not_changed():
    request = make_request()
    with run_site() as site:
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            site.simulator.faults.arm("drop_before", "import", times=None)
            with pytest.raises(DeviceUnreachable) as caught:
                driver.install(request, issued)
            assert caught.value.hint
            assert 1 < site.requests().count("import") < 10
            driver.rollback(request, before)
        assert {"set", "commit"}.isdisjoint(site.requests())
        assert site.simulator.served_fingerprint() == first


def test_web_server_that_does_not_come_back_is_unreachable():
    """Whether the restart takes away the last question of the install or the next one."""
    request = make_request()
    with run_site() as site:
        site.options["restart_timeout"] = 0.5
        issued = site.issue(request)
        site.simulator.faults.arm("web_server_stays_down")
        with site.open() as driver, suppress(DeviceUnreachable):
            driver.install(request, issued)
        with pytest.raises(DeviceUnreachable), site.open():
            pass
