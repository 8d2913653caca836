# SPDX-License-Identifier: Apache-2.0
"""Every verb of the service, over a fleet in memory and a real state database, routes and settings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ottr import x509
from ottr.drivers import DriverModule
from ottr.errors import (
    DeviceRejected,
    DeviceUnreachable,
    InventoryError,
    IssuerUnavailable,
    JournalError,
    NotActive,
    RoutingError,
    SettingsError,
    VerificationError,
)
from ottr.files.settings import load_settings
from ottr.inventory import CertificateFacts, HostSecrets, InventoryHost, RecordResult
from ottr.model import ErrorReport, Outcome, RenewalInfo, RotationResult, ServedStatus
from ottr.notify import Event, EventKind
from ottr.orchestrator.runner import Rollout, Stop
from ottr.orchestrator.target import Authority, Stores, Surroundings, Target
from ottr.policy import Reason
from ottr.probe import Served
from ottr.report import ExitStatus, exit_status
from ottr.routing import load_routes
from ottr.selection import Selector
from ottr.service import RotationService, Selection
from ottr.state.journal import State
from tests.orchestrator.world import MemoryDevice, Trouble, World

SETTINGS = "issuers: {ca: {directory: 'https://ca.test/dir', issuer_names: ['CN=Memory CA']}}\ndefault_issuer: ca\n"
ROUTES = "routes: [{match: {host_platform: linux}, driver: memory}]\n"
NIGHT = "routes: [{match: {host_platform: linux}, driver: memory, windows: ['22:00-23:00']}]\n"
ONE = Rollout(forks=1)


class Inventory:
    """Hosts in an order; patterns are a name or ``all``."""

    def __init__(self) -> None:
        self.all: dict[str, InventoryHost] = {}

    def add(self, name: str, **variables: Any) -> None:
        values = {"host_platform": "linux", "common_name": f"{name}.example.com"} | variables
        self.all[name] = InventoryHost(name, variables=values)

    def hosts(self, pattern: str = "all", limit: str = "") -> Sequence[InventoryHost]:
        wanted = [one for one in self.all.values() if pattern == "all" or one.name in pattern.split(",")]
        found = [one for one in wanted if not limit or one.name in limit.split(",")]
        if not found:
            raise InventoryError(f"no host matches {pattern}")
        return found

    def secrets(self, hosts: Sequence[InventoryHost]) -> Mapping[str, HostSecrets]:
        return {}

    def record(self, host: str, facts: CertificateFacts) -> RecordResult:
        return RecordResult()


class FleetProbe:
    """Sees what each device serves."""

    def __init__(self, devices: Mapping[str, MemoryDevice]) -> None:
        self.devices = devices

    def verify(self, endpoints, issued, timeout_s: float) -> None:
        device = self.devices[endpoints[0].host]
        device.trouble("verify")
        if device.served() != issued.leaf_pem:
            raise VerificationError("serves something else")

    def await_served(self, endpoints, leaf, timeout_s: float) -> str:
        return "" if all(self.serves(endpoint, leaf) for endpoint in endpoints) else "it serves something else"

    def serves(self, endpoint, leaf) -> bool:
        return self.observe(endpoint).certificate == leaf

    def observe(self, endpoint) -> Served:
        return Served(x509.parse_certificate(self.devices[endpoint.host].served()))


class Fleet:
    """Devices, a CA and an inventory; each ``service`` is a fresh process."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self.world = World(folder)
        self.inventory = Inventory()
        self.devices: dict[str, MemoryDevice] = {}
        self.prepared: list[list[str]] = []
        self.events: list[Event] = []
        self.surrounded = 0
        self.routes = ROUTES
        self.adapt = lambda around: around
        for name in names:
            self.add(name)

    def add(self, name: str, **variables: Any) -> None:
        self.inventory.add(name, **variables)
        self.devices[name] = MemoryDevice(
            replace(self.world.target.device, name=name, dns_names=(f"{name}.example.com",)), Trouble()
        )

    @contextmanager
    def connect(self, target: Target) -> Iterator[MemoryDevice]:
        device = self.devices[target.device.name]
        device.trouble("connect")
        yield device

    def prepare(self, hosts: Sequence[InventoryHost]) -> None:
        self.prepared.append([host.name for host in hosts])

    @property
    def stores(self) -> Stores:
        return self.world.surroundings().stores

    def service(self) -> RotationService:
        self.world.advance(seconds=1)
        (self.folder / "ottr.yaml").write_text(SETTINGS)
        (self.folder / "routing.yaml").write_text(self.routes)
        settings = load_settings(self.folder / "ottr.yaml", {})
        router = load_routes(self.folder / "routing.yaml", settings, load_driver)
        around = self.world.surroundings()

        def surround() -> Surroundings:
            self.surrounded += 1
            authority = Authority(self.world.issuer, FleetProbe(self.devices), ("CN=Memory CA",))
            return self.adapt(replace(around, connect=self.connect, authorities={"ca": authority}))

        return RotationService(
            inventory=self.inventory,
            router=router,
            selector=Selector(router, settings.issuers, settings.rotation),
            stores=around.stores,
            surround=surround,
            notifier=SimpleNamespace(notify=self.events.append),
            logins=SimpleNamespace(prepare=self.prepare),
            clock=self.world.clock,
        )

    def rotate(self, pattern: str = "all", *, forced: bool = False, rollout: Rollout = ONE) -> list[RotationResult]:
        return list(self.service().rotate(Selection(pattern), rollout, Stop(), forced=forced))

    def resume(self) -> list[RotationResult]:
        return list(self.service().resume(ONE, Stop()))

    def fail(self, name: str, act: str, error: Exception, *more: str) -> None:
        def happen(now: str) -> None:
            if now in (act, *more):
                raise error

        self.devices[name].trouble.happen = happen

    def mend(self, name: str) -> None:
        self.devices[name].trouble.happen = lambda act: None


