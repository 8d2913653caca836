# SPDX-License-Identifier: Apache-2.0
"""``ottr ca issue`` and ``renew``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from ottr.ca.authority import parse_row
from ottr.ca.csr import Request, parse_csr
from ottr.ca.exporting import export_pem
from ottr.ca.files import read_file, write_file
from ottr.ca.issuance import Terms
from ottr.ca.keyed import issue_with_key
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import ANY_NAME, parse_names
from ottr.ca.renewal import RenewalRun, renew_certificate, renew_due
from ottr.cli import screen
from ottr.cli.ca.place import IssuerId, Place, describe_certificate, find_row, format_time, show_row
from ottr.cli.options import Form, Misuse
from ottr.errors import RequestRefused
from ottr.report import SCHEMA_VERSION, ExitStatus

_DAY_S = 86400.0


def issue(
    place: Place,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="DNS names, addresses, user@host, scheme://host/...")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="A kind of certificate: server, client, ...")] = "server",
    csr: Annotated[
        Path | None, typer.Option("--csr", help="Certify the key of this CSR, and its names; else make a key.")
    ] = None,
    subject: Annotated[str, typer.Option("--subject", help="As CN=alice,O=Example; else the first name.")] = "",
    days: Annotated[float | None, typer.Option("--days", help="A shorter life than the profile's.")] = None,
    key_type: Annotated[KeyAlgorithm, typer.Option("--key-type", help="Of the key that is made.")] = KeyAlgorithm.EC256,
    exposed: Annotated[bool, typer.Option("--exposed", help="Publish its public key in the JWKS, for tokens.")] = False,
    no_renew: Annotated[bool, typer.Option("--no-renew", help="`ottr ca renew --due` leaves it alone.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write certificate and chain here too.")] = None,
) -> int:
    """Issue a certificate: for a CSR, or with a key that the CA makes and holds (`ottr ca export` gives it out)."""
    if csr is not None and (names or exposed):
        raise Misuse("a CSR brings its own names and key: leave NAME and --exposed out")
    if csr is None and not names and not subject:
        raise Misuse("for whom? Give names, --subject or --csr")
    check_days(days)
    terms = Terms(
        profile, ANY_NAME, "operator", None if days is None else days * _DAY_S, auto_renew=csr is None and not no_renew
    )
    with place.open_with_keys() as authority:
        if csr is not None:
            request = parse_csr(read_file(csr))
            row = authority.issue(_rename(request, subject), terms)
        else:
            parsed = parse_names(names or ())
            row = issue_with_key(
                authority, parsed, read_subject(subject, parsed.texts), terms, algorithm=key_type, exposed=exposed
            )
        if out is not None:
            write_file(out, export_pem((parse_row(row), *authority.chains(row.issuer_id)[0])))
    show_row(place, row, f"issued to {row.subject or ', '.join(row.names.texts)}, until {format_time(row.not_after)}")
    return ExitStatus.OK


def renew(
    place: Place,
    serial: Annotated[str, typer.Argument(metavar="[SERIAL]", help="Of one certificate whose key the CA holds.")] = "",
    due: Annotated[bool, typer.Option("--due", help="All that is due, issuers first: for a timer.")] = False,
    issuer: IssuerId = "",
) -> int:
    """Renew with a new key and serial and the same names, what the CA holds the key of."""
    if bool(serial) == due:
        raise Misuse("renew one SERIAL, or all that is --due")
    with place.open_with_keys() as authority:
        if due:
            return _show_run(place, renew_due(authority))
        done = renew_certificate(authority, find_row(authority, serial, issuer))
    show_row(place, done.new, f"replaces {done.old.serial}, until {format_time(done.new.not_after)}")
    return ExitStatus.OK


def check_days(days: float | None) -> None:
    """Raise Misuse for a span that is none."""
    if days is not None and days <= 0:
        raise Misuse("--days is more than 0")


def read_subject(text: str, names: tuple[str, ...]) -> x509.Name:
    """The asked subject, or the first name as its common name. Raises RequestRefused."""
    try:
        return x509.Name.from_rfc4514_string(text or f"CN={_escape(names[0])}")
    except ValueError as error:
        raise RequestRefused(f"{text!r} is not a subject: {error}", hint="write it as CN=alice,O=Example") from error


def _escape(text: str) -> str:
    """RFC 4514 section 2.4."""
    return "".join(f"\\{char}" if char in ',+"\\<>;=#' else char for char in text)


def _rename(request: Request, subject: str) -> Request:
    if not subject:
        return request
    return Request(request.public_key, request.names, read_subject(subject, ()), request.ignored)


def _show_run(place: Place, run: RenewalRun) -> int:
    status = ExitStatus.FAILED if run.failed else ExitStatus.OK
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, **_describe_run(run)})
        return status
    screen.say_all(f"{issuer}: made" for issuer in run.issuers)
    for done in run.renewed:
        late = " (it had expired)" if done.was_expired else ""
        screen.say(f"{done.new.serial}: replaces {done.old.serial}{late}, until {format_time(done.new.not_after)}")
    for failed in run.failed:
        screen.complain(f"{failed.old.serial}: {failed.problem}")
    if not (run.issuers or run.renewed or run.failed):
        screen.say("nothing is due")
    return status


def _describe_run(run: RenewalRun) -> dict[str, Any]:
    return {
        "issuers": list(run.issuers),
        "renewed": [
            {"old": done.old.serial, "certificate": describe_certificate(done.new), "was_expired": done.was_expired}
            for done in run.renewed
        ],
        "failed": [{"old": failed.old.serial, "problem": failed.problem} for failed in run.failed],
    }
