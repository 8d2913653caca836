# SPDX-License-Identifier: Apache-2.0
"""Requests as clients make them, and answers read by an independent decoder."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ottr.ca.authority import Authority, parse_row
from ottr.ca.der import SEQUENCE, read, write
from ottr.ca.model import Certificate

SHA1 = hashes.SHA1()
NONCE = b"n" * 32


def build_request(
    authority: Authority,
    row: Certificate,
    *,
    digest: hashes.HashAlgorithm = SHA1,
    nonce: bytes | None = None,
) -> bytes:
    """A request about one certificate."""
    issuer = next(one for one in authority.issuers() if one.id == row.issuer_id).certificate
    builder = ocsp.OCSPRequestBuilder().add_certificate(parse_row(row), issuer, digest)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def merge_requests(*requests: bytes) -> bytes:
    """One request for all that several ask."""
    singles = [single for one in requests for single in read(one).children()[0].children()[0].children()]
    return write(SEQUENCE, write(SEQUENCE, write(SEQUENCE, *(single.raw for single in singles))))


def parse_answer(der: bytes) -> ocsp.OCSPResponse:
    """Read an answer that must be a successful one."""
    answer = ocsp.load_der_ocsp_response(der)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return answer


def read_status(der: bytes) -> str:
    """Of the one certificate an answer is about."""
    return parse_answer(der).certificate_status.name.lower()