def load_driver(name: str) -> DriverModule:
    return cast(DriverModule, SimpleNamespace(check_options=lambda options: None))


def outcomes(results: Sequence[RotationResult]) -> dict[str, Outcome]:
    assert len({one.device for one in results}) == len(results)
    return {one.device: one.outcome for one in results}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, "a", "b", "c")


def test_a_plan_has_every_host_in_the_inventorys_order_and_connects_to_nothing(fleet):
    fleet.rotate("b")
    fleet.surrounded = 0
    fleet.inventory.add("nameless", common_name="")
    fleet.inventory.add("odd", host_platform="panos")
    plan = fleet.service().plan(Selection())
    assert [(one.host.name, one.reason) for one in plan] == [
        ("a", "never_issued"),
        ("b", "not_due"),
        ("c", "never_issued"),
        ("nameless", "no_common_name"),
        ("odd", "no_route"),
    ]
    assert [one.host.name for one in fleet.service().plan(Selection("all", "c"))] == ["c"]
    assert [one.reason for one in fleet.service().plan(Selection("b"), forced=True)] == ["forced"]
    assert fleet.surrounded == 0


def test_explain_traces_selection_routes_and_history(fleet):
    fleet.rotate("b")
    found = fleet.service().explain("b")
    assert (found.candidate.host.name, found.candidate.reason) == ("b", "not_due")
    assert [trial.taken for trial in found.trials] == [True]
    assert [record.state for record in found.history] == [State.ROTATED]


def test_explain_of_a_host_that_is_no_device_has_no_routes_to_try(fleet):
    fleet.inventory.add("nameless", common_name="")
    assert fleet.service().explain("nameless").trials == ()


def test_explain_of_a_host_that_is_not_there_is_an_error(fleet):
    with pytest.raises(InventoryError):
        fleet.service().explain("z")


