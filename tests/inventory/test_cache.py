# SPDX-License-Identifier: Apache-2.0
"""The second call is answered from the cache, unless anything could make the answer another one."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ottr import headstart
from ottr.headstart import default_folder
from ottr.inventory import CertificateFacts, InventoryHost
from ottr.inventory.cache import InventoryCache
from ottr.model import Secret

from .conftest import Read, Write, encrypt_string

FILES = {
    "inventory/hosts.yml": "linux:\n  hosts:\n    a: {origin: first}\n    b: {origin: first}\n",
    "inventory/group_vars/all/x.yml": "device_model: M1\n",
    "inventory/host_vars/a/x.yml": "os_version: '1'\n",
}

Hosts = Callable[..., dict[str, InventoryHost]]


@pytest.fixture
def cache(tmp_path: Path) -> InventoryCache:
    return InventoryCache(tmp_path / "cache")


@pytest.fixture
def age(place: Path) -> Callable[[], None]:
    """Wait until the file system's clock has passed every change made so far."""

    def wait() -> None:
        newest = max(path.lstat().st_ctime_ns for path in place.rglob("*"))
        deadline = time.monotonic() + 5
        while time.time_ns() < newest + 60_000_000:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    return wait


@pytest.fixture
def hosts(read: Read, cache: InventoryCache, age: Callable[[], None]) -> Hosts:
    def get(*sources: str, **options):
        age()
        inventory = read(*sources, cache=cache, **options)
        return {host.name: host for host in inventory.hosts()}

    return get


