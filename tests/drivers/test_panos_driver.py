# SPDX-License-Identifier: Apache-2.0
"""The PAN-OS driver against the simulated device: whole rotations, at every release."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ottr.drivers import Labelled, Preflight, Reusable
from ottr.drivers.panos import connect
from ottr.drivers.panos.client import build_element
from ottr.drivers.panos.simulator import Admin, PanosSimulator, Settings, Unconfirmed
from ottr.errors import AuthenticationFailed, DeviceRejected, HostKeyRefused, KeyLost, NotActive, UnsupportedDevice
from ottr.model import Credentials, KeyType, Secret
from ottr.x509 import parse_certificate, parse_request
from tests.drivers.panos import NAMES, QUICK, VERSIONS, fingerprint, make_request, run_site


@pytest.mark.parametrize("version", VERSIONS)
def test_rotation(version):
    request = make_request()
    with run_site(version) as site:
        with site.open() as driver:
            assert isinstance(driver, Reusable)
            assert isinstance(driver, Labelled)
            assert isinstance(driver, Preflight)
            assert driver.check() == ()
            before = driver.inspect()
            csr = driver.create_csr(request)
            assert driver.create_csr(request) == csr
        assert before.bound == "management-first"
        assert before.os_version == version
        assert parse_certificate(before.leaf_pem).sha256 == site.simulator.served_fingerprint()
        parsed = parse_request(csr.pem)
        assert (parsed.dns_names, parsed.key_type) == (NAMES, KeyType.EC256)
        issued = site.sign(csr.pem)
        with site.open() as driver:
            driver.install(request, issued)
            assert site.serves(issued)
            assert driver.inspect().bound == request.label
            assert driver.inspect().leaf_pem == issued.leaf_pem
            driver.install(request, issued)
        assert site.requests().count("commit") == 1
        assert site.simulator.exported_keys == ()
        assert all(not entry.url_secrets for entry in site.simulator.requests)
        assert all(entry.method == "POST" for entry in site.simulator.requests)


@pytest.mark.parametrize("version", VERSIONS)
def test_key_travels_in_header_from_9_0(version):
    with run_site(version) as site:
        with site.open() as driver:
            driver.inspect()
        entries = [entry for entry in site.simulator.requests if entry.operation != "keygen"]
        in_header = {"x-pan-key" in entry.headers for entry in entries}
        in_form = {"key" in entry.parameters for entry in entries}
        assert (in_header, in_form) == (({False}, {True}) if version.startswith("8.") else ({True}, {False}))
        assert site.requests().count("keygen") == 1


def test_one_key_serves_all_sessions_of_a_run():
    with run_site() as site:
        secret = Secret(site.simulator.password)
        credentials = Credentials(username=site.simulator.username, password=secret, kept={})
        for _ in range(3):
            with connect(site.device(), site.options, credentials) as driver:
                driver.inspect()
        assert site.requests().count("keygen") == 1
        site.simulator.faults.arm("token_expires", times=1)
        with connect(site.device(), site.options, credentials) as driver:
            driver.inspect()
        assert site.requests().count("keygen") == 2
        assert "api_key" not in repr(credentials)


@pytest.mark.parametrize("claimed", ["", "10.2.4"])
def test_inventory_may_be_wrong_about_the_release(claimed):
    with (
        run_site("8.1.26") as site,
        connect(
            replace(site.device(), os_version=claimed),
            site.options,
            Credentials(username=site.simulator.username, password=Secret(site.simulator.password)),
        ) as driver,
    ):
        assert driver.inspect().os_version == "8.1.26"


@pytest.mark.parametrize("key_type", list(KeyType))
def test_every_key_type(key_type):
    with run_site() as site, site.open() as driver:
        csr = driver.create_csr(make_request(key_type=key_type))
    assert parse_request(csr.pem).key_type is key_type


def test_chain_is_imported_leaf_first():
    with run_site() as site:
        issued = site.rotate()
        assert site.serves(issued)
        held = site.simulator.state.chains[fingerprint(issued)]
        assert held.index(issued.leaf_pem.strip()) < held.index(issued.chain_pem.strip())


PROFILE = "/config/shared/ssl-tls-service-profile/entry[@name='management']"


def test_rollback_leaves_alone_what_somebody_has_bound_since():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        other = site.rotate("ottr-abcd-2")
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            driver._client.set(PROFILE, *_elements(certificate="management-first"))
        site.simulator.foreign_commit()
        assert site.simulator.wait_until_idle()
        with site.open() as driver:
            driver.rollback(request, before)
            assert driver.inspect().bound == "management-first"
        assert not site.serves(other)


def test_cleanup_keeps_what_is_served_although_another_binding_is_pending():
    with run_site() as site:
        issued = site.rotate()
        with site.open() as driver:
            driver._client.set(PROFILE, *_elements(certificate="management-first"))
            driver.cleanup(frozenset({"ottr-abcd-1"}))
            assert "delete" not in site.requests()
        assert site.serves(issued)


def test_cleanup_keeps_what_another_profile_uses():
    with run_site() as site:
        site.rotate("ottr-abcd-1")
        site.rotate("ottr-abcd-2")
        with site.open() as driver:
            driver._client.set(
                "/config/shared/ssl-tls-service-profile/entry[@name='other']",
                *_elements(certificate="ottr-abcd-1"),
            )
            driver.cleanup(frozenset({"ottr-abcd-1"}))
            assert driver._configuration.find_certificate("ottr-abcd-1")


def _elements(**texts):
    return [build_element(tag, text) for tag, text in texts.items()]


def test_protocol_settings_are_kept():
    with run_site() as site:
        path = "/config/shared/ssl-tls-service-profile/entry[@name='management']/protocol-settings/min-version"
        with site.open() as driver:
            driver._client.set(path.rpartition("/")[0], *_elements(**{"min-version": "tls1-1"}))
        site.rotate()
        with site.open() as driver:
            assert driver._client.find(path, running=True) == "tls1-1"


def test_profile_that_is_not_there_is_made_for_management_and_goes_with_the_rollback():
    settings = Settings(management_profile="")
    request = make_request()
    with run_site(settings=settings) as site:
        site.options["ssl_tls_service_profile"] = "ottr"
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            assert json.loads(before.bound) == {"certificate": "", "management": ""}
            assert before.leaf_pem == ""
            driver.install(request, issued)
            assert site.serves(issued)
            driver.rollback(request, before)
            assert site.simulator.wait_until_idle()
            assert site.simulator.served_fingerprint() == first
            assert driver.inspect() == before


def test_management_moves_to_the_route_s_profile_and_back():
    request = make_request()
    with run_site() as site:
        site.options["ssl_tls_service_profile"] = "ottr"
        first = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            assert json.loads(before.bound) == {"certificate": "", "management": "management"}
            assert parse_certificate(before.leaf_pem).sha256 == first
            driver.install(request, issued)
            assert site.serves(issued)
            driver.rollback(request, before)
            assert site.simulator.wait_until_idle()
        assert site.simulator.served_fingerprint() == first


def test_globalprotect_profile():
    settings = Settings(portals=("portal",), gateways=("gateway",))
    with run_site(settings=settings) as site:
        site.options |= {"ssl_tls_service_profile": "globalprotect", "bind": "profile"}
        management = site.simulator.served_fingerprint()
        issued = site.rotate()
        assert site.simulator.wait_until_idle()
        assert site.simulator.served_fingerprint("portal") == fingerprint(issued)
        assert site.simulator.served_fingerprint("gateway") == fingerprint(issued)
        assert site.simulator.served_fingerprint() == management


def test_profile_of_a_virtual_system():
    with run_site(settings=Settings(vsys=("vsys1", "vsys2"))) as site:
        vsys = "/config/devices/entry[@name='localhost.localdomain']/vsys/entry[@name='vsys2']"
        with site.open() as driver:
            profile = f"{vsys}/ssl-tls-service-profile/entry[@name='gp']"
            driver._client.set(profile, *_elements(certificate="management-first"))
            driver._commit()
        site.options |= {"ssl_tls_service_profile": "gp", "bind": "profile", "location": "vsys2"}
        site.rotate()
        with site.open() as driver:
            assert driver._client.find(f"{profile}/certificate", running=True) == "ottr-abcd-1"


def test_profile_that_is_missing_is_told_before_a_key_is_made():
    with run_site() as site:
        site.options |= {"ssl_tls_service_profile": "absent", "bind": "profile"}
        with site.open() as driver:
            assert driver.check() == ("there is no SSL/TLS service profile absent",)
            with pytest.raises(UnsupportedDevice, match="absent"):
                driver.create_csr(make_request())
        assert "request certificate generate" not in site.requests()


def test_passive_member_is_told():
    with run_site(settings=Settings(high_availability="passive")) as site, site.open() as driver:
        with pytest.raises(NotActive, match="passive"):
            driver.check()
        with pytest.raises(NotActive, match="passive"):
            driver.create_csr(make_request())
    assert "request certificate generate" not in site.requests()


def test_panorama_s_own_certificate():
    with run_site(settings=Settings(panorama=True, model="Panorama")) as site:
        site.options["location"] = "panorama"
        issued = site.rotate()
        assert site.serves(issued)


@contextmanager
def run_managed():
    """A Panorama's site, and the firewall that gets its templates."""
    panorama = Settings(panorama=True, model="Panorama", os_version="10.2.4")
    with (
        PanosSimulator(settings=Settings(management_profile="")) as firewall,
        run_site(settings=panorama, managed=[firewall]) as site,
    ):
        site.options |= {"panorama": f"{site.simulator.address}:{site.simulator.port}", "template": "branch"}
        site.variables = {"ottr_tls_fingerprint": f"SHA256:{site.simulator.served_fingerprint()}"}
        yield site, firewall