@pytest.mark.parametrize(("keep_s", "left"), [(365 * 86400.0, 2), (None, 5)])
def test_the_end_of_a_run_forgets_what_is_long_over(fleet, keep_s, left):
    settings = replace(fleet.world.surroundings().settings, keep_history_s=keep_s)
    fleet.adapt = lambda around: replace(around, settings=settings)
    for _ in range(4):
        fleet.rotate("a", forced=True)
    fleet.world.advance(days=366)
    before = fleet.service().history("a")
    fleet.rotate("a", forced=True)
    history = fleet.service().history("a")
    # Besides the new one that which `rollback` goes back to, though it is as old.
    assert [record.id for record, _ in history[:-1]] == [record.id for record, _ in before[-left + 1 :]]


def test_history_has_the_steps_of_every_rotation(fleet):
    fleet.rotate("a")
    fleet.rotate("a", forced=True)
    history = fleet.service().history("a")
    assert [record.reason for record, _ in history] == ["never_issued", "forced"]
    assert [entries[-1].step for _, entries in history] == ["record", "record"]


def test_rotate_yields_one_result_for_every_host_those_set_aside_first(fleet):
    fleet.rotate("b")
    fleet.inventory.add("nameless", common_name="")
    results = fleet.rotate()
    assert [(one.device, one.outcome, one.reason) for one in results] == [
        ("b", Outcome.NOT_DUE, "not_due"),
        ("nameless", Outcome.SKIPPED, "no_common_name"),
        ("a", Outcome.ROTATED, "never_issued"),
        ("c", Outcome.ROTATED, "never_issued"),
    ]
    assert results[1].warnings
    assert (results[0].driver, results[0].issuer, results[1].driver) == ("memory", "ca", "")


def test_the_most_urgent_device_goes_first(fleet):
    fleet.rotate("b")
    fleet.world.advance(days=10)
    fleet.rotate("c")
    fleet.world.advance(days=79)
    assert [one.device for one in fleet.rotate()] == ["b", "c", "a"]


def test_steps_are_watched(fleet):
    seen: list[tuple[str, str]] = []
    service = fleet.service()
    list(service.rotate(Selection("a"), ONE, Stop(), watch=lambda device, step: seen.append((device, step))))
    assert seen[0] == ("a", "preflight")
    assert seen[-1] == ("a", "record")


def test_a_run_in_which_nothing_is_due_touches_nothing_and_tells_nobody(fleet):
    fleet.rotate()
    fleet.events.clear()
    fleet.prepared.clear()
    assert set(outcomes(fleet.rotate()).values()) == {Outcome.NOT_DUE}
    assert (fleet.events, fleet.prepared) == ([], [])


def test_logins_are_looked_up_for_one_batch_at_a_time(fleet):
    fleet.rotate(rollout=Rollout(forks=1, serial=("1", "2")))
    assert fleet.prepared == [["a"], ["b", "c"]]


def test_what_somebody_else_has_rotated_meanwhile_is_not_rotated_again(fleet):
    """Planned as due, and not due any more under the lease."""
    run = fleet.service().rotate(Selection(), ONE, Stop())
    assert next(run).device == "a"
    fleet.rotate("c")
    assert [(one.device, one.outcome) for one in run] == [("b", Outcome.ROTATED), ("c", Outcome.NOT_DUE)]
    assert fleet.world.issuer.issued == 3


def test_failures_are_told_one_by_one_and_the_run_in_a_summary(fleet):
    fleet.fail("a", "install", DeviceRejected("no"), "rollback")
    fleet.fail("b", "connect", DeviceUnreachable("gone"))
    results = fleet.rotate()
    assert outcomes(results) == {"a": Outcome.STRANDED, "b": Outcome.UNREACHABLE, "c": Outcome.ROTATED}
    assert [(event.kind, [one.device for one in event.results]) for event in fleet.events] == [
        (EventKind.STRANDED, ["a"]),
        (EventKind.FAILED, ["b"]),
        (EventKind.SUMMARY, ["a", "b", "c"]),
    ]
    assert len({event.run_id for event in fleet.events}) == 1
    fleet.rotate("c", forced=True)
    assert fleet.events[-1].run_id != fleet.events[0].run_id
    assert fleet.events[-1].at == fleet.world.now


