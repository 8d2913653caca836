# SPDX-License-Identifier: Apache-2.0
"""Setting variables in the text of a YAML or JSON file: all else stays as it is, to the byte.

Positions come from the parsed document, the change is made in the text, and the result is parsed again: unless
exactly the wanted variables changed, there is no result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

VAULT_HEADER: Final = "$ANSIBLE_VAULT;"


class NotEditable(ValueError):
    """The text cannot be changed safely; the message says why."""


class _Loader(yaml.SafeLoader):
    """Knows no tags of Ansible's: what they mark is kept as it stands."""


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same ten times as fast; refuses some JSON (tabs)."""


def _construct_unknown(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return tag, loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return tag, loader.construct_sequence(node, deep=True)
    return tag, node.value


for _kind in (_Loader, _FastLoader):
    _kind.add_multi_constructor("!", _construct_unknown)


def parse_variables(text: str) -> dict[Any, Any]:
    """Return the variables of a file's text, merges resolved. Raises NotEditable."""
    if text.startswith(VAULT_HEADER):
        raise NotEditable("it is encrypted")
    try:
        data = _load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise NotEditable("it is not one YAML document") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise NotEditable("it is not a mapping of variables")
    return data


def _load(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_FastLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError):
        return yaml.load(text, Loader=_Loader)  # noqa: S506


def set_variables(text: str, values: Mapping[str, str | bool]) -> str:
    """Return the text with the variables set, each where it stands, new ones after the last.

    Raises NotEditable.
    """
    before = parse_variables(text)
    root = parsed_root(text)
    pairs = root.value if root is not None else []
    places = {key.value: (key, value) for key, value in pairs}
    changed = text
    present = [name for name in values if name in places]
    for name in sorted(present, key=lambda name: -int(places[name][1].start_mark.index)):
        if before[name] != values[name]:
            changed = _replace(changed, *places[name], format_value(values[name]))
    added = {name: value for name, value in values.items() if name not in places}
    if added:
        changed = _append(changed, added, root if changed == text else parsed_root(changed))
    if parse_variables(changed) != {**before, **values}:
        raise NotEditable("its form does not allow a change of single variables")
    return changed


def parsed_root(text: str) -> yaml.MappingNode | None:
    """Return the document's mapping with positions; None for an empty document. Raises NotEditable."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise NotEditable("its form does not allow a change of single variables") from error
    return root if isinstance(root, yaml.MappingNode) else None


def format_value(value: str | bool) -> str:
    """Write a value so that YAML and JSON read it alike, and Ansible finds no template in it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value.isascii():
        return json.dumps(value)
    # JSON escapes what is beyond 16 bits as two surrogates, which YAML takes for two characters.
    escaped = (char if ord(char) > 0xFFFF else json.dumps(char)[1:-1] for char in value)
    return f'"{"".join(escaped)}"'


def _replace(text: str, key: yaml.Node, value: yaml.Node, new: str) -> str:
    start, end = value.start_mark.index, value.end_mark.index
    if start < key.end_mark.index:
        raise NotEditable(f"{key.value} is an alias of another value")
    if not isinstance(value, yaml.ScalarNode):
        raise NotEditable(f"{key.value} is not a single value")
    if start == end:  # a key without a value
        return f"{text[:start]} {new}{text[end:]}"
    old = text[start:end]
    # A block scalar reaches to the start of the line where the next token is.
    tail = old[len(old.rstrip()) :] if value.style in ("|", ">") else ""
    return f"{text[:start]}{new}{tail}{text[end:]}"


def _append(text: str, added: Mapping[str, str | bool], root: yaml.MappingNode | None) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    if root is None:
        head = text if not text or text.endswith("\n") else text + newline
        return head + "".join(f"{name}: {format_value(value)}{newline}" for name, value in added.items())
    if root.flow_style:
        return _append_to_flow(text, added, root, newline)
    key, value = root.value[-1]
    lines = [f"{' ' * root.start_mark.column}{name}: {format_value(new)}{newline}" for name, new in added.items()]
    at = _line_end(text, max(key.end_mark.index, value.end_mark.index))
    gap = newline if text[:at] and not text[:at].endswith("\n") else ""
    return text[:at] + gap + "".join(lines) + text[at:]


def _line_end(text: str, at: int) -> int:
    """Return the start of the next line, or ``at`` where a line starts there already."""
    if at == 0 or text[at - 1] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _append_to_flow(text: str, added: Mapping[str, str | bool], root: yaml.MappingNode, newline: str) -> str:
    items = [f"{json.dumps(name)}: {format_value(value)}" for name, value in added.items()]
    if not root.value:
        at = root.end_mark.index - 1
        return text[:at] + ", ".join(items) + text[at:]
    key, value = root.value[-1]
    at = max(key.end_mark.index, value.end_mark.index)
    line = text.rfind("\n", 0, key.start_mark.index) + 1
    alone = re.fullmatch(r"\s*", text[line : key.start_mark.index]) is not None and line > 0
    comma = f",{newline}{text[line : key.start_mark.index]}" if alone else ", "
    return text[:at] + "".join(comma + item for item in items) + text[at:]