@pytest.mark.parametrize("stack", ["", "branch-stack"])
@pytest.mark.parametrize("profile", ["management", "new"])
def test_template_is_committed_and_pushed(stack, profile):
    request = make_request()
    with run_managed() as (site, firewall):
        site.options |= {"template_stack": stack, "ssl_tls_service_profile": profile}
        panorama = site.simulator.served_fingerprint()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            assert firewall.wait_until_idle()
            assert firewall.served_fingerprint() == fingerprint(issued)
            driver.rollback(request, before)
            assert firewall.wait_until_idle()
            assert firewall.served_fingerprint() == parse_certificate(before.leaf_pem).sha256
        assert site.simulator.served_fingerprint() == panorama
        imports = [entry for entry in site.simulator.requests if entry.operation == "import"]
        assert {entry.parameters["target-tpl"] for entry in imports} == {"branch"}


def test_push_that_fails_on_the_firewall_is_a_failure():
    request = make_request()
    with run_managed() as (site, firewall):
        issued = site.issue(request)
        site.simulator.faults.arm("push_fails")
        with site.open() as driver:
            with pytest.raises(DeviceRejected, match="FAIL"):
                driver.install(request, issued)
            driver.install(request, issued)
        assert firewall.wait_until_idle()
        assert firewall.served_fingerprint() == fingerprint(issued)


