# SPDX-License-Identifier: Apache-2.0
"""Names are read strictly and allowed by rules only."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ottr.ca.model import Names, Reason
from ottr.ca.names import (
    ANY_NAME,
    MOST_NAMES,
    Constraints,
    NameRules,
    build_names,
    find_unconstrained,
    include_common_name,
    parse_dns,
    parse_email,
    parse_ip,
    parse_names,
    parse_uri,
    read_san,
    write_san,
)
from ottr.errors import NameRefused


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("WWW.Example.Test", "www.example.test"),
        ("example.test.", "example.test"),
        ("*.example.test", "*.example.test"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_service.example.test", "_service.example.test"),
        ("1.example.test", "1.example.test"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_dns_names(text: str, name: str) -> None:
    assert parse_dns(text) == name


def test_the_longest_dns_name() -> None:
    assert len(LONGEST) == 253
    assert parse_dns(LONGEST) == parse_dns(f"{LONGEST}.") == LONGEST
    with pytest.raises(NameRefused, match="is not a DNS name"):
        parse_dns(LONGEST + "b")


LONGEST = f"{'.'.join(['a' * 63] * 3)}.{'b' * 61}"
"""253 characters, the most that DNS has."""
WRONG = ["", ".", "a..b", "-a.test", "a-.test", "bücher.example", "a b.test", "*", "*.test", "a.*.test", "*a.test"]


@pytest.mark.parametrize(
    "text",
    [*WRONG, "**.a.test", "a" * 64 + ".test", "a.test\n", "192.0.2.1", "a.1", "a\x00.test", ".".join(["a"] * 130)],
)
def test_what_is_no_dns_name(text: str) -> None:
    with pytest.raises(NameRefused):
        parse_dns(text)


@pytest.mark.parametrize(
    ("text", "name"), [("192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0::1", "2001:db8::1"), ("::1", "::1")]
)
def test_addresses_are_written_as_RFC_5952_has_them(text: str, name: str) -> None:
    assert parse_ip(text) == name


@pytest.mark.parametrize("text", ["192.0.2.256", "192.0.2.0/24", "fe80::1%eth0", "010.0.0.1", ""])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(NameRefused):
        parse_ip(text)


def test_mail_addresses() -> None:
    assert parse_email("Alice@Example.TEST") == "Alice@example.test"
    for wrong in ("alice", "@example.test", "a b@example.test", "alice@*.example.test", "alice@-x"):
        with pytest.raises(NameRefused):
            parse_email(wrong)


def test_uris() -> None:
    assert parse_uri("spiffe://example.test/node/1") == "spiffe://example.test/node/1"
    for wrong in ("http://", "no-scheme", "http://a b/", "http://[::1", "urn:x:y", "http://ä/"):
        with pytest.raises(NameRefused):
            parse_uri(wrong)


def test_names_are_sorted_by_their_form_and_once() -> None:
    names = parse_names(["a.test", "A.test", "192.0.2.1", "u@a.test", "spiffe://a.test/x"])
    assert names == Names(("a.test",), ("192.0.2.1",), ("u@a.test",), ("spiffe://a.test/x",))
    assert names.values == {
        ("dns", "a.test"),
        ("ip", "192.0.2.1"),
        ("email", "u@a.test"),
        ("uri", "spiffe://a.test/x"),
    }
    assert names
    assert not Names()


def test_too_many_names() -> None:
    build_names(f"a{number}.test" for number in range(MOST_NAMES))
    with pytest.raises(NameRefused, match="101 names"):
        build_names(f"a{number}.test" for number in range(MOST_NAMES + 1))


def test_names_go_through_the_extension() -> None:
    names = parse_names(["a.test", "2001:db8::1", "u@a.test", "spiffe://a.test/x"])
    assert read_san(write_san(names)) == names


def test_other_kinds_of_names_are_refused() -> None:
    with pytest.raises(NameRefused, match="DirectoryName"):
        read_san(x509.SubjectAlternativeName([x509.DirectoryName(x509.Name([]))]))
    with pytest.raises(NameRefused, match="not an IP address"):
        read_san(x509.SubjectAlternativeName([x509.IPAddress(__import__("ipaddress").ip_network("10.0.0.0/8"))]))


def test_a_common_name_is_included_when_it_is_one() -> None:
    names = parse_names(["a.test"])
    assert include_common_name(names, "A.test") is names
    assert include_common_name(names, "b.test").dns == ("a.test", "b.test")
    assert include_common_name(names, "192.0.2.1").ip == ("192.0.2.1",)
    assert include_common_name(names, "Some Body") is names


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ("example.test", ["example.test"], ["www.example.test", "xexample.test", "*.example.test"]),
        (
            "*.example.test",
            ["www.example.test", "a.b.example.test", "*.example.test"],
            ["example.test", "xexample.test"],
        ),
        ("*.Example.Test", ["www.example.test"], ["example.org"]),
        ("*", ["anything.at.all", "*.example.test"], []),
    ],
)
def test_rules_for_dns_names(rule: str, allowed: list[str], refused: list[str]) -> None:
    rules = NameRules(dns=(rule,))
    assert rules.refuse(build_names(dns=[*allowed, *refused])) == tuple(refused)


def test_rules_for_other_names() -> None:
    rules = NameRules(ip=("192.0.2.0/24",), email=("*@a.test",), uri=("spiffe://a.test/*",), common_names=("node-*",))
    rules.check(parse_names(["192.0.2.9", "u@a.test", "spiffe://a.test/1"]))
    rules.check_common_name("node-7")
    for wrong in ("198.51.100.1", "2001:db8::1", "u@b.test", "spiffe://b.test/1", "a.test"):
        with pytest.raises(NameRefused):
            rules.check(parse_names([wrong]))
    with pytest.raises(NameRefused):
        rules.check_common_name("king")


@pytest.mark.parametrize(
    ("glob", "text", "allowed"),
    [
        ("https://*.example.test/*", "https://a.example.test/x/y", True),
        ("https://*.example.test/*", "https://a.example.test", False),
        ("https://*.example.test*", "https://a.example.test", True),
        ("https://*.example.test/*", "https://evil.test/.example.test/", False),
        ("https://*.example.test/*", "https://evil.test?.example.test/", False),
        ("https://*.example.test/*", "https://evil.test#.example.test/", False),
        ("https://*.example.test/*", "https://evil.test\\.example.test/", False),
        ("https://a?.example.test/*", "https://ab.example.test/", True),
        ("https://a?.example.test/*", "https://a/.example.test/", False),
        ("spiffe://dev/*", "spiffe://dev/a/b", True),
        ("spiffe://dev", "spiffe://dev", True),
        ("spiffe://dev", "spiffe://dev/a", False),
        ("spiffe", "spiffe://dev", False),
        ("*", "spiffe://dev/a", True),
    ],
)
def test_the_glob_of_a_URI_does_not_run_over_the_end_of_its_host(glob: str, text: str, allowed: bool) -> None:
    assert NameRules(uri=(glob,)).refuse(build_names(uri=[text])) == (() if allowed else (text,))


def test_without_rules_nothing_and_with_the_operators_everything() -> None:
    names = parse_names(["a.test", "192.0.2.1", "2001:db8::1", "u@a.test", "spiffe://a.test/x"])
    assert set(NameRules().refuse(names)) == set(names.texts)
    assert ANY_NAME.refuse(names) == ()


def test_constraints_become_an_extension() -> None:
    assert Constraints().build() is None
    built = Constraints(("a.test",), ("b.a.test",), ("10.0.0.0/8",), ("10.1.0.0/16",)).build()
    assert built is not None
    names = parse_names(["a.test", "x.a.test", "b.a.test", "c.b.a.test", "*.a.test", "o.test", "10.2.0.1", "10.1.0.1"])
    refused = ("b.a.test", "c.b.a.test", "*.a.test", "o.test", "10.1.0.1")
    assert find_unconstrained(names, built) == refused
    assert find_unconstrained(parse_names(["192.0.2.1"]), built) == ("192.0.2.1",)


def test_a_kind_without_constraints_is_free() -> None:
    only_permitted = Constraints(permitted_dns=("a.test",)).build()
    only_excluded = Constraints(excluded_dns=("a.test",)).build()
    assert only_permitted is not None
    assert only_excluded is not None
    names = parse_names(["b.test", "10.0.0.1"])
    assert find_unconstrained(names, only_permitted) == ("b.test",)
    assert find_unconstrained(names, only_excluded) == ()


@given(st.text(max_size=40))
def test_whatever_comes_it_is_a_name_or_refused(text: str) -> None:
    try:
        names = parse_names([text])
    except NameRefused:
        return
    assert read_san(write_san(names)) == names
    assert parse_names(names.texts) == names


def test_reasons_have_the_numbers_of_RFC_5280() -> None:
    numbers = {
        "unspecified": 0,
        "key_compromise": 1,
        "ca_compromise": 2,
        "affiliation_changed": 3,
        "superseded": 4,
        "cessation_of_operation": 5,
        "certificate_hold": 6,
        "remove_from_crl": 8,
        "privilege_withdrawn": 9,
        "aa_compromise": 10,
    }
    assert {reason.value: reason.code for reason in Reason} == numbers
    for reason in Reason:
        assert Reason.of_code(reason.code) is reason
        assert reason.flag.name == reason.value
    for wrong in (7, 11, -1):
        with pytest.raises(ValueError, match="no revocation reason"):
            Reason.of_code(wrong)
