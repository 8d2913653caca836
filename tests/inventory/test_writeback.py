# SPDX-License-Identifier: Apache-2.0
"""After a rotation Ansible says the new facts, and all it said before."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ottr.inventory import CertificateFacts
from ottr.inventory.hostvars import find_files
from ottr.inventory.writeback import record

from .conftest import PROGRAMS, Read, Write, ansible_host, encrypt, encrypt_string

FACTS = CertificateFacts(
    datetime(2027, 2, 3, 4, 5, 6, tzinfo=UTC), 'CN=R 11,O=L\\, E\\"x\\",C=ü', "0123", "1e5" + "0" * 61
)
WRITTEN = {
    "certificate_expiration": "2027-02-03T04:05:06Z",
    "certificate_issuer": FACTS.issuer,
    "certificate_serial": "0123",
    "certificate_sha256": FACTS.sha256,
    "certificate_validation": True,
}

# One host for each way to keep a host's variables: its files below host_vars/, and where the facts go.
LAYOUTS: dict[str, tuple[dict[str, str], set[str]]] = {
    "nothing": ({}, {"nothing/certificate.yml"}),
    "yml": ({"yml.yml": "# top\nb: [1,   2]\n\n# end\n"}, {"yml.yml"}),
    "yaml": ({"yaml.yaml": "---\nb: 1\n"}, {"yaml.yaml"}),
    "json": ({"json.json": '{"b": {"c": 1}}'}, {"json.json"}),
    "bare": ({"bare": "b: 1"}, {"bare"}),
    "both": ({"both.yml": "b: 1\n", "both.json": '{"not": "read"}'}, {"both.yml"}),
    "folder": ({"folder/a.yml": "b: 1\n"}, {"folder/certificate.yml"}),
    "later": (
        {"later/vars.yml": "certificate_serial: ab # mine\nb: 1\n"},
        {"later/vars.yml", "later/certificate.yml"},
    ),
    "twice": (
        {"twice/a.yml": "certificate_serial: a1\n", "twice/z/sub.yaml": "certificate_serial: a2\nb: 1\n"},
        {"twice/z/sub.yaml", "twice/certificate.yml"},
    ),
    "again": (
        {"again/certificate.yml": "certificate_serial: '1'\ncertificate_expiration: 2020-01-01T00:00:00Z\n"},
        {"again/certificate.yml"},
    ),
    "hidden": (
        {"hidden/.x.yml": "certificate_serial: no\n", "hidden/y.yml~": "certificate_serial: no\n"},
        {"hidden/certificate.yml"},
    ),
    "odd": (
        {"odd/x.d/y.yml": "not: read\n", "odd/notes.txt": "not read\n", "odd/z": "b: 1\n"},
        {"odd/certificate.yml"},
    ),
    "flow": ({"flow.yml": "{b: 1, certificate_validation: false}\n"}, {"flow.yml"}),
    "indented": ({"indented.yml": "  b: |\n    x\n\n  c: '{{ b }}'\n"}, {"indented.yml"}),
    "empty": ({"empty.yml": ""}, {"empty.yml"}),
    "fqdn.example.com": ({"fqdn.example.com.yml": "b: 1\n"}, {"fqdn.example.com.yml"}),
}  # fmt: skip


def hosts_file(*hosts: str) -> str:
    lines = [f"    {host}: {{certificate_validation: false, inline: '{host}'}}" for host in hosts]
    return "\n".join(["all:", "  hosts:", *lines, ""])


def all_said(source: str) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [PROGRAMS / "ansible-inventory", "-i", source, "--list"], capture_output=True, text=True, check=True, timeout=60
    )
    said: dict[str, dict[str, Any]] = json.loads(done.stdout)["_meta"]["hostvars"]
    return said


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


def test_every_layout_keeps_what_the_operator_set_and_gains_the_facts(write: Write, read: Read) -> None:
    files = {f"inventory/host_vars/{name}": text for made, _ in LAYOUTS.values() for name, text in made.items()}
    vars_folder = write({"inventory/hosts.yml": hosts_file(*LAYOUTS), **files}) / "inventory/host_vars"
    before, texts = all_said("inventory"), snapshot(vars_folder)
    inventory = read("inventory")
    for host, (_, places) in LAYOUTS.items():
        result = inventory.record(host, FACTS)
        assert (result.warning, set(result.where.split(", "))) == ("", {str(vars_folder / place) for place in places})
    assert all_said("inventory") == {host: {**said, **WRITTEN} for host, said in before.items()}
    changed = {path for path, found in snapshot(vars_folder).items() if texts.get(path) != found}
    assert changed == {vars_folder / place for _, places in LAYOUTS.values() for place in places}
    after = snapshot(vars_folder)
    for host in LAYOUTS:
        assert inventory.record(host, FACTS).warning == ""
    assert snapshot(vars_folder) == after


def test_comments_order_and_form_stay(write: Write, read: Read) -> None:
    text = "# Top\nz: [1,   2]   # odd\ncertificate_serial: ab # mine\n\na:  'x'\n# end\n"
    path = (
        write({"inventory/hosts.yml": hosts_file("h"), "inventory/host_vars/h.yml": text}) / "inventory/host_vars/h.yml"
    )
    read("inventory").record("h", FACTS)
    lines = path.read_text().splitlines()
    assert lines[:4] == ["# Top", "z: [1,   2]   # odd", 'certificate_serial: "0123" # mine', ""]
    assert (lines[4], lines[-1]) == ("a:  'x'", "# end")


def test_a_single_file_inventory_gets_host_vars_beside_it(write: Write, read: Read) -> None:
    work = write({"site/hosts.ini": "[g]\nh ansible_port=22\n"})
    assert read("site/hosts.ini").record("h", FACTS).where == str(work / "site/host_vars/h/certificate.yml")
    assert ansible_host("h", "site/hosts.ini") == {"ansible_port": 22, **WRITTEN}


def test_of_several_sources_the_hosts_own_is_written_unless_a_later_one_sets_the_fact(write: Write, read: Read) -> None:
    work = write(
        {
            "one/hosts.yml": hosts_file("a"),
            "two/hosts.yml": hosts_file("b"),
            "two/host_vars/a.yml": "certificate_serial: ff\n",
        }
    )
    inventory = read("one", "two", "x,y,")
    assert inventory.record("b", FACTS).where == str(work / "two/host_vars/b/certificate.yml")
    assert set(inventory.record("a", FACTS).where.split(", ")) == {
        str(work / "one/host_vars/a/certificate.yml"),
        str(work / "two/host_vars/a.yml"),
    }
    for host in ("a", "b"):
        assert WRITTEN.items() <= ansible_host(host, "one", "two", "x,y,").items()


def test_host_vars_of_the_working_folder_win_and_are_edited_there(write: Write, read: Read) -> None:
    work = write({"inventory/hosts.yml": hosts_file("h"), "host_vars/h.yml": "certificate_serial: ff\n"})
    assert str(work / "host_vars/h.yml") in read("inventory").record("h", FACTS).where
    assert WRITTEN.items() <= ansible_host("h", "inventory").items()


@pytest.mark.parametrize("host", ["listed", "scripted", "unknown"])
def test_hosts_without_a_file_get_a_warning_and_nothing_is_written(write: Write, read: Read, host: str) -> None:
    work = write({"inv.sh": '#!/bin/sh\necho \'{"g": {"hosts": ["scripted"]}}\'\n'})
    (work / "inv.sh").chmod(0o755)
    before = snapshot(work)
    result = read("listed,", "inv.sh").record(host, FACTS)
    assert (result.where, host in result.warning) == ("", True)
    assert snapshot(work) == before


def test_encrypted_files_are_not_touched(write: Write, read: Read) -> None:
    work = write(
        {
            "pw": "hunter2",
            "inventory/host_vars/whole.yml": "b: 1\n",
            "inventory/host_vars/beside/vault.yml": "c: 2\n",
            "inventory/host_vars/own/certificate.yml": "d: 3\n",
        }
    )
    write(
        {
            "inventory/hosts.yml": hosts_file("whole", "beside", "inline", "own"),
            "inventory/host_vars/inline.yml": f"x: {encrypt_string('s', work / 'pw')}\ny: 1\n",
        }
    )
    encrypted = [
        work / "inventory/host_vars" / name for name in ("whole.yml", "beside/vault.yml", "own/certificate.yml")
    ]
    for path in encrypted:
        encrypt(path, work / "pw")
    before = [path.read_bytes() for path in encrypted]
    inventory = read("inventory", vault_password_files=("pw",))
    for host in ("whole", "own"):
        result = inventory.record(host, FACTS)
        assert (result.where, "encrypted" in result.warning) == ("", True)
    assert inventory.record("beside", FACTS).where.endswith("beside/certificate.yml")
    assert inventory.record("inline", FACTS).where.endswith("inline.yml")
    assert [path.read_bytes() for path in encrypted] == before
    assert not (work / "inventory/host_vars/whole").exists()
    inline = ansible_host("inline", "inventory")
    assert WRITTEN.items() <= inline.items()
    assert (inline["y"], "ANSIBLE_VAULT" in inline["x"]["__ansible_vault"]) == (1, True)


def test_a_ca_cannot_smuggle_a_template_into_the_inventory(write: Write, read: Read) -> None:
    write({"inventory/hosts.yml": hosts_file("h")})
    facts = CertificateFacts(FACTS.expiration, "CN={{ lookup('pipe', 'touch pwned') }}{% x %}", "1", "2")
    inventory = read("inventory")
    inventory.record("h", facts)
    (host,) = read("inventory").hosts()
    assert host.variables["certificate_issuer"] == "CN=\\7B\\7B lookup('pipe', 'touch pwned') }}\\7B% x %}"
    assert not Path("pwned").exists()


def record_in(folder: Path, host: str = "h") -> Any:
    return record(host, FACTS, folders=[folder], home=folder)


def test_mode_owner_and_symlink_stay(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    real, link = tmp_path / "real.yml", tmp_path / "host_vars/h.yml"
    real.write_text("b: 1\n")
    real.chmod(0o640)
    link.symlink_to(real)
    if os.geteuid() == 0:
        os.chown(real, 1234, 1235)
    before = real.stat()
    assert record_in(tmp_path).warning == ""
    after = real.stat()
    assert link.is_symlink()
    assert "certificate_serial" in real.read_text()
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (0o640, before.st_uid, before.st_gid)
    assert [path.name for path in (tmp_path / "host_vars").iterdir()] == ["h.yml"]


def test_a_new_file_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "host_vars", 1234, 1235)
    owner = (tmp_path / "host_vars").stat()
    record_in(tmp_path)
    for path in (tmp_path / "host_vars/h", tmp_path / "host_vars/h/certificate.yml"):
        assert (path.stat().st_uid, path.stat().st_gid) == (owner.st_uid, owner.st_gid)
    assert stat.S_IMODE((tmp_path / "host_vars/h/certificate.yml").stat().st_mode) & 0o133 == 0


def test_what_is_read_only_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    path = tmp_path / "host_vars/h.yml"
    path.write_text("b: 1\n")
    path.chmod(0o444)
    assert "read-only" in record_in(tmp_path).warning
    path.unlink()
    (tmp_path / "host_vars").chmod(0o555)
    assert "read-only" in record_in(tmp_path).warning
    (tmp_path / "host_vars").chmod(0o755)
    assert list((tmp_path / "host_vars").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"b: [\n", "YAML"),
        (b"- x\n", "mapping"),
        (b"b: \xff\n", "UTF-8"),
        (b"b: &x 1\ncertificate_serial: *x\n", "alias"),
    ],
)
def test_a_file_that_cannot_be_changed_is_a_warning_with_its_name(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/h.yml").write_bytes(content)
    warning = record_in(tmp_path).warning
    assert word in warning
    assert "host_vars/h.yml" in warning
    assert (tmp_path / "host_vars/h.yml").read_bytes() == content


@pytest.mark.parametrize("host", ["../h", "a/b", "..", ""])
def test_a_host_name_cannot_lead_elsewhere(tmp_path: Path, host: str) -> None:
    assert record_in(tmp_path, host).warning
    assert list(tmp_path.rglob("*.yml")) == []


def test_a_failing_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host_vars").mkdir()
    path = tmp_path / "host_vars/h.yml"
    path.write_text("b: 1\n")

    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    assert "No space left" in record_in(tmp_path).warning
    assert [(found.name, found.read_text()) for found in (tmp_path / "host_vars").iterdir()] == [("h.yml", "b: 1\n")]


def test_no_file_of_the_host_is_none(tmp_path: Path) -> None:
    assert find_files(tmp_path, "h") == []
