# SPDX-License-Identifier: Apache-2.0
"""The composition root: real files become real parts, each made when it is first needed."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ottr import drivers
from ottr.app import App, Options, utc_now
from ottr.errors import JournalError, SettingsError
from ottr.inventory.options import InventoryOptions
from ottr.model import Device, Route
from ottr.notify import Event, EventKind
from ottr.orchestrator.target import Target
from ottr.service import Selection
from tests.unit.authority import Authority

SETTINGS = """\
issuers:
  ca: {directory: "https://ca.test/dir", staging: ca_staging, trust: roots.pem, issuer_names: ["CN=Root"]}
  ca_staging: {directory: "https://staging.ca.test/dir", trust: roots.pem}
default_issuer: ca
solvers:
  zone: {kind: exec, zones: [example.com], options: {command: [/bin/true]}}
credentials:
  linux: {username: svc}
"""
ROUTES = """\
routes:
  - match: {host_platform: linux}
    driver: linux_ssh
    options: {service: nginx, certificate: /etc/site.pem, key: /etc/site.key}
"""
HOSTS = """\
all:
  hosts:
    web1: {host_platform: linux, common_name: web1.example.com}
"""
DEVICE = Device("web1", "linux", "192.0.2.1", ("web1.example.com",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's files, and nothing of this machine's Ansible."""
    for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "OTTR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    files = {"ottr.yaml": SETTINGS, "routing.yaml": ROUTES, "hosts.yml": HOSTS, "roots.pem": Authority().pem}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def build(folder: Path, *, staging: bool = False) -> App:
    sources = InventoryOptions(sources=(str(folder / "hosts.yml"),))
    return App(Options(folder / "ottr.yaml", sources, staging), {"HOME": str(folder)})


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    made = build(folder)
    yield made
    made.close()


def staged(folder: Path, text: str) -> App:
    (folder / "ottr.yaml").write_text(text)
    return build(folder, staging=True)


def test_commands_of_the_operators_do_not_get_what_secrets_come_from(folder: Path) -> None:
    show = [sys.executable, "-c", "import os, sys; print(*os.environ, file=open(sys.argv[1], 'w'))"]
    (folder / "ottr.yaml").write_text(
        f"{SETTINGS.replace('svc', 'svc, password: {env: LOGIN}')}notify: {json.dumps({'command': [*show, 'told']})}\n"
    )
    environment = {"HOME": str(folder), "LOGIN": "hunter2", "OTHER": "x"}
    sources = InventoryOptions(sources=(str(folder / "hosts.yml"),))
    app = App(Options(folder / "ottr.yaml", sources), environment)
    try:
        app.notifier.notify(Event(EventKind.SUMMARY, utc_now(), "run", ()))
        app.surround().hooks.before(Target(DEVICE, Route("linux_ssh", "ca", before=((*show, "hooked"),))))
    finally:
        app.close()
    for name in ("told", "hooked"):
        seen = (folder / name).read_text().split()
        assert "OTHER" in seen
        assert "LOGIN" not in seen


def test_now_is_aware_utc():
    assert utc_now().utcoffset() == dt.timedelta(0)


def test_closing_what_was_never_begun_begins_nothing(folder):
    build(folder).close()
    assert not (folder / ".ottr").exists()


def test_parts_are_made_once(app):
    assert app.settings is app.settings
    assert app.stores is app.stores
    assert app.router is app.router
    assert app.publisher is app.publisher
    assert app.logins is app.logins
    assert app.service is app.service


def test_a_settings_file_that_is_named_and_not_there_is_an_error(folder):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        _ = App(Options(folder / "nowhere.yaml"), {}).settings


def test_a_state_database_that_cannot_be_opened_is_an_error_of_the_state(folder):
    (folder / ".ottr").write_text("a file where the folder should be")
    with pytest.raises(JournalError):
        _ = build(folder).stores


def test_a_plan_goes_from_the_operators_files_to_reasons(app):
    [candidate] = app.service.plan(Selection())
    assert (candidate.host.name, candidate.due, candidate.reason) == ("web1", True, "never_issued")
    assert (candidate.route.driver, candidate.route.issuer) == ("linux_ssh", "ca")


def test_closing_ends_the_connections_to_the_database(app, folder):
    app.service.plan(Selection())
    database = str(folder / ".ottr" / "state.db")
    assert database in open_files()
    app.close()
    assert database not in open_files()


def open_files() -> list[str]:
    return [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def test_what_touches_devices_zones_and_cas_is_made_of_the_settings(app, folder):
    around = app.surround()
    assert around.settings is app.settings.rotation
    assert around.stores is app.stores
    assert around.publisher is app.publisher
    assert around.publisher.solver_name("_acme-challenge.web1.example.com") == "zone"
    assert set(around.authorities) == {"ca", "ca_staging"}
    assert around.authorities["ca"].issuer_names == ("CN=Root",)
    assert around.authorities["ca"] is around.authorities["ca"]
    assert around.clock is utc_now


def test_a_device_is_reached_through_the_routes_driver_with_the_batchs_login(app, monkeypatch):
    seen: list[tuple[object, ...]] = []
    driver = SimpleNamespace(connect=lambda *given: seen.append(given) or "a session")
    monkeypatch.setattr(drivers, "load", lambda name: {"linux_ssh": driver}[name])
    app.logins.prepare(app.inventory.hosts())
    target = Target(DEVICE, Route("linux_ssh", "ca", options={"service": "nginx"}))
    assert app.surround().connect(target) == "a session"
    [(device, options, credentials)] = seen
    assert (device, options, credentials.username) == (DEVICE, {"service": "nginx"}, "svc")


def test_under_staging_every_issuer_is_its_twin(folder):
    app = build(folder, staging=True)
    assert {name: one.name for name, one in app.settings.issuers.items()} == {
        "ca": "ca_staging",
        "ca_staging": "ca_staging",
    }
    assert app.settings.issuers["ca"].directory == "https://staging.ca.test/dir"
    assert app.router.route(DEVICE).issuer == "ca_staging"


def test_an_issuer_without_a_twin_cannot_be_staged(folder):
    app = staged(folder, SETTINGS.replace("default_issuer", "  other: {directory: 'https://o.test/d'}\ndefault_issuer"))
    with pytest.raises(SettingsError, match="'other' has no staging twin") as caught:
        _ = app.settings
    assert "issuers.other.staging" in caught.value.hint


def test_a_twin_that_is_not_there_never_means_the_real_one(folder):
    app = staged(folder, SETTINGS.replace("staging: ca_staging", "staging: ca_stagin"))
    with pytest.raises(SettingsError, match="ca_stagin"):
        _ = app.settings


def test_what_a_twin_has_issued_is_known_as_its_own_so_that_a_real_run_replaces_it(folder):
    leaf_pem = Authority().issue("web1.example.com").leaf_pem
    rehearsal = build(folder, staging=True)
    try:
        [before] = rehearsal.service.plan(Selection())
        rehearsal.stores.certificates.adopt("web1", before.route.issuer, leaf_pem, utc_now())
        [after] = rehearsal.service.plan(Selection())
    finally:
        rehearsal.close()
    real = build(folder)
    try:
        [found] = real.service.plan(Selection())
    finally:
        real.close()
    assert (before.reason, after.reason, found.reason) == ("never_issued", "not_due", "issuer_changed")
