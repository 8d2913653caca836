# SPDX-License-Identifier: Apache-2.0
"""What is known of each device's certificates: issued, installed, bound, served, each with its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa

from ottr import x509
from ottr.model import IssuedCertificate
from ottr.policy import Known
from ottr.state.database import Database, upsert
from ottr.state.journal import Record
from ottr.state.schema import certificate, observation
from ottr.statement import Statement

Fact = Literal["installed_at", "bound_at", "served_at", "superseded_at", "revoked_at"]


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate of one device."""

    device: str
    rotation_id: str
    """Empty: found on the device."""
    ca: str
    """Key of ``issuers``."""
    sha256: str
    serial: str
    issuer: str
    """RFC 4514."""
    dns_names: tuple[str, ...]
    key_type: str
    """Empty: a key that Ottr does not make."""
    not_before: datetime
    not_after: datetime
    issued_at: datetime | None = None
    installed_at: datetime | None = None
    bound_at: datetime | None = None
    served_at: datetime | None = None
    superseded_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def known(self) -> Known:
        """What the policy cares about."""
        times = (self.not_before, self.not_after)
        names = (self.issuer, self.dns_names, self.key_type)
        return Known(self.sha256, self.ca, *names, *times, revoked=self.revoked_at is not None)


@dataclass(frozen=True, slots=True)
class Observation:
    """What an endpoint served when it was last looked at."""

    device: str
    endpoint: str
    at: datetime
    sha256: str
    """Empty: nothing was served."""
    problem: str = ""


_FACTS = [column for column in certificate.c if column.name not in ("id", "leaf_pem", "chain_pem")]


# Made once: these run for every device.
_THIS: sa.BindParameter[str] = sa.bindparam("this")
_SERVED = certificate.c.served_at.is_not(None) & certificate.c.superseded_at.is_(None)
_ALL = sa.select(*_FACTS).order_by(certificate.c.id)
_LIVE = Statement(_ALL.where(_SERVED))
_LIVE_OF_DEVICE = Statement(_ALL.where(_SERVED & (certificate.c.device == _THIS)))
_SERVING = Statement(sa.select(certificate.c.device).where(_SERVED & (certificate.c.sha256 == _THIS)))
_OF_DEVICE = Statement(_ALL.where(certificate.c.device == _THIS))
_OF_LEAF = ("leaf_pem", "chain_pem", "sha256", "serial", "issuer", "dns_names", "key_type", "not_before", "not_after")
_INSERT_ISSUED = Statement(certificate.insert().inline(), ("device", "rotation_id", "ca", "issued_at", *_OF_LEAF))
_SUPERSEDE = Statement(
    certificate.update()
    .where(_SERVED & (certificate.c.device == _THIS) & (certificate.c.sha256 != sa.bindparam("stays")))
    .values(superseded_at=sa.bindparam("at"))
)
_SEEN = Statement(sa.select(observation))
_SEEN_AT_DEVICE = Statement(sa.select(observation).where(observation.c.device == _THIS))


