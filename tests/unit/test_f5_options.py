# SPDX-License-Identifier: Apache-2.0
"""Options of the F5 driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottr.drivers.f5.options import Options, parse_options
from ottr.drivers.f5.places import check_label, find_label
from ottr.errors import DeviceRejected


def test_defaults():
    assert parse_options({"management": True}) == Options()
    assert parse_options({"client_ssl": "site"}) == Options(profiles=("/Common/site",))


def test_everything_set():
    options = parse_options(
        {
            "client_ssl": ["site", "/Shop/app.app/shop"],
            "management": False,
            "other_key_types": "replace",
            "device_group": "/Common/DG",
            "verify_virtuals": False,
            "ca_bundle": "/etc/roots.pem",
            "ssh_port": 2222,
            "poll_interval": 1,
            "restart_timeout": 2.5,
            "sync_timeout": 3,
            "request_timeout": 4,
        }
    )
    assert options == Options(
        profiles=("/Common/site", "/Shop/app.app/shop"),
        keep_other_key_types=False,
        device_group="DG",
        verify_virtuals=False,
        ca_bundle=Path("/etc/roots.pem"),
        ssh_port=2222,
        poll_interval_s=1.0,
        restart_timeout_s=2.5,
        sync_timeout_s=3.0,
        request_timeout_s=4.0,
    )
    assert parse_options({"management": True, "ca_bundle": Path("/x"), "ssh_port": 0}).ca_bundle == Path("/x")
    assert parse_options({"client_ssl": "site", "device_group": "", "ca_bundle": None}).device_group == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "client_ssl"),
        ({"management": True, "client_ssl": "site"}, "either"),
        ({"management": "yes"}, "true or false"),
        ({"management": 1}, "true or false"),
        ({"client_ssl": []}, "client_ssl"),
        ({"client_ssl": 7}, "client_ssl"),
        ({"client_ssl": ["site", "/Common/site"]}, "twice"),
        ({"client_ssl": "a b"}, "client_ssl"),
        ({"client_ssl": "/Common/*"}, "client_ssl"),
        ({"client_ssl": "/Common/../x"}, "client_ssl"),
        ({"client_ssl": "~Common~x"}, "client_ssl"),
        ({"client_ssl": ["-rf"]}, "client_ssl"),
        ({"client_ssl": "site\n"}, "client_ssl"),
        ({"management": True, "device_group": "DG"}, "device_group"),
        ({"management": True, "verify_virtuals": True}, "verify_virtuals"),
        ({"client_ssl": "site", "device_group": "a; b"}, "device_group"),
        ({"client_ssl": "site", "device_group": 7}, "device_group"),
        ({"client_ssl": "site", "other_key_types": "both"}, "keep or replace"),
        ({"client_ssl": "site", "poll_interval": 0}, "poll_interval"),
        ({"client_ssl": "site", "restart_timeout": True}, "restart_timeout"),
        ({"client_ssl": "site", "sync_timeout": "1"}, "sync_timeout"),
        ({"client_ssl": "site", "ca_bundle": 7}, "ca_bundle"),
        ({"client_ssl": "site", "ssh_port": 70000}, "ssh_port"),
        ({"client_ssl": "site", "ssh_port": True}, "ssh_port"),
        ({"client_ssl": "site", "profil": "x"}, "'profil'"),
    ],
)
def test_refused(options, words):
    with pytest.raises(ValueError, match=words):
        parse_options(options)


@pytest.mark.parametrize("name", ["ottr-ab-1.key", "/Common/ottr-ab-1.crt", "ottr-ab-1.chain.crt", "ottr-ab-1.csr"])
def test_names_of_ours(name):
    assert find_label(name) == "ottr-ab-1"


@pytest.mark.parametrize("name", ["", "default.crt", "ottr-ab-1", "/Shop/ottr-a.crt", "ottr-a.crt.bak", "x-ottr-1.key"])
def test_names_of_others(name):
    assert find_label(name) == ""


@pytest.mark.parametrize("label", ["", "default", "ottr-", "ottr-A", "ottr-a/b", "ottr-a\n", "ottr-" + "a" * 27])
def test_labels_of_others(label):
    with pytest.raises(DeviceRejected):
        check_label(label)
