# SPDX-License-Identifier: Apache-2.0
"""Whether there is a certificate already that does what a new one would: for those who ask again and again."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ottr.ca.authority import Authority
from ottr.ca.certificates import list_certificates
from ottr.ca.clients import is_trusted
from ottr.ca.issuance import Prepared
from ottr.ca.keys import hash_public_key
from ottr.ca.model import Certificate, Status
from ottr.ca.renewal import is_due
from ottr.ca.schema import certificate


def find_standing(authority: Authority, prepared: Prepared, *, held: bool) -> Certificate | None:
    """The newest valid certificate of the same profile, names and subject; None without one.

    It is of the same key, or, with ``held``, of a key that the CA holds and renews. Its issuer and all above that are
    neither revoked nor retired. It may be due.
    """
    now, known = authority.clock(), authority.issuers()
    usable = {one.id for one in known if is_trusted(one, known, now)}
    c = certificate.c
    which = c.auto_renew & (c.key_id != "") if held else _is_of_key(prepared)

    def fits(row: Certificate) -> bool:
        same_subject = row.subject == prepared.linted.subject.rfc4514_string()
        same_names = row.names.values == prepared.entry.names.values
        return same_subject and same_names and row.issuer_id in usable and row.not_after > now

    return _find_newest(authority, which & (c.profile == prepared.entry.profile), fits)


def find_former(authority: Authority, prepared: Prepared) -> Certificate | None:
    """The newest valid certificate of the same key, whatever it says; None without one."""
    return _find_newest(authority, _is_of_key(prepared), lambda _: True)


def is_renewable(authority: Authority, row: Certificate) -> bool:
    """Whether the share of its life is over after which the CA renews."""
    return is_due(row.not_before, row.not_after, authority.settings.renew_fraction, authority.clock())


def _is_of_key(prepared: Prepared) -> sa.ColumnElement[bool]:
    key = prepared.linted.public_key()
    spki_sha256 = hash_public_key(key)  # type: ignore[arg-type]  # prepared: the key was judged
    return certificate.c.spki_sha256 == sa.literal(spki_sha256)


def _find_newest(
    authority: Authority, which: sa.ColumnElement[bool], fits: Callable[[Certificate], bool]
) -> Certificate | None:
    counts = (certificate.c.status == Status.VALID.value) & certificate.c.replaced_by.is_(None)
    with authority.database.read() as connection:
        return next(filter(fits, list_certificates(connection, which, counts, newest_first=True)), None)
