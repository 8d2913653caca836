# SPDX-License-Identifier: Apache-2.0
"""pkilint (RFC 5280) over certificates, with what is let pass and why."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader, validation
from pkilint.document import Document
from pkilint.pkix import certificate as pkix
from pkilint.pkix import create_attribute_decoder, create_extension_decoder, crl, extension, name, ocsp

ALLOWED = {
    # RFC 6125 has wildcards in dNSName; the linter takes RFC 5280's "preferred name syntax" by the letter.
    "pkix.invalid_domain_name_syntax": lambda certificate: "*." in str(certificate.extensions),
    # The linter knows a dozen schemes; RFC 5280 section 4.2.1.6 allows any absolute URI, and SPIFFE is one.
    "pkix.invalid_uri_syntax": lambda certificate: "spiffe://" in str(certificate.extensions),
}


def _build_validator() -> validation.ValidatorContainer:
    return pkix.create_pkix_certificate_validator_container(
        pkix.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            pkix.create_issuer_validator_container([]),
            pkix.create_validity_validator_container(),
            pkix.create_subject_validator_container([]),
            pkix.create_extensions_validator_container([]),
            pkix.create_spki_validator_container([]),
        ],
    )


def lint_with_pkilint(certificate: x509.Certificate) -> tuple[str, ...]:
    """Findings of severity notice and above, less those that are allowed."""
    der = certificate.public_bytes(Encoding.DER)
    document = loader.RFC5280CertificateDocumentLoader().load_der_document(der, "here")
    results = _build_validator().validate(document.root)
    return tuple(
        f"{found.finding.code} at {result.node.path}"
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity <= validation.ValidationFindingSeverity.NOTICE
        and not ALLOWED.get(found.finding.code, lambda _: False)(certificate)
    )


def lint_ocsp_answer(der: bytes) -> tuple[str, ...]:
    """Findings over an OCSP answer."""
    decoders = [
        ocsp.create_response_decoder(),
        create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]
    validator = ocsp.create_pkix_ocsp_response_validator_container(decoders, [])
    return _list_findings(validator, loader.RFC6960OCSPResponseDocumentLoader().load_der_document(der, "here"))


def lint_crl(der: bytes) -> tuple[str, ...]:
    """Findings over a CRL."""
    decoders = [
        create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]
    parts = [
        crl.create_issuer_validator_container([]),
        crl.create_validity_validator_container([]),
        crl.create_extensions_validator_container([]),
    ]
    validator = crl.create_pkix_crl_validator_container(decoders, parts)
    return _list_findings(validator, loader.RFC5280CertificateListDocumentLoader().load_der_document(der, "here"))


def _list_findings(validator: validation.ValidatorContainer, document: Document) -> tuple[str, ...]:
    return tuple(
        f"{found.finding.code} at {result.node.path}"
        for result in validator.validate(document.root)
        for found in result.finding_descriptions
        if found.finding.severity <= validation.ValidationFindingSeverity.NOTICE
    )
