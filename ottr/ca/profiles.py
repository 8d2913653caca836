# SPDX-License-Identifier: Apache-2.0
"""Profiles: everything of a certificate that its requester does not decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ottr.ca.keys import is_rsa
from ottr.ca.model import KeyAlgorithm

DAY_S = 86400.0
YEAR_S = 365 * DAY_S


class Usage(Enum):
    """Purposes a certificate can have."""

    SERVER_AUTH = "server_auth"
    CLIENT_AUTH = "client_auth"
    EMAIL_PROTECTION = "email_protection"
    CODE_SIGNING = "code_signing"
    OCSP_SIGNING = "ocsp_signing"

    @property
    def oid(self) -> x509.ObjectIdentifier:
        """The number of the purpose."""
        return _PURPOSES[self]


_PURPOSES = MappingProxyType(
    {
        Usage.SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH,
        Usage.CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH,
        Usage.EMAIL_PROTECTION: ExtendedKeyUsageOID.EMAIL_PROTECTION,
        Usage.CODE_SIGNING: ExtendedKeyUsageOID.CODE_SIGNING,
        Usage.OCSP_SIGNING: ExtendedKeyUsageOID.OCSP_SIGNING,
    }
)

_PERSON = (
    NameOID.COUNTRY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.SERIAL_NUMBER,
    NameOID.USER_ID,
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate."""

    name: str
    usages: tuple[Usage, ...]
    lifetime_s: float
    """Unless less is asked for; never more."""
    path_length: int | None = None
    """CA certificates: how many CAs may follow."""
    is_ca: bool = False
    name_kinds: frozenset[str] = frozenset()
    """Kinds of subject alternative names: dns, ip, email, uri."""
    names_required: bool = False
    subject_is_a_name: bool = False
    """The common name is one of the DNS names or addresses, or absent."""
    attributes: tuple[x509.ObjectIdentifier, ...] = ()
    """Of the subject, beside the common name."""
    keys: frozenset[KeyAlgorithm] = frozenset(KeyAlgorithm)
    points_to_status: bool = True
    """Carries the addresses of CRL and OCSP; else noRevAvail (RFC 9608), for lives of at most seven days."""
    nocheck: bool = False
    """id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1)."""

    def key_usage(self, key: KeyAlgorithm) -> x509.KeyUsage:
        """What the key may do; only RSA keys encipher, and only for servers and mail."""
        enciphers = is_rsa(key) and bool({Usage.SERVER_AUTH, Usage.EMAIL_PROTECTION} & set(self.usages))
        return x509.KeyUsage(
            digital_signature=self.name != ROOT,
            content_commitment=False,
            key_encipherment=enciphers,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=self.is_ca,
            crl_sign=self.is_ca,
            encipher_only=False,
            decipher_only=False,
        )


ROOT, SUB_CA, CROSS, OCSP, SERVER, CLIENT = "root", "sub_ca", "cross", "ocsp", "server", "client"
NO_STATUS_MOST_S = 7 * DAY_S
"""The longest life without a way to revoke (RFC 9608; also the CA/Browser Forum's short-lived certificates)."""

_BUILT_IN = (
    Profile(ROOT, (), 10 * YEAR_S, is_ca=True, attributes=_PERSON),
    Profile(SUB_CA, (), 5 * YEAR_S, is_ca=True, path_length=0, attributes=_PERSON),
    Profile(CROSS, (), 10 * YEAR_S, is_ca=True, path_length=1, attributes=_PERSON),
    # nocheck means nobody asks whether it is revoked, so it lives shortly; it points nowhere for the same reason.
    Profile(OCSP, (Usage.OCSP_SIGNING,), 14 * DAY_S, points_to_status=False, nocheck=True),
    Profile(
        SERVER,
        (Usage.SERVER_AUTH,),
        90 * DAY_S,
        name_kinds=frozenset({"dns", "ip"}),
        names_required=True,
        subject_is_a_name=True,
    ),
    Profile(
        CLIENT,
        (Usage.CLIENT_AUTH,),
        YEAR_S,
        name_kinds=frozenset({"dns", "ip", "email", "uri"}),
        attributes=_PERSON,
    ),
)
BUILT_IN: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _BUILT_IN})
INTERNAL = frozenset({ROOT, CROSS, OCSP})
"""Profiles nobody can ask for: the CA itself uses them."""