def test_a_lost_state_database_stops_the_run(fleet):
    def break_journal(around: Surroundings) -> Surroundings:
        append = around.stores.journal.append

        def broken(record, entry, also=None, **durable):
            if record.device == "b":
                raise JournalError("the disk is full")
            append(record, entry, also, **durable)

        around.stores.journal.append = broken
        return around

    fleet.adapt = break_journal
    stop = Stop()
    results = list(fleet.service().rotate(Selection(), ONE, stop))
    assert [(one.device, one.outcome, one.reason) for one in results] == [
        ("a", Outcome.ROTATED, "never_issued"),
        ("b", Outcome.FAILED, "state_lost"),
        ("c", Outcome.INTERRUPTED, "state_lost"),
    ]
    assert results[1].error == ErrorReport("JournalError", "the disk is full")
    assert exit_status(results) is ExitStatus.UNEXPECTED
    assert fleet.events[-1].kind is EventKind.SUMMARY
    fleet.adapt = lambda around: around
    assert set(outcomes(fleet.rotate()).values()) == {Outcome.NOT_DUE, Outcome.ROTATED}


def test_a_stopped_run_takes_no_new_devices(fleet):
    stop = Stop()
    run = fleet.service().rotate(Selection(), ONE, stop)
    first = next(run)
    stop.set("interrupted")
    rest = list(run)
    assert first.outcome is Outcome.ROTATED
    assert len(rest) == 2
    assert {one.outcome for one in rest} <= {Outcome.ROTATED, Outcome.INTERRUPTED}
    assert rest[-1].outcome is Outcome.INTERRUPTED


def test_the_second_of_an_ha_group_waits_for_the_first_to_be_good(tmp_path):
    fleet = Fleet(tmp_path)
    for name in ("a", "b"):
        fleet.add(name, ha_group="pair")
    fleet.fail("a", "install", DeviceRejected("no"))
    results = fleet.rotate(rollout=Rollout(forks=5))
    assert [(one.device, one.outcome, one.reason) for one in results] == [
        ("a", Outcome.ROLLED_BACK, "never_issued"),
        ("b", Outcome.SKIPPED, "ha_peer_failed"),
    ]


def test_whichever_of_a_pair_is_active_is_rotated_and_nobody_is_quarantined(tmp_path):
    """Day after day the standby says that it is one; after a failover it is the other one's turn."""
    fleet = Fleet(tmp_path)
    for name in ("a", "b"):
        fleet.add(name, ha_group="pair")

    def make_standby(name: str) -> None:
        for one in ("a", "b"):
            fleet.mend(one)
        fleet.fail(name, "create_csr", NotActive("it is standby"))

    make_standby("a")
    days = []
    for _ in range(7):
        days.append(outcomes(fleet.rotate()))
        fleet.world.advance(days=1, hours=1)
    assert days[0] == {"a": Outcome.SKIPPED, "b": Outcome.ROTATED}
    assert all(day == {"a": Outcome.SKIPPED, "b": Outcome.NOT_DUE} for day in days[1:])
    make_standby("b")
    fleet.world.advance(days=70)
    assert outcomes(fleet.rotate()) == {"a": Outcome.ROTATED, "b": Outcome.SKIPPED}
    assert not fleet.stores.journal.open_rotations("b")
    fleet.fail("b", "inspect", NotActive("it is standby"))
    [checked] = fleet.service().check(Selection("b"), ONE, Stop())
    assert (checked.outcome, checked.reason) == (Outcome.SKIPPED, "ha_standby")


