# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a firewall: it serves a good certificate, and nobody else's work on it is touched.

Once it is well again the rotation goes on with the same certificate, and nothing is left over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from ottr.drivers.panos.simulator import PanosSimulator
from ottr.lab import Lab
from ottr.model import Outcome, RotationResult, Step
from ottr.policy import Reason
from ottr.report import ExitStatus
from ottr.x509 import Certificate
from tests.acceptance import panos
from tests.acceptance.appliances import API_PORT, Appliance, Fleet, give, watched
from tests.acceptance.faults import Counter, Site, at, await_served, check_failed, check_recovers, check_rotated


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("firewalls") / "lab", 0) as lab:
        yield lab


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """One firewall for each test, none with another one's name or address."""
    return count(100)


@dataclass
class Firewall:
    """A firewall with alice as its other administrator, rotated once by a site of its own."""

    simulator: PanosSimulator
    appliance: Appliance
    site: Site

    def __post_init__(self) -> None:
        give(self.site, panos.OPTIONS, self.appliance)
        self.former = self.site.begin(self.appliance)
        self.counter = Counter(self.site.lab)

    def rotate(self, **more: object) -> list[RotationResult]:
        return self.site.rotate(self.appliance, forced=True, **more)

    def check_unharmed(self, former: Certificate | None = None) -> None:
        """It serves what it served."""
        assert self.simulator.wait_until_idle()
        await_served(self.appliance, former or self.former)

    def check_recovers(self, results: list[RotationResult], issued: int = 1) -> None:
        """The rotation is done; another one takes away what is older than the one before it."""
        check_recovers(self.site, self.appliance, self.former, results)
        assert self.counter.issued == issued
        self.check_clean()

    def check_clean(self) -> None:
        with self.site.opened() as app:
            assert app.service.cleanup(self.appliance.name, remove=False) == ()
        left = panos.look(self.simulator)
        assert (left.pending, left.keys_given_away) == (0, 0)
        assert left.sessions == 1
        assert len(left.labels) <= 2


@pytest.fixture
def firewall(lab: Lab, tmp_path: Path, numbers: Iterator[int]) -> Iterator[Firewall]:
    settings = replace(panos.QUICK, hostname=f"fw{next(numbers)}")
    address = lab.network.address(int(settings.hostname.removeprefix("fw")))
    with PanosSimulator(address, API_PORT, settings=settings) as simulator:
        firewall = Firewall(simulator, panos.describe(address, settings), Site(lab, tmp_path / "site"))
        with watched(firewall.site, firewall.appliance):
            yield firewall


def test_a_commit_that_ends_with_fail_is_taken_back_and_tried_again(firewall: Firewall) -> None:
    firewall.simulator.faults.arm("job_fails")
    words = check_failed(firewall.rotate(), Outcome.ROLLED_BACK, "DeviceRejected", ExitStatus.FAILED)
    assert "failed to apply the configuration" in words
    firewall.check_unharmed()
    firewall.check_recovers(firewall.site.resume())


def test_a_commit_that_never_ends_needs_a_human_who_is_told_the_job(firewall: Firewall) -> None:
    firewall.site.route["options"]["commit_timeout"] = 0.3
    firewall.simulator.faults.arm("job_never_ends")
    words = check_failed(firewall.rotate(), Outcome.STRANDED, "RollbackFailed", ExitStatus.STRANDED)
    for step in ("show jobs id", f"ottr verify {firewall.appliance.name}", "ottr resume"):
        assert step in words
    await_served(firewall.appliance, firewall.former)

    firewall.simulator.state.jobs.forget()  # `clear job`, or a restart of the management server
    firewall.check_recovers(firewall.site.resume())


