# SPDX-License-Identifier: Apache-2.0
"""Options of every ``ottr ca`` command, and opening the CA they name."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ottr.ca.authority import Authority
from ottr.ca.envelope import Kdf, Passphrase
from ottr.ca.model import Certificate, Issuer
from ottr.ca.opening import open_authority
from ottr.ca.passphrase import find_passphrase
from ottr.cli import screen
from ottr.cli.logs import Redactor, set_up_logs
from ottr.cli.options import Form, LogForm
from ottr.cli.table import format_table
from ottr.errors import KeyUnavailable
from ottr.report import SCHEMA_VERSION

_PANEL = "CA"

Serial = Annotated[str, typer.Argument(metavar="SERIAL", help="Of the certificate, in hex; colons do not matter.")]
IssuerId = Annotated[str, typer.Option("--issuer", help="Its issuer, when two have used the serial.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Which CA, and how results are shown."""

    folder: Annotated[
        Path, typer.Option("-d", "--dir", envvar="OTTR_CA", help="Folder of the CA.", rich_help_panel=_PANEL)
    ] = Path("ca")
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file",
            help="Else OTTR_CA_PASSPHRASE, the systemd credential ottr-ca-passphrase, or a prompt.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    output: Annotated[Form, typer.Option("-o", "--output", help="Form of the results on stdout.")] = Form.HUMAN
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="More log lines; repeat it.")] = 0

    @contextmanager
    def open(self) -> Iterator[Authority]:
        """The CA, for who needs no key: the passphrase is not asked for, or late."""
        self._log()
        with open_authority(self.folder, Passphrase(self._find)) as authority:
            yield authority

    @contextmanager
    def open_with_keys(self) -> Iterator[Authority]:
        """The CA, its passphrase at hand: nobody is asked for it in the middle of a transaction."""
        with self.open() as authority:
            authority.passphrase.reveal()
            yield authority

    def find_passphrase(self, kdf: Kdf = Kdf.ARGON2ID, *, twice: bool = False) -> Passphrase:
        """The passphrase of its keys, asked for now. Raises KeyUnavailable."""
        self._log()
        return Passphrase(self._find(twice=twice), kdf)

    def _find(self, *, twice: bool = False) -> bytes:
        ask = asker("Passphrase of the CA's keys", twice=twice)
        return find_passphrase(self.passphrase_file, os.environ, ask)

    def _log(self) -> None:
        set_up_logs(self.verbose, LogForm.HUMAN, None, Redactor())


def asker(prompt: str, *, twice: bool) -> Callable[[], str] | None:
    """How to ask; None where nobody sits."""
    return (lambda: ask_passphrase(prompt, twice=twice)) if sys.stdin.isatty() else None


def ask_passphrase(prompt: str, *, twice: bool) -> str:
    """Ask on the terminal, without showing what is typed. Raises KeyUnavailable when the second time differs."""
    first = getpass.getpass(f"{prompt}: ")
    if twice and getpass.getpass("The same again: ") != first:
        raise KeyUnavailable("the two passphrases differ; nothing was done")
    return first


def read_serial(text: str) -> str:
    """As the CA writes serials."""
    return text.lower().replace(":", "").removeprefix("0x").lstrip("0") or "0"


def find_row(authority: Authority, serial: str, issuer_id: str) -> Certificate:
    """The certificate of a serial. Raises UnknownCertificate."""
    return authority.find_serial(read_serial(serial), issuer_id)


def show_row(place: Place, row: Certificate, said: str) -> None:
    """One certificate as a result, and what happened to it."""
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "certificate": describe_certificate(row)})
    else:
        screen.say(f"{row.serial}: {said}")


def describe_certificate(row: Certificate) -> dict[str, Any]:
    """For ``--output json``."""
    return {
        "serial": row.serial,
        "issuer": row.issuer_id,
        "subject": row.subject,
        "names": list(row.names.texts),
        "profile": row.profile,
        "status": row.status.value,
        "reason": row.reason.value if row.reason else None,
        "revoked_at": None if row.revoked_at is None else format_time(row.revoked_at),
        "not_before": format_time(row.not_before),
        "not_after": format_time(row.not_after),
        "issued_at": format_time(row.issued_at),
        "requester": row.requester,
        "sha256": row.sha256,
        "key_held": bool(row.key_id),
        "auto_renew": row.auto_renew,
    }


def describe_issuer(one: Issuer) -> dict[str, Any]:
    """For ``--output json``."""
    return {
        "id": one.id,
        "role": one.role.value,
        "generation": one.generation,
        "parent": one.parent_id,
        "phase": one.phase.value,
        "status": one.status.value,
        "serial": one.serial,
        "subject": one.certificate.subject.rfc4514_string(),
        "not_before": format_time(one.not_before),
        "not_after": format_time(one.not_after),
        "key_held": bool(one.key_id),
    }


def format_issuers(found: Iterable[Issuer]) -> list[str]:
    """A table."""
    head = ("ISSUER", "PHASE", "STATUS", "UNTIL", "KEY", "SUBJECT")
    rows = (
        (
            one.id,
            one.phase.value,
            one.status.value,
            format_time(one.not_after),
            "here" if one.key_id else "-",
            one.certificate.subject.rfc4514_string(),
        )
        for one in found
    )
    return format_table(head, rows)


def format_time(moment: Any) -> str:
    """ISO 8601 UTC with a Z."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