class Certificates:
    """The tables ``certificate`` and ``observation``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self, device: str | None = None) -> Mapping[str, CertificateFacts]:
        """The certificate that was last seen to be served, by device; of one device or of all."""
        with self._database.read() as connection:
            if device is None:
                rows = _LIVE.fetch_named(connection, {})
            else:
                rows = _LIVE_OF_DEVICE.fetch_named(connection, {"this": device})
            return {row["device"]: _facts(row) for row in rows}

    def serving(self, sha256: str) -> Sequence[str]:
        """Names of the devices whose current certificate it is."""
        with self._database.read() as connection:
            return [row["device"] for row in _SERVING.fetch_named(connection, {"this": sha256})]

    def of_device(self, device: str) -> Sequence[CertificateFacts]:
        """All certificates of a device, the oldest first."""
        with self._database.read() as connection:
            return [_facts(row) for row in _OF_DEVICE.fetch_named(connection, {"this": device})]

    def former(self, device: str, rotation_id: str) -> CertificateFacts | None:
        """The certificate that was served last before a rotation's own."""
        others = [one for one in self.of_device(device) if one.rotation_id != rotation_id and one.served_at]
        return max(others, key=lambda one: one.superseded_at or one.served_at or one.not_before, default=None)

    def pem(self, device: str, sha256: str) -> IssuedCertificate | None:
        """Leaf and chain of one certificate."""
        this = (certificate.c.device == device) & (certificate.c.sha256 == sha256)
        with self._database.read() as connection:
            row = connection.execute(sa.select(certificate.c.leaf_pem, certificate.c.chain_pem).where(this)).first()
        return None if row is None else IssuedCertificate(row.leaf_pem, row.chain_pem)

    def adopt(self, device: str, ca: str, leaf_pem: str, at: datetime) -> None:
        """Write down a certificate that was found on a device and served by it."""
        leaf = x509.parse_certificate(leaf_pem)
        with self._database.write() as connection:
            mark_superseded(connection, device, leaf.sha256, at)
            known = (certificate.c.device == device) & (certificate.c.sha256 == leaf.sha256)
            again = {"served_at": at, "superseded_at": None}
            if connection.execute(certificate.update().where(known).values(again)).rowcount == 0:
                row = _row(leaf, IssuedCertificate(leaf_pem, ""))
                connection.execute(certificate.insert(), row | {"device": device, "ca": ca, "served_at": at})

    def mark_revoked(self, device: str, sha256: str, at: datetime) -> None:
        """The CA has revoked a certificate."""
        this = (certificate.c.device == device) & (certificate.c.sha256 == sha256)
        with self._database.write() as connection:
            connection.execute(certificate.update().where(this).values(revoked_at=at))

    def observations(self, device: str | None = None) -> Sequence[Observation]:
        """What was last seen at endpoints, of one device or of all."""
        with self._database.read() as connection:
            if device is None:
                rows = _SEEN.fetch_named(connection, {})
            else:
                rows = _SEEN_AT_DEVICE.fetch_named(connection, {"this": device})
            return [Observation(**row) for row in rows]

    def observe(self, seen: Sequence[Observation]) -> None:
        """Write down what endpoints serve now."""
        with self._database.write() as connection:
            for one in seen:
                write_observation(connection, one)


def insert_issued(connection: sa.Connection, record: Record, issued: IssuedCertificate, at: datetime) -> None:
    """Fact one: the CA has issued it."""
    row = _row(x509.parse_certificate(issued.leaf_pem), issued)
    mine = {"device": record.device, "rotation_id": record.id, "ca": record.issuer, "issued_at": at}
    _INSERT_ISSUED.change(connection, row | mine)


def mark(connection: sa.Connection, rotation_id: str, at: datetime | None, *facts: Fact) -> None:
    """Facts of a rotation's certificate are true since then; None: no longer."""
    _mark_statement(facts).change(connection, {"this": rotation_id, "since": at})


@cache
def _mark_statement(facts: tuple[Fact, ...]) -> Statement:
    since: sa.BindParameter[datetime] = sa.bindparam("since")
    return Statement(certificate.update().where(certificate.c.rotation_id == _THIS).values(dict.fromkeys(facts, since)))


def mark_superseded(connection: sa.Connection, device: str, sha256: str, at: datetime) -> None:
    """Every other certificate of the device that was served is so no longer."""
    _SUPERSEDE.change(connection, {"this": device, "stays": sha256, "at": at})


def write_observation(connection: sa.Connection, seen: Observation) -> None:
    """Replace what was last seen at an endpoint."""
    key = {"device": seen.device, "endpoint": seen.endpoint}
    upsert(connection, observation, key, {"at": seen.at, "sha256": seen.sha256, "problem": seen.problem})


def _row(leaf: x509.Certificate, issued: IssuedCertificate) -> dict[str, Any]:
    return {
        "leaf_pem": issued.leaf_pem,
        "chain_pem": issued.chain_pem,
        "sha256": leaf.sha256,
        "serial": leaf.serial,
        "issuer": leaf.issuer,
        "dns_names": list(leaf.dns_names),
        "key_type": leaf.key_type or "",
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
    }


def _facts(row: dict[str, Any]) -> CertificateFacts:
    row["dns_names"] = tuple(row["dns_names"])
    row["rotation_id"] = row["rotation_id"] or ""
    return CertificateFacts(**row)
