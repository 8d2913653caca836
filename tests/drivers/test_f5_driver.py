# SPDX-License-Identifier: Apache-2.0
"""The F5 driver against the simulated device: whole rotations, of both places, at every version."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import replace

import pytest

from ottr.drivers import DeadMan, Labelled, Preflight, Reusable, Serving
from ottr.drivers.f5 import check_options, connect, default_endpoint
from ottr.drivers.f5.simulator import F5Simulator, Profile, Settings, Unconfirmed, Virtual
from ottr.errors import (
    AuthenticationFailed,
    DeviceBusy,
    DeviceRejected,
    DeviceUnreachable,
    HostKeyRefused,
    KeyLost,
    NotActive,
    UnsupportedDevice,
)
from ottr.model import EndpointProtocol, KeyType
from ottr.simulation.server import wait_until
from ottr.x509 import parse_certificate, parse_request
from tests.drivers.f5_site import NAMES, PLACES, QUICK, SERVICES, VERSIONS, Site, fingerprint, make_request, run_site

SITE = "/Common/site"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", VERSIONS)
def test_rotation(version, place):
    request = make_request()
    with run_site(version, place) as site:
        with site.open() as driver:
            assert isinstance(driver, Reusable)
            assert driver.alive()
            assert isinstance(driver, Labelled)
            assert isinstance(driver, Preflight)
            assert isinstance(driver, DeadMan) is (place == "management")
            assert isinstance(driver, Serving) is (place == "client_ssl")
            former = site.simulator.state_hash()
            assert driver.check() == ()
            before = driver.inspect()
            assert site.simulator.state_hash() == former
            csr = driver.create_csr(request)
            assert driver.create_csr(request) == csr
        assert before.os_version == version
        assert parse_certificate(before.leaf_pem).sha256 == site.served()
        parsed = parse_request(csr.pem)
        assert (parsed.dns_names, parsed.key_type) == (NAMES, KeyType.EC256)
        issued = site.sign(csr.pem)
        with site.open() as driver:
            driver.install(request, issued)
            assert site.serves(issued)
            assert driver.inspect().bound == request.label
            assert driver.inspect().leaf_pem == issued.leaf_pem
            installed = site.simulator.state_hash()
            driver.install(request, issued)
            assert site.simulator.state_hash() == installed
            assert driver.labels() == {request.label}
        site.simulator.reboot()
        assert site.serves(issued)
        assert site.simulator.exported_keys == ()
        assert site.simulator.sessions == 0
        assert all(not entry.url_secrets for entry in site.simulator.requests)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_every_key_type(key_type):
    with run_site() as site, site.open() as driver:
        csr = driver.create_csr(make_request(key_type=key_type))
    assert parse_request(csr.pem).key_type is key_type


@pytest.mark.parametrize(("place", "sends"), [("client_ssl", True), ("management", True), ("management", False)])
def test_the_chain_is_served_with_the_leaf(place, sends, tmp_path):
    """Without ssl-certchainfile an older httpd sends the first certificate of its file only."""
    settings = Settings(unconfirmed=Unconfirmed(httpd_sends_bundle=sends))
    with run_site(place=place, settings=settings) as site:
        issued = site.rotate()
        assert site.serves(issued)
        bundle = tmp_path / "roots.pem"
        bundle.write_text(site.root.pem)
        if place == "management":
            site.variables, site.options["ca_bundle"] = {}, str(bundle)
            with site.open() as driver:
                assert driver.inspect().bound == "ottr-abcd-1"
            site.variables["ottr_tls_name"] = "other.example.com"
            with pytest.raises(HostKeyRefused, match="other"), site.open():
                pass
        else:
            entry = read_entries(site)[0]
            assert entry == {
                "name": "ottr-abcd-1",
                "cert": "/Common/ottr-abcd-1.crt",
                "key": "/Common/ottr-abcd-1.key",
                "chain": "/Common/ottr-abcd-1.chain.crt",
            }


def read_entries(site: Site, path: str = SITE) -> list[dict[str, str]]:
    with site.open() as driver:
        return [
            {name: entry[name] for name in ("name", "cert", "key", "chain") if name in entry}
            for entry in driver._profiles.read()[path].entries
        ]


@pytest.mark.parametrize("place", PLACES)
def test_rollback_before_and_after_the_install(place):
    request = make_request()
    with run_site(place=place) as site:
        first = site.served()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            untouched = site.simulator.state_hash()
            driver.rollback(request, before)
            assert site.simulator.state_hash() == untouched
            driver.install(request, issued)
            assert site.serves(issued)
            driver.rollback(request, before)
            assert site.served() == first
            assert driver.inspect() == before
            driver.rollback(request, before)
            assert site.served() == first
            driver.install(request, issued)
        assert site.serves(issued)


@pytest.mark.parametrize("place", PLACES)
def test_rollback_to_the_former_generation(place):
    with run_site(place=place) as site:
        former = site.rotate("ottr-abcd-1")
        request = make_request("ottr-abcd-2")
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            assert before.bound == "ottr-abcd-1"
            driver.install(request, issued)
            assert site.serves(issued)
            driver.rollback(request, before)
            assert site.serves(former)
            assert driver.inspect() == before


@pytest.mark.parametrize("place", PLACES)
def test_cleanup_removes_exactly_the_labels(place):
    with run_site(place=place) as site:
        for number in (1, 2, 3):
            last = site.rotate(f"ottr-abcd-{number}")
        site.issue(make_request("ottr-abcd-4"))
        with site.open() as driver:
            driver.cleanup(frozenset({"ottr-abcd-1", "ottr-abcd-3", "ottr-abcd-9"}))
            assert driver.labels() == {"ottr-abcd-2", "ottr-abcd-3", "ottr-abcd-4"}
            left = site.simulator.state_hash()
            driver.cleanup(frozenset({"ottr-abcd-1"}))
            assert site.simulator.state_hash() == left
            driver.cleanup(frozenset())
        assert not [name for name in site.simulator.certificate_names if "abcd-1." in name]
        assert {"default.crt", "default.key"} <= site.simulator.certificate_names
        assert site.serves(last)
        for folder in ("/var/config/rest/downloads", "/var/config/rest/bulk"):
            assert not [name for name in site.simulator.state.disk.names(folder) if "ottr" in name]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_sent_for_a_label_that_is_not_ours(place):
    with run_site(place=place) as site, site.open() as driver:
        sent = len(site.simulator.requests)
        for label in ("default", "ottr-a; rm -rf /", "ottr-A", "", "-rf", "ottr-a\n"):
            with pytest.raises(DeviceRejected):
                driver.cleanup(frozenset({label}))
            with pytest.raises(DeviceRejected):
                driver.create_csr(make_request(label))
        assert len(site.simulator.requests) == sent


@pytest.mark.parametrize("place", PLACES)
def test_another_key_under_the_label_is_not_bound(place):
    request = make_request()
    with run_site(place=place) as site:
        first = site.served()
        with site.open() as driver:
            csr = driver.create_csr(request)
            other = site.sign(driver.create_csr(make_request("ottr-abcd-2")).pem)
            before = driver.inspect()
            with pytest.raises(KeyLost) as caught:
                driver.install(request, other)
            assert caught.value.hint
            assert {"POST tm/sys/crypto/cert", "POST tm/transaction", "POST tm/sys/config"}.isdisjoint(site.requests())
            driver.rollback(request, before)
            assert driver.create_csr(request) == csr
        assert site.served() == first


@pytest.mark.parametrize("name", ["/Common/a; touch /var/tmp/x", "/Common/$(touch /var/tmp/x)", "/Common/a b", ""])
def test_names_that_a_shell_would_read_otherwise_are_not_given_to_it(name):
    with run_site() as site, site.open() as driver:
        sent = site.requests()
        assert driver._read_certificate(name) == ""
        assert site.requests() == sent


@pytest.mark.parametrize("place", PLACES)
def test_a_key_that_has_gone_is_lost(place):
    request = make_request()
    with run_site(place=place) as site:
        first = site.served()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver._client.rest.delete("tm/sys/file/ssl-key/~Common~ottr-abcd-1.key")
            with pytest.raises(KeyLost):
                driver.create_csr(request)
            with pytest.raises(KeyLost):
                driver.install(request, issued)
            driver.rollback(request, before)
            driver.cleanup(frozenset({request.label}))
            assert driver.labels() == frozenset()
        assert site.served() == first


@pytest.mark.parametrize("place", PLACES)
def test_wildcards(place):
    request = make_request()
    wild = type(request)(request.label, ("*.example.com", "example.com"))
    with run_site(place=place) as site:
        with site.open() as driver:
            csr = driver.create_csr(wild)
            assert parse_request(csr.pem).dns_names == ("*.example.com", "example.com")
            issued = site.sign(csr.pem)
            driver.install(wild, issued)
        assert site.serves(issued)


def test_names_too_long_for_a_subject():
    long = "a" * 60 + ".example.com"
    request = make_request()
    with run_site() as site, site.open() as driver:
        csr = driver.create_csr(type(request)(request.label, (long, "short.example.com")))
        assert parse_request(csr.pem).dns_names == (long, "short.example.com")
        with pytest.raises(UnsupportedDevice, match="64"):
            driver.create_csr(type(request)("ottr-abcd-2", (long,)))


# Profiles of virtual servers


def test_other_key_types_stay_beside_the_new_pair():
    with run_site() as site:
        site.rotate("ottr-abcd-1", KeyType.RSA2048)
        site.rotate("ottr-abcd-2", KeyType.EC256)
        assert [entry["name"] for entry in read_entries(site)] == ["ottr-abcd-1", "ottr-abcd-2"]
        request = make_request("ottr-abcd-3", KeyType.RSA2048)
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            assert [entry["name"] for entry in read_entries(site)] == ["ottr-abcd-3", "ottr-abcd-2"]
            driver.rollback(request, before)
            assert [entry["name"] for entry in read_entries(site)] == ["ottr-abcd-1", "ottr-abcd-2"]
            assert driver.inspect() == before


def test_a_pair_put_beside_another_one_is_taken_away_again():
    request = make_request("ottr-abcd-2", KeyType.EC256)
    with run_site() as site:
        rsa = site.rotate("ottr-abcd-1", KeyType.RSA2048)
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            assert len(read_entries(site)) == 2
            driver.rollback(request, before)
        assert [entry["name"] for entry in read_entries(site)] == ["ottr-abcd-1"]
        assert site.serves(rsa)


def test_other_key_types_are_replaced_where_the_route_says_so():
    request = make_request("ottr-abcd-2", KeyType.EC256)
    with run_site() as site:
        rsa = site.rotate("ottr-abcd-1", KeyType.RSA2048)
        site.options["other_key_types"] = "replace"
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            assert [entry["name"] for entry in read_entries(site)] == ["ottr-abcd-2"]
            assert site.serves(issued)
            driver.rollback(request, before)
        assert site.serves(rsa)


TWO = Settings(
    partitions=("Shop",),
    profiles=(Profile("site"), Profile("/Shop/shop", common_name="shop.example.com")),
    virtuals=(Virtual("web", ("site",)), Virtual("shop", ("/Shop/shop",)), Virtual("both", ("site",))),
)


def test_several_profiles_change_together():
    request = make_request()
    with run_site(settings=TWO) as site:
        site.options["client_ssl"] = ["site", "/Shop/shop"]
        first = {name: site.served(name) for name in ("web", "shop", "both")}
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            assert set(json.loads(before.bound)) == {"/Common/site", "/Shop/shop"}
            driver.install(request, issued)
            assert {site.served(name) for name in first} == {fingerprint(issued)}
            assert site.requests().count("POST tm/transaction") == 1
            assert {endpoint.port for endpoint in driver.endpoints()} == {site.simulator.ports[name] for name in first}
            driver.rollback(request, before)
            assert {name: site.served(name) for name in first} == first
            assert driver.inspect() == before


def test_virtual_servers_that_use_the_profile_are_named():
    with run_site(settings=TWO) as site:
        with site.open() as driver:
            found = driver.endpoints()
            assert {endpoint.port for endpoint in found} == {site.simulator.ports["web"], site.simulator.ports["both"]}
            assert {(endpoint.host, endpoint.server_name, endpoint.protocol) for endpoint in found} == {
                (site.simulator.address, NAMES[0], EndpointProtocol.TLS)
            }
        site.options["verify_virtuals"] = False
        with site.open() as driver:
            assert driver.endpoints() == ()


def test_a_profile_with_a_server_name_is_asked_for_by_it():
    settings = Settings(
        profiles=(Profile("site", server_name="www.example.com"), Profile("other", sni_default=True)),
        virtuals=(Virtual("web", ("site", "other")),),
    )
    with run_site(settings=settings) as site, site.open() as driver:
        assert [endpoint.server_name for endpoint in driver.endpoints()] == ["www.example.com"]


def test_profile_that_is_missing_is_told_before_a_key_is_made():
    with run_site() as site:
        site.options["client_ssl"] = "absent"
        with site.open() as driver:
            assert "/Common/absent" in driver.check()[0]
            assert driver.inspect().bound == ""
            with pytest.raises(UnsupportedDevice, match="absent"):
                driver.create_csr(make_request())
        assert "POST tm/sys/crypto/key" not in site.requests()


def test_rollback_leaves_alone_what_somebody_has_bound_since():
    request = make_request()
    with run_site() as site:
        issued = site.issue(request)
        other = site.rotate("ottr-abcd-2")
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            mine = [{"name": "mine", "cert": "/Common/default.crt", "key": "/Common/default.key"}]
            driver._client.rest.patch("tm/ltm/profile/client-ssl/~Common~site", {"certKeyChain": mine})
            driver.rollback(request, before)
        assert [entry["name"] for entry in read_entries(site)] == ["mine"]
        assert site.served() != fingerprint(other)


def test_cleanup_keeps_what_another_profile_uses(caplog):
    with run_site(settings=TWO) as site:
        site.options["client_ssl"] = "/Shop/shop"
        site.rotate("ottr-abcd-1")
        site.options["client_ssl"] = "site"
        with site.open() as driver:
            driver.cleanup(frozenset({"ottr-abcd-1"}))
            assert driver.labels() == {"ottr-abcd-1"}
        assert "ottr-abcd-1 stays" in caplog.text


def test_csr_is_fetched_as_a_file_where_there_is_no_shell():
    """REST shows no certificate as PEM: without a shell the driver does not know the former one."""
    request = make_request()
    with run_site(settings=Settings(bash=False)) as site:
        first = site.served()
        with site.open() as driver:
            before = driver.inspect()
            assert before.leaf_pem == ""
            assert before.bound
            csr = driver.create_csr(request)
            assert driver.create_csr(request) == csr
            issued = site.sign(csr.pem)
            driver.install(request, issued)
            assert site.serves(issued)
            driver.rollback(request, before)
            assert site.served() == first
            driver.cleanup(frozenset({request.label}))
        assert not [name for name in site.simulator.state.disk.names("/var/config/rest/bulk") if "ottr" in name]


def test_management_needs_a_shell():
    with run_site(place="management", settings=Settings(bash=False)) as site, site.open() as driver:
        with pytest.raises(UnsupportedDevice, match="bash") as caught:
            driver.create_csr(make_request())
        assert "Appliance" in caught.value.hint
        assert "util/bash" in caught.value.hint


# Device groups


@pytest.fixture
def pair():
    settings = Settings(device_group="DG")
    other = replace(settings, hostname="bigip2.example.com")
    with F5Simulator(settings=settings) as active, F5Simulator(settings=other, peer=active) as standby:
        yield active, standby


def test_the_group_is_synced_where_the_route_says_so(pair):
    active, standby = pair
    site = Site(active, options={"device_group": "DG"})
    request = make_request()
    first = site.served()
    issued = site.issue(request)
    with site.open() as driver:
        before = driver.inspect()
        driver.install(request, issued)
        assert driver._client.fetch_sync_status()[0] == "In Sync"
        active.failover()
        assert wait_until(lambda: standby.served_fingerprint("web") == fingerprint(issued))
        standby.failover()
        driver.rollback(request, before)
        assert driver._client.fetch_sync_status()[0] == "In Sync"
        driver.cleanup(frozenset({request.label}))
    active.failover()
    assert wait_until(lambda: standby.served_fingerprint("web") == first)
    assert not [name for name in standby.certificate_names if "ottr" in name]


def test_a_group_that_is_not_synced_is_told(pair, caplog):
    site = Site(pair[0])
    assert site.serves(site.rotate())
    assert "not in sync" in caplog.text


def test_the_standby_unit_is_refused(pair):
    site = Site(pair[1], options={"device_group": "DG"})
    with site.open() as driver:
        with pytest.raises(NotActive, match="standby"):
            driver.check()
        with pytest.raises(NotActive, match="standby"):
            driver.create_csr(make_request())
    assert "POST tm/sys/crypto/key" not in site.requests()


def test_a_unit_that_became_standby_takes_nothing(pair):
    active, _ = pair
    site = Site(active, options={"device_group": "DG"})
    request = make_request()
    issued = site.issue(request)
    active.failover()
    with site.open() as driver, pytest.raises(NotActive, match="standby"):
        driver.install(request, issued)
    assert "POST tm/transaction" not in site.requests()


def test_a_group_that_is_not_in_sync_before_is_not_touched(pair):
    active, standby = pair
    standby.foreign_change()
    site = Site(active, options={"device_group": "DG"})
    with site.open() as driver:
        with pytest.raises(DeviceBusy, match="another unit has changes"):
            driver.check()
        with pytest.raises(DeviceBusy, match="another unit has changes"):
            driver.create_csr(make_request())
    assert "POST tm/cm" not in site.requests()


def test_a_key_that_waits_for_its_certificate_is_in_no_other_rotations_way(pair):
    """Made on the active unit, not synchronized yet: no change of anybody else's could be lost."""
    site = Site(pair[0], options={"device_group": "DG"})
    with site.open() as driver:
        driver.create_csr(make_request("ottr-abcd-1"))
        assert driver.check() == ()
        driver.create_csr(make_request("ottr-abcd-2"))


