# SPDX-License-Identifier: Apache-2.0
"""Configuration trees: the XPath the device understands, set, edit, and what differs between two trees."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ottr.drivers.panos.simulator.answers import Element, Refusal

_STEP = re.compile(
    r"""/(?P<tag>[A-Za-z_][\w.-]*)(?:\[(?P<by>@name|text\(\))\s*=\s*(?P<quote>['"])(?P<name>[^'"<>&]+)(?P=quote)\])?(?:\[(?P<having>[a-z-]+)\])?"""
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a tag, for ``entry`` its name, for ``member`` its text, and what must be below it."""

    tag: str
    name: str = ""
    having: str = ""

    def matches(self, node: Element) -> bool:
        """Whether the node is the one meant."""
        if node.tag != self.tag or (self.having and node.find(self.having) is None):
            return False
        return not self.name or (node.text if self.tag == "member" else node.get("name")) == self.name

    def create(self) -> Element:
        """Make the node."""
        if self.tag == "member":
            node = Element("member")
            node.text = self.name
            return node
        return Element(self.tag, {"name": self.name} if self.name else {})

    def __str__(self) -> str:
        if not self.name:
            return self.tag
        return f"{self.tag}[text()='{self.name}']" if self.tag == "member" else f"{self.tag}[@name='{self.name}']"


Path = tuple[Step, ...]
"""From below the root ``config`` downwards."""


def parse_xpath(text: str) -> Path:
    """Read an absolute path below ``/config``. Raises Refusal (code 6) for anything else, as for unescaped names."""
    steps, position = [], 0
    while position < len(text):
        found = _STEP.match(text, position)
        if not found or (found["by"] == "text()") != (found["tag"] == "member" and bool(found["name"])):
            raise Refusal(6, f"xpath {text} is invalid")
        steps.append(Step(found["tag"], found["name"] or "", found["having"] or ""))
        position = found.end()
    if not steps or steps[0] != Step("config"):
        raise Refusal(6, f"xpath {text} is invalid")
    return tuple(steps[1:])


def write_xpath(path: Path) -> str:
    """Write a path as the device shows it."""
    return "".join(f"/{step}" for step in (Step("config"), *path))


def write_arrows(path: Path) -> str:
    """Write the way to a node as messages do: ``ssl-tls-service-profile -> P -> certificate``."""
    return " -> ".join(step.name or step.tag for step in path)


def step_of(node: Element) -> Step:
    """The step that leads to a node."""
    return Step(node.tag, (node.text or "").strip() if node.tag == "member" else node.get("name", ""))


def child(parent: Element, step: Step) -> Element | None:
    """The one child a step leads to."""
    return next((node for node in parent if step_of(node) == step), None)


def find(root: Element, path: Path) -> Element | None:
    """The node at a path of which every step is exact."""
    node: Element | None = root
    for step in path:
        node = child(node, step) if node is not None else None
    return node


def find_all(root: Element, path: Path) -> list[Element]:
    """Every node at a path: ``entry`` without a name means each."""
    nodes = [root]
    for step in path:
        nodes = [inner for node in nodes for inner in node if step.matches(inner)]
    return nodes


def ensure(root: Element, path: Path) -> Element:
    """The node at a path, made when it is not there."""
    for step in path:
        node = child(root, step)
        if node is None:
            node = step.create()
            root.append(node)
        root = node
    return root


def merge(target: Element, source: Element) -> None:
    """``set``: single values are replaced, entries and members added, the rest stays."""
    if len(source) == 0 and (source.text or "").strip():
        target.text = source.text
    for node in source:
        present = child(target, step_of(node))
        if present is None:
            target.append(copy.deepcopy(node))
        else:
            merge(present, node)


def remove(root: Element, path: Path) -> None:
    """Remove the node at a path, and the containers that are empty then."""
    parent = find(root, path[:-1])
    node = child(parent, path[-1]) if parent is not None else None
    if parent is not None and node is not None:
        parent.remove(node)
        if len(path) > 1 and len(parent) == 0 and not parent.get("name"):
            remove(root, path[:-1])


def copy_path(source: Element, target: Element, path: Path) -> None:
    """Make the node at a path of ``target`` what it is in ``source``, absent included."""
    node = find(source, path)
    if node is None:
        remove(target, path)
        return
    parent = ensure(target, path[:-1])
    present = child(parent, path[-1])
    if present is not None:
        parent.remove(present)
    parent.append(copy.deepcopy(node))


def differences(one: Element, other: Element, path: Path = ()) -> Iterator[Path]:
    """The highest nodes that are in one tree only, and the leaves whose text differs."""
    steps = dict.fromkeys([*map(step_of, one), *map(step_of, other)])
    if (len(one) == 0 or len(other) == 0) and path and (one.text or "").strip() != (other.text or "").strip():
        yield path
        return
    for step in steps:
        left, right = child(one, step), child(other, step)
        if left is None or right is None:
            yield (*path, step)
        else:
            yield from differences(left, right, (*path, step))
