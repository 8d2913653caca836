# SPDX-License-Identifier: Apache-2.0
"""The inventory in the state database."""

from __future__ import annotations

import datetime as dt

import pytest

from ottr.errors import InventoryError
from ottr.inventory import CertificateFacts, HostSecrets, InventoryHost
from ottr.state.database import Database
from ottr.state.devices import SqlInventory, keep

FACTS = CertificateFacts(dt.datetime(2027, 1, 1, tzinfo=dt.UTC), "CN=CA", "1f", "ab" * 32)


def host(name: str, *groups: str, **variables: object) -> InventoryHost:
    return InventoryHost(name, frozenset(groups), {"host_platform": "linux", **variables})


@pytest.fixture
def inventory(database: Database) -> SqlInventory:
    found = SqlInventory(database)
    found.add([host("web2", "web", "dc1"), host("web1", "web"), host("fw1", "dc1")])
    return found


def names(inventory: SqlInventory, pattern: str = "all", limit: str = "") -> list[str]:
    return [one.name for one in inventory.hosts(pattern, limit)]


def test_hosts_stay_in_the_order_they_were_added(inventory: SqlInventory) -> None:
    inventory.add([host("aaa"), host("web2", "web", "dc2")])
    assert names(inventory) == ["web2", "web1", "fw1", "aaa"]
    assert inventory.hosts("web2")[0].groups == {"web", "dc2"}


@pytest.mark.parametrize(
    ("pattern", "limit", "meant"),
    [
        ("web:&dc1", "", ["web2"]),
        ("all:!web", "", ["fw1"]),
        ("web*", "dc1", ["web2"]),
        ("fw1,web1", "", ["fw1", "web1"]),
        ("~^fw", "", ["fw1"]),
    ],
)
def test_patterns_mean_what_they_mean_to_ansible(
    inventory: SqlInventory, pattern: str, limit: str, meant: list[str]
) -> None:
    assert names(inventory, pattern, limit) == meant


def test_what_matches_nothing_is_refused_but_an_empty_inventory_is_none(
    inventory: SqlInventory, database: Database
) -> None:
    with pytest.raises(InventoryError, match="no host matches 'db'"):
        inventory.hosts("db")
    with pytest.raises(InventoryError, match="with the limit 'db'"):
        inventory.hosts("all", "db")
    with pytest.raises(InventoryError, match="address with a port"):
        inventory.hosts("web1:22")
    inventory.remove(["web1", "web2", "fw1"])
    assert names(inventory) == []


@pytest.mark.parametrize("name", ["ansible_password", "ottr_api_token", "ansible_become_pass"])
def test_no_secret_gets_into_the_database(inventory: SqlInventory, name: str) -> None:
    secret = host("web9", **{name: "hunter2"})
    with pytest.raises(InventoryError, match=f"{name} is a secret") as caught:
        inventory.add([host("web8"), secret])
    assert "hunter2" not in str(caught.value)
    assert "web8" not in names(inventory)
    inventory.add([keep(secret)])
    assert inventory.hosts("web9")[0].variables == {"host_platform": "linux"}


def test_names_that_no_pattern_could_mean_and_variables_nobody_reads_are_refused(inventory: SqlInventory) -> None:
    for one in (host("a b"), host("a,b"), host("ok", "g:h"), host("[x]")):
        with pytest.raises(InventoryError, match="no pattern could mean it"):
            inventory.add([one])
    with pytest.raises(InventoryError, match="nothing reads a variable of the name colour"):
        inventory.add([host("web9", colour="blue")])


def test_a_rotation_is_written_down(inventory: SqlInventory) -> None:
    assert not inventory.record("web1", FACTS).warning
    assert inventory.hosts("web1")[0].variables == {
        "host_platform": "linux",
        "certificate_expiration": "2027-01-01T00:00:00Z",
        "certificate_issuer": "CN=CA",
        "certificate_serial": "1f",
        "certificate_sha256": "ab" * 32,
        "certificate_validation": True,
    }
    assert "has left the inventory" in inventory.record("gone", FACTS).warning


def test_logins_are_elsewhere(inventory: SqlInventory) -> None:
    assert inventory.secrets(inventory.hosts("web1")) == {"web1": HostSecrets()}
