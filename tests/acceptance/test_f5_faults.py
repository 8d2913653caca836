# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a BIG-IP: it serves a good certificate, and nobody else's work on it is touched.

Once it is well again the rotation goes on with the same certificate, and nothing is left over: no object, no file, no
token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from ottr.drivers.f5.simulator import F5Simulator
from ottr.lab import Lab
from ottr.model import Outcome, RotationResult, Step
from ottr.report import ExitStatus
from tests.acceptance import f5
from tests.acceptance.appliances import API_PORT, Appliance, Fleet, give, watched
from tests.acceptance.faults import (
    Counter,
    Site,
    at,
    await_served,
    await_true,
    check_failed,
    check_recovers,
    check_rotated,
)

SSH_PORT = 2222


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("balancers") / "lab", 0) as lab:
        yield lab


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """One device for each test, none with another one's name or address."""
    return count(100)


@dataclass
class Balancer:
    """A BIG-IP that was rotated once by a site of its own."""

    simulator: F5Simulator
    appliance: Appliance
    site: Site
    place: str

    def __post_init__(self) -> None:
        give(self.site, f5.OPTIONS[self.place], self.appliance)
        self.former = self.site.begin(self.appliance)
        self.counter = Counter(self.site.lab)

    def rotate(self, **more: object) -> list[RotationResult]:
        return self.site.rotate(self.appliance, forced=True, **more)

    def check_unharmed(self) -> None:
        """It serves what it served."""
        assert self.simulator.wait_until_idle()
        await_served(self.appliance, self.former)

    def check_recovers(self, results: list[RotationResult]) -> None:
        """The rotation is done with the one certificate that was issued, and nothing is left over."""
        check_recovers(self.site, self.appliance, self.former, results)
        assert self.counter.issued == 1
        self.check_clean()

    def check_clean(self) -> None:
        with self.site.opened() as app:
            assert app.service.cleanup(self.appliance.name, remove=False) == ()
        left = f5.look(self.simulator)
        assert (left.pending, left.keys_given_away, left.sessions) == (0, 0, 0)
        assert len(left.labels) <= 2


@pytest.fixture
def balancer(lab: Lab, tmp_path: Path, numbers: Iterator[int], request: pytest.FixtureRequest) -> Iterator[Balancer]:
    """With one of ``f5.OPTIONS``, by its name."""
    number = next(numbers)
    settings = replace(f5.QUICK, hostname=f"lb{number}")
    with F5Simulator(lab.network.address(number), API_PORT, ssh_port=SSH_PORT, settings=settings) as simulator:
        appliance = f5.describe(simulator.address, settings, request.param)
        balancer = Balancer(simulator, appliance, Site(lab, tmp_path / "site"), request.param)
        with watched(balancer.site, appliance):
            yield balancer


both = pytest.mark.parametrize("balancer", list(f5.OPTIONS), indirect=True)
traffic = pytest.mark.parametrize("balancer", ["client_ssl"], indirect=True)
management = pytest.mark.parametrize("balancer", ["management"], indirect=True)


@both
def test_services_that_keep_the_former_certificate_are_found_out(balancer: Balancer) -> None:
    balancer.site.route["verify_timeout"] = "0.5s"
    balancer.site.route["options"]["restart_timeout"] = 0.5
    balancer.simulator.faults.arm("serve_old_after_install", times=None)
    [result] = balancer.rotate()
    assert result.outcome is Outcome.ROLLED_BACK, result
    balancer.simulator.faults.clear()
    balancer.check_unharmed()
    balancer.check_recovers(balancer.site.resume())


@traffic
@pytest.mark.parametrize("fault", ["transaction_refused", "save_fails", "disk_full", "upload_broken"])
def test_a_device_that_refuses_is_left_as_it_was(balancer: Balancer, fault: str) -> None:
    def arm() -> None:
        balancer.simulator.faults.arm(fault, times=None)

    [result] = balancer.rotate(watch=at(Step.INSTALL, arm))
    assert result.outcome in (Outcome.ROLLED_BACK, Outcome.STRANDED), result
    assert result.error is not None
    assert result.error.hint
    balancer.simulator.faults.clear()
    balancer.check_unharmed()
    balancer.check_recovers(balancer.site.resume())


@traffic
@pytest.mark.parametrize(
    "operation", ["POST tm/sys/crypto/cert", "POST tm/transaction", "PATCH tm/transaction", "POST tm/sys/config"]
)
def test_a_change_of_another_administrator_in_between_stays(balancer: Balancer, operation: str) -> None:
    balancer.simulator.faults.arm("foreign_change", operation)
    results = balancer.rotate()
    balancer.check_recovers(results if results[0].outcome is Outcome.ROTATED else balancer.site.resume())
    profiles = balancer.simulator.state.configuration.of("ltm/profile/client-ssl").values()
    assert any("changed" in profile.get("description", "") for profile in profiles)