def test_a_failover_before_the_install_gives_the_turn_to_the_other_one(tmp_path):
    fleet = Fleet(tmp_path)
    for name in ("a", "b"):
        fleet.add(name, ha_group="pair")
    fleet.fail("b", "create_csr", NotActive("it is standby"))
    fleet.fail("a", "install", NotActive("it has become standby"))
    assert outcomes(fleet.rotate()) == {"a": Outcome.SKIPPED, "b": Outcome.SKIPPED}
    [given_up] = fleet.stores.journal.history("a")
    assert (given_up.state, given_up.cleaned) == (State.ABANDONED, False)  # its key is on the device
    fleet.fail("a", "create_csr", NotActive("it is standby"))
    fleet.mend("b")
    assert outcomes(fleet.rotate()) == {"a": Outcome.SKIPPED, "b": Outcome.ROTATED}


def test_a_check_looks_at_both_of_an_ha_group(tmp_path):
    fleet = Fleet(tmp_path)
    for name in ("a", "b"):
        fleet.add(name, ha_group="pair")
        fleet.devices[name].problems = ("sudo is refused",)
    results = list(fleet.service().check(Selection(), ONE, Stop()))
    assert [one.error.message for one in results] == ["sudo is refused"] * 2


def test_a_renewal_window_of_the_ca_is_asked_for_before_the_selection(fleet):
    fleet.rotate("a")
    fleet.world.issuer.offers = True
    now = fleet.world.now
    fleet.world.issuer.window = RenewalInfo(now - dt.timedelta(days=2), now - dt.timedelta(days=1), 60.0)
    [result] = fleet.rotate("a")
    assert (result.outcome, result.reason) == (Outcome.ROTATED, Reason.ARI_WINDOW)


def test_a_ca_that_does_not_answer_stops_no_run(fleet):
    fleet.rotate("a")

    def happen(act: str) -> None:
        if act == "directory":
            raise IssuerUnavailable("down")

    fleet.world.trouble.happen = happen
    assert [one.outcome for one in fleet.rotate("a")] == [Outcome.NOT_DUE]


def test_resume_finishes_what_is_open_and_nothing_else(fleet):
    fleet.fail("b", "install", DeviceUnreachable("gone"))
    fleet.rotate("b")
    fleet.mend("b")
    results = fleet.resume()
    assert [(one.device, one.outcome, one.reason) for one in results] == [("b", Outcome.ROTATED, "unfinished")]
    assert fleet.world.issuer.issued == 1
    assert fleet.events[-1].kind is EventKind.SUMMARY


def test_resume_without_anything_open_does_nothing(fleet):
    assert fleet.resume() == []
    assert fleet.surrounded == 0


@pytest.mark.parametrize("times", [1, 5])
def test_resume_minds_neither_back_off_nor_quarantine(fleet, times):
    fleet.fail("b", "create_csr", DeviceRejected("no"))
    for _ in range(times):
        fleet.rotate("b")
        fleet.world.advance(days=2)
    fleet.rotate("b")
    assert fleet.rotate("b")[0].reason in (Reason.DEFERRED, Reason.QUARANTINED)
    fleet.mend("b")
    assert outcomes(fleet.resume()) == {"b": Outcome.ROTATED}


def test_resume_minds_no_window(fleet):
    fleet.fail("b", "create_csr", DeviceUnreachable("gone"))
    fleet.rotate("b")
    fleet.mend("b")
    fleet.routes = NIGHT
    assert fleet.rotate("b")[0].reason == Reason.OUTSIDE_WINDOW
    assert outcomes(fleet.resume()) == {"b": Outcome.ROTATED}


