# SPDX-License-Identifier: Apache-2.0
"""``ottr ca init``, ``rollover`` and ``rewrap``: the CA itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ottr.ca.authority import Authority
from ottr.ca.envelope import Kdf, Passphrase
from ottr.ca.files import read_file
from ottr.ca.held_keys import rewrap_keys
from ottr.ca.model import KeyAlgorithm
from ottr.ca.opening import init_authority
from ottr.ca.passphrase import find_passphrase
from ottr.ca.rollover import activate_rollover, prepare_rollover, retire_old, start_rollover
from ottr.ca.settings import write_settings
from ottr.ca.signer import FileKeyring
from ottr.cli import screen
from ottr.cli.ca.place import Place, asker, describe_issuer, format_issuers
from ottr.cli.options import Form, Misuse
from ottr.errors import KeyUnavailable
from ottr.report import SCHEMA_VERSION, ExitStatus


def init(
    place: Place,
    organization: Annotated[str, typer.Option("--organization", help="Part of the issuers' names.")] = "Ottr",
    base_url: Annotated[
        str, typer.Option("--base-url", help="Where issuers, CRLs and OCSP will be found: a plain http:// URL.")
    ] = "",
    key_type: Annotated[KeyAlgorithm, typer.Option("--key-type", help="Of the issuers.")] = KeyAlgorithm.EC256,
    kdf: Annotated[Kdf, typer.Option("--kdf", help="How the passphrase becomes a key.")] = Kdf.ARGON2ID,
    settings: Annotated[Path | None, typer.Option("--settings", help="A ca.yaml of yours to begin with.")] = None,
) -> int:
    """Make a CA: folder, ca.yaml, database, a root and an intermediate."""
    if settings is not None and (organization, base_url, key_type) != ("Ottr", "", KeyAlgorithm.EC256):
        raise Misuse("--settings says it all: leave --organization, --base-url and --key-type out")
    if settings is None:
        text = write_settings(organization, base_url, key_type)
    else:
        text = read_file(settings).decode("utf-8", "replace")
    init_authority(place.folder, text, place.find_passphrase(kdf, twice=True))
    with place.open() as authority:
        return _show_issuers(place, authority, f"{place.folder} has a CA")


def rollover(
    place: Place,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make it: trusted, but it signs nothing yet.")
    ] = False,
    activate: Annotated[bool, typer.Option("--activate", help="Let the prepared generation sign.")] = False,
    retire: Annotated[bool, typer.Option("--retire", help="Take the old one out of the trust bundle.")] = False,
    key_type: Annotated[
        KeyAlgorithm | None, typer.Option("--key-type", help="Of the new issuers; else ca.yaml's.")
    ] = None,
) -> int:
    """Make a new root and intermediate beside the old, cross-signed; the new ones sign from now on."""
    if prepare + activate + retire > 1:
        raise Misuse("--prepare, --activate and --retire are three steps: one at a time")
    if key_type is not None and (activate or retire):
        raise Misuse("--key-type has a meaning only when keys are made")
    with place.open() if activate or retire else place.open_with_keys() as authority:
        if activate:
            said = f"retiring: {', '.join(activate_rollover(authority)) or 'nothing'}"
        elif retire:
            said = f"retired: {', '.join(retire_old(authority)) or 'nothing'}"
        else:
            made = (prepare_rollover if prepare else start_rollover)(authority, key_type)
            said = f"made {' and '.join(one.id for one in made)}"
        return _show_issuers(place, authority, said)


def rewrap(
    place: Place,
    new_passphrase_file: Annotated[
        Path | None, typer.Option("--new-passphrase-file", help="Else it is asked for.")
    ] = None,
) -> int:
    """Change the passphrase: every key is wrapped anew, none is changed. Run it again if it was interrupted."""
    from ottr.ca.acme import schema
    from ottr.ca.acme.accounts import rewrap_bindings

    with place.open_with_keys() as authority:
        if not isinstance(authority.keyring, FileKeyring):
            raise KeyUnavailable("the keys of this CA are in a token", hint="change the token's PIN with its own tool")
        ask = asker("New passphrase", twice=True)
        new = Passphrase(find_passphrase(new_passphrase_file, {}, ask))
        authority.database.ensure("acme", schema.VERSION, schema.metadata)
        with authority.database.write() as connection:
            held = rewrap_keys(connection, authority.passphrase, new)
            bindings = rewrap_bindings(authority, connection, new)
        files = authority.keyring.rewrap(new)
    if place.output is Form.JSON:
        screen.say_json(
            {"version": SCHEMA_VERSION, "issuer_keys": list(files), "held_keys": held, "bindings": bindings}
        )
    else:
        screen.say(f"{len(files)} keys of issuers, {held} others and {bindings} bindings have the new passphrase")
    return ExitStatus.OK


def _show_issuers(place: Place, authority: Authority, said: str) -> int:
    found = authority.issuers()
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "issuers": [describe_issuer(one) for one in found]})
        return ExitStatus.OK
    screen.say(said)
    screen.say_all(format_issuers(found))
    return ExitStatus.OK