@pytest.mark.parametrize(
    "unconfirmed",
    [
        Unconfirmed(csr_kept=False, public_key_holds_chain=True, generate_answer="msg"),
        Unconfirmed(csr_only_reference="commit_fails", absent_export_code=13, version_quotes="spaced"),
        Unconfirmed(lock_released_by_commit=False, bad_request_status=400, regenerate="refuse"),
        Unconfirmed(candidate_survives_reboot=True, partial_changes_list=False, generate_honours_location=True),
    ],
)
def test_unconfirmed_points_do_not_matter(unconfirmed):
    with run_site(settings=Settings(unconfirmed=unconfirmed)) as site:
        issued = site.rotate()
        assert site.serves(issued)
        with site.open() as driver:
            driver.install(make_request(), issued)
        assert site.serves(issued)


def test_finished_progress_as_a_time():
    with run_site(settings=Settings(finished_progress="time")) as site:
        assert site.serves(site.rotate())


def test_pinned_certificate_is_accepted_and_another_refused():
    with run_site() as site:
        pin = site.simulator.served_fingerprint()
        site.variables = {"ottr_tls_fingerprint": "SHA256:" + ":".join(pin[n : n + 2] for n in range(0, 64, 2)).upper()}
        issued = site.rotate()
        assert site.serves(issued)
        site.simulator.requests.clear()
        site.variables = {"ottr_tls_fingerprint": "SHA256:" + "00" * 32}
        with pytest.raises(HostKeyRefused) as caught, site.open():
            pass
        assert "ottr_tls_fingerprint" in caught.value.hint
        assert len(site.simulator.requests) == 0


def test_after_the_rotation_the_certificate_is_checked(tmp_path):
    with run_site() as site:
        issued = site.rotate()
        assert site.serves(issued)
        bundle = tmp_path / "roots.pem"
        bundle.write_text(site.root.pem)
        site.variables, site.options["ca_bundle"] = {}, str(bundle)
        with site.open() as driver:
            assert driver.inspect().bound == "ottr-abcd-1"
        site.variables["ottr_tls_name"] = "other.example.com"
        with pytest.raises(HostKeyRefused, match="other"), site.open():
            pass


def test_missing_rights_are_named():
    limited = Admin("limited-simulated", frozenset({"config", "op"}))
    with run_site(settings=Settings(other_admins={"limited": limited})) as site:
        credentials = Credentials(username="limited", password=Secret(limited.password))
        with connect(site.device(), site.options, credentials) as driver, pytest.raises(AuthenticationFailed) as caught:
            driver.create_csr(make_request())
        assert "Export" in caught.value.hint


def test_another_key_under_the_label_is_not_bound():
    request = make_request()
    with run_site() as site:
        first = site.simulator.served_fingerprint()
        with site.open() as driver:
            csr = driver.create_csr(request)
            other = site.sign(driver.create_csr(make_request("ottr-abcd-2")).pem)
            with pytest.raises(KeyLost):
                driver.install(request, other)
            assert driver.create_csr(request) == csr
        assert {"import", "set", "commit"}.isdisjoint(site.requests())
        assert site.simulator.served_fingerprint() == first


def test_nothing_is_sent_for_a_label_that_is_not_ours():
    with run_site() as site, site.open() as driver:
        sent = len(site.simulator.requests)
        with pytest.raises(DeviceRejected):
            driver.cleanup(frozenset({"management-first"}))
        assert len(site.simulator.requests) == sent


def test_options_are_checked_at_connect():
    with run_site() as site:
        site.options = {**QUICK, "bind": "everything"}
        with pytest.raises(DeviceRejected, match="bind"), site.open():
            pass
        assert len(site.simulator.requests) == 0
