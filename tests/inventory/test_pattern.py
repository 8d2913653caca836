# SPDX-License-Identifier: Apache-2.0
"""Our evaluation of patterns against Ansible's own, on random patterns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottr.errors import InventoryError
from ottr.inventory.child import ReaderChild
from ottr.inventory.options import InventoryOptions
from ottr.inventory.pattern import Ambiguous, HostIndex, select, split

INVENTORY = """
all:
  children:
    web: {hosts: {web1.example.com: , web2.example.com: , web3: , db: }}
    db: {hosts: {db1: , db2: , web3: }}
    site: {children: {web: , old: }}
    old: {hosts: {db2: , 10.0.0.1: , "fe80::1": }}
    empty: {}
  hosts: {lone: , Lone: , web-x_1: }
"""

ATOMS = ["all", "ungrouped", "web", "db", "site", "old", "empty", "web1.example.com", "db1", "lone", "nope", "10.0.0.1"]
ATOMS += [
    "*",
    "web*",
    "*.example.com",
    "d?",
    "[wd]*",
    "w*b",
    "web?",
    "db[12]",
    "~^web",
    "~(db|old)",
    "~.*[12]$",
    "al*",
    "l*",
]
SUBSCRIPTS = ["", "", "", "[0]", "[1]", "[-1]", "[0:1]", "[1:]", "[0:0]", "[1:0]", "[2:9]", "[9]", "[0-1]"]

terms = st.builds(
    "{}{}{}".format, st.sampled_from(["", "", "&", "!"]), st.sampled_from(ATOMS), st.sampled_from(SUBSCRIPTS)
)
patterns = st.builds(
    lambda parts, separator: separator.join(parts),
    st.lists(terms, min_size=1, max_size=4),
    st.sampled_from([":", ",", ", "]),
)


class Oracle:
    """Ansible, asked through the reader."""

    def __init__(self, source: Path) -> None:
        self.child = ReaderChild(timeout_s=60)
        options = InventoryOptions(sources=(str(source),))
        described = self.child.ask({"operation": "open", "vault_passwords": {}, **options.request()})
        self.index = HostIndex.of(described["hosts"], dict(described["groups"]))

    def __call__(self, pattern: str, limit: str = "") -> Any:
        answer = self.child.ask({"operation": "match", "pattern": pattern, "limit": limit})
        return "error" if "error" in answer else answer["hosts"]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    source = tmp_path_factory.mktemp("patterns") / "hosts.yml"
    source.write_text(INVENTORY)
    found = Oracle(source)
    yield found
    found.child.close()


def ours(index: HostIndex, pattern: str, limit: str = "") -> Any:
    try:
        return list(select(index, pattern, limit).names)
    except InventoryError:
        return "error"


@given(patterns, st.one_of(st.just(""), patterns))
@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_patterns_mean_what_they_mean_to_ansible(oracle: Oracle, pattern: str, limit: str) -> None:
    try:
        found = ours(oracle.index, pattern, limit)
    except Ambiguous:
        return
    assert found == oracle(pattern, limit)


@pytest.mark.parametrize(
    "pattern", ["web:&db", "web*:!web3", "all", "web[0:1]:db", "~w.*:!~.*3$", "site:&web[0]", "a,b:c"]
)
def test_common_forms_are_never_left_to_ansible(pattern: str) -> None:
    assert split(pattern)


@pytest.mark.parametrize("pattern", ["fe80::1", "web1:22", "web db", "a:", ":", "", "dead:beef"])
def test_what_could_be_an_address_is_left_to_ansible(pattern: str) -> None:
    with pytest.raises(Ambiguous):
        split(pattern)


def test_a_limit_file_names_hosts_line_by_line(oracle: Oracle, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("db1\n\n  web3 \n")
    limit = f"@{tmp_path / 'limit'}"
    assert ours(oracle.index, "all", limit) == oracle("all", limit)
    assert set(ours(oracle.index, "all", limit)) == {"db1", "web3"}


@pytest.mark.parametrize("pattern", ["~(", "web:&", "db[7]"])
def test_wrong_patterns_are_errors(oracle: Oracle, pattern: str) -> None:
    assert ours(oracle.index, pattern) == "error"


def test_terms_that_mean_nothing_are_told(oracle: Oracle) -> None:
    assert select(oracle.index, "web,nope,empty").unmatched == ("nope",)
