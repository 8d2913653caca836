# SPDX-License-Identifier: Apache-2.0
"""Everything a relying party asks for as a tree of files, for a web server that runs nothing of Ottr.

::

    nginx.conf      to be included in a ``server`` block
    www/crl/        CRLs, DER
    www/ca/         issuers' certificates, DER; bundle.pem: roots to trust; issuers.pem: with their intermediates
    www/ocsp/       OCSP answers; the path is the request, with ``.ors`` after it

A file is replaced whole or not at all. What is still good stays: publishing again, from a timer, signs only what has
changed, and what half of its life is over of.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ottr.ca.certificates import list_certificates
from ottr.ca.exporting import export_pem
from ottr.ca.model import Certificate, Issuer, Reason
from ottr.ca.profiles import OCSP, ROOT
from ottr.ca.schema import certificate
from ottr.ca.status.crls import Kind
from ottr.ca.status.identities import read_hashable
from ottr.ca.status.nginx import write_configuration
from ottr.ca.status.request import build_cert_id, build_request
from ottr.ca.status.service import Status
from ottr.ca.status.transport import encode_path
from ottr.ca.trust import list_trusted
from ottr.errors import AuthorityError

SUFFIX = ".ors"
_FRESH = ".new-"
_LOCK = ".lock"
_MADE_FOR = ".made-for"
"""The hashes and issuers there are answers of: when they change, every file is looked at, also after a crash."""
_SLASHES = re.compile("/+")


@dataclass(slots=True)
class Published:
    """What one run did."""

    crls: int = 0
    issuers: int = 0
    signed: int = 0
    """OCSP answers that are new."""
    kept: int = 0
    removed: int = 0
    """Of certificates that have expired, and of issuers and hashes that no answers are published of any more."""


def publish(status: Status, folder: Path, responder: str = "") -> Published:
    """Write the tree. ``responder``: host:port of a running server for what has no file, nonces above all.

    One run at a time: another one waits, so that nothing older is written over what is newer. Raises AuthorityError.
    """
    done = Published()
    try:
        _make_folder(folder)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _publish_all(status, folder, responder, done)
    except OSError as error:
        raise AuthorityError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return done


def _publish_all(status: Status, folder: Path, responder: str, done: Published) -> None:
    _publish_files(status, folder / "www", done)
    made_for, answers, wanted = folder / _MADE_FOR, folder / "www" / "ocsp", _list_wanted(status)
    said = "".join(f"{digest} {key_hash.hex()}\n" for digest, key_hash in sorted(wanted))
    as_before = made_for.exists() and made_for.read_text() == said
    if not as_before:
        made_for.unlink(missing_ok=True)
    if status.responder.settings.enabled:
        _publish_answers(status, answers, done)
    _remove_old(status, answers, done, None if as_before else wanted)
    _write(made_for, said.encode())
    _write(folder / "nginx.conf", write_configuration(status, folder, responder).encode())


def _list_wanted(status: Status) -> set[tuple[str, bytes]]:
    """Digest and key hash of every CertID that there are answers for."""
    settings = status.responder.settings
    keys = [read_hashable(issuer).key for issuer in status.crls.list_issuers()] if settings.enabled else []
    return {(digest, hashlib.new(digest, key).digest()) for digest in settings.published_hashes for key in keys}


def _publish_files(status: Status, folder: Path, done: Published) -> None:
    authority = status.authority
    for one in authority.issuers():
        _write(folder / "ca" / f"{one.id}.der", one.certificate_der)
        done.issuers += 1
    _write(folder / "ca" / "bundle.pem", export_pem(authority.trust_bundle()))
    _write(folder / "ca" / "issuers.pem", export_pem(list_trusted(authority)))
    for one in status.crls.list_issuers():
        _write(folder / "crl" / f"{one.id}.crl", status.crls.get(one.id).der)
        done.crls += 1
        if status.crls.settings.deltas:
            _write(folder / "crl" / f"{one.id}-delta.crl", status.crls.get(one.id, Kind.DELTA).der)
            done.crls += 1


def _publish_answers(status: Status, folder: Path, done: Published) -> None:
    for issuer in status.crls.list_issuers():
        signer = status.authority.load_ocsp_signer(issuer.id)
        signed_by = signer.certificate.public_bytes(Encoding.DER)
        for row, cert_id in _list_cert_ids(status, issuer):
            file = folder / find_file(build_request(cert_id))
            if _is_good(file, row, signed_by, status):
                done.kept += 1
                continue
            der, validity = status.responder.presign(issuer.id, row, cert_id)
            # The time of the file says what the headers of the HTTP response will say, see nginx.py.
            until = validity.next_update.replace(microsecond=0)
            _write(file, der, until - timedelta(seconds=status.responder.settings.lifetime_s))
            done.signed += 1


def _list_cert_ids(status: Status, issuer: Issuer) -> Iterator[tuple[Certificate, bytes]]:
    """Certificates of an issuer that have not expired, with the ids that clients may ask for."""
    hashable, now, c = read_hashable(issuer), status.authority.clock(), certificate.c
    where = (c.issuer_id == issuer.id, c.not_after > now, c.profile.not_in((ROOT, OCSP)))
    with status.authority.database.read() as connection:
        for row in list_certificates(connection, *where):
            for digest in status.responder.settings.published_hashes:
                yield row, build_cert_id(digest, hashable.name, hashable.key, int(row.serial, 16))


def find_file(request: bytes) -> Path:
    """Where the answer to a request is: web servers take several slashes for one."""
    return Path(_SLASHES.sub("/", encode_path(request) + SUFFIX))


def _is_good(file: Path, row: Certificate, signed_by: bytes, status: Status) -> bool:
    """Whether a file says what is so now, has more than half of its life left, and is of the signer of today.

    A file whose time was computed with another lifetime would be served with the wrong headers.
    """
    found = _load(file)
    if found is None or found.next_update_utc is None or not found.certificates:
        return False
    until, now = found.next_update_utc, status.authority.clock()
    fresh = now < found.produced_at_utc + (until - found.produced_at_utc) / 2
    dated = abs(file.stat().st_mtime + status.responder.settings.lifetime_s - until.timestamp()) < 1
    signed = found.certificates[0].public_bytes(Encoding.DER) == signed_by
    return fresh and dated and signed and (found.revocation_time_utc, found.revocation_reason) == _describe(row)


def _load(file: Path) -> ocsp.OCSPResponse | None:
    """None without a file, or when it is no answer."""
    try:
        found = ocsp.load_der_ocsp_response(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if found.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL else None


def _describe(row: Certificate) -> tuple[datetime | None, object]:
    said = row.reason is not None and row.reason is not Reason.UNSPECIFIED
    return row.revoked_at, row.reason.flag if said and row.reason else None


def _remove_old(status: Status, folder: Path, done: Published, wanted: Set[tuple[str, bytes]] | None) -> None:
    """Answers that are over, those of no CertID that is ``wanted`` (None: there are none), and what a crash has left.

    Those that are still needed have been signed anew before.
    """
    now, lifetime_s = status.authority.clock(), status.responder.settings.lifetime_s
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            is_rest = name.startswith(_FRESH) or (wanted is not None and not _is_wanted(file, wanted))
            if is_rest or _is_over(file, now, lifetime_s):
                file.unlink()
                done.removed += 1


def _is_wanted(file: Path, wanted: Set[tuple[str, bytes]]) -> bool:
    found = _load(file)
    return found is not None and (found.hash_algorithm.name, found.issuer_key_hash) in wanted


def _is_over(file: Path, now: datetime, lifetime_s: float) -> bool:
    """What this run has kept or written is younger than half of its life, and need not be read again."""
    if file.stat().st_mtime > now.timestamp() - lifetime_s / 2:
        return False
    found = _load(file)
    return found is None or found.next_update_utc is None or found.next_update_utc <= now


def _make_folder(folder: Path) -> None:
    """With all above it, for the web server to read whatever this process hides otherwise."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def _write(file: Path, content: bytes, modified: datetime | None = None) -> None:
    """Replace a file by a whole one. It is public, and not needed after a power cut: the next run makes it again."""
    _make_folder(file.parent)
    if modified is None and file.exists() and file.read_bytes() == content:
        return
    fresh = file.with_name(_FRESH + secrets.token_hex(4))
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    if modified is not None:
        os.utime(fresh, (modified.timestamp(), modified.timestamp()))
    fresh.replace(file)