@pytest.fixture
def no_reader(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the reader does not start: whatever is answered comes from the cache."""
    return lambda: monkeypatch.setattr(headstart, "PROGRAM", Path("/nonexistent"))


def test_nothing_changed(write: Write, hosts: Hosts, no_reader: Callable[[], None], tmp_path: Path) -> None:
    write(FILES)
    first = hosts("inventory")
    no_reader()
    assert hosts("inventory") == first
    assert first["a"].variables == {"origin": "first", "device_model": "M1", "os_version": "1"}
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "host", "name", "value"),
    [
        ({"inventory/hosts.yml": FILES["inventory/hosts.yml"].replace("first", "later")}, "b", "origin", "later"),
        ({"inventory/group_vars/all/x.yml": "device_model: M2\n"}, "b", "device_model", "M2"),
        ({"inventory/group_vars/linux.yml": "device_model: M3\n"}, "b", "device_model", "M3"),
        ({"inventory/host_vars/a/x.yml": "os_version: '2'\n"}, "a", "os_version", "2"),
        ({"inventory/host_vars/a/y.yml": "os_version: '3'\n"}, "a", "os_version", "3"),
        ({"inventory/host_vars/b.yml": "os_version: '4'\n"}, "b", "os_version", "4"),
        ({"inventory/more.yml": "all: {hosts: {c: {origin: new}}}\n"}, "c", "origin", "new"),
        ({"ansible.cfg": "[defaults]\nremote_user = robot\n"}, "a", "ansible_user", "robot"),
    ],
)
def test_any_change_of_a_file_is_seen(
    write: Write, hosts: Hosts, change: dict[str, str], host: str, name: str, value: str
) -> None:
    write(FILES)
    hosts("inventory")
    write(change)
    assert hosts("inventory")[host].variables[name] == value


def test_a_file_that_goes_is_seen(write: Write, hosts: Hosts, place: Path) -> None:
    write(FILES)
    hosts("inventory")
    (place / "inventory/group_vars/all/x.yml").unlink()
    assert "device_model" not in hosts("inventory")["a"].variables


def test_vars_folders_that_appear_beside_a_single_file_are_seen(write: Write, hosts: Hosts) -> None:
    write({"h.yml": "all: {hosts: {a: }}"})
    hosts("h.yml")
    write({"group_vars/all.yml": "origin: new\n"})
    assert hosts("h.yml")["a"].variables == {"origin": "new"}


def test_other_options_and_settings_are_other_answers(
    write: Write, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FILES)
    hosts("inventory")
    assert hosts("inventory", extra_vars=("origin=cli",))["a"].variables["origin"] == "cli"
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "robot")
    assert hosts("inventory")["a"].variables["ansible_user"] == "robot"


def test_an_extra_vars_file_counts(write: Write, hosts: Hosts) -> None:
    write({**FILES, "extra.yml": "origin: x1\n"})
    hosts("inventory", extra_vars=("@extra.yml",))
    write({"extra.yml": "origin: x2\n"})
    assert hosts("inventory", extra_vars=("@extra.yml",))["a"].variables["origin"] == "x2"


def test_patterns_and_warnings_come_from_the_cache_too(
    write: Write, hosts: Hosts, read: Read, cache: InventoryCache, no_reader: Callable[[], None]
) -> None:
    write(FILES)
    hosts("inventory")
    no_reader()
    inventory = read("inventory", cache=cache)
    inventory.start()
    assert [host.name for host in inventory.hosts("linux:!a")] == ["b"]
    assert set(inventory.secrets(inventory.hosts())) == {"a", "b"}


def test_dynamic_sources_are_always_fresh(write: Write, hosts: Hosts) -> None:
    script = (
        '#!/bin/sh\necho x >> calls\necho \'{"g": {"hosts": ["s1"], "vars": {"origin": "\'$(wc -l < calls)\'"}}}\'\n'
    )
    (write({"inv.sh": script}) / "inv.sh").chmod(0o755)
    first = hosts("inv.sh")["s1"].variables["origin"]
    assert hosts("inv.sh")["s1"].variables["origin"] != first


def test_templates_that_look_outside_are_always_fresh(write: Write, hosts: Hosts) -> None:
    write(
        {
            "h.yml": "all:\n  vars:\n    outer: \"{{ lookup('pipe', 'echo x >> calls; wc -l < calls') }}\"\n"
            "  hosts:\n    a: {origin: '{{ outer }}'}\n    b: {origin: still}\n"
        }
    )
    first = hosts("h.yml")
    second = hosts("h.yml")
    assert first["a"].variables != second["a"].variables
    assert second["b"].variables == {"origin": "still"}


def test_nothing_vaulted_is_kept(write: Write, hosts: Hosts, read: Read, cache: InventoryCache, tmp_path: Path) -> None:
    work = write({"pw": "hunter2"})
    identity, password = (encrypt_string(text, work / "pw") for text in ("identi7y", "passw0rd"))
    write(
        {
            "h.yml": f"all:\n  hosts:\n    a:\n      origin: {identity}\n      ansible_password: {password}\n"
            "      ottr_token: plain-t0ken\n"
        }
    )
    for _ in range(2):
        found = hosts("h.yml", vault_password_files=("pw",))
        assert found["a"].variables == {"origin": "identi7y"}
    inventory = read("h.yml", vault_password_files=("pw",), cache=cache)
    assert inventory.secrets(inventory.hosts())["a"].values["ansible_password"] == Secret("passw0rd")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir())
    assert b'"h.yml"' not in kept  # paths are absolute, so the file was written
    assert b"h.yml" in kept
    for word in (b"identi7y", b"passw0rd", b"t0ken", b"hunter2"):
        assert word not in kept


def test_a_damaged_or_unwritable_cache_costs_nothing_but_time(write: Write, hosts: Hosts, tmp_path: Path) -> None:
    write(FILES)
    first = hosts("inventory")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text("{")
    assert hosts("inventory") == first
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert hosts("inventory") == first


def test_a_file_that_changed_during_the_reading_is_not_trusted(tmp_path: Path) -> None:
    cache = InventoryCache(tmp_path / "cache")
    file = tmp_path / "f"
    file.write_text("x")
    cache.store("k", [str(file)], {"a": 1}, started_ns=file.stat().st_ctime_ns)
    assert cache.load("k") is None
    cache.store("k", [str(file)], {"a": 1}, started_ns=file.stat().st_ctime_ns + 10**9)
    assert cache.load("k") == {"a": 1}


def test_the_users_cache_folder() -> None:
    assert default_folder({"HOME": "/h"}) == Path("/h/.cache/ottr")
    assert default_folder({"HOME": "/h", "XDG_CACHE_HOME": "/c"}) == Path("/c/ottr")


FACTS = CertificateFacts(datetime(2027, 2, 3, tzinfo=UTC), "CN=ca", "0a", "0b")


def record_and_close(read: Read, cache: InventoryCache, *hosts: str) -> None:
    inventory = read("inventory", cache=cache)
    for host in hosts:
        assert inventory.record(host, FACTS).warning == ""
    inventory.close()


def test_what_ottr_wrote_itself_does_not_cost_the_cache(
    write: Write, hosts: Hosts, read: Read, cache: InventoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FILES)
    hosts("inventory")
    record_and_close(read, cache, "a", "b")
    with monkeypatch.context() as patched:
        patched.setattr(headstart, "PROGRAM", Path("/nonexistent"))
        kept = hosts("inventory")
    assert kept["a"].variables["certificate_serial"] == kept["b"].variables["certificate_serial"] == "0a"
    assert kept == {host.name: host for host in read("inventory").hosts()}


@pytest.mark.parametrize(
    "change",
    [
        {"inventory/host_vars/b/y.yml": "os_version: other\n"},
        {"inventory/host_vars/b.yml": "os_version: other\n"},
        {"inventory/host_vars/a/x.yml": "os_version: other\n"},
        {"inventory/group_vars/linux.yml": "ottr_x: other\n"},
    ],
)
def test_what_others_write_meanwhile_is_seen(
    write: Write, hosts: Hosts, read: Read, cache: InventoryCache, change: dict[str, str]
) -> None:
    write(FILES)
    hosts("inventory")
    inventory = read("inventory", cache=cache)
    inventory.record("a", FACTS)
    write(change)
    inventory.close()
    assert hosts("inventory") == {host.name: host for host in read("inventory").hosts()}


def test_templates_over_the_facts_are_rendered_anew(
    write: Write, hosts: Hosts, read: Read, cache: InventoryCache
) -> None:
    write({**FILES, "inventory/group_vars/all/y.yml": "origin: '{{ certificate_serial | default(1) }}'\n"})
    write({"inventory/hosts.yml": "linux: {hosts: {a: , b: }}\n"})
    assert str(hosts("inventory")["a"].variables["origin"]) == "1"
    record_and_close(read, cache, "a")
    assert hosts("inventory")["a"].variables["origin"] == "0a"
