# SPDX-License-Identifier: Apache-2.0
"""Making a CA in a new folder, and opening one that is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ottr.ca import issuers
from ottr.ca.authority import Authority, Clock, read_clock
from ottr.ca.certificates import record_event
from ottr.ca.database import Database
from ottr.ca.envelope import Passphrase
from ottr.ca.files import write_file
from ottr.ca.folder import check_folder, make_folder
from ottr.ca.generation import Plan, make_generation
from ottr.ca.model import AuditEvent, Phase
from ottr.ca.revocation import Listener
from ottr.ca.settings import FILE_NAME, CaSettings, load_settings, parse_settings
from ottr.ca.signer import FileKeyring, Keyring
from ottr.errors import AuthorityError


def init_authority(folder: Path, settings_text: str, passphrase: Passphrase, *, clock: Clock = read_clock) -> None:
    """Make folder, ca.yaml, database, and the first generation of issuers.

    A run that died is taken up where it stopped. Raises AuthorityError when the CA is complete already, SettingsError
    for the text.
    """
    parse_settings(settings_text, folder)
    make_folder(folder)
    file = folder / FILE_NAME
    if not file.exists():
        write_file(file, settings_text.encode())
    with open_authority(folder, passphrase, clock=clock) as authority, authority.database.write() as connection:
        if issuers.list_issuers(connection):
            raise AuthorityError(f"{folder} has a CA already", hint="`ottr ca rollover` makes a new generation")
        root, intermediate = make_generation(
            authority, connection, Plan(authority.settings.key_algorithm, Phase.ACTIVE)
        )
        for one in (root, intermediate):
            record_event(connection, authority.clock(), AuditEvent("init", "operator", one.id, one.serial))


@contextmanager
def open_authority(
    folder: Path,
    passphrase: Passphrase,
    *,
    listeners: Sequence[Listener] = (),
    clock: Clock = read_clock,
) -> Iterator[Authority]:
    """Open the CA of a folder. Raises AuthorityError without one, SettingsError, KeyUnavailable, StoreError.

    Keys are opened when they are needed first; for a token the passphrase is its PIN.
    """
    if not folder.exists():
        raise AuthorityError(f"there is no CA in {folder}", hint="`ottr ca init` makes one; --dir or OTTR_CA names it")
    check_folder(folder)
    settings = load_settings(folder)
    with ExitStack() as stack:
        database = Database(settings.database_url)
        stack.callback(database.close)
        keyring = open_keyring(settings, passphrase)
        stack.callback(keyring.close)
        yield Authority(settings, database, keyring, passphrase, listeners=listeners, clock=clock)


def open_keyring(settings: CaSettings, passphrase: Passphrase) -> Keyring:
    """Where the issuers' keys are: sealed files, or a PKCS#11 token."""
    if settings.token is None:
        return FileKeyring(settings.keys_folder, passphrase)
    from ottr.ca.pkcs11 import TokenKeyring

    return TokenKeyring(settings.token.module, settings.token.token, passphrase)