def test_management_certificates_are_each_unit_s_own(pair):
    site = Site(pair[1], place="management")
    assert site.serves(site.rotate())


# Management


def test_another_chain_file_is_put_back_by_the_rollback():
    request = make_request()
    path = "/etc/httpd/conf/ssl.crt/others.crt"
    with run_site(place="management") as site:
        with site.open() as driver:
            driver._shell.run("cp /config/httpd/conf/ssl.crt/server.crt /config/httpd/conf/ssl.crt/others.crt")
            with suppress(DeviceUnreachable):
                driver._shell.run(f"tmsh modify sys httpd ssl-certchainfile {path}")
        assert site.simulator.wait_until_idle()
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            assert site.serves(issued)
            assert driver._open_files().paths.chain == driver._open_files().paths.certificate
            driver.rollback(request, before)
            assert driver._open_files().paths.chain.endswith("others.crt")
            assert driver.inspect() == before


def test_a_pair_that_somebody_else_has_put_there_since_stays():
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
            assert theirs.decode() == issued.leaf_pem
            driver.rollback(request, before)
            assert site.simulator.read(path) == theirs
        assert site.serves(issued)


def test_files_elsewhere_are_told():
    with run_site(place="management") as site, site.open() as driver:
        assert driver.check() == ()
        record = site.simulator.state.configuration.of("sys/httpd")["/Common/httpd"]
        record["sslCertfile"] = "/config/filestore/files_d/Common_d/certificate_d/:Common:x.crt_1_1"
        assert "filestore" in driver.check()[0]
        assert driver.inspect().leaf_pem == ""
        with pytest.raises(UnsupportedDevice, match="filestore"):
            driver.create_csr(make_request())


