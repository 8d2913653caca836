# SPDX-License-Identifier: Apache-2.0
"""Versions of devices in the form of PEP 440, their order, and ranges of them."""

from __future__ import annotations

import string
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from ottr.routing.versions import parse_range, parse_version


@pytest.mark.parametrize(
    ("platform", "said", "expected"),
    [
        ("panos", "10.1.14-h9", "10.1.14.post9"),
        ("panos", "10.2.0-b5", "10.2.0b5"),
        ("panos", "11.1.0", "11.1.0"),
        ("f5", "16.1.2.2-0.0.28", "16.1.2.2.post28"),
        ("bigip", "17.1.0 Build 0.10.2", "17.1.0.post10000002"),
        ("f5", "17.1.0", "17.1.0"),
        ("f5", "17.1.0-hotfix", None),
        ("junos", "21.4R3-S5.4", "21.4.post3000005000004"),
        ("junos", "21.4R3", "21.4.post3000000000000"),
        ("junos", "22.2R1.10-EVO", "22.2.post1000000000010"),
        ("junos", "22.2", "22.2"),
        ("linux", "bookworm", "12"),
        ("linux", "Debian trixie/sid", "13"),
        ("ubuntu", "Jammy", "22.04"),
        ("debian", "12 (bookworm)", "12"),
        ("debian", "Debian GNU/Linux 12 (bookworm)", "12"),
        ("ubuntu", "Ubuntu 22.04.3 LTS (Jammy Jellyfish)", "22.04.3"),
        ("linux", "rhel9.2", "9.2"),
        ("linux", "9.2p1", "9.2.post1"),
        ("linux", " v7.4.3,build2573 ", "7.4.3.post2573"),
        ("ios", "15.2(4)M6", "15.2.4.post6"),
        ("iosxe", "17.9.4a", "17.9.4.post1"),
        ("nxos", "9.3(10)", "9.3.10"),
        ("asa", "9.16(4)18", "9.16.4.18"),
        ("linux", "2.0rc1", "2.0rc1"),
        ("linux", "1.2+local.3", "1.2"),
        ("linux", "5.10.0-28.1", None),
        ("linux", "unstable", None),
        ("linux", "", None),
        ("linux", "١٢", None),
        ("linux", "1" * 101, None),
    ],
)
def test_what_vendors_call_their_versions(platform: str, said: str, expected: str | None) -> None:
    parsed = parse_version(platform, said)
    assert parsed == (None if expected is None else Version(expected))


@pytest.mark.parametrize(
    ("platform", "in_order"),
    [
        ("panos", ["10.1.9", "10.1.14-b3", "10.1.14", "10.1.14-h2", "10.1.14-h11", "10.1.15", "10.10.0"]),
        ("f5", ["16.1.2", "16.1.2.2", "16.1.2.2-0.0.4", "16.1.2.2-0.0.28", "16.1.2.2-0.10.1", "16.1.3-0.0.1"]),
        ("junos", ["21.4R1", "21.4R3", "21.4R3.9", "21.4R3-S2", "21.4R3-S5.3", "21.4R3-S5.4", "21.4R10", "22.1R1"]),
        ("debian", ["bullseye", "11.5", "12 (bookworm)", "trixie"]),
        ("linux", ["9.2rc1", "9.2", "9.2p1", "9.2p2", "9.10"]),
    ],
)
def test_their_order_is_the_vendors(platform: str, in_order: list[str]) -> None:
    versions = [parse_version(platform, said) for said in in_order]
    assert all(low is not None and high is not None and low < high for low, high in pairwise(versions))


@given(
    st.text(alphabet=string.printable + "١é", max_size=40), st.sampled_from(["linux", "panos", "f5", "junos", "ios"])
)
def test_nothing_a_device_says_is_an_error(said: str, platform: str) -> None:
    parsed = parse_version(platform, said)
    assert parsed is None or isinstance(parsed, Version)


@pytest.mark.parametrize(
    "text", ["12", ">=bookworm", "===12", ">=1!2", "==1.0+local", "~=12", ">=10.1.14-h9", ">=9.0 and <12"]
)
def test_what_is_not_a_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a version range|is not understood"):
        parse_range(text)


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        (">=9,<8", True),
        (">=9,<9", True),
        (">9,<=9", True),
        ("==9,>=9.1", True),
        ("==9.*,>=10", True),
        ("~=9.1,<9", True),
        (">=9,<=9", False),
        ("==9.*", False),
        ("!=9", False),
        ("", False),
        ("<9", False),
    ],
)
def test_ranges_that_hold_nothing(text: str, empty: bool) -> None:
    assert parse_range(text).empty is empty


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (">=9", ">=9"),
        (">=9", ">=9.1,<12"),
        (">=9", ">9"),
        (">=9.0,<12", "==10.*"),
        (">=9.0,<12", "~=10.1"),
        ("<12", "<11"),
        ("<12", "==11.5"),
        ("<=12", "<12"),
        (">9", ">=9.1"),
        (">9.post1", ">9.post2"),
        ("<12rc2", "<12rc1"),
        ("!=9", ">9"),
        ("!=9.*", "==10.*"),
        ("==9.*", "==9.1"),
        ("==9.0", "==9"),
        ("", ">=9"),
        ("!=9,>=8", "!=9,>=8.5"),
    ],
)
def test_ranges_that_surely_cover_others(wide: str, narrow: str) -> None:
    assert parse_range(wide).covers(parse_range(narrow))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (">=9.1", ">=9"),
        ("<12", "<=12"),
        ("<12", "==12rc1"),  # PEP 440 leaves the prereleases of 12 out of <12
        (">9", "==9.post1"),  # and the post-releases of 9 out of >9
        ("!=9", ">=9"),
        (">=9,<12", ""),
        ("==9", "==9.*"),
        (">=9.0,<12", "==9.*"),  # which has the prereleases of 9
        (">9", "!=9"),
    ],
)
def test_ranges_that_do_not(wide: str, narrow: str) -> None:
    assert not parse_range(wide).covers(parse_range(narrow))


SUFFIXES = ["", "rc1", "rc2", "a1", ".post1", ".post2", ".dev0", "rc1.dev1", ".post1.dev0"]
RELEASES = [".".join(parts) for size in (1, 2, 3) for parts in product("012", repeat=size)]
VERSIONS = [Version(release + suffix) for release in RELEASES for suffix in SUFFIXES]

versions = st.builds("{}{}".format, st.sampled_from(RELEASES), st.sampled_from(SUFFIXES))
clauses = st.one_of(
    st.builds("{}{}".format, st.sampled_from([">=", "<=", ">", "<", "==", "!="]), versions),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), st.sampled_from(RELEASES)),
    st.builds("~=1.{}".format, versions),
)
ranges = st.lists(clauses, max_size=3).map(",".join)


@settings(max_examples=400, deadline=None)
@given(wide=ranges, narrow=ranges)
def test_cover_is_never_claimed_wrongly(wide: str, narrow: str) -> None:
    outer, inner = parse_range(wide), parse_range(narrow)
    if outer.covers(inner):
        assert [version for version in VERSIONS if inner.holds(version) and not outer.holds(version)] == []


@settings(max_examples=200, deadline=None)
@given(ranges)
def test_emptiness_is_never_claimed_wrongly(text: str) -> None:
    one = parse_range(text)
    if one.empty:
        assert [version for version in VERSIONS if one.holds(version)] == []