def test_changes_of_others_are_waited_for_named_and_kept(firewall: Firewall) -> None:
    firewall.simulator.foreign_change()
    results = firewall.rotate()
    words = check_failed(results, Outcome.ROLLED_BACK, "DeviceBusy", ExitStatus.FAILED)
    assert "alice" in words
    assert count_foreign(firewall.simulator) == 1
    assert "commit" not in firewall.simulator.requests.operations()[-20:]
    firewall.check_unharmed()

    firewall.simulator.foreign_commit()
    firewall.check_recovers(firewall.site.resume())
    assert count_foreign(firewall.simulator) == 0


@pytest.mark.parametrize("step", [Step.CSR, Step.ORDER])
def test_a_lock_of_another_administrator_is_waited_for_named_and_kept(firewall: Firewall, step: Step) -> None:
    results = firewall.rotate(watch=at(step, firewall.simulator.foreign_lock))
    outcome = Outcome.FAILED if step is Step.CSR else Outcome.ROLLED_BACK
    words = check_failed(results, outcome, "DeviceBusy", ExitStatus.FAILED)
    assert "alice holds a commit lock" in words
    assert firewall.simulator.state.commit_locks.held
    firewall.check_unharmed()

    firewall.simulator.state.commit_locks.held.clear()
    firewall.check_recovers(firewall.site.resume())


def test_a_lock_that_comes_with_the_commit_is_named_and_kept(firewall: Firewall) -> None:
    firewall.simulator.faults.arm("lock_held_by", "alice")
    words = check_failed(firewall.rotate(), Outcome.ROLLED_BACK, "DeviceBusy", ExitStatus.FAILED)
    assert "alice" in words
    assert firewall.simulator.state.commit_locks.held
    firewall.check_unharmed()

    firewall.simulator.state.commit_locks.held.clear()
    firewall.check_recovers(firewall.site.resume())


def test_a_web_server_that_does_not_come_back_needs_a_human_who_is_told_the_steps(firewall: Firewall) -> None:
    firewall.site.route["options"]["restart_timeout"] = 0.5
    firewall.simulator.faults.arm("web_server_stays_down")
    words = check_failed(firewall.rotate(), Outcome.STRANDED, "RollbackFailed", ExitStatus.STRANDED)
    for step in ("debug software restart process web-server", f"ottr verify {firewall.appliance.name}", "ottr resume"):
        assert step in words

    firewall.simulator._services.server("management").restart(0)
    firewall.check_recovers(firewall.site.resume())


def test_services_that_keep_the_former_certificate_are_found_out(firewall: Firewall) -> None:
    firewall.site.route["verify_timeout"] = "0.5s"
    firewall.simulator.faults.arm("serve_old_after_install")
    check_failed(firewall.rotate(), Outcome.ROLLED_BACK, "VerificationError", ExitStatus.FAILED)
    firewall.check_unharmed()
    firewall.check_recovers(firewall.site.resume())


@pytest.mark.parametrize(
    ("fault", "value"), [("busy", "any"), ("import_fails", "any"), ("commit_refused", "disk full")]
)
def test_a_device_that_refuses_is_left_as_it_was(firewall: Firewall, fault: str, value: str) -> None:
    firewall.simulator.faults.arm(fault, value, times=None)
    [result] = firewall.rotate()
    assert result.outcome is Outcome.ROLLED_BACK, result
    firewall.simulator.faults.clear()
    firewall.check_unharmed()
    firewall.check_recovers(firewall.site.resume())


def test_a_rotation_given_up_leaves_nothing(firewall: Firewall) -> None:
    firewall.simulator.faults.arm("job_fails")
    firewall.rotate()
    with firewall.site.opened() as app:
        app.service.abandon(firewall.appliance.name)
    firewall.check_unharmed()
    firewall.check_clean()
    assert firewall.site.plan(firewall.appliance) != Reason.DRIFT


