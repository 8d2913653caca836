# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from ottr.dns.options import SolverOptions
from ottr.dns.servers import ServerAddress, parse_server
from ottr.dns.solvers import load_solver
from ottr.dns.zones import challenge_name, challenged_name, clean_name, longest_zone
from ottr.errors import SettingsError
from ottr.model import Secret
from ottr.settings import SolverSettings


@pytest.mark.parametrize(
    ("text", "server", "shown"),
    [
        ("192.0.2.1", ServerAddress("192.0.2.1"), "192.0.2.1:53"),
        ("192.0.2.1:5353", ServerAddress("192.0.2.1", 5353), "192.0.2.1:5353"),
        ("2001:DB8::1", ServerAddress("2001:db8::1"), "[2001:db8::1]:53"),
        ("[2001:db8::1]", ServerAddress("2001:db8::1"), "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", ServerAddress("2001:db8::1", 5353), "[2001:db8::1]:5353"),
    ],
)
def test_server_addresses_are_parsed_and_shown(text: str, server: ServerAddress, shown: str) -> None:
    assert parse_server(text) == server
    assert str(server) == shown


@pytest.mark.parametrize(
    "text", ["", "ns1.example.com", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "[::1", "[::1]53"]
)
def test_what_is_no_server_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an IP address|has no valid port"):
        parse_server(text)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("www.Example.com", "_acme-challenge.www.example.com"),
        ("*.example.com", "_acme-challenge.example.com"),
        ("example.com.", "_acme-challenge.example.com"),
    ],
)
def test_challenge_names(identifier: str, name: str) -> None:
    assert challenge_name(identifier) == name


def test_a_challenge_name_tells_the_name_it_speaks_for() -> None:
    assert challenged_name("_acme-challenge.www.example.com") == "www.example.com"
    assert challenged_name("alias.example.net") == "alias.example.net"


def test_longest_zone_matches_whole_labels() -> None:
    zones = ["example.com", "b.Example.com.", "com"]
    assert longest_zone("a.b.example.com", zones) == "b.Example.com."
    assert longest_zone("b.example.com.", zones) == "b.Example.com."
    assert longest_zone("xb.example.com", zones) == "example.com"
    assert longest_zone("myexample.com", zones) == "com"
    assert longest_zone("example.net", zones) is None
    assert clean_name("A.b.") == "a.b"


def build_options(**values: object) -> SolverOptions:
    return SolverOptions(SolverSettings("s1", "exec", ("example.com",), values), ("a", "b"))


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"solver 's1': there is no option 'c'") as caught:
        build_options(c=1)
    assert caught.value.hint == "options: a, b"


@pytest.mark.parametrize(
    ("method", "arguments", "value", "message"),
    [
        ("text", (), None, "'a' is missing"),
        ("text", (), "", "'a' is missing"),
        ("text", (), 3, "'a' must be text"),
        ("choice", (("x", "y"), "x"), "z", "'a' is 'z'; it must be one of x, y"),
        ("secret", (), None, "'a' is missing"),
        ("secret", (), Secret(""), "'a' must be text"),
        ("secret", (), 3, "'a' must be text"),
        ("number", (1, 0, 5), True, "'a' must be a number from 0 to 5"),
        ("number", (1, 0, 5), "3", "'a' must be a number from 0 to 5"),
        ("number", (1, 0, 5), 6, "'a' must be a number from 0 to 5"),
        ("flag", (), "yes", "'a' must be true or false"),
        ("words", (), "one two", "'a' must be a list of strings"),
        ("words", (), [], "'a' must be a list of strings"),
        ("words", (), [1], "'a' must be a list of strings"),
        ("table", (), [], "'a' must be a table"),
        ("table", (), {"x": 1}, "'a' must be a table"),
    ],
)
def test_a_wrong_option_is_named(method: str, arguments: tuple[object, ...], value: object, message: str) -> None:
    options = build_options(a=value) if value is not None else build_options()
    with pytest.raises(SettingsError, match=message):
        getattr(options, method)("a", *arguments)


def test_options_are_read() -> None:
    options = build_options(a="word", b=Secret("hidden"))
    assert options.text("a") == "word"
    assert options.choice("a", ("word",), "word") == "word"
    assert options.secret("b") == Secret("hidden")
    assert build_options(a="plain").secret("a") == Secret("plain")
    assert build_options(a=2).number("a", 1, 0, 5) == 2.0
    assert build_options().number("a", 1, 0, 5) == 1.0
    assert build_options(a=True).flag("a") is True
    assert build_options().flag("a") is False
    assert build_options(a=["x", "y"]).words("a") == ("x", "y")
    assert build_options(a={"x": Secret("1")}).table("a") == {"x": Secret("1")}
    assert build_options().table("a") == {}


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="solver 's1': there is no kind 'route53'") as caught:
        load_solver(SolverSettings("s1", "route53", ("example.com",)))
    assert caught.value.hint == "kinds: exec, lexicon, rfc2136"


def test_a_solver_without_zones_is_refused() -> None:
    with pytest.raises(SettingsError, match="solver 's1': zones"):
        load_solver(SolverSettings("s1", "exec", (), {"command": ["true"]}))
