# SPDX-License-Identifier: Apache-2.0
"""Virtual systems, GlobalProtect, Panorama and its templates, on simulated devices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ottr.drivers.panos.simulator import PanosSimulator, Settings, Unconfirmed
from ottr.simulation.server import wait_until
from tests.drivers.panos_wire import Wire, fingerprint, seen, sign

FAST = Settings(commit_s=0.02, restart_s=0.05, reboot_s=0.05)
DEVICE = "/config/devices/entry[@name='localhost.localdomain']"
VSYS2 = f"{DEVICE}/vsys/entry[@name='vsys2']"
TEMPLATE = f"{DEVICE}/template/entry[@name='branch']/config/shared"
TARGET = "<set><system><setting><target><template><name>{}</name></template></target></setting></system></set>"
PUSH = "<commit-all><template-stack><name>branch-stack</name></template-stack></commit-all>"


@pytest.fixture
def panorama() -> Iterator[PanosSimulator]:
    with (
        PanosSimulator(settings=replace(FAST, hostname="fw1", serial="0001", management_profile="")) as first,
        PanosSimulator(settings=replace(FAST, hostname="fw2", serial="0002", management_profile="")) as second,
    ):
        settings = replace(FAST, panorama=True, hostname="pano", serial="0003")
        with PanosSimulator(settings=settings, managed=[first, second]) as running:
            running.firewalls = [first, second]  # type: ignore[attr-defined]
            yield running


def test_a_device_without_a_profile_serves_what_it_made_itself() -> None:
    with PanosSimulator(settings=replace(FAST, management_profile="")) as firewall:
        wire = Wire(firewall).log_in()
        before = seen(firewall)
        leaf = wire.prepare("ottr-1")
        profile = "/config/shared/ssl-tls-service-profile/entry[@name='new']"
        assert wire.bind("ottr-1", profile).code == "20"
        system = "<ssl-tls-service-profile>new</ssl-tls-service-profile>"
        assert wire.config("set", f"{DEVICE}/deviceconfig/system", element=system).code == "20"
        wire.finish(wire.commit())
        assert firewall.wait_until_idle()
        assert before != seen(firewall) == fingerprint(leaf)


def test_portal_and_gateway_serve_the_certificate_of_their_profile() -> None:
    with PanosSimulator(settings=replace(FAST, portals=("portal",), gateways=("gateway",))) as firewall:
        wire = Wire(firewall).log_in()
        management = seen(firewall)
        assert seen(firewall, "portal") == seen(firewall, "gateway") != management
        leaf = wire.prepare("ottr-1")
        wire.bind("ottr-1", "/config/shared/ssl-tls-service-profile/entry[@name='globalprotect']")
        wire.finish(wire.commit())
        assert seen(firewall, "portal") == seen(firewall, "gateway") == fingerprint(leaf)
        assert seen(firewall) == management
        delete = wire.config("delete", "/config/shared/ssl-tls-service-profile/entry[@name='globalprotect']")
        assert "global-protect -> global-protect-portal -> portal -> portal-config" in delete.text


class TestVirtualSystems:
    @pytest.fixture
    def wire(self) -> Iterator[Wire]:
        with PanosSimulator(settings=replace(FAST, vsys=("vsys1", "vsys2"))) as firewall:
            yield Wire(firewall).log_in()

    def test_the_version_says_so(self, wire: Wire) -> None:
        assert wire.post(type="version").find("result/multi-vsys") == "on"

    def test_the_target_of_the_session_says_where_a_key_is_made(self, wire: Wire) -> None:
        target = "<set><system><setting><target-vsys>{}</target-vsys></setting></system></set>"
        assert wire.op(target.format("vsys2")).status == "success"
        wire.generate("ottr-1")
        assert wire.config("get", f"{VSYS2}/certificate/entry[@name='ottr-1']").code == "19"
        assert wire.upload("ottr-1", sign(wire.export("ottr-1").body)).status == "success"
        assert wire.op(target.format("vsys9")).code == "17"
        none = "<set><system><setting><target><none/></target></setting></system></set>"
        assert wire.op(none).status == "success"
        wire.generate("ottr-2")
        assert wire.config("get", "/config/shared/certificate/entry[@name='ottr-2']").code == "19"

    @pytest.mark.parametrize("honoured", [True, False])
    def test_whether_generate_looks_at_the_parameter(self, honoured: bool) -> None:
        settings = replace(FAST, vsys=("vsys1", "vsys2"), unconfirmed=Unconfirmed(generate_honours_location=honoured))
        with PanosSimulator(settings=settings) as firewall:
            wire = Wire(firewall).log_in()
            wire.generate("ottr-1", vsys="vsys2")
            place = VSYS2 if honoured else "/config/shared"
            assert wire.config("get", f"{place}/certificate/entry[@name='ottr-1']").code == "19"
            assert (
                wire.export("ottr-1", vsys="vsys2" if honoured else "shared").headers["content-type"]
                == "application/octet-stream"
            )

    def test_a_profile_finds_certificates_of_its_own_system_and_shared_ones(self, wire: Wire) -> None:
        profile = f"{VSYS2}/ssl-tls-service-profile/entry[@name='p']"
        assert wire.bind("management-first", profile).code == "20"
        wire.op("<set><system><setting><target-vsys>vsys2</target-vsys></setting></system></set>")
        wire.prepare("ottr-1")
        assert wire.bind("ottr-1", profile).code == "20"
        assert wire.bind("ottr-1").code == "12"

    def test_a_system_that_is_not_there(self, wire: Wire) -> None:
        assert wire.export("management-first", vsys="vsys9").code == "400"


class TestPanorama:
    def test_its_own_certificate(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        leaf = wire.prepare("ottr-1")
        assert wire.bind("ottr-1", "/config/panorama/ssl-tls-service-profile/entry[@name='management']").code == "20"
        assert wire.finish(wire.commit()).find("result/job/result") == "OK"
        assert panorama.wait_until_idle()
        assert seen(panorama) == fingerprint(leaf)

    def rotate_template(self, wire: Wire) -> str:
        assert wire.op(TARGET.format("branch")).status == "success"
        wire.generate("ottr-1")
        leaf = sign(wire.export("ottr-1").body)
        assert wire.upload("ottr-1", leaf, target_tpl="branch").status == "success"
        assert wire.bind("ottr-1", f"{TEMPLATE}/ssl-tls-service-profile/entry[@name='management']").code == "20"
        assert wire.finish(wire.commit()).find("result/job/result") == "OK"
        return leaf

    def test_a_template_reaches_the_firewalls_with_the_push(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        first, second = panorama.firewalls  # type: ignore[attr-defined]
        before = seen(first)
        leaf = self.rotate_template(wire)
        assert seen(first) == before
        job = wire.finish(wire.post(type="commit", action="all", cmd=PUSH))
        devices = job.root.findall("result/job/devices/entry")
        assert [(d.findtext("serial-no"), d.findtext("result")) for d in devices] == [("0001", "OK"), ("0002", "OK")]
        for firewall in (first, second):
            assert firewall.wait_until_idle()
            assert seen(firewall) == fingerprint(leaf)

    def test_a_template_is_pushed_by_its_own_name_too(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        leaf = self.rotate_template(wire)
        cmd = "<commit-all><template><name>branch</name></template></commit-all>"
        wire.finish(wire.post(type="commit", action="all", cmd=cmd))
        first = panorama.firewalls[0]  # type: ignore[attr-defined]
        assert first.wait_until_idle()
        assert seen(first) == fingerprint(leaf)

    def test_one_firewall_fails_although_the_job_is_ok(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        self.rotate_template(wire)
        panorama.faults.arm("push_fails", "0002")
        job = wire.finish(wire.post(type="commit", action="all", cmd=PUSH))
        assert job.find("result/job/result") == "OK"
        assert [node.text for node in job.root.findall("result/job/devices/entry/result")] == ["OK", "FAIL"]

    def test_the_job_can_be_over_before_its_firewalls(self) -> None:
        with PanosSimulator(settings=replace(FAST, management_profile="", serial="0001")) as firewall:
            settings = replace(FAST, panorama=True, device_lag_s=2.0)
            with PanosSimulator(settings=settings, managed=[firewall]) as panorama:
                wire = Wire(panorama).log_in()
                answer = wire.post(type="commit", action="all", cmd=PUSH)
                job = wire.finish(answer)
                assert job.find("result/job/devices/entry/result") == "PEND"
                number = answer.find("result/job")
                assert wait_until(lambda: wire.job(number).find("result/job/devices/entry/result") == "OK")

    def test_what_panorama_pushed_wants_override(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        wire.finish(wire.post(type="commit", action="all", cmd=PUSH))
        first = panorama.firewalls[0]  # type: ignore[attr-defined]
        assert first.wait_until_idle()
        local = Wire(first).log_in()
        leaf = local.prepare("ottr-1")
        assert "use override" in local.bind("ottr-1").text
        profile = "/config/shared/ssl-tls-service-profile/entry[@name='management']"
        assert local.config("override", profile, element="<certificate>ottr-1</certificate>").code == "20"
        local.finish(local.commit())
        assert first.wait_until_idle()
        assert seen(first) == fingerprint(leaf)

    def test_where_a_set_may_go_over_a_template(self) -> None:
        settings = replace(FAST, serial="0001", management_profile="", unconfirmed=Unconfirmed(override_needed=False))
        with (
            PanosSimulator(settings=settings) as firewall,
            PanosSimulator(settings=replace(FAST, panorama=True), managed=[firewall]) as panorama,
        ):
            wire = Wire(panorama).log_in()
            wire.finish(wire.post(type="commit", action="all", cmd=PUSH))
            assert firewall.wait_until_idle()
            local = Wire(firewall).log_in()
            local.prepare("ottr-1")
            assert local.bind("ottr-1").code == "20"

    def test_requests_for_a_firewall_go_through(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        info = "<show><system><info></info></system></show>"
        assert wire.op(info, target="0002").find("result/system/hostname") == "fw2"
        assert wire.op(info, target="9999").code == "400"
        assert len(wire.op("<show><devices><all></all></devices></show>").root.findall("result/devices/entry")) == 2

    def test_a_key_of_a_firewall_is_none_on_panorama(self, panorama: PanosSimulator) -> None:
        key = Wire(panorama.firewalls[0]).log_in().key  # type: ignore[attr-defined]
        assert Wire(panorama, key=key).post(type="version").http == 403

    def test_what_is_not_there(self, panorama: PanosSimulator) -> None:
        wire = Wire(panorama).log_in()
        assert wire.op(TARGET.format("nobody")).code == "17"
        assert wire.upload("a", "x", target_tpl="nobody").code == "400"
        assert wire.upload("a", "x", target_tpl="").code == ""
        push = PUSH.replace("branch-stack", "nobody")
        assert wire.post(type="commit", action="all", cmd=push).code == "17"
        assert wire.post(type="commit", action="all", cmd="<commit-all/>").code == "17"

    def test_a_firewall_has_no_templates(self) -> None:
        with PanosSimulator(settings=FAST) as firewall:
            wire = Wire(firewall).log_in()
            assert wire.op(TARGET.format("branch")).code == "17"
            assert wire.post(type="commit", action="all", cmd=PUSH).code == "17"
            assert wire.op("<show><devices><all></all></devices></show>").code == "17"
