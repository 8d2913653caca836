# SPDX-License-Identifier: Apache-2.0
"""``ottr ca import`` and ``export``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from ottr.ca.authority import Authority, parse_row
from ottr.ca.bundle import parse_bundle
from ottr.ca.exporting import (
    Preset,
    export_der,
    export_java_truststore,
    export_key,
    export_pem,
    export_pkcs12,
    make_password,
)
from ottr.ca.files import read_file, write_file
from ottr.ca.importing import IMPORTED, import_certificate, import_index, import_issuer
from ottr.ca.keyed import take_key
from ottr.ca.model import Certificate, Phase
from ottr.ca.opensslca import IndexEntry, parse_index
from ottr.ca.passphrase import find_passphrase
from ottr.ca.trust import list_trusted
from ottr.cli import screen
from ottr.cli.ca.place import IssuerId, Place, describe_certificate, describe_issuer, find_row
from ottr.cli.options import Form, Misuse
from ottr.report import SCHEMA_VERSION, ExitStatus


class Format(StrEnum):
    """Of what is exported."""

    PEM = "pem"
    DER = "der"
    PKCS12 = "pkcs12"
    JAVA = "java"


def import_(
    place: Place,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="PEM in any order, DER or PKCS#12.")],
    password_file: Annotated[Path | None, typer.Option("--password-file", help="Of encrypted keys or PKCS#12.")] = None,
    ca: Annotated[bool, typer.Option("--ca", help="They are issuers, roots first: the CA signs with them.")] = False,
    phase: Annotated[Phase, typer.Option("--phase", help="Of issuers taken in.")] = Phase.RETIRING,
    profile: Annotated[str, typer.Option("--profile", help="A profile of this CA, for renewal.")] = IMPORTED,
    index: Annotated[
        str, typer.Option("--index", metavar="ISSUER", help="The file is the index.txt of this issuer's `openssl ca`.")
    ] = "",
    certificates: Annotated[
        Path | None, typer.Option("--certificates", help="With --index: the folder of SERIAL.pem files.")
    ] = None,
) -> int:
    """Take in certificates, keys and issuers made elsewhere, or what an `openssl ca` has issued."""
    if index and (ca or len(files) != 1):
        raise Misuse("--index takes one index.txt, and not --ca")
    password = None if password_file is None else find_passphrase(password_file, {}, None)
    with place.open() if index else place.open_with_keys() as authority:
        if index:
            return _import_index(place, authority, index, files[0], certificates)
        entities = [one for file in files for one in parse_bundle(read_file(file), password, str(file))]
        if ca:
            made = [import_issuer(authority, one, phase) for one in entities]
            return _show(
                place, "issuers", [describe_issuer(one) for one in made], [f"{one.id}: taken in" for one in made]
            )
        rows = [import_certificate(authority, one, profile=profile, auto_renew=profile != IMPORTED) for one in entities]
    lines = [f"{row.serial}: taken in{', with its key' if row.key_id else ''}" for row in rows]
    return _show(place, "certificates", [describe_certificate(row) for row in rows], lines)


def export(
    place: Place,
    serial: Annotated[str, typer.Argument(metavar="[SERIAL]", help="Else the roots to trust are exported.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="The file to make; else, for PEM, stdout.")] = None,
    format: Annotated[Format, typer.Option("--format", help="Of the file.")] = Format.PEM,
    key: Annotated[bool, typer.Option("--key", help="PEM: its private key too, encrypted with the password.")] = False,
    preset: Annotated[Preset, typer.Option("--preset", help="Encryption of PKCS#12 files.")] = Preset.MODERN,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="Password of the file; made there when it does not exist.")
    ] = None,
    issuers: Annotated[
        bool, typer.Option("--issuers", help="The roots and all other issuers, for servers that verify clients.")
    ] = False,
    issuer: IssuerId = "",
) -> int:
    """Write a certificate with its chain and, if asked, its key; without SERIAL the trust bundle, old roots and new."""
    secret = key or format in (Format.PKCS12, Format.JAVA)
    if secret and (out is None or password_file is None):
        raise Misuse("this needs --out and --password-file")
    if serial and issuers:
        raise Misuse("one certificate with its chain, or the --issuers: not both")
    if not serial and (key or format in (Format.DER, Format.PKCS12)):
        raise Misuse("of which certificate? Give its SERIAL, or export the roots as --format pem or java")
    password = _find_password(password_file) if secret and password_file else b""
    held = key or format is Format.PKCS12
    with place.open_with_keys() if held else place.open() as authority:
        content = (
            _export_one(authority, find_row(authority, serial, issuer), format, key, preset, password)
            if serial
            else (_export_roots(authority, format, password, list_trusted if issuers else Authority.trust_bundle))
        )
    if out is None:
        screen.say(content.decode("ascii").rstrip())
        return ExitStatus.OK
    write_file(out, content, secret=secret)
    return _show(place, "written", [str(out)], [f"wrote {out}"])


def _export_one(
    authority: Authority, row: Certificate, format: Format, key: bool, preset: Preset, password: bytes
) -> bytes:
    leaf = parse_row(row)
    known = {one.id for one in authority.issuers()}
    chain = (leaf, *(authority.chains(row.issuer_id)[0] if row.issuer_id in known else ()))
    if format is Format.DER:
        return export_der(leaf)
    if format is Format.JAVA:
        return export_java_truststore([leaf], password)
    if format is Format.PKCS12:
        return export_pkcs12(take_key(authority, row, "operator"), chain, password, preset, row.subject)
    if key:
        return export_key(take_key(authority, row, "operator"), password) + export_pem(chain)
    return export_pem(chain)


def _export_roots(
    authority: Authority,
    format: Format,
    password: bytes,
    listed: Callable[[Authority], Sequence[x509.Certificate]],
) -> bytes:
    roots = listed(authority)
    return export_java_truststore(roots, password) if format is Format.JAVA else export_pem(roots)


def _find_password(file: Path) -> bytes:
    if not file.exists():
        write_file(file, make_password().encode() + b"\n", secret=True)
        screen.warn(f"made a password in {file}")
    return find_passphrase(file, {}, None)


def _import_index(place: Place, authority: Authority, issuer_id: str, file: Path, folder: Path | None) -> int:
    entries = parse_index(read_file(file).decode("utf-8", "replace"), str(file))
    result = import_index(authority, issuer_id, entries, lambda entry: _load(entry, folder))
    lines = [f"{issuer_id}: {result.added} taken in, {result.known} were known"]
    return _show(place, "index", [{"added": result.added, "known": result.known}], lines)


def _load(entry: IndexEntry, folder: Path | None) -> x509.Certificate | None:
    """``openssl ca`` names files by the serial, in upper case and whole bytes."""
    if folder is None:
        return None
    serial = entry.serial.upper()
    file = folder / f"{serial.zfill(len(serial) + len(serial) % 2)}.pem"
    return parse_bundle(read_file(file), None, str(file))[0].certificate if file.exists() else None


def _show(place: Place, key: str, content: list[Any], lines: list[str]) -> int:
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, key: content})
    else:
        screen.say_all(lines)
    return ExitStatus.OK