def test_resume_names_hosts_that_are_gone_and_those_without_a_route(fleet):
    for name in ("a", "b", "c"):
        fleet.fail(name, "create_csr", DeviceUnreachable("gone"))
    fleet.rotate()
    for name in ("a", "b", "c"):
        fleet.mend(name)
    del fleet.inventory.all["a"]
    fleet.inventory.add("b", host_platform="panos")
    assert [(one.device, one.outcome, one.reason) for one in fleet.resume()] == [
        ("a", Outcome.SKIPPED, "not_in_inventory"),
        ("b", Outcome.SKIPPED, "no_route"),
        ("c", Outcome.ROTATED, "unfinished"),
    ]


def test_resume_begins_nothing_where_somebody_else_has_given_the_rotation_up(fleet):
    for name in ("a", "b"):
        fleet.fail(name, "create_csr", DeviceUnreachable("gone"))
        fleet.rotate(name)
        fleet.mend(name)
    run = fleet.service().resume(ONE, Stop())
    assert next(run).outcome is Outcome.ROTATED
    fleet.service().abandon("b")
    assert [(one.device, one.outcome) for one in run] == [("b", Outcome.NOT_DUE)]


def test_check_yields_one_result_for_every_host_and_changes_nothing(fleet):
    fleet.rotate("b")
    fleet.inventory.add("nameless", common_name="")
    fleet.devices["c"].problems = ("sudo is refused",)
    issued, keys = fleet.world.issuer.issued, {name: set(one.keys) for name, one in fleet.devices.items()}
    results = list(fleet.service().check(Selection(), ONE, Stop()))
    assert outcomes(results) == {
        "b": Outcome.NOT_DUE,
        "nameless": Outcome.SKIPPED,
        "a": Outcome.PLANNED,
        "c": Outcome.FAILED,
    }
    assert fleet.prepared[-1] == ["a", "c"]
    assert fleet.world.issuer.issued == issued
    assert {name: set(one.keys) for name, one in fleet.devices.items()} == keys
    assert fleet.stores.journal.history("a") == []


def test_check_of_hosts_by_name_looks_at_them_due_or_not(fleet):
    fleet.rotate("b")
    results = list(fleet.service().check(Selection("b"), ONE, Stop()))
    assert outcomes(results) == {"b": Outcome.PLANNED}


def test_verify_looks_at_every_endpoint_and_names_what_it_cannot_look_at(fleet):
    fleet.rotate("a")
    fleet.rotate("b")
    fleet.devices["b"].bound = "original"
    del fleet.inventory.all["c"]
    fleet.inventory.add("odd", host_platform="panos")
    results = list(fleet.service().verify(Selection(), Rollout(forks=3), Stop()))
    assert [(one.device, one.status) for one in results] == [
        ("odd", ServedStatus.SKIPPED),
        ("a", ServedStatus.OK),
        ("b", ServedStatus.DRIFT),
    ]
    assert results[0].problem.startswith("no_route: ")
    assert [one.reason for one in fleet.service().plan(Selection("b"))] == ["drift"]


def test_rollback_abandon_and_cleanup_are_for_one_host_whose_login_is_looked_up(fleet):
    fleet.rotate("a")
    fleet.rotate("a", forced=True)
    former = fleet.devices["a"].bound
    assert fleet.service().rollback("a").outcome is Outcome.ROLLED_BACK
    assert fleet.devices["a"].bound != former
    assert fleet.service().cleanup("a", remove=False) == (former,)
    assert fleet.service().cleanup("a", remove=True) == (former,)
    assert former not in fleet.devices["a"].keys
    fleet.fail("b", "create_csr", DeviceUnreachable("gone"))
    fleet.rotate("b")
    fleet.mend("b")
    assert fleet.service().abandon("b").reason == "abandoned"
    assert fleet.prepared[-1] == ["b"]


def test_explain_says_why_no_route_takes_a_device(fleet):
    fleet.inventory.add("odd", host_platform="panos")
    found = fleet.service().explain("odd")
    assert (found.candidate.reason, [trial.taken for trial in found.trials]) == ("no_route", [False])


