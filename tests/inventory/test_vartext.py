# SPDX-License-Identifier: Apache-2.0
"""Only what is to change changes; the rest of the file stays to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ottr.inventory.vartext import NotEditable, parse_variables, set_variables


@pytest.mark.parametrize(
    ("text", "values", "changed"),
    [
        ("", {"a": "1"}, 'a: "1"\n'),
        ("# only a comment", {"a": "1"}, '# only a comment\na: "1"\n'),
        ("---\n", {"a": True}, "---\na: true\n"),
        ("b: 1 # why\n", {"a": "x"}, 'b: 1 # why\na: "x"\n'),
        ("b: 1", {"a": "x"}, 'b: 1\na: "x"\n'),
        ("a: old # keep me\nb: 1\n", {"a": "new"}, 'a: "new" # keep me\nb: 1\n'),
        ("a:\nb: 1\n", {"a": "new"}, 'a: "new"\nb: 1\n'),
        ("a:   # none yet\nb: 1\n", {"a": "new"}, 'a: "new"   # none yet\nb: 1\n'),
        ("a: 'old'\r\nb: 1\r\n", {"a": "new", "c": "d"}, 'a: "new"\r\nb: 1\r\nc: "d"\r\n'),
        ("a: |\n  old\n  text\nb: 1\n", {"a": "new"}, 'a: "new"\nb: 1\n'),
        ("a: !x |-\n  old\n\n# about b\nb: 1\n", {"a": "new"}, 'a: "new"\n\n# about b\nb: 1\n'),
        ("b:\n- 1\n-   2\n", {"a": "x"}, 'b:\n- 1\n-   2\na: "x"\n'),
        ("  b: 1\n  c: 2\n", {"a": "x"}, '  b: 1\n  c: 2\n  a: "x"\n'),
        ("b: 1\n...\n", {"a": "x"}, 'b: 1\na: "x"\n...\n'),
        ("b: !vault |\n  $ANSIBLE_VAULT;1.1\n  31\n", {"a": "x"}, 'b: !vault |\n  $ANSIBLE_VAULT;1.1\n  31\na: "x"\n'),
        ("b: !unsafe [1]\nc: !x {y: 1}\na: 1\n", {"a": "x"}, 'b: !unsafe [1]\nc: !x {y: 1}\na: "x"\n'),
        ("{}\n", {"a": "x"}, '{"a": "x"}\n'),
        ('{"b": 1}', {"a": "x"}, '{"b": 1, "a": "x"}'),
        ('{\n  "b": 1,\n  "a": "old"\n}\n', {"a": "new", "c": True}, '{\n  "b": 1,\n  "a": "new",\n  "c": true\n}\n'),
        ("x: &x {a: 1}\n<<: *x\n", {"a": "new"}, 'x: &x {a: 1}\n<<: *x\na: "new"\n'),
        ("é: ü # ß\na: 1\n", {"a": "x"}, 'é: ü # ß\na: "x"\n'),
        ("a: 1\n", {"a": "\U0001f511 é\x7f"}, 'a: "\U0001f511 \\u00e9\\u007f"\n'),
    ],
)  # fmt: skip
def test_variables_are_set_in_place(text: str, values: dict[str, Any], changed: str) -> None:
    assert set_variables(text, values) == changed


@pytest.mark.parametrize("text", ["a: new\n", "a: 'new' # x", '{"a": "new"}'])
def test_what_says_the_same_already_is_left_alone(text: str) -> None:
    assert set_variables(text, {"a": "new"}) == text


@pytest.mark.parametrize(
    "text",
    [
        "$ANSIBLE_VAULT;1.1;AES256\n3132\n",
        "- a\n",
        "just text\n",
        "a: [\n",
        "a: 1\n---\nb: 2\n",
        "b: &x 1\na: *x\n",
        "a: &x old\nb: *x\n",
        "? [complex]\n: 1\n",
        "a:\n  x: 1\n",
        "a: [1]\n",
        "a: 2026-13-45\n",
    ],
)
def test_what_cannot_be_changed_singly_is_refused(text: str) -> None:
    with pytest.raises(NotEditable):
        set_variables(text, {"a": "new"})


def test_of_a_key_that_stands_twice_the_winning_one_is_changed() -> None:
    assert parse_variables(set_variables("a: 1\nb: 2\na: 3\n", {"a": "new"})) == {"a": "new", "b": 2}


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=12), st.dates())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(
    st.sampled_from(["a", "b", "c", "certificate_serial", "z"]) | st.text(max_size=8), values, max_size=6
)


@given(
    documents, st.sampled_from([None, True, False]), st.booleans(), st.text("0123456789abcdef", min_size=1, max_size=20)
)
def test_no_other_variable_is_touched(document: dict[str, Any], flow: bool | None, unicode: bool, serial: str) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=unicode, sort_keys=False)
    wanted: dict[str, str | bool] = {"certificate_serial": serial, "certificate_validation": True}
    if isinstance(document.get("certificate_serial"), list | dict):
        with pytest.raises(NotEditable):
            set_variables(text, wanted)
        return
    changed = set_variables(text, wanted)
    expected = {**(yaml.safe_load(text) or {}), "certificate_serial": serial, "certificate_validation": True}
    assert yaml.safe_load(changed) == expected
    assert set_variables(changed, {"certificate_serial": serial}) == changed


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.text(max_size=5), st.lists, max_leaves=4), max_size=4),
    st.sampled_from([None, 1, 4]),
)
def test_json_stays_json(document: dict[str, Any], indent: int | None) -> None:
    changed = set_variables(json.dumps(document, indent=indent), {"certificate_serial": "0a"})
    assert json.loads(changed) == {**document, "certificate_serial": "0a"}