@pytest.fixture
def fleet(lab: Lab, tmp_path: Path, numbers: Iterator[int], request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """So many firewalls of one site."""
    members = {}
    with ExitStack() as stack:
        for number in (next(numbers) for _ in range(request.param)):
            settings = replace(panos.QUICK, hostname=f"fw{number}", key_lifetime_minutes=60)
            simulator = stack.enter_context(PanosSimulator(lab.network.address(number), API_PORT, settings=settings))
            members[panos.describe(simulator.address, settings)] = simulator
        yield Fleet(Site(lab, tmp_path / "site"), members, panos.OPTIONS, panos.look, most_sessions=1)


CHANGES = ("export", "import", "set", "commit", "show jobs id")
"""The requests around which others do something."""


@pytest.mark.parametrize("fleet", [10], indirect=True)
def test_a_reboot_around_the_commit(fleet: Fleet) -> None:
    """What was committed is there afterwards. A key that was not is lost: a later rotation has another one."""
    cases = [(when, operation) for when in ("reboot_before", "reboot_after") for operation in CHANGES]
    results = fleet.rotate_with(lambda number, firewall: firewall.faults.arm(*cases[number]))
    assert {result.outcome for result in results} <= {Outcome.ROTATED, Outcome.ROLLED_BACK, Outcome.UNREACHABLE}
    fleet.repair()


@pytest.mark.parametrize("fleet", [len(CHANGES)], indirect=True)
def test_a_foreign_commit_takes_our_work_along_and_nothing_is_lost(fleet: Fleet) -> None:
    def arm(number: int, firewall: PanosSimulator) -> None:
        firewall.faults.arm("foreign_change", "get")
        firewall.faults.arm("foreign_commit", CHANGES[number])

    fleet.site.route["options"] |= {"others_changes": "leave", "busy_timeout": 10}  # their commit may take its time
    check_rotated(fleet.rotate_with(arm))
    assert list(map(count_foreign, fleet.members.values())) == [0] * len(CHANGES)
    fleet.repair()


@pytest.mark.parametrize("fleet", [len(CHANGES)], indirect=True)
def test_a_foreign_change_that_comes_in_between_stays_pending(fleet: Fleet) -> None:
    def arm(number: int, firewall: PanosSimulator) -> None:
        firewall.faults.arm("foreign_change", CHANGES[number])

    fleet.site.route["options"]["others_changes"] = "leave"
    check_rotated(fleet.rotate_with(arm))
    assert list(map(count_foreign, fleet.members.values())) == [1] * len(CHANGES)
    fleet.repair()


@pytest.mark.parametrize("fleet", [len(CHANGES)], indirect=True)
def test_a_foreign_revert_loses_the_key_and_a_later_rotation_has_another(fleet: Fleet) -> None:
    def arm(number: int, firewall: PanosSimulator) -> None:
        firewall.faults.arm("revert_candidate", CHANGES[number])

    results = sorted(fleet.rotate_with(arm), key=lambda result: result.device)
    assert [result.error.kind if result.error else "" for result in results] == ["KeyLost"] * 4 + [""]
    fleet.repair()


@pytest.mark.parametrize("fleet", [48], indirect=True)
@pytest.mark.parametrize("fault", ["token_expires", "drop_after", "reboot_after"])
def test_a_fault_at_any_request_of_a_rotation(fleet: Fleet, fault: str) -> None:
    """Each firewall meets it at another request, and the last ones never do: a rotation has about forty."""
    results = fleet.sweep(fault)
    if fault == "token_expires":
        check_rotated(results)
    fleet.repair()


@pytest.mark.parametrize("fleet", [20], indirect=True)
def test_a_fault_at_any_request_of_the_cleaning_up(fleet: Fleet) -> None:
    """From the third rotation on there is something to remove. The rotation itself is over by then."""
    for _ in range(2):
        check_rotated(fleet.rotate(forced=True))
    for fault in ("token_expires", "drop_after", "reboot_after"):
        check_rotated(fleet.sweep(fault, first=40))
    check_rotated(fleet.rotate(forced=True))
    fleet.repair()


def count_foreign(simulator: PanosSimulator) -> int:
    with simulator.state.lock:
        return len(simulator.state.configuration.of(["alice"]))
