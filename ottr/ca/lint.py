# SPDX-License-Identifier: Apache-2.0
"""What must be true of a certificate before its issuer signs it.

The linter reads the finished encoding, not the values it was made of: a mistake anywhere above shows here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from cryptography import x509

from ottr.ca.csr import read_common_name
from ottr.ca.keys import is_rsa, judge_key, read_key_identifier
from ottr.ca.model import Names
from ottr.ca.names import find_unconstrained, include_common_name, read_san
from ottr.ca.profiles import NO_STATUS_MOST_S, Profile, Usage
from ottr.ca.template import NO_REV_AVAIL, find_unprintable
from ottr.errors import RequestRefused

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
Extensions = Mapping[x509.ObjectIdentifier, x509.ExtensionType]
_LEAST_SERIAL = 2**63
_CA_ONLY = (x509.NameConstraints, x509.PolicyConstraints, x509.InhibitAnyPolicy)


def lint(certificate: x509.Certificate, profile: Profile, issuer: x509.Certificate | None) -> None:
    """Raise RequestRefused with everything that is wrong. ``issuer`` is None for a root."""
    findings = tuple(find_faults(certificate, profile, issuer))
    if findings:
        raise RequestRefused("the certificate would be wrong: " + "; ".join(findings))


def find_faults(certificate: x509.Certificate, profile: Profile, issuer: x509.Certificate | None) -> Iterator[str]:
    """Everything that is wrong with a certificate of a profile."""
    extensions = _read_extensions(certificate)
    yield from _lint_frame(certificate, extensions)
    yield from _lint_key(certificate, extensions, profile)
    yield from _lint_names(certificate, extensions, profile)
    yield from _lint_status(certificate, extensions, profile)
    if issuer is not None:
        yield from _lint_place(certificate, extensions, issuer)


def _lint_frame(certificate: x509.Certificate, extensions: Extensions) -> Iterator[str]:
    """Serial and dates."""
    if not _LEAST_SERIAL <= certificate.serial_number < 2**159:
        yield "its serial is too short or too long to be random (RFC 5280 section 4.1.2.2)"
    if certificate.not_valid_before_utc >= certificate.not_valid_after_utc:
        yield "it ends before it begins"
    if not certificate.subject.rdns and _find(extensions, x509.SubjectAlternativeName) is None:
        yield "it is for nobody"


def _lint_key(certificate: x509.Certificate, extensions: Extensions, profile: Profile) -> Iterator[str]:
    """Key, usages and basic constraints as the profile has them."""
    kind = judge_key(certificate.public_key())
    if kind not in profile.keys:
        yield f"profile {profile.name} does not certify keys of type {kind.value}"
    basic = _find(extensions, x509.BasicConstraints)
    if basic is None or (basic.ca, basic.path_length) != (profile.is_ca, profile.path_length):
        yield "its basic constraints are not those of the profile"
    usage = _find(extensions, x509.KeyUsage)
    if usage != profile.key_usage(kind):
        yield "its key usage is not that of the profile"
    if usage is not None and usage.key_encipherment and not is_rsa(kind):
        yield "only RSA keys encipher"
    purposes = _find(extensions, x509.ExtendedKeyUsage)
    if set(purposes or ()) != {one.oid for one in profile.usages}:
        yield "its purposes are not those of the profile"
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    if _find(extensions, x509.SubjectKeyIdentifier) != own:
        yield "its key identifier is not that of its key"


def _lint_names(certificate: x509.Certificate, extensions: Extensions, profile: Profile) -> Iterator[str]:
    """Subject alternative names, and a subject that says nothing else."""
    names = _read_names(extensions)
    if profile.names_required and not names:
        yield f"profile {profile.name} needs a name"
    for kind in sorted({kind for kind, _ in names.values} - profile.name_kinds):
        yield f"profile {profile.name} has no names of type {kind}"
    common_name = read_common_name(certificate.subject)
    if profile.subject_is_a_name and common_name and include_common_name(names, common_name) != names:
        yield "its common name is not one of its names"
    if find_unprintable(certificate.subject):
        yield "its subject has characters that cannot be printed"
    if not profile.is_ca:
        yield from ("it carries an extension of CAs" for kind in _CA_ONLY if _find(extensions, kind) is not None)


def _lint_status(certificate: x509.Certificate, extensions: Extensions, profile: Profile) -> Iterator[str]:
    """Ways to learn of its revocation, or none and a short life."""
    silent = NO_REV_AVAIL in extensions
    life_s = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()
    if silent and (profile.is_ca or life_s > NO_STATUS_MOST_S + 86400):
        yield "it lives too long to have no way of revocation"
    if (_find(extensions, x509.OCSPNoCheck) is not None) != (Usage.OCSP_SIGNING in profile.usages):
        yield "nocheck is for OCSP signers, and for them all"
    access = _find(extensions, x509.AuthorityInformationAccess) or ()
    if not all(one.access_location.value.startswith("http://") for one in access):
        yield "addresses about an issuer are plain http"


def _lint_place(certificate: x509.Certificate, extensions: Extensions, issuer: x509.Certificate) -> Iterator[str]:
    """What the issuer's own certificate lets through."""
    above = _read_issuers_extensions(issuer)
    basic, usage = _find(above, x509.BasicConstraints), _find(above, x509.KeyUsage)
    if certificate.issuer != issuer.subject:
        yield "its issuer's name is not the subject of its issuer"
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        yield "its issuer is not a CA"
    own = _find(extensions, x509.BasicConstraints)
    if basic is not None and basic.path_length == 0 and own is not None and own.ca:
        yield "its issuer may not have CAs below it"
    if certificate.not_valid_after_utc > issuer.not_valid_after_utc:
        yield "it lives longer than its issuer"
    key_identifier = _find(extensions, x509.AuthorityKeyIdentifier)
    if key_identifier is None or key_identifier.key_identifier != read_key_identifier(issuer):
        yield "its authority key identifier is not that of its issuer"
    if certificate.public_key() == issuer.public_key():
        yield "it has the key of its issuer"
    constraints = _find(above, x509.NameConstraints)
    if constraints is not None:
        yield from (
            f"{name} is outside of the issuer's name constraints"
            for name in find_unconstrained(_read_names(extensions), constraints)
        )


def _read_names(extensions: Extensions) -> Names:
    extension = _find(extensions, x509.SubjectAlternativeName)
    return Names() if extension is None else read_san(extension)


def _find(extensions: Extensions, kind: type[_Kind]) -> _Kind | None:
    found = extensions.get(kind.oid)
    return found if isinstance(found, kind) else None


def _read_extensions(certificate: x509.Certificate) -> Extensions:
    return {extension.oid: extension.value for extension in certificate.extensions}


_read_issuers_extensions = lru_cache(maxsize=16)(_read_extensions)
