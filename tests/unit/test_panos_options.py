# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from ottr.drivers.panos import check_options
from ottr.drivers.panos.configuration import Binding, parse_bound, write_bound
from ottr.drivers.panos.options import Options, parse_options
from ottr.drivers.panos.places import build_place, check_label, entry
from ottr.errors import DeviceRejected

PROFILE = {"ssl_tls_service_profile": "ottr"}


def test_defaults():
    assert parse_options(PROFILE) == Options("ottr")
    assert parse_options({**PROFILE, "bind": "profile", "location": "shared", "ca_bundle": ""}) == Options("ottr")


def test_everything():
    options = parse_options(
        {
            **PROFILE,
            "bind": "management",
            "location": "vsys2",
            "panorama": "[2001:db8::1]:8443",
            "template": "Branch 1",
            "template_stack": "stack",
            "ca_bundle": "/etc/roots.pem",
            "others_changes": "leave",
            "poll_interval": 1,
            "commit_timeout": 60,
        }
    )
    assert options.management
    assert not options.wait_for_others
    assert (options.poll_interval_s, options.commit_timeout_s, options.busy_timeout_s) == (1.0, 60.0, 300.0)
    assert (options.template, options.template_stack, options.location) == ("Branch 1", "stack", "vsys2")
    assert options.ca_bundle == Path("/etc/roots.pem")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "ssl_tls_service_profile is missing"),
        ({**PROFILE, "profile": "x"}, "no option 'profile'"),
        ({"ssl_tls_service_profile": "a'b"}, "cannot be used"),
        ({"ssl_tls_service_profile": 5}, "cannot be used"),
        ({**PROFILE, "bind": "portal"}, "bind must be profile or management"),
        ({**PROFILE, "location": "vsys0"}, "location"),
        ({**PROFILE, "template": "T"}, "panorama and template go together"),
        ({**PROFILE, "panorama": "p"}, "panorama and template go together"),
        ({**PROFILE, "template_stack": "S"}, "needs panorama"),
        ({**PROFILE, "panorama": "p", "template": "T", "location": "panorama"}, "Panorama's own"),
        ({**PROFILE, "panorama": "https://p", "template": "T"}, "panorama"),
        ({**PROFILE, "poll_interval": 0}, "poll_interval"),
        ({**PROFILE, "commit_timeout": True}, "commit_timeout"),
        ({**PROFILE, "busy_timeout": "60"}, "busy_timeout"),
        ({**PROFILE, "ca_bundle": 1}, "ca_bundle"),
        ({**PROFILE, "others_changes": "revert"}, "others_changes"),
    ],
)
def test_refused(options, words):
    with pytest.raises(ValueError, match=words):
        check_options(options)


def test_places():
    device = "/devices/entry[@name='localhost.localdomain']"
    shared = build_place(parse_options(PROFILE))
    assert shared.certificates == ("/config/shared/certificate",)
    assert shared.profiles == "/config/shared/ssl-tls-service-profile"
    assert shared.system == f"/config{device}/deviceconfig/system"
    vsys = build_place(parse_options({**PROFILE, "location": "vsys3"}))
    assert vsys.profiles == f"/config{device}/vsys/entry[@name='vsys3']/ssl-tls-service-profile"
    assert vsys.certificates[0] == "/config/shared/certificate"
    template = build_place(parse_options({**PROFILE, "panorama": "p", "template": "T"}))
    root = f"/config{device}/template/entry[@name='T']/config"
    assert template.certificates == (f"{root}/shared/certificate",)
    assert template.system == f"{root}{device}/deviceconfig/system"
    assert build_place(parse_options({**PROFILE, "location": "panorama"})).profiles == (
        "/config/panorama/ssl-tls-service-profile"
    )


@pytest.mark.parametrize("name", ["", "a'b", 'a"b', "a<b", "a&b"])
def test_names_that_would_end_their_quotes(name):
    with pytest.raises(DeviceRejected):
        entry(name)


@pytest.mark.parametrize("label", ["", "ottr", "otter-1", "ottr-A", "ottr-" + "a" * 27])
def test_labels_that_are_not_ours(label):
    with pytest.raises(DeviceRejected):
        check_label(label)


@pytest.mark.parametrize("binding", [Binding("a", "ottr"), Binding("", "ottr"), Binding("", ""), Binding("a", "b")])
def test_bound_comes_back(binding):
    options = parse_options({**PROFILE, "bind": "management"})
    assert parse_bound(write_bound(binding, options), options) == binding


@pytest.mark.parametrize("bound", ["{", "{}", '{"certificate": "a"}'])
def test_bound_that_cannot_be_read(bound):
    with pytest.raises(DeviceRejected):
        parse_bound(bound, parse_options(PROFILE))
