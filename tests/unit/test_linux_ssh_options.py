# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ottr.drivers.linux_ssh import check_options
from ottr.drivers.linux_ssh.options import parse_options
from ottr.drivers.linux_ssh.scripts import check_dns_names

PATHS = {"fullchain": "/tls/full.pem", "key": "/tls/key.pem"}


def test_paths_of_a_route_take_the_place_of_all_of_the_presets() -> None:
    options = parse_options({"service": "nginx", **PATHS})
    assert options.files == (("fullchain.pem", "/tls/full.pem"), ("privkey.pem", "/tls/key.pem"))
    assert options.folder == "/tls/key.pem.ottr"
    assert options.certificate_path == "/tls/full.pem"
    assert options.test_command == ("nginx", "-t", "-q")
    assert options.units == ("nginx",)


def test_the_only_certificate_file_holds_the_chain() -> None:
    alone = parse_options({"certificate": "/tls/c.pem", "key": "/tls/k.pem"})
    assert dict(alone.files) == {"fullchain.pem": "/tls/c.pem", "privkey.pem": "/tls/k.pem"}
    beside = parse_options({"certificate": "/tls/c.pem", "key": "/tls/k.pem", "chain": "/tls/ch.pem"})
    assert dict(beside.files)["cert.pem"] == "/tls/c.pem"
    assert beside.certificate_path == "/tls/c.pem"


def test_a_reload_command_of_the_route_is_what_is_run() -> None:
    options = parse_options({"service": "nginx", "reload_command": "service nginx 'force reload'"})
    assert options.reload_command == ("service", "nginx", "force reload")
    assert options.units == ()


def test_combined_alone_is_enough() -> None:
    options = parse_options({"combined": "/etc/haproxy/site.pem"})
    assert (options.folder, options.certificate_path) == ("/etc/haproxy/site.pem.ottr", "/etc/haproxy/site.pem")


def test_known_hosts_may_be_one_or_several() -> None:
    assert parse_options({**PATHS, "known_hosts": "/a"}).known_hosts == (Path("/a"),)
    assert parse_options({**PATHS, "known_hosts": ["/a", Path("/b")]}).known_hosts == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": "red"}, "no option 'colour'"),
        ({"service": "iis"}, "not one of nginx, apache"),
        ({}, "needs the paths"),
        ({"key": "/k"}, "needs the paths"),
        ({"fullchain": "/c"}, "needs the paths"),
        ({"key": "/same", "fullchain": "/same"}, "the same path"),
        ({**PATHS, "key": "relative"}, "absolute path"),
        ({**PATHS, "key": 7}, "absolute path"),
        ({**PATHS, "key": "/a\nb"}, "no path of a certificate needs"),
        ({**PATHS, "key": "/a\0b"}, "no path of a certificate needs"),
        ({**PATHS, "key": "/a/../etc/shadow"}, "plain path"),
        ({**PATHS, "key": "/a//b"}, "plain path"),
        ({**PATHS, "directory": "/a/"}, "plain path"),
        ({**PATHS, "reload_command": "it's"}, "taken apart"),
        ({**PATHS, "reload_command": 5}, "command line or a list"),
        ({**PATHS, "reload_command": ["sh", 5]}, "command line or a list"),
        ({**PATHS, "test_command": ["a\0b"]}, "cannot be run"),
        ({**PATHS, "test_command": ["", "x"]}, "cannot be run"),
        ({**PATHS, "mode": 0o640}, "in quotes"),
        ({**PATHS, "mode": "rw"}, "cannot be used"),
        ({**PATHS, "owner": "-rf"}, "cannot be used"),
        ({**PATHS, "group": "a b"}, "cannot be used"),
        ({**PATHS, "known_hosts": 5}, "known_hosts must be"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        check_options(options)
    assert "\n" not in str(caught.value)


def test_names_without_any_are_refused() -> None:
    check_dns_names(("a.example.com", "*.example.com", "_x.example.com"))
    with pytest.raises(ValueError, match="no DNS name"):
        check_dns_names(())
    with pytest.raises(ValueError, match="not a DNS name"):
        check_dns_names((f"{'a.' * 127}toolong",))
