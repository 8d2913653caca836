# SPDX-License-Identifier: Apache-2.0
"""Hosts that somebody else has read and hands over, with their variables rendered."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ottr.errors import InventoryError
from ottr.inventory import CertificateFacts, HostSecrets, InventoryHost, RecordResult
from ottr.model import Secret

_PLUGIN = re.compile(rb"^plugin\s*:", re.MULTILINE)
_OURS = re.compile(rb"""^plugin\s*:\s*["']?ottr\.pki\.ottr\b""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class GivenHost:
    """One host, and where it was read from."""

    host: InventoryHost
    secrets: HostSecrets = field(default_factory=HostSecrets)
    file: str = ""
    """``inventory_file``; empty: of no file."""
    sources: tuple[str, ...] = ()
    """All sources of the inventory, as Ansible has them."""
    folder: Path = Path()
    """``playbook_dir``: variables stand beside a playbook too."""


class GivenInventory:
    """Implements ``Inventory`` for exactly these hosts; patterns and limits were somebody else's business."""

    def __init__(self, hosts: Sequence[GivenHost]) -> None:
        self._hosts = {one.host.name: one for one in hosts}

    def hosts(self, pattern: str = "all", limit: str = "") -> Sequence[InventoryHost]:
        """Return all of them, or the one that is named. Raises InventoryError for another."""
        del limit
        if pattern == "all":
            return [one.host for one in self._hosts.values()]
        if pattern not in self._hosts:
            raise InventoryError(f"no host matches {pattern!r}")
        return [self._hosts[pattern].host]

    def secrets(self, hosts: Sequence[InventoryHost]) -> Mapping[str, HostSecrets]:
        """Return what was handed over."""
        return {host.name: self._hosts[host.name].secrets for host in hosts}

    def record(self, host: str, facts: CertificateFacts) -> RecordResult:
        """Write the facts into the host's own variables; see ``writeback``."""
        from ottr.inventory import hostvars, writeback

        given = self._hosts[host]
        origin = _find_origin(given)
        if origin is None and _is_of_our_state(given.file):
            return RecordResult()  # its facts are those of the state database, which has them already
        if origin is None:
            return RecordResult(warning=f"{host} comes from no file that could be written to")
        folders = hostvars.variable_folders(given.sources, working_folder=given.folder)
        return writeback.record(host, facts, folders=folders, home=hostvars.variable_folder(origin))


def parse_host(content: Mapping[str, Any]) -> GivenHost:
    """Make a host of an object with the members name, groups, variables, secrets, problems, secret_problems, file,
    sources and folder. Raises InventoryError."""
    try:
        secrets = {name: Secret(value) for name, value in content["secrets"].items()}
        names = (*secrets, *content["secret_problems"])
        host = InventoryHost(
            content["name"], frozenset(content["groups"]), content["variables"], names, content["problems"]
        )
        return GivenHost(
            host,
            HostSecrets(secrets, content["secret_problems"]),
            content["file"],
            tuple(content["sources"]),
            Path(content["folder"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InventoryError("the host that was handed over is not complete") from error


def _find_origin(given: GivenHost) -> str | None:
    """The source the host's file belongs to; None where a program made the host up."""
    if not given.file or not os.path.exists(given.file) or _is_dynamic(Path(given.file)):  # noqa: PTH110
        return None
    for source in given.sources:
        if given.file == source or given.file.startswith(source.rstrip(os.sep) + os.sep):
            return source
    return None


def _is_of_our_state(file: str) -> bool:
    """Whether Ottr's own inventory plugin has made the host up."""
    path = Path(file)
    return file.endswith((".ottr.yml", ".ottr.yaml")) and path.is_file() and _OURS.search(path.read_bytes()) is not None


def _is_dynamic(path: Path) -> bool:
    """A script, or the settings of an inventory plugin."""
    if path.is_dir():
        return False
    return os.access(path, os.X_OK) or (
        path.suffix in (".yml", ".yaml") and _PLUGIN.search(path.read_bytes()) is not None
    )