def test_keys_of_the_files_can_be_read_by_root_alone():
    with run_site(place="management") as site:
        site.rotate()
        places = site.simulator.state.disk.place("/config/httpd/conf/ssl.key")
        modes = {path.name: path.stat().st_mode & 0o077 for path in places.iterdir() if path.name != "server.key"}
        assert modes
        assert modes["ottr-abcd-1.before.key"] == places.joinpath("server.key").stat().st_mode & 0o077 == 0


# Ways in


@pytest.mark.parametrize("place", PLACES)
def test_pinned_certificate_is_accepted_and_another_refused(place):
    with run_site(place=place) as site:
        pin = site.simulator.served_fingerprint()
        site.variables = {"ottr_tls_fingerprint": "SHA256:" + ":".join(pin[n : n + 2] for n in range(0, 64, 2)).upper()}
        assert site.serves(site.rotate())
        site.simulator.requests.clear()
        site.variables = {"ottr_tls_fingerprint": "SHA256:" + "00" * 32}
        with pytest.raises(HostKeyRefused) as caught, site.open():
            pass
        assert "ottr_tls_fingerprint" in caught.value.hint
        assert len(site.simulator.requests) == 0


def test_self_signed_certificate_is_refused_by_default():
    with run_site() as site:
        site.variables = {}
        with pytest.raises(HostKeyRefused), site.open():
            pass
        assert len(site.simulator.requests) == 0


