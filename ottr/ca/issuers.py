# SPDX-License-Identifier: Apache-2.0
"""The rows of issuers: who signs now, what leads to whom, what is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

import sqlalchemy as sa
from cryptography import x509

from ottr.ca.keys import hash_public_key, read_key_identifier
from ottr.ca.model import Issuer, Phase, Role, Status, parse_der
from ottr.ca.schema import certificate, issuer
from ottr.errors import UnknownCertificate
from ottr.statement import Row, Statement

# Times as seconds: what is made of a row is made once, see ``_build``.
_JOINED = sa.select(
    issuer,
    certificate.c.der,
    certificate.c.status,
    *(sa.type_coerce(certificate.c[name], sa.BigInteger).label(name) for name in ("not_before", "not_after")),
).join(certificate, (certificate.c.serial == issuer.c.serial) & (certificate.c.issuer_id == issuer.c.parent_id))

# Made once: building a statement costs more than running it.
_ALL = Statement(_JOINED.order_by(issuer.c.generation.desc(), issuer.c.role.desc()))
_ONE = Statement(_JOINED.where(issuer.c.id == sa.bindparam("one_id")))
_COLUMNS = tuple(column.name for column in _JOINED.exported_columns)
_INSERT = issuer.insert()
_CROSSED = Statement(
    sa.select(certificate.c.der)
    .join(issuer, issuer.c.id == certificate.c.issuer_id)
    .where(certificate.c.subject_issuer_id == sa.bindparam("one_id"), certificate.c.issuer_id != sa.bindparam("one_id"))
    .where(certificate.c.subject_issuer_id != "")  # as its index says
    .where(certificate.c.status == Status.VALID.value, issuer.c.phase != Phase.RETIRED.value)
    .order_by(issuer.c.generation.desc())
)
_LOCKED = sa.select(issuer.c.id).where(issuer.c.id == sa.bindparam("one_id"))
_SHARE = _LOCKED.with_for_update(read=True, key_share=True)
_SEIZE = _LOCKED.with_for_update()


def insert_issuer(connection: sa.Connection, one: Issuer, leaf: x509.Certificate) -> None:
    """Make an issuer whose certificate, ``leaf``, is in the table of certificates already."""
    row = {
        "id": one.id,
        "role": one.role.value,
        "generation": one.generation,
        "key_id": one.key_id,
        "parent_id": one.parent_id,
        "phase": one.phase.value,
        "serial": format(leaf.serial_number, "x"),
        "key_identifier": read_key_identifier(leaf).hex(),
        "spki_sha256": hash_public_key(leaf.public_key()),  # type: ignore[arg-type]  # of a CA certificate
        "crl_number": 0,
        "status_version": 0,
    }
    connection.execute(_INSERT, row)


def list_issuers(connection: sa.Connection) -> tuple[Issuer, ...]:
    """Every issuer, the newest generation first, roots before intermediates."""
    return tuple(_build(tuple(row)) for row in _ALL.fetch(connection, {}))


def get_issuer(connection: sa.Connection, issuer_id: str) -> Issuer:
    """Return an issuer. Raises UnknownCertificate."""
    row = _ONE.fetch_one(connection, {"one_id": issuer_id})
    if row is None:
        raise UnknownCertificate(f"the CA has no issuer {issuer_id!r}", hint="`ottr ca list --issuers` shows them")
    return _build(tuple(row))


def find_active(connection: sa.Connection, role: Role, now: datetime) -> Issuer:
    """The newest issuer of a role that is valid, not revoked and not out of a rollover. Raises UnknownCertificate."""
    issuers = list_issuers(connection)
    alive = {one.id: one for one in issuers if _counts(one, now)}
    for one in issuers:
        signs = one.phase in (Phase.ACTIVE, Phase.RETIRING) and one.key_id
        if one.role is role and signs and one.id in alive and one.parent_id in alive:
            return one
    raise UnknownCertificate(
        f"the CA has no {role.value} that is valid now", hint="`ottr ca rollover` makes a new generation"
    )


def find_chain(issuers: Iterable[Issuer], issuer_id: str) -> tuple[Issuer, ...]:
    """An issuer and those above it, its root last."""
    by_id = {one.id: one for one in issuers}
    chain = [by_id[issuer_id]]
    while chain[-1].parent_id != chain[-1].id:
        chain.append(by_id[chain[-1].parent_id])
    return tuple(chain)


def list_cross_certificates(connection: sa.Connection, issuer_id: str) -> tuple[x509.Certificate, ...]:
    """Valid certificates of a root by older roots that have not been retired, the newest root's first."""
    return tuple(parse_der(der) for (der,) in _CROSSED.fetch(connection, {"one_id": issuer_id}))


def list_chains(connection: sa.Connection, issuer_id: str) -> tuple[tuple[x509.Certificate, ...], ...]:
    """Chains to send with a certificate of an issuer, see ``Authority.chains``."""
    path = find_chain(list_issuers(connection), issuer_id)
    usual = tuple(one.certificate for one in path if one.parent_id != one.id)
    crosses = list_cross_certificates(connection, path[-1].id)
    return (*((*usual, cross) for cross in crosses), usual)


def share_issuer(connection: sa.Connection, issuer_id: str) -> None:
    """Keep an issuer from being compromised until this transaction ends; others may share it.

    SQLite has one writer at a time, and needs nothing.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_SHARE, {"one_id": issuer_id})


def seize_issuer(connection: sa.Connection, issuer_id: str) -> None:
    """Wait for all who sign with an issuer, and let nobody begin before this transaction ends."""
    if connection.dialect.name != "sqlite":
        connection.execute(_SEIZE, {"one_id": issuer_id})


def was_replaced(connection: sa.Connection, one: Issuer, now: datetime) -> bool:
    """Whether another one signs instead by now; if not, nobody else can replace it until the transaction ends."""
    seize_issuer(connection, one.id)
    return find_active(connection, one.role, now).id != one.id


def set_phase(connection: sa.Connection, issuer_id: str, phase: Phase) -> None:
    """Move an issuer on."""
    connection.execute(issuer.update().where(issuer.c.id == issuer_id).values(phase=phase.value))


def next_crl_number(connection: sa.Connection, issuer_id: str) -> int:
    """Take the next number for a CRL of an issuer, base or delta: greater than all before, in this transaction."""
    change = issuer.update().where(issuer.c.id == issuer_id).values(crl_number=issuer.c.crl_number + 1)
    number: int = connection.execute(change.returning(issuer.c.crl_number)).scalar_one()
    return number


def _counts(one: Issuer, now: datetime) -> bool:
    return one.status is Status.VALID and one.not_before <= now < one.not_after


@lru_cache(maxsize=64)
def _build(row: Row) -> Issuer:
    """There are few of them, and they change seldom."""
    values = dict(zip(_COLUMNS, row, strict=True))
    return Issuer(
        id=values["id"],
        role=Role(values["role"]),
        generation=values["generation"],
        key_id=values["key_id"],
        parent_id=values["parent_id"],
        phase=Phase(values["phase"]),
        certificate_der=values["der"],
        serial=values["serial"],
        status=Status(values["status"]),
        not_before=datetime.fromtimestamp(values["not_before"], UTC),
        not_after=datetime.fromtimestamp(values["not_after"], UTC),
        key_identifier=values["key_identifier"],
        crl_number=values["crl_number"],
        status_version=values["status_version"],
    )
