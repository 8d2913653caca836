# SPDX-License-Identifier: Apache-2.0
"""How long HTTP caches may keep what is served (RFC 5019 section 6.2 for OCSP, RFC 9111)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}


def build_answer_headers(der: bytes, this_update: datetime, next_update: datetime) -> dict[str, str]:
    """Headers of an OCSP answer that do not depend on when it is served; all say what its signature covers."""
    return {
        "Last-Modified": format_datetime(this_update, usegmt=True),
        "Expires": format_datetime(next_update.replace(microsecond=0), usegmt=True),
        "ETag": build_etag(der),
    }


def build_age_header(seconds: int) -> str:
    """Cache-Control of an OCSP answer that may be used for so long."""
    return f"max-age={seconds}, public, no-transform, must-revalidate"


def build_file_headers(content: bytes, seconds: int) -> dict[str, str]:
    """Headers of what changes now and then: CRLs, issuers. Asking again is cheap, for it has a tag."""
    return {"Cache-Control": f"max-age={seconds}, public, must-revalidate", "ETag": build_etag(content)}


def build_etag(content: bytes) -> str:
    """A strong tag."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def has_etag(condition: str, etag: str) -> bool:
    """Whether an If-None-Match says that the client has it."""
    asked = [one.strip().removeprefix("W/") for one in condition.split(",")]
    return etag in asked or asked == ["*"]
