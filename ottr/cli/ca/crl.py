# SPDX-License-Identifier: Apache-2.0
"""``ottr ca crl``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.authority import Authority
from ottr.ca.files import write_file
from ottr.cli import screen
from ottr.cli.ca.place import Place, format_time
from ottr.cli.options import Form
from ottr.report import SCHEMA_VERSION, ExitStatus


class CrlFormat(StrEnum):
    """Of the file."""

    PEM = "pem"
    DER = "der"


def crl(
    place: Place,
    issuer: Annotated[str, typer.Argument(metavar="[ISSUER]", help="Whose; else of the one that signs now.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="The file to make; else PEM on stdout.")] = None,
    format: Annotated[CrlFormat, typer.Option("--format", help="Of the file.")] = CrlFormat.PEM,
    delta: Annotated[bool, typer.Option("--delta", help="What has changed since the complete one.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Make one even when the last one is still good.")] = False,
) -> int:
    """Write the CRL of an issuer: the last one if it is still good, else a new one."""
    with place.open_with_keys() as authority:
        der = _load(authority, issuer or authority.active_issuer().id, delta=delta, new=new)
    parsed = x509.load_der_x509_crl(der)
    content = der if format is CrlFormat.DER else parsed.public_bytes(Encoding.PEM)
    if out is not None:
        write_file(out, content)
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "crl": _describe(parsed, out)})
    elif out is None:
        screen.say(parsed.public_bytes(Encoding.PEM).decode("ascii").rstrip())
    else:
        described = _describe(parsed, out)
        screen.say(f"wrote {out}: CRL {described['number']}, {described['entries']} entries")
    return ExitStatus.OK


def _load(authority: Authority, issuer_id: str, *, delta: bool, new: bool) -> bytes:
    from ottr.ca.status.crls import Kind
    from ottr.ca.status.service import Status

    kind = Kind.DELTA if delta else Kind.COMPLETE
    with Status(authority) as status:
        return (status.crls.renew if new else status.crls.get)(issuer_id, kind).der


def _describe(parsed: x509.CertificateRevocationList, out: Path | None) -> dict[str, Any]:
    until = parsed.next_update_utc
    return {
        "issuer": parsed.issuer.rfc4514_string(),
        "number": parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        "entries": len(parsed),
        "this_update": format_time(parsed.last_update_utc),
        "next_update": None if until is None else format_time(until),
        "file": None if out is None else str(out),
    }
