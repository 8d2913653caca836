# SPDX-License-Identifier: Apache-2.0
"""Keys: made, named, read from PEM of every usual form, and judged."""

from __future__ import annotations

import hashlib
from types import MappingProxyType

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from ottr.ca.model import KeyAlgorithm
from ottr.errors import KeyUnavailable, RequestRefused

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Digest = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
"""What a certificate is signed over; none for Ed25519."""

_CURVES: MappingProxyType[KeyAlgorithm, ec.EllipticCurve] = MappingProxyType(
    {KeyAlgorithm.EC256: ec.SECP256R1(), KeyAlgorithm.EC384: ec.SECP384R1(), KeyAlgorithm.EC521: ec.SECP521R1()}
)
_RSA_BITS = MappingProxyType({KeyAlgorithm.RSA2048: 2048, KeyAlgorithm.RSA3072: 3072, KeyAlgorithm.RSA4096: 4096})
_SIGNATURES: MappingProxyType[tuple[bool, str], x509.ObjectIdentifier] = MappingProxyType(
    {
        (False, "sha256"): SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        (False, "sha384"): SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        (False, "sha512"): SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        (True, "sha256"): SignatureAlgorithmOID.RSA_WITH_SHA256,
        (True, "sha384"): SignatureAlgorithmOID.RSA_WITH_SHA384,
        (True, "sha512"): SignatureAlgorithmOID.RSA_WITH_SHA512,
    }
)
"""By whether it is RSA, and digest."""
_LEAST_RSA_BITS, _MOST_RSA_BITS = 2048, 8192
_SMALL_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)


def generate_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Make a key of the operating system's randomness."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm in _RSA_BITS:
        return rsa.generate_private_key(65537, _RSA_BITS[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


def is_rsa(algorithm: KeyAlgorithm) -> bool:
    """Whether keys of this kind can encipher."""
    return algorithm in _RSA_BITS


def judge_key(key: object) -> KeyAlgorithm:
    """Return what kind a public key is of. Raises RequestRefused for kinds and sizes the CA does not sign."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return KeyAlgorithm.ED25519
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _judge_curve(key)
    if isinstance(key, rsa.RSAPublicKey):
        return _judge_rsa(key)
    raise RequestRefused(f"keys of type {type(key).__name__} are not signed", hint="use P-256, RSA or Ed25519")


def _judge_curve(key: ec.EllipticCurvePublicKey) -> KeyAlgorithm:
    for algorithm, curve in _CURVES.items():
        if curve.name == key.curve.name:
            return algorithm
    raise RequestRefused(f"keys on the curve {key.curve.name} are not signed", hint="use P-256, P-384 or P-521")


def _judge_rsa(key: rsa.RSAPublicKey) -> KeyAlgorithm:
    numbers = key.public_numbers()
    if not _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS or key.key_size % 8:
        raise RequestRefused(f"RSA keys of {key.key_size} bits are not signed", hint="use 2048, 3072 or 4096 bits")
    if numbers.e < 65537 or numbers.e % 2 == 0 or numbers.e >= 2**64:
        raise RequestRefused("the public exponent of the RSA key is not signed", hint="use 65537")
    if numbers.n % 2 == 0 or any(numbers.n % prime == 0 for prime in _SMALL_PRIMES):
        raise RequestRefused("the modulus of the RSA key has a small factor")
    if key.key_size >= 4096:
        return KeyAlgorithm.RSA4096
    return KeyAlgorithm.RSA3072 if key.key_size >= 3072 else KeyAlgorithm.RSA2048


def digest_for(key: PublicKey) -> Digest | None:
    """What signatures of an issuer's key are made over: the key decides, not what is signed."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size > 256:
        return hashes.SHA384() if key.key_size <= 384 else hashes.SHA512()
    return hashes.SHA256()


def name_signature(algorithm: KeyAlgorithm, digest: Digest | None) -> x509.ObjectIdentifier:
    """The number by which certificates call signatures of a kind of key (RFC 5280 section 4.1.1.2)."""
    return SignatureAlgorithmOID.ED25519 if digest is None else _SIGNATURES[is_rsa(algorithm), digest.name]


def verify_signature(key: PublicKey, signature: bytes, data: bytes, digest: Digest | None) -> None:
    """Check a signature as X.509 has them. Raises InvalidSignature."""
    if isinstance(key, rsa.RSAPublicKey) and digest is not None:
        key.verify(signature, data, padding.PKCS1v15(), digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
        key.verify(signature, data, ec.ECDSA(digest))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
    else:
        raise InvalidSignature


def encode_public_key(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def hash_public_key(key: PublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, hex."""
    return hashlib.sha256(encode_public_key(key)).hexdigest()


def read_key_identifier(certificate: x509.Certificate) -> bytes:
    """The subject key identifier of a CA's certificate, or what it would be."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def encode_private_key(key: PrivateKey) -> bytes:
    """PKCS#8, DER, not encrypted: for envelopes only."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def parse_private_key(data: bytes, passphrase: bytes | None, where: str) -> PrivateKey:
    """Read a key in PEM or DER: PKCS#8, PKCS#1 or SEC1, encrypted or not. Raises KeyUnavailable, showing none of it."""
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        key = load(data, passphrase)
    except TypeError as error:
        wanted = "is encrypted, and no passphrase was given" if passphrase is None else "is not encrypted"
        raise KeyUnavailable(f"{where}: the key {wanted}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnavailable(f"{where}: no private key, damaged, or not this passphrase") from error
    return accept_private_key(key, where)


def accept_private_key(key: object, where: str) -> PrivateKey:
    """Return a key of a kind the CA knows. Raises KeyUnavailable for others."""
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        return key
    raise KeyUnavailable(f"{where}: keys of type {type(key).__name__} are not used")
