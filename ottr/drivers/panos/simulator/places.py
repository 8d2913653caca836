# SPDX-License-Identifier: Apache-2.0
"""Where certificates and service profiles live, who refers to whom, and whether the reference holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ottr.drivers.panos.simulator.answers import Element, Refusal
from ottr.drivers.panos.simulator.tree import Path, Step, find, step_of, write_arrows

DEVICE: Path = (Step("devices"), Step("entry", "localhost.localdomain"))
SHARED: Path = (Step("shared"),)
PANORAMA: Path = (Step("panorama"),)
SYSTEM: Path = (*DEVICE, Step("deviceconfig"), Step("system"))
CERTIFICATE, PROFILE = "certificate", "ssl-tls-service-profile"


def vsys_place(name: str, below: Path = ()) -> Path:
    """A virtual system, of the device or of a template."""
    return (*below, *DEVICE, Step("vsys"), Step("entry", name))


def template_place(kind: str, name: str) -> Path:
    """The configuration inside a ``template`` or ``template-stack``."""
    return (*DEVICE, Step(kind), Step("entry", name), Step("config"))


def entry_path(place: Path, kind: str, name: str) -> Path:
    """A certificate or a profile in a place."""
    return (*place, Step(kind), Step("entry", name))


def locate(root: Element, form: Mapping[str, str], panorama: bool) -> Path | None:
    """The place that the parameters ``target-tpl``, ``target-tpl-vsys`` and ``vsys`` name; None without any.

    Raises Refusal when there is no such place.
    """
    template, vsys = form.get("target-tpl", ""), form.get("vsys", "")
    if template:
        return template_target(root, template, form.get("target-tpl-vsys", ""))
    if not vsys:
        return None
    if vsys == "shared":
        return SHARED
    place = vsys_place(vsys)
    if panorama or find(root, place) is None:
        raise Refusal(400, f'Illegal value for parameter "vsys" [{vsys}].', shape="spaced")
    return place


def template_target(root: Element, name: str, vsys: str) -> Path:
    """The place inside a template or a stack. Raises Refusal when there is none of that name."""
    for kind in ("template", "template-stack"):
        inside = template_place(kind, name)
        if find(root, inside[:-1]) is not None:
            return vsys_place(vsys, inside) if vsys and vsys != "shared" else (*inside, *SHARED)
    raise Refusal(400, f'Illegal value for parameter "target-tpl" [{name}].', shape="spaced")


@dataclass(frozen=True, slots=True)
class Reference:
    """A leaf that names a certificate or a profile."""

    leaf: Path
    kind: str
    name: str

    @property
    def shown(self) -> str:
        """The way to the leaf as messages show it."""
        tags = [step.tag for step in self.leaf]
        start = next((tags.index(tag) for tag in _SHOWN_FROM if tag in tags), 0)
        return write_arrows(self.leaf[start:])


_SHOWN_FROM = ("deviceconfig", "global-protect", PROFILE)


def references(root: Element, path: Path = ()) -> Iterator[Reference]:
    """Every reference below a node."""
    for node in root:
        here = (*path, step_of(node))
        text = (node.text or "").strip()
        if node.tag == PROFILE and len(node) == 0 and text:
            yield Reference(here, PROFILE, text)
        elif node.tag == CERTIFICATE and len(node) == 0 and text and len(here) > 2 and here[-3].tag == PROFILE:
            yield Reference(here, CERTIFICATE, text)
        else:
            yield from references(node, here)


def resolve(root: Element, reference: Reference) -> Path | None:
    """The object that is meant: in the same virtual system, else shared, else Panorama's own."""
    for place in _scopes(reference.leaf):
        path = entry_path(place, reference.kind, reference.name)
        if find(root, path) is not None:
            return path
    return None


def _scopes(leaf: Path) -> Iterator[Path]:
    base = max((i + 1 for i, step in enumerate(leaf) if step.tag == "config"), default=0)
    for end in range(len(leaf), base, -1):
        if leaf[end - 1].tag == "entry" and end > 1 and leaf[end - 2].tag == "vsys":
            yield leaf[:end]
    own = PANORAMA if len(leaf) > base and leaf[base].tag == "panorama" else SHARED
    yield (*leaf[:base], *own)
    yield (*leaf[:base], *(SHARED if own == PANORAMA else PANORAMA))


def referring(root: Element, target: Path) -> list[Reference]:
    """Who refers to an object."""
    return [reference for reference in references(root) if resolve(root, reference) == target]
