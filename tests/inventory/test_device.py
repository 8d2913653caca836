# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ottr.errors import CredentialsError
from ottr.inventory import HostSecrets, InventoryHost
from ottr.inventory.credentials import build_credentials
from ottr.inventory.device import Refusal, build_device
from ottr.model import Credentials, Device, Secret

GOOD = {"host_platform": "linux", "common_name": "a.example.com"}


def host(**variables: Any) -> InventoryHost:
    return InventoryHost("a", frozenset({"g"}), {**GOOD, **variables})


def test_a_whole_device() -> None:
    variables = {
        **GOOD,
        "subject_alternative_name": "DNS:B.example.com, a.example.com",
        "ansible_host": "127.0.0.1",
        "ansible_port": "22",
        "os_version": "10.2.4",
        "device_model": 440,
        "certificate_authority": " lets_encrypt ",
        "ottr_ha_group": "pair1",
        "ottr_options": {"x": 1},
    }
    assert build_device(host(**variables)) == Device(
        name="a",
        platform="linux",
        address="127.0.0.1",
        dns_names=("a.example.com", "b.example.com"),
        os_version="10.2.4",
        model="440",
        certificate_authority="lets_encrypt",
        ha_group="pair1",
        groups=frozenset({"g"}),
        variables=variables,
    )


def test_what_is_not_said_is_empty_and_the_name_is_the_address() -> None:
    assert build_device(host(os_version=12, ha_group="x")) == Device(
        "a", "linux", "a", ("a.example.com",), os_version="12", ha_group="x", groups=frozenset({"g"}),
        variables={**GOOD, "os_version": 12, "ha_group": "x"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "reason", "detail"),
    [
        ({"host_platform": None}, "no_platform", "host_platform"),
        ({"host_platform": " "}, "no_platform", "host_platform"),
        ({"host_platform": True}, "bad_variable", "host_platform is True"),
        ({"common_name": None}, "no_common_name", "common_name"),
        ({"common_name": ""}, "no_common_name", "common_name"),
        ({"common_name": "a; rm -rf /"}, "bad_name", "a; rm -rf /"),
        ({"common_name": "10.0.0.1"}, "ip_needs_other_challenge", "10.0.0.1"),
        ({"subject_alternative_name": ["ok.example", "10.0.0.1"]}, "ip_needs_other_challenge", "10.0.0.1"),
        ({"subject_alternative_name": ["ok.example", "b'.example"]}, "bad_name", "b'.example"),
        ({"os_version": 9.1}, "bad_version", "9.1"),
        ({"device_model": [1]}, "bad_variable", "device_model"),
        ({"ansible_host": "-oProxyCommand=id"}, "bad_address", "-oProxyCommand"),
        ({"ansible_host": "a b"}, "bad_address", "a b"),
        ({"ansible_port": 0}, "bad_variable", "ansible_port"),
        ({"ansible_port": "65536"}, "bad_variable", "ansible_port"),
        ({"ansible_ssh_port": "22; id"}, "bad_variable", "ansible_ssh_port"),
    ],
)
def test_a_host_that_is_no_device_says_why(variables: dict[str, Any], reason: str, detail: str) -> None:
    found = build_device(host(**variables))
    assert isinstance(found, Refusal)
    assert (found.host, found.reason) == ("a", reason)
    assert detail in found.detail


def test_a_number_as_version_is_refused_with_the_hint_to_quote_it() -> None:
    found = build_device(host(os_version=9.1))
    assert isinstance(found, Refusal)
    assert "quotes" in found.hint


def test_a_hostile_inventory_name_is_no_address() -> None:
    found = build_device(InventoryHost("a$(id)", frozenset(), GOOD))
    assert isinstance(found, Refusal)
    assert found.reason == "bad_address"


@pytest.mark.parametrize(("name", "matters"), [("ottr_key", True), ("ansible_host", True), ("data_center", False)])
def test_a_variable_that_could_not_be_rendered_stops_the_device_if_it_matters(name: str, matters: bool) -> None:
    found = build_device(InventoryHost("a", frozenset(), GOOD, problems={name: "'x' is undefined"}))
    assert isinstance(found, Refusal) is matters
    if isinstance(found, Refusal):
        assert (found.reason, name in found.detail) == ("bad_variable", True)


def test_credentials_by_ansibles_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/op")
    secrets = {
        "ansible_password": "p1",
        "ansible_ssh_pass": "p2",
        "ansible_become_pass": "b",
        "ansible_ssh_private_key_passphrase": "k",
    }
    found = build_credentials(
        host(
            ansible_user="root",
            ansible_ssh_private_key_file="~/.ssh/id",
            ansible_become="yes",
            ansible_become_method="ansible.builtin.sudo",
            ansible_become_user="web",
        ),
        HostSecrets({name: Secret(value) for name, value in secrets.items()}),
    )
    assert found == Credentials(
        username="root",
        password=Secret("p2"),
        private_key_file=str(Path("/home/op/.ssh/id")),
        private_key_passphrase=Secret("k"),
        become=True,
        become_user="web",
        become_password=Secret("b"),
    )


def test_credentials_by_default_are_ansibles_defaults() -> None:
    assert build_credentials(host()) == Credentials()
    assert build_credentials(host(ansible_become=True)).become_user == "root"


@pytest.mark.parametrize("value", [False, "no", "False", 0, "off", "", None])
def test_become_is_off_by_ansibles_words(value: object) -> None:
    assert build_credentials(host(ansible_become=value, ansible_become_method="su")).become is False


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ansible_become": True, "ansible_become_method": "su"}, "ansible_become_method is 'su'"),
        ({"ansible_become": "perhaps"}, "neither true nor false"),
        ({"ansible_private_key_file": "~nobody-of-this-name/id"}, "nobody-of-this-name"),
    ],
)
def test_what_cannot_be_meant_is_an_error(variables: dict[str, Any], message: str) -> None:
    with pytest.raises(CredentialsError, match=message):
        build_credentials(host(**variables))


def test_a_secret_that_cannot_be_read_is_an_error_only_where_it_is_needed() -> None:
    broken = HostSecrets(problems={"ansible_become_pass": "cannot be read"})
    assert build_credentials(host(), broken).become_password is None
    with pytest.raises(CredentialsError, match="ansible_become_pass cannot be read"):
        build_credentials(host(ansible_become=True), broken)