@both
def test_a_reboot_during_the_order_loses_the_key_and_a_later_rotation_has_another(balancer: Balancer) -> None:
    [result] = balancer.rotate(watch=at(Step.ORDER, balancer.simulator.reboot))
    assert result.outcome is not Outcome.ROTATED
    balancer.check_unharmed()
    balancer.site.release(balancer.appliance)
    [again] = balancer.rotate()
    assert again.outcome is Outcome.ROTATED or again.error.kind == "KeyLost", again
    balancer.site.release(balancer.appliance)
    check_rotated(balancer.rotate())
    assert balancer.counter.issued <= 3
    balancer.check_clean()


@management
def test_a_web_server_that_does_not_come_back_needs_a_human_who_is_told_the_steps(balancer: Balancer) -> None:
    balancer.site.route["options"]["restart_timeout"] = 0.5
    balancer.site.route["dead_man"] = 0
    balancer.simulator.faults.arm("httpd_stays_down", times=None)
    words = check_failed(balancer.rotate(), Outcome.STRANDED, "RollbackFailed", ExitStatus.STRANDED)
    for step in ("bigstart restart httpd", f"ottr verify {balancer.appliance.name}", "ottr resume"):
        assert step in words

    balancer.simulator.faults.clear()
    balancer.simulator.restart_httpd()
    assert balancer.simulator.wait_until_idle()
    balancer.check_recovers(balancer.site.resume())


@management
def test_a_web_server_that_does_not_come_back_is_set_right_by_ssh(balancer: Balancer) -> None:
    balancer.site.route["options"] |= {"restart_timeout": 0.5, "ssh_port": SSH_PORT}
    balancer.site.route["dead_man"] = 0
    known_hosts = balancer.site.folder / "known_hosts"
    known_hosts.write_text(f"[{balancer.simulator.address}]:{SSH_PORT} {balancer.simulator.ssh_host_key}\n")
    balancer.site.settings["known_hosts"] = [str(known_hosts)]
    balancer.simulator.faults.arm("httpd_stays_down")
    check_failed(balancer.rotate(), Outcome.ROLLED_BACK, "DeviceUnreachable", ExitStatus.FAILED)
    balancer.check_unharmed()
    balancer.check_recovers(balancer.site.resume())


@management
def test_a_web_server_that_does_not_come_back_is_set_right_by_the_device_itself(balancer: Balancer) -> None:
    balancer.site.route["options"]["restart_timeout"] = 0.5
    balancer.site.route |= {"verify_timeout": "2s", "dead_man": "3s"}
    balancer.simulator.faults.arm("httpd_stays_down")
    [result] = balancer.rotate()
    assert result.outcome in (Outcome.UNREACHABLE, Outcome.ROLLED_BACK), result  # its timer may be the quicker one
    await_true(lambda: bool(balancer.simulator.served_fingerprint()), "its timer does not go off")
    balancer.check_unharmed()
    balancer.site.route["dead_man"] = "5m"
    balancer.check_recovers(balancer.site.resume())


@both
def test_a_rotation_given_up_leaves_nothing(balancer: Balancer) -> None:
    balancer.rotate(watch=at(Step.INSTALL, lambda: balancer.simulator.faults.arm("disk_full", times=None)))
    balancer.simulator.faults.clear()
    with balancer.site.opened() as app:
        app.service.abandon(balancer.appliance.name)
    balancer.check_unharmed()
    balancer.check_clean()


MEMBERS, STEP = 10, 6
"""A rotation has not quite sixty requests. The driver's own tests meet each of them; here it is the core's turn."""


@pytest.mark.parametrize("fault", ["token_expires", "drop_after", "reboot_after"])
@pytest.mark.parametrize("place", list(f5.OPTIONS))
def test_a_fault_at_requests_all_over_a_rotation(
    lab: Lab, tmp_path: Path, numbers: Iterator[int], place: str, fault: str
) -> None:
    members = {}
    with ExitStack() as stack:
        for number in (next(numbers) for _ in range(MEMBERS)):
            settings = replace(f5.QUICK, hostname=f"lb{number}")
            simulator = stack.enter_context(F5Simulator(lab.network.address(number), API_PORT, settings=settings))
            members[f5.describe(simulator.address, settings, place)] = simulator
        fleet = Fleet(Site(lab, tmp_path / "site"), members, f5.OPTIONS[place], f5.look, most_sessions=0)
        results = fleet.sweep(fault, step=STEP)
        if fault == "token_expires":
            check_rotated(results)
        fleet.repair()
