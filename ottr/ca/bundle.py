# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates as they come: PEM in any order, DER, PKCS#12; sorted into pairs with their chains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from ottr.ca.keys import PrivateKey, accept_private_key, parse_private_key
from ottr.errors import KeyUnavailable, RequestRefused

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entity:
    """A certificate, its key if there is one, and its issuers as far as they were found, the nearest first."""

    certificate: x509.Certificate
    key: PrivateKey | None = field(default=None, repr=False)
    chain: tuple[x509.Certificate, ...] = ()
    friendly_name: str = ""


@dataclass(frozen=True, slots=True)
class _Pieces:
    certificates: tuple[x509.Certificate, ...]
    keys: tuple[PrivateKey, ...] = field(repr=False)
    friendly_name: str = ""


def parse_bundle(data: bytes, passphrase: bytes | None, where: str) -> tuple[Entity, ...]:
    """Read a file: one entity for each key, or for its first certificate when it has no key.

    Raises KeyUnavailable for keys that do not open, RequestRefused when things do not belong together.
    """
    pieces = _parse_pem(data, passphrase, where) if b"-----BEGIN " in data else _parse_der(data, passphrase, where)
    if not pieces.certificates:
        raise RequestRefused(f"{where}: there is no certificate in it")
    if not pieces.keys:
        leaf = _find_end(pieces.certificates)
        return (Entity(leaf, None, build_chain(leaf, pieces.certificates), pieces.friendly_name),)
    return tuple(_pair(key, pieces, where) for key in pieces.keys)


def check_pair(certificate: x509.Certificate, key: PrivateKey, where: str) -> None:
    """Raise RequestRefused unless the key is that of the certificate."""
    if certificate.public_key() != key.public_key():
        raise RequestRefused(f"{where}: the key is not that of the certificate")


def build_chain(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The issuers of a certificate among others, found by name and signature; a root ends it."""
    candidates = [one for one in others if one != leaf]
    chain, current = list[x509.Certificate](), leaf
    while current.issuer != current.subject:
        above = next((one for one in candidates if is_issued_by(current, one)), None)
        if above is None:
            break
        chain.append(above)
        candidates.remove(above)
        current = above
    return tuple(chain)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether names and signature say so."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _pair(key: PrivateKey, pieces: _Pieces, where: str) -> Entity:
    matching = [one for one in pieces.certificates if one.public_key() == key.public_key()]
    if not matching:
        raise RequestRefused(f"{where}: a key is that of none of its certificates")
    newest = max(matching, key=lambda one: one.not_valid_before_utc)
    return Entity(newest, key, build_chain(newest, pieces.certificates), pieces.friendly_name)


def _find_end(certificates: tuple[x509.Certificate, ...]) -> x509.Certificate:
    """The one that has issued none of the others."""
    for one in certificates:
        if not any(other is not one and is_issued_by(other, one) for other in certificates):
            return one
    return certificates[0]


def _parse_pem(data: bytes, passphrase: bytes | None, where: str) -> _Pieces:
    certificates, keys = list[x509.Certificate](), list[PrivateKey]()
    for block in _BLOCK.finditer(data):
        if block[1] in (b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"):
            certificates.append(_load_certificate(block[0], where))
        elif block[1].endswith(b"PRIVATE KEY"):
            encrypted = block[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block[0]
            keys.append(parse_private_key(block[0], passphrase if encrypted else None, where))
    return _Pieces(tuple(dict.fromkeys(certificates)), tuple(keys))


def _load_certificate(block: bytes, where: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except (ValueError, x509.InvalidVersion) as error:
        raise RequestRefused(f"{where}: a certificate in it is damaged") from error


def _parse_der(data: bytes, passphrase: bytes | None, where: str) -> _Pieces:
    try:
        return _Pieces((x509.load_der_x509_certificate(data),), ())
    except (ValueError, x509.InvalidVersion):
        return _parse_pkcs12(data, passphrase, where)


def _parse_pkcs12(data: bytes, passphrase: bytes | None, where: str) -> _Pieces:
    try:
        store = pkcs12.load_pkcs12(data, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnavailable(f"{where}: neither PEM, DER nor PKCS#12, or not this password") from error
    if store.key is None:
        return _Pieces(tuple(one.certificate for one in store.additional_certs), ())
    if store.cert is None:
        raise RequestRefused(f"{where}: it has a key and no certificate for it")
    leaf = store.cert.certificate
    others = tuple(one.certificate for one in store.additional_certs)
    _refuse_strangers(leaf, others, where)
    key = accept_private_key(store.key, where)
    return _Pieces((leaf, *others), (key,), (store.cert.friendly_name or b"").decode("utf-8", "replace"))


def _refuse_strangers(leaf: x509.Certificate, others: tuple[x509.Certificate, ...], where: str) -> None:
    """The library reads one key of a file and says nothing of others; their certificates give them away."""
    chain = build_chain(leaf, others)
    for one in others:
        if not any(is_issued_by(below, one) for below in (leaf, *chain)) and not _is_ca(one):
            raise RequestRefused(
                f"{where}: it has more than one entry, and only the first key could be read",
                hint="split it: `keytool -importkeystore -srcalias NAME ...` makes a file of one entry",
            )


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
