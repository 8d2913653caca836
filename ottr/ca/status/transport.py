# SPDX-License-Identifier: Apache-2.0
"""OCSP requests in URLs (RFC 6960 appendix A.1)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

OCSP_PATH = b"/ocsp"
REQUEST_TYPE = "application/ocsp-request"
ANSWER_TYPE = "application/ocsp-response"


def decode_path(encoded: bytes) -> bytes:
    """The request of what follows ``/ocsp/`` in a path, as it came over the wire.

    It is base64, percent-encoded as a whole, in parts or not at all; the alphabet for URLs is understood as well, and
    so is a request without its padding. Empty for what is no base64.
    """
    text = unquote_to_bytes(encoded).translate(_ALPHABET).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return b""


def encode_path(request: bytes) -> str:
    """What ``/ocsp/`` is followed by, not percent-encoded."""
    return base64.b64encode(request).decode()


_ALPHABET = bytes.maketrans(b"-_", b"+/")