def test_the_account_at_a_ca_is_named_and_its_key_changed_only_when_told(fleet):
    changed: list[str] = []
    issuer = SimpleNamespace(change_account_key=lambda: changed.append("key"), account_url=lambda: "https://ca.test/1")
    fleet.adapt = lambda around: replace(around, authorities={"ca": replace(around.authorities["ca"], issuer=issuer)})
    assert fleet.service().account("ca", new_key=False) == "https://ca.test/1"
    assert changed == []
    assert fleet.service().account("ca", new_key=True) == "https://ca.test/1"
    assert changed == ["key"]
    with pytest.raises(SettingsError, match=r"there is no issuer 'other'; issuers of ottr\.yaml: ca"):
        fleet.service().account("other", new_key=True)


def test_by_hand_one_host_is_meant(fleet):
    with pytest.raises(InventoryError, match="means 2 hosts"):
        fleet.service().rollback("a,b")
    with pytest.raises(InventoryError):
        fleet.service().abandon("z")


def test_a_host_without_a_route_cannot_be_worked_on_by_hand_and_it_says_why(fleet):
    fleet.inventory.add("odd", host_platform="panos")
    with pytest.raises(RoutingError, match="odd: no_route: ") as caught:
        fleet.service().cleanup("odd", remove=False)
    assert "ottr explain odd" in caught.value.hint


def test_an_open_rotation_of_a_host_that_is_gone_can_be_abandoned(fleet):
    fleet.fail("a", "create_csr", DeviceUnreachable("gone"))
    fleet.rotate("a")
    del fleet.inventory.all["a"]
    assert fleet.service().abandon("a").reason == "abandoned"
    assert fleet.resume() == []
    with pytest.raises(InventoryError):
        fleet.service().abandon("a")


def test_release_of_a_free_host_releases_nothing(fleet):
    assert fleet.service().release("a") == ()
    with pytest.raises(InventoryError):
        fleet.service().release("z")


def test_release_lifts_the_back_off_and_says_so(fleet):
    fleet.fail("a", "create_csr", DeviceRejected("no"))
    fleet.rotate("a")
    assert fleet.rotate("a")[0].reason == Reason.DEFERRED
    [said] = fleet.service().release("a")
    assert said.startswith("the wait until 2026-11-22T03:01:")
    fleet.mend("a")
    assert outcomes(fleet.rotate("a")) == {"a": Outcome.ROTATED}


def test_release_lifts_the_quarantine_and_says_after_what(fleet):
    fleet.fail("a", "create_csr", DeviceRejected("the device said no"))
    for _ in range(5):
        fleet.rotate("a")
        fleet.world.advance(days=2)
    assert fleet.rotate("a")[0].reason == Reason.QUARANTINED
    assert fleet.service().release("a") == ("the quarantine after 5 failures: the device said no",)
    fleet.mend("a")
    assert outcomes(fleet.rotate("a")) == {"a": Outcome.ROTATED}


def test_release_breaks_the_lease_of_another_run(fleet):
    fleet.stores.leases.take("device:a")
    assert fleet.rotate("a")[0].reason == "leased"
    assert fleet.service().release("a") == ("the lease that another run held",)
    assert outcomes(fleet.rotate("a")) == {"a": Outcome.ROTATED}


def test_release_breaks_the_lease_of_another_run_on_the_ha_group(tmp_path):
    fleet = Fleet(tmp_path)
    fleet.add("a", ha_group="pair")
    fleet.stores.leases.take("ha_group:pair")
    assert fleet.rotate("a")[0].reason == "leased"
    assert fleet.service().release("a") == ("the lease on the HA group pair that another run held",)
    assert outcomes(fleet.rotate("a")) == {"a": Outcome.ROTATED}


def test_release_of_a_host_that_is_gone_breaks_its_lease(fleet):
    fleet.stores.leases.take("device:z")
    assert fleet.service().release("z") == ("the lease that another run held",)
