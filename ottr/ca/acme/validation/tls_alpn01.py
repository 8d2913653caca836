# SPDX-License-Identifier: Apache-2.0
"""tls-alpn-01 (RFC 8737; for addresses RFC 8738)."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl

from cryptography import x509

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.records import Identifier
from ottr.ca.acme.settings import ValidationSettings
from ottr.ca.acme.validation import Look
from ottr.ca.acme.validation.lookup import Deadline, find_addresses

PROTOCOL = "acme-tls/1"
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_OCTET_STRING_OF_32 = b"\x04\x20"


def validate(look: Look, settings: ValidationSettings) -> None:
    """The certificate served for the protocol must carry name and digest alone. Raises Problem."""
    failed: Exception | None = None
    deadline = Deadline(settings.timeout_s)
    for address in find_addresses(look.identifier, settings):
        try:
            der = _fetch(address, look.identifier, settings, deadline)
        except (OSError, ssl.SSLError) as error:
            failed = error
            continue
        _check(der, look)
        return
    kind = "tls" if isinstance(failed, ssl.SSLError) else "connection"
    raise Problem(kind, f"{look.identifier.value}: {type(failed).__name__}") from failed


def _fetch(address: str, identifier: Identifier, settings: ValidationSettings, deadline: Deadline) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is signed by its own key
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([PROTOCOL])
    name = identifier.value if identifier.kind == "dns" else ipaddress.ip_address(identifier.value).reverse_pointer
    with (
        socket.create_connection((address, settings.tls_port), deadline.rest_s() / 2) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        if secured.selected_alpn_protocol() != PROTOCOL:
            raise Problem("unauthorized", f"{identifier.value} does not speak {PROTOCOL}")
        return secured.getpeercert(binary_form=True) or b""


def _check(der: bytes, look: Look) -> None:
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        extension = extensions.get_extension_for_oid(ACME_IDENTIFIER)
    except _UNREADABLE as error:
        raise Problem("unauthorized", "the certificate served is not one for this challenge") from error
    value = extension.value
    digest = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    if names != [_write_name(look.identifier)]:
        raise Problem("unauthorized", "the certificate served has other names")
    if not extension.critical or not hmac.compare_digest(digest, _OCTET_STRING_OF_32 + look.digest):
        raise Problem("unauthorized", "the certificate served has another key authorization")


def _write_name(identifier: Identifier) -> x509.GeneralName:
    if identifier.kind == "dns":
        return x509.DNSName(identifier.value)
    return x509.IPAddress(ipaddress.ip_address(identifier.value))