@pytest.mark.parametrize("place", PLACES)
def test_wrong_password(place):
    with run_site(place=place) as site:
        site.password = "wr0ng-and-secret"
        with pytest.raises(AuthenticationFailed, match="admin") as caught, site.open():
            pass
        assert "wr0ng" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
        assert site.requests() == ["POST shared/authn/login"]


def test_missing_rights_are_named():
    with run_site() as site:
        site.username, site.password = "guest", "guest-simulated"
        with site.open() as driver, pytest.raises(AuthenticationFailed) as caught:
            driver.create_csr(make_request())
        assert "Administrator" in caught.value.hint


@pytest.mark.parametrize("place", PLACES)
def test_secrets_stay_out_of_logs_and_errors(place, caplog):
    caplog.set_level(1)
    with run_site(place=place) as site:
        issued = site.rotate()
        site.simulator.faults.arm("reject", "POST tm/sys/crypto/key")
        with site.open() as driver:
            secrets = site.simulator.secrets
            with pytest.raises(DeviceRejected) as caught:
                driver.create_csr(make_request("ottr-abcd-2"))
        said = [caplog.text, str(caught.value), caught.value.hint, str(caught.value.__cause__)]
        assert len(secrets) >= 2
        assert not [secret for secret in secrets for text in said if secret in text]
        assert site.serves(issued)
        logging.getLogger("netmiko").debug("")


