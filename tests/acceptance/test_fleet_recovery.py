# SPDX-License-Identifier: Apache-2.0
"""What an operator does when things are not as they should be: verify, rollback, abandon, cleanup, a lost database."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from ottr.errors import RotationError
from ottr.lab import Lab
from ottr.lab.host import Host
from ottr.lab.pebble import Pebble
from ottr.lab.x509 import write_self_signed
from ottr.model import Outcome, ServedStatus, Step
from ottr.policy import Reason
from ottr.report import ExitStatus, verify_status
from ottr.state.journal import State
from tests.acceptance.faults import (
    Counter,
    Site,
    at,
    await_served,
    await_true,
    check_failed,
    check_recovers,
    check_rotated,
    down,
    reload_script,
    restore_reload,
    served,
    write_script,
)


def test_a_lost_database_rotates_nothing(site: Site, shared_lab: Lab) -> None:
    check_rotated(site.rotate(forced=True))
    before = {host.name: site.current(host) for host in shared_lab.hosts}
    counter = Counter(site.lab)

    shutil.rmtree(site.folder / "state")
    results = site.rotate()
    assert {(one.outcome, one.reason) for one in results} == {(Outcome.NOT_DUE, Reason.NOT_DUE)}
    assert counter.orders == 0
    for host in shared_lab.hosts:
        assert site.current(host) == before[host.name]
        assert site.plan(host) == Reason.NOT_DUE
        with site.opened() as app:
            assert app.service.cleanup(host.name, remove=False) == ()
            forgotten = app.service.cleanup(host.name, remove=False, foreign=True)
        assert set(forgotten) == list_generations(host) - {current_label(host)}
        await_served(host, before[host.name])


def test_a_lost_database_learns_by_verify_too(site: Site, host: Host) -> None:
    former = site.begin(host)

    shutil.rmtree(site.folder / "state")
    assert site.plan(host) == Reason.NEVER_ISSUED
    assert site.verify(host).status is ServedStatus.UNKNOWN
    assert site.plan(host) == Reason.NOT_DUE
    assert site.current(host) == former


def test_a_certificate_replaced_by_hand_is_drift_and_rotated_away(site: Site, host: Host) -> None:
    former = site.begin(host)
    assert site.verify(host).status is ServedStatus.OK

    replace_by_hand(host)
    result = site.verify(host)
    assert (result.status, result.sha256) == (ServedStatus.DRIFT, served(host).sha256)
    assert result.problem
    assert verify_status([result]) is ExitStatus.FAILED
    assert f'certificate_sha256: "{former.sha256}"' in recorded(site, host)
    assert site.plan(host) == Reason.DRIFT

    check_recovers(site, host, former, site.rotate(host))
    assert site.verify(host).status is ServedStatus.OK


def test_what_verify_sees_is_written_to_the_inventory(site: Site, host: Host) -> None:
    former = site.begin(host)
    path = site.lab.inventory / "host_vars" / host.name / "certificate.yml"
    path.write_text("certificate_sha256: of another age\n")

    assert site.verify(host).status is ServedStatus.OK
    assert former.sha256 in recorded(site, host)


def test_a_service_that_is_down_is_unreachable_to_verify(site: Site, host: Host) -> None:
    site.begin(host)
    with down(host.nginx.process):
        result = site.verify(host)
    assert (result.status, result.sha256) == (ServedStatus.UNREACHABLE, "")
    assert result.problem
    assert verify_status([result]) is ExitStatus.UNREACHABLE


def test_rollback_goes_back_to_the_certificate_before_and_a_rotation_forward_again(site: Site, host: Host) -> None:
    first = site.begin(host)
    second = site.begin(host)
    counter = Counter(site.lab)

    with site.opened() as app:
        result = app.service.rollback(host.name)
    assert (result.outcome, result.new_sha256, result.warnings) == (Outcome.ROLLED_BACK, first.sha256, ())
    await_served(host, first)
    assert site.current(host) == first
    assert site.plan(host) == Reason.NOT_DUE
    assert site.verify(host).status is ServedStatus.OK
    assert first.sha256 in recorded(site, host)

    check_recovers(site, host, first, site.rotate(host, forced=True))
    assert site.current(host) not in (first, second)
    assert counter.issued == 1


def test_rollback_of_a_stranded_device(site: Site, host: Host) -> None:
    former = site.begin(host)
    write_script(reload_script(host), "exit 1")
    try:
        check_failed(site.rotate(host, forced=True), Outcome.STRANDED, "RollbackFailed", ExitStatus.STRANDED)
    finally:
        restore_reload(host)
    with site.opened() as app:
        assert app.service.rollback(host.name).new_sha256 == former.sha256
    await_served(host, former)
    assert site.plan(host) == Reason.NOT_DUE
    check_recovers(site, host, former, site.rotate(host, forced=True))


def test_nothing_to_roll_back_or_to_abandon_is_said_so(site: Site, host: Host) -> None:
    with site.opened() as app:
        with pytest.raises(RotationError, match="no rotation to go back from"):
            app.service.rollback(host.name)
        with pytest.raises(RotationError, match="no open rotation"):
            app.service.abandon(host.name)


def test_an_abandoned_rotation_leaves_nothing_on_the_host(site: Site, host: Host) -> None:
    former = site.begin(host)
    good = site.issuer["directory"]
    site.issuer["directory"] = good.replace(":14000", ":14001")
    check_failed(site.rotate(host, forced=True), Outcome.FAILED, "IssuerUnavailable", ExitStatus.FAILED)
    site.issuer["directory"] = good
    [label] = site.labels(host, State.OPEN)
    assert label in list_generations(host)

    with site.opened() as app:
        result = app.service.abandon(host.name)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "abandoned")
    assert label not in list_generations(host)
    assert site.labels(host, State.OPEN) == []
    assert site.plan(host) == Reason.NOT_DUE
    await_served(host, former)


def test_a_half_installed_rotation_is_taken_back_when_it_is_abandoned(site: Site, host: Host) -> None:
    former = site.begin(host)
    results = site.rotate(host, forced=True, watch=at(Step.VERIFY, host.sshd.process.stop))
    host.sshd.process.__enter__()
    check_failed(results, Outcome.UNREACHABLE, "DeviceUnreachable", ExitStatus.UNREACHABLE)
    [label] = site.labels(host, State.OPEN)

    with site.opened() as app:
        app.service.abandon(host.name)
    await_served(host, former)
    assert label not in list_generations(host)
    assert site.plan(host) == Reason.NOT_DUE


def test_cleanup_removes_orphans_only_when_it_is_told_to(site: Site, host: Host) -> None:
    site.begin(host)
    current = site.begin(host)
    kept = set(site.labels(host))
    installation = current_label(host).rpartition("-")[0]
    orphan = make_generation(host, f"{installation}-0123456789ab")
    foreign = make_generation(host, "ottr-lost-0123456789ab")
    stranger = make_generation(host, "backup")

    with site.opened() as app:
        assert app.service.cleanup(host.name, remove=False) == (orphan.name,)
        assert orphan.is_dir()
        assert app.service.cleanup(host.name, remove=True) == (orphan.name,)
        assert not orphan.exists()
        assert app.service.cleanup(host.name, remove=False) == ()
        assert foreign.name in app.service.cleanup(host.name, remove=False, foreign=True)
        assert foreign.is_dir()
        app.service.cleanup(host.name, remove=True, foreign=True)
    assert not foreign.exists()
    assert stranger.is_dir()
    assert list_generations(host) == kept
    await_served(host, current)


def test_two_generations_stay_on_the_host(site: Site, host: Host) -> None:
    before = list_generations(host)
    for _ in range(4):
        site.begin(host)
    assert list_generations(host) - before == set(site.labels(host)[-2:])


def test_a_superseded_certificate_is_revoked_after_its_successor_is_served(site: Site, host: Host) -> None:
    site.route["revoke_superseded"] = True
    first = site.begin(host)
    assert fetch_status(site.lab.pebble, first.serial) == "Valid"
    second = site.begin(host)
    assert fetch_status(site.lab.pebble, first.serial) == "Revoked"
    assert fetch_status(site.lab.pebble, second.serial) == "Valid"


def test_a_host_that_left_the_inventory_is_said_so_by_resume(site: Site, host: Host, shared_lab: Lab) -> None:
    site.begin(host)
    with down(host.sshd.process):
        site.rotate(host, forced=True)
    gone = site.change_inventory({}) / "hosts.yml"
    gone.write_text(gone.read_text().replace(f"    {host.name}:", "    other.lab.test:"))
    [result] = site.resume()
    assert (result.device, result.outcome, result.reason) == (host.name, Outcome.SKIPPED, "not_in_inventory")


def folder(host: Host) -> Path:
    """Where Ottr keeps its generations on the host."""
    return host.nginx.key.with_name(f"{host.nginx.key.name}.ottr")


def current_label(host: Host) -> str:
    """Label of what the host's service reads."""
    return (folder(host) / "current").readlink().name


