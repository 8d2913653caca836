# SPDX-License-Identifier: Apache-2.0
"""Names of a certificate as the inventory writes them, made into A-labels or refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

MAX_NAME: Final = 253
"""Octets of a domain name without the trailing dot (RFC 1035 section 2.3.4)."""

# Letters, digits, hyphens, none of these first or last in a label of at most 63 (RFC 5890 section 2.3.1).
_LDH: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# What nearly all names are, and addresses never: labels as above, none of them encoded, the last not ending in a digit.
_USUAL: Final = re.compile(rf"(?!.*--)(?:{_LDH.pattern}\.)*{_LDH.pattern}(?<![0-9])", re.ASCII)


class NameRefused(ValueError):
    """The name cannot stand in a certificate; the message says which and why."""


class AddressRefused(NameRefused):
    """An IP address: dns-01 cannot prove it (RFC 8738)."""


def parse_dns_name(text: Any) -> str:
    """Return a name as a lower-case A-label form without trailing dot; ``*`` may be the leftmost label.

    Raises NameRefused, or AddressRefused for an IP address.
    """
    if not isinstance(text, str):
        raise NameRefused(f"{text!r} is a {type(text).__name__}, not a name")
    if len(text) <= MAX_NAME and _USUAL.fullmatch(text):
        return text
    bare = _without_prefix(text.strip(" "))
    _refuse_address(bare)
    wildcard, name = bare.startswith("*."), bare.removeprefix("*.").removesuffix(".")
    try:
        labels = [_parse_label(label) for label in (name.lower() if name.isascii() else _to_ascii(name)).split(".")]
    except ValueError as error:
        raise NameRefused(f"{text!r} is not a DNS name: {error}") from error
    joined = ("*." if wildcard else "") + ".".join(labels)
    if len(joined) > MAX_NAME:
        raise NameRefused(f"{text!r} is longer than {MAX_NAME} octets")
    return joined


def parse_alternative_names(value: Any) -> list[Any]:
    """Split what stands in ``subject_alternative_name``: a list, or one string with commas."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list) else [value]


def parse_names(common_name: Any, alternative_names: Iterable[Any]) -> tuple[str, ...]:
    """Return every name once, the common name first. Raises NameRefused."""
    return tuple(dict.fromkeys(parse_dns_name(name) for name in (common_name, *alternative_names)))


def _without_prefix(text: str) -> str:
    """``DNS:`` is how openssl and Ansible's modules mark a name; ``IP:`` marks an address."""
    kind, colon, rest = text.partition(":")
    if not colon or _is_address(text):
        return text
    if kind.upper() == "DNS":
        return rest.strip(" ")
    if kind.upper() in ("IP", "IP ADDRESS"):
        raise AddressRefused(f"{rest} is an IP address")
    raise NameRefused(f"{text!r} is not a DNS name")


def _refuse_address(text: str) -> None:
    if _is_address(text):
        raise AddressRefused(f"{text} is an IP address")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _to_ascii(name: str) -> str:
    # A table of half a megabyte, for names that few have.
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(str(error)) from error


def _parse_label(label: str) -> str:
    if not label:
        raise ValueError("a label is empty")
    if not _LDH.fullmatch(label):
        raise ValueError(f"the label {label!r} is not made of 1 to 63 letters, digits and inner hyphens")
    if label[2:4] == "--":
        _check_a_label(label)
    return label


def _check_a_label(label: str) -> None:
    import idna

    if not label.startswith("xn--"):
        raise ValueError(f"the label {label!r} has hyphens in the third and fourth place (RFC 5891 section 4.2.3.1)")
    try:
        idna.decode(label)
    except idna.IDNAError as error:
        raise ValueError(f"the label {label!r} is no A-label: {error}") from error