def test_options_are_checked_at_connect():
    with run_site() as site:
        site.options = {**QUICK, "client_ssl": "a b"}
        with pytest.raises(DeviceRejected, match="client_ssl"), site.open():
            pass
        assert len(site.simulator.requests) == 0


def test_the_package_s_three_functions():
    check_options({"client_ssl": "site"})
    with pytest.raises(ValueError, match="management"):
        check_options({})
    assert default_endpoint({"management": True}) == (443, "tls")
    assert default_endpoint({"client_ssl": "site"}) is None
    with run_site() as site, connect(site.device(), site.options, site.credentials()) as driver:
        assert driver.inspect().os_version == "16.1.2"


def test_nobody_listens():
    with run_site() as site:
        site.variables["ansible_port"] = 1
        with pytest.raises(DeviceUnreachable) as caught, site.open():
            pass
        assert caught.value.hint


UNCONFIRMED = (
    Unconfirmed(existing_key_status=400, csr_overwrites=True, gen_csr_in_response=True, csr_download=True),
    Unconfirmed(bash_takes_newlines=True, bash_takes_double_quotes=False, bash_merges_errors=False),
    Unconfirmed(missing_range_status=500, new_certificate_attributes=False, serial_form="decimal"),
    Unconfirmed(chain_entry_usage=False, in_use_text="in use by", certificate_before_key=False, bundle_sends_all=True),
    Unconfirmed(sni_from_certificate=True, transaction_timeout_s=30, transaction_prefix=False),
    Unconfirmed(tokens_survive_httpd=False, basic_makes_tokens=True, admin_has_token_limit=True),
    Unconfirmed(unauthorized_status=403, httpd_pair_checked=False, httpd_takes_filestore=False, httpd_test=False),
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("unconfirmed", UNCONFIRMED, ids=range(len(UNCONFIRMED)))
def test_unconfirmed_points_do_not_matter(unconfirmed, place):
    with run_site("17.1.1", place, settings=Settings(unconfirmed=unconfirmed)) as site:
        first = site.served()
        former = site.rotate("ottr-abcd-1")
        request = make_request("ottr-abcd-2")
        issued = site.issue(request)
        with site.open() as driver:
            before = driver.inspect()
            driver.install(request, issued)
            assert site.serves(issued)
            driver.rollback(request, before)
            assert site.serves(former)
            driver.install(request, issued)
            driver.cleanup(frozenset({"ottr-abcd-1"}))
            assert driver.labels() == {"ottr-abcd-2"}
        assert site.serves(issued)
        assert site.served(SERVICES[place]) != first
        assert site.simulator.sessions == 0
