# SPDX-License-Identifier: Apache-2.0
"""An inventory in the state database, for those whose devices are in no files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import sqlalchemy as sa

from ottr.errors import InventoryError
from ottr.inventory import CertificateFacts, HostSecrets, InventoryHost, RecordResult
from ottr.inventory.pattern import Ambiguous, HostIndex, select
from ottr.inventory.variables import NAMES, PREFIXES, SECRET_SUFFIXES, SECRETS
from ottr.inventory.writeback import without_templates
from ottr.state.database import Database, upsert
from ottr.state.schema import device

SOURCE = "state:"
"""What ``-i`` and ``inventory`` of ottr.yaml call it."""

_WORD = re.compile(r"[^\s,:!&@~*?\[\]]+")
_ALL = sa.select(device).order_by(device.c.position, device.c.name)


class SqlInventory:
    """Implements ``Inventory``; patterns and limits mean what they mean to Ansible. No secret is kept here."""

    warnings: tuple[str, ...] = ()

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self) -> None:
        """Nothing has to be begun beforehand."""

    def close(self) -> None:
        """The database is closed by whoever has opened it."""

    def hosts(self, pattern: str = "all", limit: str = "") -> Sequence[InventoryHost]:
        """Return the hosts that a pattern and a limit mean, in the order they were added.

        Raises InventoryError when nothing matches.
        """
        found = {host.name: host for host in self._load()}
        try:
            names = select(_index(found), pattern, limit).names
        except Ambiguous as error:
            raise InventoryError(
                f"{pattern!r} could be an address with a port", hint="put commas between the terms of the pattern"
            ) from error
        if not names and (found or pattern != "all"):
            raise InventoryError(
                f"no host matches {pattern!r}" + (f" with the limit {limit!r}" if limit else ""),
                hint="`ottr inventory list` shows the hosts there are",
            )
        return [found[name] for name in names]

    def secrets(self, hosts: Sequence[InventoryHost]) -> Mapping[str, HostSecrets]:
        """There are none: ``credentials`` of ottr.yaml says where they are."""
        return {host.name: HostSecrets() for host in hosts}

    def record(self, host: str, facts: CertificateFacts) -> RecordResult:
        """Write the facts of a verified certificate into the host's variables."""
        variables = {
            "certificate_expiration": facts.expiration.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "certificate_issuer": without_templates(facts.issuer),
            "certificate_serial": facts.serial,
            "certificate_sha256": facts.sha256,
            "certificate_validation": True,
        }
        with self._database.write() as connection:
            row = connection.execute(_ALL.where(device.c.name == host)).one_or_none()
            if row is None:
                return RecordResult(warning=f"{host} has left the inventory meanwhile")
            known = {"variables": {**row.variables, **variables}}
            connection.execute(device.update().where(device.c.name == host).values(known))
        return RecordResult()

    def add(self, hosts: Iterable[InventoryHost]) -> int:
        """Write hosts down, those of the same names anew; return how many. Raises InventoryError for a secret."""
        rows = [_row(host) for host in hosts]
        with self._database.write() as connection:
            last = connection.execute(sa.select(sa.func.max(device.c.position))).scalar() or 0
            for position, (name, row) in enumerate(rows, start=last + 1):
                upsert(connection, device, {"name": name}, row, {"position": position})
        return len(rows)

    def remove(self, names: Iterable[str]) -> None:
        """Forget hosts; what the state knows of their rotations stays."""
        with self._database.write() as connection:
            for name in names:
                connection.execute(device.delete().where(device.c.name == name))

    def _load(self) -> Sequence[InventoryHost]:
        with self._database.read() as connection:
            return [
                InventoryHost(row.name, frozenset(row.group_names), row.variables) for row in connection.execute(_ALL)
            ]


def keep(host: InventoryHost) -> InventoryHost:
    """What of a host goes into the database: the variables Ottr reads, without secrets."""
    variables = {name: value for name, value in host.variables.items() if not is_secret(name)}
    return InventoryHost(host.name, host.groups, variables)


def is_secret(name: str) -> bool:
    """Whether a variable of this name is a secret by its name alone."""
    return name in SECRETS or name.endswith(SECRET_SUFFIXES)


def is_known(name: str) -> bool:
    """Whether Ottr or a driver reads a variable of this name."""
    return name in NAMES or name.startswith(PREFIXES)


def _row(host: InventoryHost) -> tuple[str, dict[str, Any]]:
    for word in (host.name, *host.groups):
        if not _WORD.fullmatch(word):
            raise InventoryError(f"{word!r} cannot be the name of a host or a group: no pattern could mean it")
    hidden = [name for name in host.variables if is_secret(name)]
    if hidden:
        raise InventoryError(
            f"{host.name}: {hidden[0]} is a secret, and none is kept in the state database",
            hint="`credentials` of ottr.yaml says where a login is",
        )
    unknown = [name for name in host.variables if not is_known(name)]
    if unknown:
        raise InventoryError(
            f"{host.name}: nothing reads a variable of the name {unknown[0]}",
            hint="those of drivers begin with ottr_; docs/operations.md lists the others",
        )
    return host.name, {"group_names": sorted(host.groups), "variables": dict(host.variables)}


def _index(hosts: Mapping[str, InventoryHost]) -> HostIndex:
    groups: dict[str, list[int]] = {"all": list(range(len(hosts)))}
    for number, host in enumerate(hosts.values()):
        for group in sorted(host.groups):
            groups.setdefault(group, []).append(number)
    return HostIndex.of(list(hosts), groups)
