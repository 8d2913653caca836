# SPDX-License-Identifier: Apache-2.0
"""What an entry of the operator's files may say, kind by kind. Each function raises the entry's own error."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ottr.files.document import Entry

Chosen = TypeVar("Chosen", bound=StrEnum)
Parsed = TypeVar("Parsed")

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[wdhms])+")
_ISO_DURATION = re.compile(r"P(?=.)((?:[0-9]+[WD])*)(?:T((?:[0-9]+[HMS])+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_MAILBOX = re.compile(r"[^@\s<>,?&%]+@[^@\s<>,?&%]+")


def read_text(entry: Entry, what: str = "text") -> str:
    """Return text that is not empty and has no control characters."""
    if not isinstance(entry.value, str) or not entry.value.strip():
        number = isinstance(entry.value, (int, float, date)) and not isinstance(entry.value, bool)
        raise entry.expected(what, hint=f"put it in quotes: {entry.written!r}" if number else "")
    if not entry.value.isprintable():
        raise entry.error("control characters are not allowed")
    return entry.value.strip()


def read_name(entry: Entry) -> str:
    """Return a name as issuers and solvers have."""
    text = read_text(entry, "a name")
    if not _NAME.fullmatch(text):
        raise entry.expected("a name of letters, digits, '_', '.' and '-'")
    return text


def read_boolean(entry: Entry) -> bool:
    """Return true or false."""
    if not isinstance(entry.value, bool):
        raise entry.expected("true or false")
    return entry.value


def read_integer(entry: Entry, least: int, most: int) -> int:
    """Return a whole number between two."""
    if not isinstance(entry.value, int) or isinstance(entry.value, bool) or not least <= entry.value <= most:
        raise entry.expected(f"a whole number from {least} to {most}")
    return entry.value


def read_choice(entry: Entry, kind: type[Chosen]) -> Chosen:
    """Return one of the words of an enumeration."""
    try:
        return kind(read_text(entry))
    except ValueError as error:
        raise entry.expected(f"one of {', '.join(kind)}") from error


def read_fraction(entry: Entry) -> float:
    """Return a share between 0 and 1, written as ``0.66``, ``2/3`` or ``66%``."""
    try:
        fraction = parse_fraction(entry.written)
    except ValueError as error:
        raise entry.expected("a share between 0 and 1 as 0.66, 2/3 or 66%") from error
    return fraction


def parse_fraction(text: str) -> float:
    """Turn ``0.66``, ``2/3`` or ``66%`` into a number. Raises ValueError unless it lies between 0 and 1."""
    try:
        if text.endswith("%"):
            fraction = float(text[:-1]) / 100
        elif "/" in text:
            above, below = text.split("/")
            fraction = float(above) / float(below)
        else:
            fraction = float(text)
    except ZeroDivisionError as error:
        raise ValueError(text) from error
    if not 0 < fraction < 1:
        raise ValueError(text)
    return fraction


def read_duration(entry: Entry, *, zero: bool = False) -> float:
    """Return seconds of a time span; more than zero unless zero is allowed."""
    try:
        seconds = parse_duration(entry.written)
    except ValueError as error:
        raise entry.expected("a time span as 30d, 12h, 90s, 1h30m, PT12H or 300 (seconds)") from error
    if seconds == 0 and not zero:
        raise entry.expected("a time span longer than nothing")
    return seconds


def parse_duration(text: str) -> float:
    """Turn ``30d``, ``1h30m``, ``PT12H`` or ``300`` (seconds) into seconds. Raises ValueError."""
    if iso := _ISO_DURATION.fullmatch(text):
        text = "".join(part for part in iso.groups() if part).lower()
    if _DURATION.fullmatch(text):
        parts = re.findall(r"([0-9.]+)([wdhms])", text)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    elif re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
    else:
        raise ValueError(text)
    if seconds > 100 * 365 * 86400:
        raise ValueError(text)
    return seconds


def read_moment(entry: Entry, *, end: bool = False) -> str:
    """Return an instant as ISO 8601; a plain date is its first instant in UTC, or its last as an end."""
    written = entry.written.strip()
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", written):
            moment = datetime.combine(date.fromisoformat(written), time(tzinfo=UTC)) + timedelta(days=int(end))
        else:
            moment = datetime.fromisoformat(written)
    except (ValueError, OverflowError) as error:
        raise entry.expected("a date as 2026-12-20, or a time as 2026-12-20T18:00:00+01:00") from error
    if moment.tzinfo is None:
        raise entry.error(f"{written} has no zone", hint=f"write {written}Z for UTC, or an offset as +02:00")
    return moment.isoformat()


def read_texts(entry: Entry) -> tuple[str, ...]:
    """Return a list of texts; a single text counts as a list of one."""
    return tuple(read_text(item) for item in entry.entries())


def read_command(entry: Entry) -> tuple[str, ...]:
    """Return an argument vector, from a list of arguments or a line split as a shell would split it."""
    try:
        words = read_texts(entry) if isinstance(entry.value, list) else shlex.split(read_text(entry, "a command"))
    except ValueError as error:
        raise entry.error(f"cannot be split into arguments: {error}") from error
    if not words:
        raise entry.expected("a command")
    if words[0].startswith("-"):
        hint = "each entry is a whole command; the arguments of one command go in a list of their own"
        raise entry.error(f"a command cannot begin with {words[0]!r}", hint=hint)
    return tuple(words)


def read_path(entry: Entry) -> Path:
    """Return an absolute path; relative ones begin beside the file, ``~`` is the home folder."""
    try:
        path = Path(read_text(entry, "a path")).expanduser()
    except RuntimeError as error:
        raise entry.error(f"the home folder of {entry.written!r} is not known") from error
    return entry.source.path.parent / path


def read_contact(entry: Entry) -> str:
    """Return a ``mailto:`` URL with one address and no header fields (RFC 8555 section 7.3)."""
    address = read_text(entry, "a mail address").removeprefix("mailto:")
    if not _MAILBOX.fullmatch(address) or not address.isascii():
        raise entry.expected("a mail address as pki@example.com")
    return f"mailto:{address}"


def read_url(entry: Entry) -> str:
    """Return an https URL; http is taken on the loopback interface only."""
    text = read_text(entry, "a URL (https://…)")
    if not is_safe_url(text):
        raise entry.expected("a URL (https://…)", hint="http:// is taken for loopback addresses only")
    return text


def is_safe_url(text: str) -> bool:
    """Whether text is an absolute https URL, or an http one of a loopback address."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or any(letter.isspace() for letter in text):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_server(entry: Entry) -> str:
    """Return ``address``, ``address:port`` or ``[v6]:port`` of a name server, as written."""
    text = read_text(entry, "an address")
    host, _, port = text.rpartition(":")
    if not _is_address(text) and not (_is_port(port) and _is_address(host)):
        raise entry.expected("an IP address, or address:port, or [IPv6]:port")
    return text


def _is_address(text: str) -> bool:
    if text.startswith("[") != text.endswith("]"):
        return False
    try:
        return ipaddress.ip_address(text.strip("[]")).version == 6 or not text.startswith("[")
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and 0 < int(text) < 65536


def read_each(entry: Entry, read: Callable[[Entry], Parsed]) -> tuple[Parsed, ...]:
    """Return what one reader makes of every item of a list."""
    return tuple(read(item) for item in entry.entries())
