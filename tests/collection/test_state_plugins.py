# SPDX-License-Identifier: Apache-2.0
"""The inventory plugin and the lookup read the state database, and the inventory that is kept there."""

from __future__ import annotations

import json
import shutil
from typing import Any

from ottr import x509
from tests.collection.player import Player

HOSTS = ("web1.lab.test", "web2.lab.test", "web3.lab.test")
SOURCE = """
plugin: ottr.pki.ottr
config: ottr.yaml
expiring_days: {days}
keyed_groups: [{{key: data_center, prefix: dc}}]
groups: {{busy: ottr_open}}
compose:
  short: inventory_hostname.split('.')[0]
"""
CACHED = """
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: facts
"""


def read(player: Player, source: str) -> Any:
    player.write("devices.ottr.yml", source)
    process = player.command("ansible-inventory", "-i", "devices.ottr.yml", "--list")
    return json.loads(player.wait(process).stdout, object_hook=_plain)


def _plain(value: dict[str, Any]) -> Any:
    """What Ansible marks as not to be rendered."""
    return value["__ansible_unsafe"] if set(value) == {"__ansible_unsafe"} else value


def test_devices_come_from_the_database_with_what_is_known_of_them(player: Player) -> None:
    player.counted = True
    player.operator.run("inventory", "import", "-i", "inventory", "web*:!web3*")
    player.operator.run("rotate", HOSTS[0], "-i", "state:")
    player.operator.run("rotate", HOSTS[2])  # which the inventory of the database does not have
    player.play(
        "- {hosts: all, gather_facts: false, tasks: [{ottr.pki.csr: }]}", "-i", "inventory", "--limit", HOSTS[1]
    )
    listed = read(player, SOURCE.format(days=30))
    variables = listed["_meta"]["hostvars"]
    assert set(variables) == set(HOSTS)
    leaf = x509.parse_certificate(player.operator.served()[HOSTS[0]])
    assert variables[HOSTS[0]]["certificate_sha256"] == leaf.sha256
    assert variables[HOSTS[0]]["common_name"] == HOSTS[0]
    assert variables[HOSTS[1]]["short"] == "web2"
    assert "common_name" not in variables[HOSTS[2]]
    groups = {name: set(group.get("hosts", ())) for name, group in listed.items() if name != "_meta"}
    assert groups["driver_linux_ssh"] == groups["issuer_lab"] == set(HOSTS)
    assert groups["dc_LAB"] == groups["linux"] == {HOSTS[0], HOSTS[1]}
    assert groups["busy"] == {HOSTS[1]}
    assert "expiring" not in groups
    assert "stranded" not in groups
    soon = read(player, SOURCE.format(days=100000))
    assert set(soon["expiring"]["hosts"]) == {HOSTS[0], HOSTS[2]}


def test_a_cache_holds_until_it_is_gone(player: Player) -> None:
    player.operator.run("inventory", "add", "a", "-s", "host_platform=linux")
    assert set(read(player, SOURCE.format(days=1) + CACHED)["_meta"]["hostvars"]) == {"a"}
    player.operator.run("inventory", "add", "b", "-s", "host_platform=linux")
    assert set(read(player, SOURCE.format(days=1) + CACHED)["_meta"]["hostvars"]) == {"a"}
    shutil.rmtree(player.folder / "facts")
    assert set(read(player, SOURCE.format(days=1) + CACHED)["_meta"]["hostvars"]) == {"a", "b"}


def test_a_stranded_device_is_in_its_group_and_a_certificate_can_be_looked_up(player: Player) -> None:
    player.counted = True
    player.operator.set_option(HOSTS[0], "reload_command", ["/bin/false"])
    player.operator.run("rotate", f"{HOSTS[0]},{HOSTS[1]}", status=8)
    assert set(read(player, SOURCE.format(days=30))["stranded"]["hosts"]) == {HOSTS[0]}
    look = (
        "{name: look, ansible.builtin.debug: {msg: \"{{ query('ottr.pki.certificate', 'web2.lab.test', 'nobody') }}\"}}"
    )
    player.play(f"- {{hosts: {HOSTS[0]}, gather_facts: false, tasks: [{look}]}}")
    found, nothing = player.results("look")[HOSTS[0]]["msg"]
    assert found["sha256"] == x509.parse_certificate(player.operator.served()[HOSTS[1]]).sha256
    assert nothing is None


def test_what_is_wrong_with_the_settings_is_said(player: Player) -> None:
    player.write("devices.ottr.yml", "plugin: ottr.pki.ottr\nconfig: nowhere.yaml\n")
    process = player.command(
        "ansible-inventory", "-i", "devices.ottr.yml", "--list", ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1"
    )
    told = "".join(player.wait(process, status=1).stderr.split())  # where lines are broken is Ansible's
    assert "nowhere.yaml:thereisnosuchfile" in told
