# SPDX-License-Identifier: Apache-2.0
"""What the device takes into its configuration: known nodes, permitted values, references that hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ottr.drivers.panos.simulator.answers import Element, Refusal
from ottr.drivers.panos.simulator.certificates import is_authority, is_pending
from ottr.drivers.panos.simulator.places import CERTIFICATE, PROFILE, Reference, references, resolve
from ottr.drivers.panos.simulator.settings import Settings
from ottr.drivers.panos.simulator.tree import Path, find, step_of

_NAME = re.compile(r"[A-Za-z0-9.-][A-Za-z0-9 ._-]*")
_ALGORITHMS = ["3des", "rc4", "aes-128-cbc", "aes-256-cbc", "aes-128-gcm", "aes-256-gcm"]
_PLACE = frozenset({CERTIFICATE, PROFILE, "address", "certificate-profile", "log-settings", "tag", "display-name"})
_CERTIFICATE_FIELDS = frozenset(
    [
        "algorithm",
        "ca",
        "common-name",
        "common-name-int",
        "csr",
        "expiry-epoch",
        "issuer",
        "issuer-hash",
        "not-valid-after",
        "not-valid-before",
        "private-key",
        "private-key-on-hsm",
        "public-key",
        "revoke-date-epoch",
        "status",
        "subject",
        "subject-hash",
        "subject-int",
        "block-private-key",
        "cloud-resource-id",
    ]
)
_PROTOCOL = frozenset(
    ["min-version", "max-version"]
    + [f"keyxchg-algo-{name}" for name in ("rsa", "dhe", "ecdhe")]
    + [f"enc-algo-{name}" for name in _ALGORITHMS]
    + [f"auth-algo-{name}" for name in ("sha1", "sha256", "sha384")]
)
_CHILDREN: Mapping[str, frozenset[str]] = {
    "config": frozenset({"shared", "panorama", "devices", "mgt-config"}),
    "shared": _PLACE,
    "panorama": _PLACE,
    "vsys/entry": _PLACE | {"global-protect", "import"},
    "devices/entry": frozenset({"deviceconfig", "vsys", "template", "template-stack", "network", "device-group"}),
    "template/entry": frozenset({"config", "settings", "description"}),
    "template-stack/entry": frozenset({"config", "settings", "description", "templates", "devices"}),
    "deviceconfig": frozenset({"system", "setting", "high-availability"}),
    "certificate/entry": _CERTIFICATE_FIELDS,
    f"{PROFILE}/entry": frozenset({"certificate", "protocol-settings"}),
    "protocol-settings": _PROTOCOL,
    "global-protect": frozenset({"global-protect-portal", "global-protect-gateway"}),
}
_SYSTEM_LEAVES = frozenset(
    [
        "hostname",
        "domain",
        "ip-address",
        "netmask",
        "default-gateway",
        "login-banner",
        "timezone",
        "comment",
        "ssl-tls-service-profile",
        "device-group",
    ]
)


def check_name(name: str, limit: int, way: str) -> None:
    """A certificate's name. Raises Refusal (code 17) in the device's words."""
    if len(name) > limit:
        said = f"{way} -> certificate-name can be at most {limit} characters, but current length: {len(name)}"
        raise Refusal(17, said, f"{way} -> certificate-name is invalid")
    if not _NAME.fullmatch(name):
        raise Refusal(17, f"{way} -> certificate-name '{name}' is invalid", f"{way} -> certificate-name is invalid")


def check_nodes(root: Element, settings: Settings, path: Path = ()) -> None:
    """Every node is known and its value permitted. Raises Refusal (code 12)."""
    context = path[-2].tag + "/entry" if path and path[-1].tag == "entry" and len(path) > 1 else root.tag
    allowed = _CHILDREN.get(context)
    if root.tag == "system" and len(path) > 1 and path[-2].tag == "deviceconfig":
        allowed = _SYSTEM_LEAVES
    for node in root:
        here = (*path, step_of(node))
        if allowed is not None and node.tag not in allowed:
            label = path[-1].name or root.tag
            raise Refusal(12, f" {label} -> {node.tag} unexpected here", f" {label} is invalid")
        if node.tag == "entry" and not node.get("name"):
            raise Refusal(12, f" {root.tag} -> entry is missing 'name'", f" {root.tag} is invalid")
        _check_value(node, here, settings)
        check_nodes(node, settings, here)


def _check_value(node: Element, path: Path, settings: Settings) -> None:
    if node.tag not in ("min-version", "max-version"):
        return
    values = ["tls1-0", "tls1-1", "tls1-2", *(["tls1-3"] if settings.version >= (11, 0) else [])]
    if node.tag == "max-version":
        values.append("max")
    if (node.text or "") not in values:
        way = " -> ".join(step.name or step.tag for step in path[-4:])
        raise Refusal(12, f" {way} '{node.text or ''}' is not an allowed keyword", f" {way} is invalid")


def broken_references(root: Element) -> Iterator[tuple[Reference, str]]:
    """References that do not hold, and why, in the device's words."""
    for reference in references(root):
        target = resolve(root, reference)
        if target is None:
            yield reference, f" {reference.shown} '{reference.name}' is not a valid reference"
        elif reference.kind == CERTIFICATE:
            entry = find(root, target)
            if entry is not None and is_authority(entry):
                yield reference, f" {reference.shown} '{reference.name}' is a CA certificate"


def pending_references(root: Element) -> Iterator[tuple[Reference, str]]:
    """References to certificates that are still a CSR."""
    for reference in references(root):
        target = resolve(root, reference)
        entry = find(root, target) if target else None
        if reference.kind == CERTIFICATE and entry is not None and is_pending(entry):
            yield reference, f" {reference.shown} '{reference.name}' has no certificate"


def check_references(before: Element, after: Element, settings: Settings) -> None:
    """No reference may break by an edit. Raises Refusal (code 12)."""
    known = {reference for reference, _ in broken_references(before)}
    found = list(broken_references(after))
    if settings.unconfirmed.csr_only_reference == "refused":
        known |= {reference for reference, _ in pending_references(before)}
        found += pending_references(after)
    for reference, why in found:
        if reference not in known:
            raise Refusal(12, why, f" {reference.shown} is invalid")