def make_generation(host: Host, name: str) -> Path:
    """A folder with a key among the generations, which no rotation of this site has made."""
    made = folder(host) / name
    made.mkdir(exist_ok=True)
    (made / "privkey.pem").write_text("a key of a rotation that nobody knows\n")
    return made


def list_generations(host: Host) -> set[str]:
    """Labels that have a folder on the host."""
    return {path.name for path in folder(host).glob("ottr-*")}


def recorded(site: Site, host: Host) -> str:
    """What the inventory says of the host's certificate."""
    return (site.lab.inventory / "host_vars" / host.name / "certificate.yml").read_text()


def replace_by_hand(host: Host) -> None:
    """Do what somebody in a hurry does: other files at the paths, and a reload."""
    nginx = host.nginx
    for path in (nginx.fullchain, nginx.key):
        path.unlink()
    write_self_signed(nginx.fullchain, nginx.key, host.name)
    subprocess.run(nginx.reload_command, check=True)
    new = x509.load_pem_x509_certificate(nginx.fullchain.read_bytes()).serial_number
    await_true(lambda: int(served(host).serial, 16) == new, "nginx did not take the new files")
    master = nginx.process.pid
    children = Path(f"/proc/{master}/task/{master}/children")
    await_true(lambda: len(children.read_text().split()) == 1, "nginx's former worker did not go")


def fetch_status(pebble: Pebble, serial: str) -> str:
    """What the CA itself says of a certificate."""
    context = ssl.create_default_context(cafile=str(pebble.ca_bundle))
    connection = http.client.HTTPSConnection(pebble.address, 15000, timeout=30, context=context)
    try:
        connection.request("GET", f"/cert-status-by-serial/{serial}")
        return str(json.loads(connection.getresponse().read())["Status"])
    finally:
        connection.close()
