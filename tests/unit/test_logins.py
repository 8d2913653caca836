# SPDX-License-Identifier: Apache-2.0
"""Logins of one batch: the inventory's first, then ottr.yaml's; those of the batch before are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ottr.errors import CredentialsError
from ottr.inventory import HostSecrets, InventoryHost
from ottr.logins import Logins
from ottr.model import Device, Secret
from ottr.settings import CredentialSource, SecretReference


class Inventory:
    """Keeps secrets, and account of who was asked for."""

    def __init__(self, secrets: dict[str, HostSecrets]) -> None:
        self.kept = secrets
        self.asked: list[list[str]] = []

    def hosts(self, pattern: str = "all", limit: str = "") -> Sequence[InventoryHost]:
        return ()

    def record(self, host, facts): ...

    def secrets(self, hosts: Sequence[InventoryHost]) -> dict[str, HostSecrets]:
        self.asked.append([host.name for host in hosts])
        return {host.name: self.kept[host.name] for host in hosts if host.name in self.kept}


def device(name: str) -> Device:
    return Device(name, "linux", name, (f"{name}.example.com",))


WEB1 = InventoryHost("web1", variables={"ansible_user": "root"}, secret_names=("ansible_password",))
WEB2 = InventoryHost("web2")


def logins(*sources: CredentialSource) -> tuple[Logins, Inventory]:
    inventory = Inventory({"web1": HostSecrets({"ansible_password": Secret("of the inventory")})})
    return Logins(inventory, sources, (Path("/known"),), {"PASSWORD": "of the environment"}), inventory


def test_what_a_login_gave_is_kept_for_a_device_until_the_next_batch():
    book, _ = logins()
    book.prepare([WEB1, WEB2])
    first = book.of(device("web1"))
    assert first.kept == {}
    first.kept["api_key"] = Secret("of a login")
    assert book.of(device("web1")).kept == {"api_key": Secret("of a login")}
    assert book.of(device("web2")).kept == {}
    book.prepare([WEB1])
    assert book.of(device("web1")).kept == {}


def test_the_inventory_goes_first_and_ottr_yaml_fills_in_what_it_leaves_open():
    source = CredentialSource(
        "linux",
        username=SecretReference("ottr.yaml", Secret("svc")),
        password=SecretReference("ottr.yaml", env="PASSWORD"),
    )
    book, _ = logins(source)
    book.prepare([WEB1, WEB2])
    first, second = book.of(device("web1")), book.of(device("web2"))
    assert (first.username, first.password) == ("root", Secret("of the inventory"))
    assert (second.username, second.password) == ("svc", Secret("of the environment"))
    assert first.known_hosts == second.known_hosts == (Path("/known"),)


def test_only_hosts_with_secrets_are_looked_up():
    book, inventory = logins()
    book.prepare([WEB1, WEB2])
    assert inventory.asked == [["web1"]]


def test_the_batch_before_is_forgotten():
    book, _ = logins()
    book.prepare([WEB1])
    book.prepare([WEB2])
    assert book.of(device("web2")).username == ""
    with pytest.raises(CredentialsError, match="web1"):
        book.of(device("web1"))


def test_a_secret_that_cannot_be_read_is_an_error_of_its_own_device_only():
    book, inventory = logins()
    inventory.kept["web1"] = HostSecrets(problems={"ansible_password": "cannot be decrypted"})
    book.prepare([WEB1, WEB2])
    assert book.of(device("web2")).password is None
    with pytest.raises(CredentialsError, match="web1: ansible_password cannot be decrypted"):
        book.of(device("web1"))


def test_arguments_of_ssh_are_a_secret_when_one_of_them_is():
    one = InventoryHost("web1", variables={"ansible_ssh_extra_args": "-p 3"}, secret_names=("ansible_ssh_common_args",))
    inventory = Inventory({"web1": HostSecrets({"ansible_ssh_common_args": Secret("-J a")})})
    learnt = []
    book = Logins(inventory, (), (), {}, learnt.append)
    book.prepare([one])
    found = book.of(device("web1"))
    assert found.ssh_arguments == Secret("-J a -p 3")
    assert learnt == [inventory.kept, found]
    book.prepare([WEB2])
    assert book.of(device("web2")).ssh_arguments is None
