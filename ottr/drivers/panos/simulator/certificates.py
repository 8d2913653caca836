# SPDX-License-Identifier: Apache-2.0
"""Certificates on the device: the key store, keys and CSRs made here, imports, and what an entry shows."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from xml.etree.ElementTree import SubElement

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from ottr.drivers.panos.simulator.answers import Element, Refusal
from ottr.simulation.pair import Pair, PrivateKey, make_self_signed, public_bytes

WAY = "request -> certificate -> generate"
_DIGESTS: Mapping[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_CURVES: Mapping[str, ec.EllipticCurve] = {"256": ec.SECP256R1(), "384": ec.SECP384R1()}
_RSA_BITS = frozenset({"512", "1024", "2048", "3072", "4096"})
_SUBJECT: Mapping[str, x509.ObjectIdentifier] = {
    "country-code": NameOID.COUNTRY_NAME,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "email": NameOID.EMAIL_ADDRESS,
}
_FIELDS = frozenset(_SUBJECT) | frozenset(
    [
        "certificate-name",
        "name",
        "algorithm",
        "digest",
        "organization-unit",
        "hostname",
        "ip",
        "alt-email",
        "days-till-expiry",
        "ca",
        "signed-by",
        "block-private-key",
    ]
)


@dataclass(slots=True)
class KeyStore:
    """Private keys by what the configuration shows of them. Nothing gives a key back but what serves TLS."""

    _keys: dict[str, PrivateKey] = field(default_factory=dict, repr=False)

    def keep(self, key: PrivateKey) -> str:
        """Take a key; returns the text for ``private-key``, which means nothing outside this device."""
        token = f"-AQ=={secrets.token_urlsafe(48)}"
        self._keys[token] = key
        return token

    def of(self, entry: Element) -> PrivateKey | None:
        """The key of an entry, if there is one."""
        return self._keys.get(entry.findtext("private-key", ""))

    def all(self) -> tuple[PrivateKey, ...]:
        """Every key: for tests that look for leaks."""
        return tuple(self._keys.values())

    def share_with(self, other: KeyStore) -> None:
        """Panorama gives its keys to a firewall with the configuration that uses them."""
        other._keys.update(self._keys)


@dataclass(frozen=True, slots=True)
class Order:
    """What a generate command asks for. ``external`` makes a CSR, else a self-signed certificate."""

    name: str
    subject: x509.Name
    alternatives: tuple[x509.GeneralName, ...]
    make_key: Callable[[], PrivateKey] = field(repr=False)
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512
    external: bool
    ca: bool


def parse_order(command: Element, *, takes_block: bool, takes_wildcards: bool) -> Order:
    """Read the children of ``generate``. Raises Refusal (code 17)."""
    for node in command:
        if node.tag not in _FIELDS or (node.tag == "block-private-key" and not takes_block):
            raise Refusal(17, f"{WAY} -> {node.tag} unexpected here", f"{WAY} is invalid")
    for wanted in ("certificate-name", "name", "algorithm"):
        if command.find(wanted) is None:
            raise Refusal(17, f"{WAY} -> {wanted} is missing", f"{WAY} is invalid")
    digest = _DIGESTS.get(command.findtext("digest", "sha256"))
    signer = command.findtext("signed-by", "")
    if digest is None:
        raise _invalid("digest", command.findtext("digest", ""))
    if signer not in ("", "external"):
        raise _invalid("signed-by", signer)
    return Order(
        command.findtext("certificate-name", ""),
        _parse_subject(command),
        _parse_alternatives(command, takes_wildcards=takes_wildcards),
        _parse_algorithm(command),
        digest,
        signer == "external",
        command.findtext("ca", "no") == "yes",
    )


def _parse_subject(command: Element) -> x509.Name:
    try:
        names = [x509.NameAttribute(NameOID.COMMON_NAME, command.findtext("name", ""))]
        names += [
            x509.NameAttribute(oid, command.findtext(tag, ""))
            for tag, oid in _SUBJECT.items()
            if command.find(tag) is not None
        ]
        names += [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, node.text or "")
            for node in command.findall("organization-unit/member")
        ]
    except ValueError as error:
        raise Refusal(17, f"{WAY} -> name is invalid", f"{WAY} is invalid") from error
    return x509.Name(names)


def _parse_alternatives(command: Element, *, takes_wildcards: bool) -> tuple[x509.GeneralName, ...]:
    found: list[x509.GeneralName] = []
    for node in command.findall("hostname/member"):
        text = node.text or ""
        if not text or not text.isascii() or " " in text or ("*" in text and not takes_wildcards):
            raise _invalid("hostname", text)
        found.append(x509.DNSName(text))
    for node in command.findall("ip/member"):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(node.text or "")))
        except ValueError as error:
            raise _invalid("ip", node.text or "") from error
    return (*found, *(x509.RFC822Name(node.text or "") for node in command.findall("alt-email/member")))


def _parse_algorithm(command: Element) -> Callable[[], PrivateKey]:
    bits = command.findtext("algorithm/RSA/rsa-nbits")
    if bits in _RSA_BITS:
        return lambda: rsa.generate_private_key(65537, max(int(bits or 0), 1024))
    curve = _CURVES.get(command.findtext("algorithm/ECDSA/ecdsa-nbits", ""))
    if bits is not None or curve is None:
        raise _invalid("algorithm", bits or command.findtext("algorithm/ECDSA/ecdsa-nbits") or "")
    return lambda: ec.generate_private_key(curve)


def _invalid(tag: str, value: str) -> Refusal:
    return Refusal(17, f"{WAY} -> {tag} '{value}' is invalid", f"{WAY} -> {tag} is invalid")


def build_entry(order: Order, keys: KeyStore) -> Element:
    """Make the key and the entry with its CSR, or with a self-signed certificate."""
    key = order.make_key()
    common_name = str(order.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    entry = Element("entry", {"name": order.name})
    _put(entry, "common-name", common_name)
    _put(entry, "algorithm", "RSA" if isinstance(key, rsa.RSAPrivateKey) else "EC")
    _put(entry, "ca", "yes" if order.ca else "no")
    _put(entry, "private-key", keys.keep(key))
    if not order.external:
        describe(entry, [make_self_signed(common_name, key, ca=order.ca).leaf], whole_chain=False)
        return entry
    request = x509.CertificateSigningRequestBuilder(order.subject)
    if order.alternatives:
        request = request.add_extension(x509.SubjectAlternativeName(order.alternatives), critical=False)
    _put(entry, "subject", _slashed(order.subject))
    _put(entry, "csr", request.sign(key, order.digest).public_bytes(Encoding.PEM).decode())
    return entry


def load_chain(content: bytes, name: str) -> list[x509.Certificate]:
    """Read an imported PEM. Raises Refusal when no certificate is in it."""
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise Refusal(None, f"Import of {name} failed. Failed to extract certificate") from error


def load_key(content: bytes, name: str, passphrase: str) -> PrivateKey:
    """Read an uploaded private key. Raises Refusal."""
    try:
        try:
            key = load_pem_private_key(content, passphrase.encode())
        except TypeError:
            key = load_pem_private_key(content, None)
    except ValueError as error:
        raise Refusal(None, f"Import of {name} failed. Failed to extract private key") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Refusal(None, f"Import of {name} failed. Failed to extract private key")
    return key


def describe(entry: Element, chain: Sequence[x509.Certificate], *, whole_chain: bool) -> None:
    """Write what an entry shows of a certificate."""
    leaf = chain[0]
    shown = chain if whole_chain else chain[:1]
    _put(entry, "subject", _slashed(leaf.subject))
    _put(entry, "subject-hash", _hash(leaf.subject))
    _put(entry, "issuer", _slashed(leaf.issuer))
    _put(entry, "issuer-hash", _hash(leaf.issuer))
    _put(entry, "not-valid-before", leaf.not_valid_before_utc.strftime("%b %d %H:%M:%S %Y GMT"))
    _put(entry, "not-valid-after", leaf.not_valid_after_utc.strftime("%b %d %H:%M:%S %Y GMT"))
    _put(entry, "expiry-epoch", str(int(leaf.not_valid_after_utc.timestamp())))
    _put(entry, "ca", "yes" if _may_sign(leaf) else "no")
    _put(entry, "public-key", "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in shown))


def fits(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether key and certificate belong together."""
    return public_bytes(key) == public_bytes(certificate)


