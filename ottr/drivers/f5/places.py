# SPDX-License-Identifier: Apache-2.0
"""Names on the device: every one of them derives from a rotation's label, and stands in /Common."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ottr.errors import DeviceRejected

DEFAULT_CERTIFICATE = "/Common/default.crt"
"""The self-signed one that the device makes for itself."""
DOWNLOADS = "/var/config/rest/downloads"
"""Where uploads are put."""
BULK = "/var/config/rest/bulk"
"""Where files to be fetched stand."""
CSR_FOLDER = "/config/ssl/ssl.csr"

_LABEL = re.compile(r"ottr-[a-z0-9-]{1,26}")
_DNS_NAME = re.compile(r"(?:\*\.)?(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
_OBJECT = re.compile(r"(?:/Common/)?(ottr-[a-z0-9-]{1,26})\.(?:key|csr|crt|chain\.crt)")


def check_label(label: str) -> str:
    """Return a label. Raises DeviceRejected for anything that is not of ours."""
    if not _LABEL.fullmatch(label):
        raise DeviceRejected(f"{label!r} is not a label of Ottr", hint="nothing was sent to the device")
    return label


def check_dns_names(names: Sequence[str]) -> None:
    """Raise DeviceRejected for what is no list of names: a comma in one would begin another."""
    for name in names:
        if not _DNS_NAME.fullmatch(name) or len(name) > 253:
            raise DeviceRejected(f"{name!r} is not a DNS name", hint="nothing was sent to the device")


def find_label(name: str) -> str:
    """The label of an object's name or full path; empty when it is not one of ours."""
    found = _OBJECT.fullmatch(name)
    return found[1] if found else ""


def key_name(label: str) -> str:
    """The key of a rotation."""
    return f"{label}.key"


def csr_name(label: str) -> str:
    """The CSR of a rotation."""
    return f"{label}.csr"


def certificate_name(label: str) -> str:
    """The certificate of a rotation."""
    return f"{label}.crt"


def chain_name(label: str) -> str:
    """The issuers of a rotation's certificate."""
    return f"{label}.chain.crt"


def common(name: str) -> str:
    """The full path of an object of ours."""
    return f"/Common/{name}"


def tilde(path: str) -> str:
    """A full path as it stands in a URL."""
    return path.replace("/", "~")
