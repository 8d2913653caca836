# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottr.inventory.names import AddressRefused, NameRefused, parse_alternative_names, parse_dns_name, parse_names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("WWW.Example.COM", "www.example.com"),
        ("www.example.com.", "www.example.com"),
        ("DNS:a.example.com", "a.example.com"),
        (" dns: a.example.com ", "a.example.com"),
        ("*.example.com", "*.example.com"),
        ("DNS:*.Example.com.", "*.example.com"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("*.münchen.example", "*.xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("faß.de", "xn--fa-hia.de"),
        ("localhost", "localhost"),
        ("3com.com", "3com.com"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 61] * 4) + ".abcd", ".".join(["a" * 61] * 4) + ".abcd"),
    ],
)
def test_names_become_lower_case_a_labels(text: str, name: str) -> None:
    assert parse_dns_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "*",
        "*.",
        "..",
        "a..b",
        ".a",
        "a; rm -rf /",
        "a\nb",
        "a.example.com\n",
        "a'b.example",
        'a".example',
        "-a.example",
        "a-.example",
        "--help",
        "a\0.example",
        "a b.example",
        "$(id).example",
        "`id`.example",
        "a.*.example",
        "w*.example",
        "*.*.example",
        "a_b.example",
        "a" * 64 + ".example",
        ".".join(["a" * 61] * 4) + ".abcdef",
        "xn--a.example",
        "ab--c.example",
        "URI:https://a.example",
        "a.example:443",
        "https://a.example",
        "user@a.example",
        "\u2028.example",
        "☃\u200b.example",
        "a\uff0fb.example",
        None,
        7,
        9.1,
        True,
        ["a.example"],
    ],
)
def test_what_is_no_dns_name_is_refused(text: object) -> None:
    with pytest.raises(NameRefused) as caught:
        parse_dns_name(text)
    assert not isinstance(caught.value, AddressRefused)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1", "[::1]", "2001:db8::1", "IP:10.0.0.1", "IP Address:10.0.0.1", "DNS:10.0.0.1"]
)
def test_addresses_are_refused_as_such(text: str) -> None:
    with pytest.raises(AddressRefused):
        parse_dns_name(text)


@given(st.text(max_size=80))
def test_whatever_is_accepted_is_harmless_and_stays_what_it_is(text: str) -> None:
    try:
        name = parse_dns_name(text)
    except NameRefused:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-*")
    assert name[0] not in "-."
    assert parse_dns_name(name) == name


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        ("", []),
        ([], []),
        ("a.example", ["a.example"]),
        ("DNS:a.example, DNS:b.example,", ["a.example", "b.example"]),
        (["DNS:a.example", "b.example"], ["a.example", "b.example"]),
    ],
)
def test_alternative_names_are_a_list_or_one_string(value: object, names: list[str]) -> None:
    assert list(parse_names("a.example", parse_alternative_names(value))) == list(dict.fromkeys(["a.example", *names]))


def test_other_things_than_lists_are_refused() -> None:
    with pytest.raises(NameRefused):
        parse_names("a.example", parse_alternative_names({"a": 1}))


def test_the_common_name_is_first_and_none_comes_twice() -> None:
    assert parse_names("B.example", ["a.example", "b.example.", "DNS:A.example"]) == ("b.example", "a.example")
