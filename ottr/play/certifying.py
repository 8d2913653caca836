# SPDX-License-Identifier: Apache-2.0
"""A certificate of the private CA for a task: the one there is while it will do, else a new one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography import x509

from ottr.ca.authority import Authority, parse_row
from ottr.ca.csr import Request, parse_csr
from ottr.ca.exporting import export_pem
from ottr.ca.issuance import OPERATOR, Prepared, Terms
from ottr.ca.keyed import issue_with_key
from ottr.ca.keys import generate_key
from ottr.ca.model import Certificate, KeyAlgorithm
from ottr.ca.names import ANY_NAME, parse_names
from ottr.ca.renewal import renew_certificate
from ottr.ca.standing import find_former, find_standing, is_renewable
from ottr.cli.ca.issuing import read_subject
from ottr.cli.ca.place import describe_certificate
from ottr.report import describe_time

_DAY_S = 86400.0


def certify(authority: Authority, asked: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Issue for a CSR, or for a key that the CA makes and holds, unless a certificate that fits is not due yet.

    Raises RequestRefused, NameRefused, SettingsError, KeyUnavailable, StoreError.
    """
    held, algorithm = asked["csr"] is None, KeyAlgorithm(asked["key_type"])
    request = _read_request(asked, algorithm)
    days = asked["days"]
    terms = Terms(asked["profile"], ANY_NAME, OPERATOR, None if days is None else days * _DAY_S, auto_renew=held)
    prepared = authority.prepare(request, terms)
    standing = find_standing(authority, prepared, held=held)
    reason = _judge(authority, standing, forced=asked["force"])
    if standing is not None and reason == "not_due":
        return {**_describe(authority, standing), "changed": False, "reason": reason, "diff": []}
    former = standing or (None if held else find_former(authority, prepared))
    changed = {"changed": True, "reason": reason}
    if check:
        return {**_describe(authority, None), **changed, "diff": _compare(former, _predict(prepared))}
    row = _issue(authority, request, terms, standing, algorithm, held=held)
    return {**_describe(authority, row), **changed, "diff": _compare(former, _list_facts(row))}


def _read_request(asked: Mapping[str, Any], algorithm: KeyAlgorithm) -> Request:
    """What is to be certified; the key is thrown away when it is the CA that makes one."""
    subject = asked["subject"]
    if asked["csr"] is None:
        names = parse_names(asked["names"])
        return Request(generate_key(algorithm).public_key(), names, read_subject(subject, names.texts))
    request = parse_csr(asked["csr"].encode())
    if not subject:
        return request
    return Request(request.public_key, request.names, read_subject(subject, ()), request.ignored)


def _judge(authority: Authority, standing: Certificate | None, *, forced: bool) -> str:
    """One of the reason codes of ``ottr plan``."""
    if standing is None:
        return "never_issued"
    if forced:
        return "forced"
    return "lifetime_fraction" if is_renewable(authority, standing) else "not_due"


def _issue(
    authority: Authority,
    request: Request,
    terms: Terms,
    standing: Certificate | None,
    algorithm: KeyAlgorithm,
    *,
    held: bool,
) -> Certificate:
    if not held:
        return authority.issue(request, terms)
    if standing is not None:
        return renew_certificate(authority, standing, terms.lifetime_s).new
    return issue_with_key(authority, request.names, request.subject, terms, algorithm=algorithm)


def _describe(authority: Authority, row: Certificate | None) -> dict[str, Any]:
    if row is None:
        return dict.fromkeys(("info", "serial", "not_after", "certificate", "chain", "full_chain"))
    leaf, chain = parse_row(row), authority.chains(row.issuer_id)[0]
    return {
        "info": describe_certificate(row),
        "serial": row.serial,
        "not_after": describe_time(row.not_after),
        "certificate": _write_pem(leaf),
        "chain": _write_pem(*chain),
        "full_chain": _write_pem(leaf, *chain),
    }


def _write_pem(*certificates: x509.Certificate) -> str:
    return export_pem(certificates).decode("ascii")


def _compare(former: Certificate | None, after: Mapping[str, str]) -> list[dict[str, str]]:
    before = {} if former is None else _list_facts(former)
    return [
        {"what": what, "before": before.get(what, ""), "after": after.get(what, "")}
        for what in dict.fromkeys((*before, *after))
        if before.get(what, "") != after.get(what, "")
    ]


def _list_facts(row: Certificate) -> dict[str, str]:
    return {**_name_facts(row.subject, row.names.texts, row.issuer_id, row.not_after), "serial": row.serial}


def _predict(prepared: Prepared) -> dict[str, str]:
    """Without the serial: that of the certificate that is issued in the end is another one."""
    entry, linted = prepared.entry, prepared.linted
    subject = linted.subject.rfc4514_string()
    return _name_facts(subject, entry.names.texts, entry.issuer_id, linted.not_valid_after_utc)


def _name_facts(subject: str, names: tuple[str, ...], issuer: str, not_after: datetime) -> dict[str, str]:
    return {
        "subject": subject,
        "names": ", ".join(names),
        "issuer": issuer,
        "not_after": describe_time(not_after) or "",
    }