def same_kind(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether both are RSA, or both elliptic."""
    return isinstance(key, rsa.RSAPrivateKey) == isinstance(certificate.public_key(), rsa.RSAPublicKey)


def is_authority(entry: Element) -> bool:
    """Whether the entry is a CA certificate."""
    return entry.findtext("ca") == "yes"


def is_pending(entry: Element) -> bool:
    """Whether the entry is a CSR still."""
    return not entry.findtext("public-key")


def pair_of(entry: Element, keys: KeyStore, chains: Mapping[str, str]) -> Pair | None:
    """What a TLS service makes of an entry: leaf, the issuers that came with it, and whatever key is there."""
    key, leaf = keys.of(entry), entry.findtext("public-key")
    if key is None or not leaf:
        return None
    first = x509.load_pem_x509_certificate(leaf.encode())
    return Pair(chains.get(first.fingerprint(hashes.SHA256()).hex(), leaf), key)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _put(entry: Element, tag: str, text: str) -> None:
    node = entry.find(tag)
    (SubElement(entry, tag) if node is None else node).text = text


def _slashed(name: x509.Name) -> str:
    return "".join(f"/{part.rfc4514_string()}" for part in name.rdns)


def _hash(name: x509.Name) -> str:
    return sha256(name.public_bytes()).hexdigest()[:8]
