# SPDX-License-Identifier: Apache-2.0
"""The facts of a verified certificate, written where Ansible reads a host's variables.

A fact the operator has set anywhere in ``host_vars/`` is changed where it wins. All others go into
``host_vars/HOST/certificate.yml``, a file of Ottr's own; where the operator keeps the host in one file, into that
file, since Ansible would not read it any more beside a folder. Encrypted files are never touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Final

from ottr.inventory import CertificateFacts, RecordResult
from ottr.inventory.hostvars import find_entry, find_files
from ottr.inventory.vartext import VAULT_HEADER, NotEditable, parse_variables, set_variables

OWN_FILE: Final = "certificate.yml"
_HEAD: Final = "# Written by Ottr after each verified rotation.\n"


@dataclass(slots=True)
class _Document:
    """One file of the host, as it is and as it will be."""

    path: Path
    text: str
    names: frozenset[str] = frozenset()
    refused: str = ""
    """Why it cannot be changed."""
    wanted: dict[str, str | bool] = field(default_factory=dict)


def record(host: str, facts: CertificateFacts, *, folders: Sequence[Path], home: Path) -> RecordResult:
    """Write the facts; files that say the same already are left alone.

    ``folders`` hold a ``host_vars/`` each, later ones win; new facts go to that of ``home``. What cannot be written
    is a warning: the rotation itself succeeded.
    """
    if "/" in host or host in ("", ".", ".."):
        return RecordResult(warning=f"{host!r} cannot be the name of a file; its certificate is not written down")
    try:
        documents = [_read(path) for folder in folders for path in find_files(folder, host)]
        _assign(variables_of(facts), documents, lambda: _find_or_make(home, host, documents))
        changing = [document for document in documents if document.wanted]
        for document in changing:
            _write(document)
    except (OSError, NotEditable) as error:
        return RecordResult(warning=f"the certificate of {host} is not written to the inventory: {error}")
    return RecordResult(tuple(str(document.path) for document in changing))


def variables_of(facts: CertificateFacts) -> dict[str, str | bool]:
    """Return the facts under their names in the inventory."""
    return {
        "certificate_expiration": facts.expiration.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "certificate_issuer": without_templates(facts.issuer),
        "certificate_serial": facts.serial,
        "certificate_sha256": facts.sha256,
        "certificate_validation": True,
    }


def without_templates(text: str) -> str:
    """Write a distinguished name so that Ansible sees no template in it: a CA names itself as it likes.

    RFC 4514 section 2.4 lets any character be written by its hex code.
    """
    return text.replace("{", "\\7B")


def _assign(
    values: Mapping[str, str | bool], documents: Sequence[_Document], elsewhere: Callable[[], _Document]
) -> None:
    """Give each variable to the last document that sets it; the rest to one of our own."""
    for name, value in values.items():
        setting = [document for document in documents if name in document.names]
        if setting:
            setting[-1].wanted[name] = value
    rest = {name: value for name, value in values.items() if not any(name in document.names for document in documents)}
    if rest:
        elsewhere().wanted.update(rest)


def _read(path: Path) -> _Document:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise NotEditable(f"{path} is not UTF-8") from error
    if text.startswith(VAULT_HEADER):
        return _Document(path, text, refused="it is encrypted")
    try:
        return _Document(path, text, frozenset(str(name) for name in parse_variables(text)))
    except NotEditable as error:
        raise NotEditable(f"{path}: {error}") from error


def _find_or_make(home: Path, host: str, documents: list[_Document]) -> _Document:
    """Return the document for facts that stand nowhere yet; a new one is added to the documents."""
    entry = find_entry(home, host)
    path = entry if entry is not None and not entry.is_dir() else home / "host_vars" / host / OWN_FILE
    for document in documents:
        if document.path == path:
            return document
    documents.append(_Document(path, _HEAD))
    return documents[-1]


def _write(document: _Document) -> None:
    if document.refused:
        raise NotEditable(f"{document.path}: {document.refused}")
    try:
        text = set_variables(document.text, document.wanted)
    except NotEditable as error:
        raise NotEditable(f"{document.path}: {error}") from error
    if text != document.text:
        replace_file(Path(os.path.realpath(document.path)), text.encode())


def replace_file(path: Path, data: bytes) -> None:
    """Put new content in a file's place at once, with owner and mode of the old one; folders are made.

    Raises OSError, also for a file or a folder that nobody may write, though root could.
    """
    grown = _make_folder(path.parent)
    former = path.stat() if path.exists() else None
    _refuse_read_only(path.parent, former)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".ottr-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            _take_over(stream.fileno(), former, path.parent)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    # Last of all: what the file's own way to the disk has taken along costs nothing more.
    for folder in (path.parent, *grown):
        _sync_folder(folder)


def _make_folder(folder: Path) -> tuple[Path, ...]:
    """Make missing folders, and return those that they are in; root gives them to the owner of that one."""
    if folder.is_dir():
        return ()
    grown = _make_folder(folder.parent)
    _refuse_read_only(folder.parent, None)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        if os.geteuid() == 0:
            owner = folder.parent.stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
    return (folder.parent, *grown)


def _refuse_read_only(folder: Path, former: os.stat_result | None) -> None:
    for found, what in ((former, "the file"), (folder.stat(), str(folder))):
        if found is not None and not stat.S_IMODE(found.st_mode) & 0o222:
            raise PermissionError(errno.EACCES, f"{what} is read-only")


def _take_over(handle: int, former: os.stat_result | None, folder: Path) -> None:
    """Give the new file the old one's owner and mode; without an old one, the folder's owner when root can."""
    owner = former or folder.stat()
    if former is not None or os.geteuid() == 0:
        now = os.fstat(handle)
        if (now.st_uid, now.st_gid) != (owner.st_uid, owner.st_gid):
            os.fchown(handle, owner.st_uid, owner.st_gid)
    os.fchmod(handle, stat.S_IMODE(former.st_mode) if former is not None else folder.stat().st_mode & 0o666)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
