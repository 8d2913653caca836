# SPDX-License-Identifier: Apache-2.0
"""The F5 driver when the device, its web server, its group or other administrators are in the way."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from contextlib import suppress

import pytest

from ottr.drivers.f5.simulator import F5Simulator, Settings
from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DeviceUnreachable, DriverError, KeyLost
from ottr.simulation.server import wait_until
from tests.drivers.f5_site import PLACES, SERVICES, Site, fingerprint, make_request, run_site

PROFILE = "tm/ltm/profile/client-ssl"


@contextlib.contextmanager
def watched(site, *allowed):
    """While the block lasts, nothing but these certificates is served: no other one, and no unpaired key."""
    seen, end = set(), threading.Event()
    port = site.simulator.ports[SERVICES[site.place]]

    def watch():
        while not end.wait(0.15):
            with suppress(OSError):  # httpd may be away for a moment; a key that does not fit is an SSLError
                try:
                    seen.add(ssl.get_server_certificate((site.simulator.address, port), timeout=5))
                except ssl.SSLError as error:
                    if "UNEXPECTED_EOF" not in str(error):
                        seen.add(str(error))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert {text.strip() for text in seen} <= {text.strip() for text in allowed}


def finish(site):
    """Whatever a cut-off call has left: the faults are over, and the device is up."""
    site.simulator.faults.clear()
    assert site.simulator.wait_until_idle()


@pytest.mark.parametrize("part", [0, 1])
def test_connection_lost_at_every_request_of_an_install(part):
    """After a request is before the next one. Every second time the pipeline's rollback comes in between.

    The management certificate has the same in the contract: a shell command takes much longer than a request.
    """
    with run_site() as site:
        former = site.rotate("ottr-abcd-first")
        assert site.serves(former)
        for skip in range(part, 200, 2):
            request = make_request(f"ottr-abcd-{skip}")
            issued = site.issue(request)
            with site.open() as driver:
                before = driver.inspect()
            with watched(site, former.leaf_pem, issued.leaf_pem):
                site.simulator.faults.arm("drop_after", skip=skip)
                with suppress(DriverError), site.open() as driver:
                    driver.install(request, issued)
                reached_the_end = site.simulator.faults.armed("drop_after")
                finish(site)
                assert site.served() in (fingerprint(former), fingerprint(issued))
                if skip % 4 < 2 and not reached_the_end:
                    with site.open() as driver:
                        driver.rollback(request, before)
                    assert site.serves(former)
                with site.open() as driver:
                    driver.install(request, issued)
                assert site.serves(issued)
            with site.open() as driver:
                driver.cleanup(frozenset({before.bound}))
                assert driver.labels() == {request.label}
            former = issued
            if reached_the_end:
                break
        assert reached_the_end
        assert site.simulator.sessions == 0
        assert site.simulator.exported_keys == ()


def test_connection_lost_at_every_request_of_a_rollback():
    with run_site() as site:
        first = site.served()
        request = make_request()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
        for skip in range(100):
            with site.open() as driver:
                driver.install(request, issued)
            site.simulator.faults.arm("drop_after", skip=skip)
            with suppress(DriverError), site.open() as driver:
                driver.rollback(request, before)
            reached_the_end = site.simulator.faults.armed("drop_after")
            finish(site)
            with site.open() as driver:
                driver.rollback(request, before)
                assert driver.inspect() == before
            assert site.served() == first
            if reached_the_end:
                break
        assert reached_the_end
        assert site.simulator.sessions == 0


@pytest.mark.parametrize("bash", [True, False])
def test_connection_lost_at_every_request_of_making_a_key(bash):
    with run_site(settings=Settings(bash=bash)) as site:
        for skip in range(50):
            request = make_request(f"ottr-abcd-{skip}")
            site.simulator.faults.arm("drop_after", skip=skip)
            with suppress(DriverError), site.open() as driver:
                driver.create_csr(request)
            reached_the_end = site.simulator.faults.armed("drop_after")
            finish(site)
            with site.open() as driver:
                csr = driver.create_csr(request)
                assert driver.create_csr(request) == csr
            if reached_the_end:
                break
        assert reached_the_end
        assert site.simulator.sessions == 0


def test_connection_lost_at_every_request_of_a_clean_up():
    with run_site() as site:
        for skip in range(50):
            site.issue(make_request("ottr-abcd-1"))
            site.simulator.faults.arm("drop_after", skip=skip)
            with suppress(DriverError), site.open() as driver:
                driver.cleanup(frozenset({"ottr-abcd-1"}))
            reached_the_end = site.simulator.faults.armed("drop_after")
            finish(site)
            with site.open() as driver:
                driver.cleanup(frozenset({"ottr-abcd-1"}))
                assert driver.labels() == frozenset()
            assert site.simulator.certificate_names == {"default.key", "default.crt"}
            if reached_the_end:
                break
        assert reached_the_end


def test_token_that_expires_between_any_two_requests():
    """Every request in turn is sent with a token that has just run out."""
    with run_site() as site:
        for skip in range(100):
            label = f"ottr-abcd-{skip}"
            request = make_request(label)
            issued = site.issue(request)
            site.simulator.requests.clear()
            site.simulator.faults.arm("token_expires", skip=skip)
            with site.open() as driver:
                driver.install(request, issued)
            logins = site.requests().count("POST shared/authn/login")
            reached_the_end = site.simulator.faults.armed("token_expires")
            finish(site)
            assert site.serves(issued)
            assert logins <= 2
            assert site.simulator.sessions == 0
            if reached_the_end:
                break
        assert reached_the_end


def test_token_that_expires_before_each_kind_of_request():
    """All in one rotation, in which a restart swallows some answers besides."""
    request = make_request()
    with run_site(place="management") as site:
        with site.open() as driver:
            before = driver.inspect()
            issued = site.sign(driver.create_csr(request).pem)
            driver.arm(request, before, 300)
            driver.install(request, issued)
            driver.disarm(request)
            for operation in sorted(set(site.requests()) - {"POST shared/authn/login", "GET shared/authz/tokens"}):
                site.simulator.faults.arm("token_expires", operation)
            driver.rollback(request, before)
            driver.arm(request, before, 300)
            driver.install(request, issued)
            driver.disarm(request)
            driver.cleanup(frozenset({"ottr-abcd-0"}))
        finish(site)
        assert site.serves(issued)
        assert site.requests().count("POST shared/authn/login") > 4
        assert site.simulator.sessions == 0


def test_refused_token_is_tried_once_again_only():
    with run_site() as site, site.open() as driver:
        site.simulator.faults.arm("token_expires", f"GET {PROFILE}", times=None)
        site.simulator.requests.clear()
        with pytest.raises(AuthenticationFailed):
            driver.inspect()
        site.simulator.faults.clear()
        assert site.requests() == [f"GET {PROFILE}", "POST shared/authn/login", f"GET {PROFILE}"]


def test_tokens_of_dead_sessions_are_deleted_and_others_stay():
    with run_site() as site:
        with site.open() as other:
            ours = other._client.rest
            dead = dict(ours._token)
            site.simulator.faults.arm("drop_after", "POST shared/authn/login")
            with pytest.raises(DeviceUnreachable), site.open():
                pass
            assert site.simulator.sessions == 2
            extended = ours.patch(f"shared/authz/tokens/{dead['token']}", {"timeout": 1800})
            assert extended["timeout"] == 1800
            with site.open():
                assert site.simulator.sessions == 2
            assert site.simulator.sessions == 1
        assert site.simulator.sessions == 0


@pytest.mark.parametrize("operation", ["POST tm/sys/crypto/key", "POST tm/sys/crypto/csr"])
def test_refusals_while_a_key_is_made(operation):
    with run_site() as site, site.open() as driver:
        site.simulator.faults.arm("reject", operation)
        with pytest.raises(DeviceRejected) as caught:
            driver.create_csr(make_request())
        assert caught.value.hint
        assert "lb1" in str(caught.value)
        assert driver.create_csr(make_request())


INSTALLING = (
    "POST shared/file-transfer/uploads",
    "POST tm/sys/crypto/cert",
    "POST tm/transaction",
    f"PATCH {PROFILE}",
    "PATCH tm/transaction",
    "POST tm/sys/config",
)


@pytest.mark.parametrize("operation", INSTALLING)
@pytest.mark.parametrize("fault", ["reject", "busy", "restarting_page"])
def test_refusals_during_an_install(operation, fault):
    request = make_request()
    with run_site() as site:
        first = site.served()
        issued = site.issue(request)
        site.simulator.faults.arm(fault, operation)
        kind = DeviceRejected if fault == "reject" else DeviceUnreachable
        with site.open() as driver:
            before = driver.inspect()
            with pytest.raises(kind) as caught:
                driver.install(request, issued)
            assert caught.value.hint
            driver.rollback(request, before)
            assert site.served() == first
            driver.install(request, issued)
        assert site.serves(issued)


@pytest.mark.parametrize("operation", ["GET tm/sys/httpd", "POST tm/util/bash"])
def test_refusals_during_an_install_of_the_management_certificate(operation):
    request = make_request()
    with run_site(place="management") as site:
        first = site.served()
        issued = site.issue(request)
        for skip in range(20):
            with site.open() as driver:
                before = driver.inspect()
                site.simulator.faults.arm("busy", operation, skip=skip)
                with suppress(DriverError):
                    driver.install(request, issued)
                reached_the_end = site.simulator.faults.armed("busy")
                finish(site)
                driver.rollback(request, before)
            assert site.served() == first
            if reached_the_end:
                break
        assert reached_the_end


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk(place):
    request = make_request()
    with run_site(place=place) as site:
        first = site.served()
        issued = site.issue(request)
        site.simulator.faults.arm("disk_full", times=None)
        with site.open() as driver:
            before = driver.inspect()
            with pytest.raises(DeviceRejected) as caught:
                driver.install(request, issued)
            assert caught.value.hint
            site.simulator.faults.clear()
            driver.rollback(request, before)
        assert site.served() == first


def test_a_broken_upload_is_begun_again():
    with run_site() as site:
        site.simulator.faults.arm("upload_broken", times=2)
        assert site.serves(site.rotate())


def test_an_upload_that_stays_broken_is_refused():
    with run_site() as site:
        site.simulator.faults.arm("upload_broken", times=None)
        with pytest.raises(DeviceRejected, match="does not take the file"):
            site.rotate()


def test_a_transaction_that_is_refused_leaves_the_former_pair():
    request = make_request()
    with run_site() as site:
        first = site.served()
        issued = site.issue(request)
        site.simulator.faults.arm("transaction_refused", "01070734:3: Configuration error: no")
        with site.open() as driver:
            with pytest.raises(DeviceRejected, match="Configuration error"):
                driver.install(request, issued)
            assert site.served() == first
            driver.install(request, issued)
        assert site.serves(issued)


def test_a_transaction_that_has_run_out_is_busy():
    request = make_request()
    with run_site() as site:
        first = site.served()
        issued = site.issue(request)
        site.simulator.faults.arm("transaction_lost", "PATCH tm/transaction")
        with site.open() as driver:
            with pytest.raises(DeviceBusy) as caught:
                driver.install(request, issued)
            assert caught.value.retryable
            assert site.served() == first
            driver.install(request, issued)
        assert site.serves(issued)


def test_another_administrator_s_change_of_the_profile_is_never_lost():
    """It may come before any request of ours, also between our reading and our commit."""
    operations = ("POST tm/transaction", f"PATCH {PROFILE}", "PATCH tm/transaction", "POST tm/sys/config")
    with run_site() as site:
        for number, operation in enumerate(operations):
            request = make_request(f"ottr-abcd-{number}")
            issued = site.issue(request)
            site.simulator.faults.arm("foreign_change", operation)
            with suppress(DeviceBusy), site.open() as driver:
                driver.install(request, issued)
            assert not site.simulator.faults.armed("foreign_change")
            changed = read_profile(site)
            with site.open() as driver:
                driver.install(request, issued)
            assert site.serves(issued)
            assert without_pairs(read_profile(site)) == without_pairs(changed)


def read_profile(site):
    with site.open() as driver:
        return driver._client.find_profile("/Common/site")


def without_pairs(profile):
    mine = ("cert", "key", "chain", "certKeyChain", "generation")
    return {name: value for name, value in profile.items() if name not in mine and not name.endswith("Reference")}


def test_pairs_that_somebody_adds_meanwhile_stay():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        with site.open() as driver, site.open() as alice:
            rest = alice._client.rest
            change = driver._client.change_profiles

            def changed_first(chains, former):
                rsa = {"name": "alice", "cert": "/Common/alice.crt", "key": "/Common/alice.key"}
                chain = [*former["/Common/site"]["certKeyChain"], rsa]
                with suppress(DriverError):
                    rest.patch(f"{PROFILE}/~Common~site", {"certKeyChain": chain[:1], "serverName": "a.example.com"})
                rest.patch(f"{PROFILE}/~Common~site", {"certKeyChain": [{**chain[0], "name": "alice"}]})
                change(chains, former)

            driver._client.change_profiles = changed_first
            with pytest.raises(DeviceBusy, match="somebody else"):
                driver.install(request, issued)
            driver._client.change_profiles = change
            assert [entry["name"] for entry in read_profile(site)["certKeyChain"]] == ["alice"]
            driver.install(request, issued)
        assert site.serves(issued)


def test_a_save_that_fails():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        site.simulator.faults.arm("save_fails")
        with site.open() as driver:
            with pytest.raises(DriverError) as caught:
                driver.install(request, issued)
            assert caught.value.hint
            driver.install(request, issued)
        assert site.serves(issued)


@pytest.mark.parametrize("operation", [*INSTALLING, f"GET {PROFILE}"])
def test_a_reboot_during_an_install(operation):
    """What was saved is there afterwards; a key that was not is lost."""
    request = make_request()
    with run_site() as site:
        first = site.served()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
        site.simulator.faults.arm("reboot_after", operation)
        with suppress(DriverError), site.open() as driver:
            driver.install(request, issued)
        finish(site)
        assert site.served() in (first, fingerprint(issued))
        with site.open() as driver:
            driver.rollback(request, before)
        assert site.served() == first
        try:
            with site.open() as driver:
                driver.install(request, issued)
        except KeyLost:
            issued = site.rotate("ottr-abcd-2")
        assert site.serves(issued)


@pytest.mark.parametrize("part", [0, 1])
def test_a_reboot_during_an_install_of_the_management_certificate(part):
    """Every fourth request has its turn; what lies between is asked of every driver by the contract."""
    with run_site(place="management") as site:
        for skip in range(part * 2, 60, 4):
            former = site.served()
            request = make_request(f"ottr-abcd-{skip}")
            issued = site.issue(request)
            with site.open() as driver:
                before = driver.inspect()
            site.simulator.faults.arm("reboot_after", skip=skip)
            with suppress(DriverError), site.open() as driver:
                driver.install(request, issued)
            reached_the_end = site.simulator.faults.armed("reboot_after")
            finish(site)
            assert site.served() in (former, fingerprint(issued))
            with site.open() as driver:
                driver.rollback(request, before)
            assert site.served() == former
            if reached_the_end:
                break
        assert reached_the_end


@pytest.fixture
def pair():
    settings = Settings(device_group="DG")
    with F5Simulator(settings=settings) as active, F5Simulator(settings=settings, peer=active) as standby:
        yield active, standby


def test_a_sync_that_fails_is_busy_and_the_way_back_does_not_depend_on_it(pair, caplog):
    active, _ = pair
    site = Site(active, options={"device_group": "DG", "sync_timeout": 0.3})
    first = site.served()
    request = make_request()
    issued = site.issue(request)
    active.faults.arm("sync_fails", times=None)
    with site.open() as driver:
        before = driver.inspect()
        with pytest.raises(DeviceBusy, match="DG") as caught:
            driver.install(request, issued)
        assert caught.value.hint
        driver.rollback(request, before)
    assert site.served() == first
    assert "DG" in caplog.text
    active.faults.clear()
    with site.open() as driver:
        driver.install(request, issued)
        assert driver._client.fetch_sync_status()[0] == "In Sync"
    assert site.serves(issued)


@pytest.mark.parametrize("operation", ["POST tm/sys/crypto/cert", "PATCH tm/transaction", "POST tm/sys/config"])
def test_changes_of_the_other_unit_are_not_undone_by_a_sync(pair, operation):
    active, _ = pair
    site = Site(active, options={"device_group": "DG"})
    request = make_request()
    issued = site.issue(request)
    active.faults.arm("foreign_sync_change", operation)
    with site.open() as driver:
        with pytest.raises(DeviceBusy, match="another unit has changes") as caught:
            driver.install(request, issued)
        assert caught.value.hint
    assert "POST tm/cm" not in site.requests()


# The web server


def test_httpd_that_comes_back_late_is_ridden_out():
    with run_site(place="management", settings=Settings(restart_s=1.0, restarting_answers=4)) as site:
        assert site.serves(site.rotate())


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_httpd_that_restarts_only_after_the_look_at_its_new_setting_is_ridden_out(fault):
    with run_site(place="management") as site:
        site.simulator.faults.arm(fault, "POST tm/sys/config")
        assert site.serves(site.rotate())
        assert not site.simulator.faults.armed(fault)


def test_httpd_that_keeps_the_former_certificate_is_told():
    request = make_request()
    with run_site(place="management") as site:
        site.options["restart_timeout"] = 0.5
        first = site.served()
        issued = site.issue(request)
        site.simulator.faults.arm("serve_old_after_install", times=None)
        with site.open() as driver:
            before = driver.inspect()
            with pytest.raises(DeviceRejected, match="another certificate"):
                driver.install(request, issued)
            driver.rollback(request, before)
        finish(site)
        assert site.served() == first


def test_the_device_goes_back_by_itself():
    request = make_request()
    with run_site(place="management") as site:
        first = site.served()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.arm(request, before, 600)
            driver.install(request, issued)
            assert site.serves(issued)
            driver.arm(request, before, 0)
        assert wait_until(lambda: site.simulator.served_fingerprint() == first, 20.0)
        finish(site)
        with site.open() as driver:
            with pytest.raises(DeviceRejected, match="gone off") as caught:
                driver.disarm(request)
            assert caught.value.hint
            assert driver.inspect().leaf_pem == before.leaf_pem
            driver.arm(request, before, 600)
            driver.install(request, issued)
            driver.disarm(request)
            driver.disarm(request)
        assert site.serves(issued)


def test_a_timer_that_was_disarmed_or_armed_anew_does_nothing():
    request = make_request()
    with run_site(place="management") as site:
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.disarm(request)
            jobs = []
            run = driver._shell.run
            driver._shell.run = lambda line: (jobs.append(line), run(line))[1]
            driver.arm(request, before, 600)
            driver.arm(request, before, 600)
            driver._shell.run = run
            former, newest = [re.search('"(.*)"', line)[1] for line in jobs if line.startswith("nohup")]
            driver.install(request, issued)
            assert run(former.replace("sleep 600", "sleep 0")).status != 0
            driver.disarm(request)
            assert run(newest.replace("sleep 600", "sleep 0")).status != 0
            assert not [name for name in driver._open_files().list_names() if "armed" in name]
        assert site.serves(issued)


def test_a_timer_does_not_touch_what_somebody_else_has_put_there():
    request = make_request()
    folder = "/config/httpd/conf"
    with run_site(place="management") as site:
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            path = f"{folder}/ssl.crt/server.crt"
            driver._shell.run(f"openssl x509 -in {path} -out /var/tmp/c; cp /var/tmp/c {path}")
            theirs = site.simulator.read(path)
            jobs, run = [], driver._shell.run
            driver._shell.run = lambda line: (jobs.append(line), run(line))[1]
            driver.arm(request, before, 600)
            (job,) = [re.search('"(.*)"', line)[1] for line in jobs if line.startswith("nohup")]
            assert run(job.replace("sleep 600", "sleep 0")).status != 0
            assert f"{request.label}.fired" in driver._open_files().list_names()
            assert site.simulator.read(path) == theirs
        assert site.serves(issued)  # httpd was not restarted
