# SPDX-License-Identifier: Apache-2.0
"""Which host key a machine may show: known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) and pins.

Host certificates (``@cert-authority``) are not supported: such lines are not used, and the hint says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from ottr.errors import HostKeyRefused

ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Host key algorithms in order of preference (RFC 8709, RFC 5656, RFC 8332)."""

DEFAULT_KNOWN_HOSTS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))

_PATTERN = re.compile(r"[*?!]")
_PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public host key: its type (``ssh-rsa`` for every RSA algorithm) and its blob (RFC 4253 section 6.6)."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As OpenSSH prints it: ``SHA256:`` and base64 without padding."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What has to be negotiated so that the host shows this key."""
        return ("rsa-sha2-512", "rsa-sha2-256") if self.type == "ssh-rsa" else (self.type,)


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One line of a known_hosts file."""

    marker: str
    names: str
    key: HostKey
    hashed: tuple[bytes, bytes] | None
    """Salt and HMAC-SHA1 of the name."""

    def matches(self, name: str) -> bool:
        """Tell whether the line is about this host (``name`` in lower case, or ``[name]:port``)."""
        if self.hashed:
            salt, digest = self.hashed
            return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
        found = False
        for pattern in self.names.split(","):
            if fnmatchcase(name, _escape(pattern.removeprefix("!"))):
                if pattern.startswith("!"):
                    return False
                found = True
        return found

    def plain_names(self) -> tuple[str, ...]:
        """Its names in lower case, when they can be looked up as they are: no hash, no pattern, no exclusion."""
        if self.hashed or _PATTERN.search(self.names):
            return ()
        return tuple(self.names.lower().split(","))


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """Lines of known_hosts files. Plain names are looked up; hashed ones and patterns are tried one by one."""

    lines: tuple[KnownHost, ...]
    numbers: Mapping[str, tuple[int, ...]]
    """Of the lines with this plain name."""
    others: tuple[int, ...]
    """Numbers of the lines that must be tried."""

    def find(self, name: str) -> tuple[KnownHost, ...]:
        """Lines about a host (``name`` as in ``KnownHost.matches``), in the order of the files."""
        tried = (number for number in self.others if self.lines[number].matches(name))
        return tuple(self.lines[number] for number in sorted((*self.numbers.get(name, ()), *tried)))


def build_known_hosts(lines: Sequence[KnownHost]) -> KnownHosts:
    """Make the lines fit to be searched."""
    numbers: dict[str, tuple[int, ...]] = {}
    others = []
    for number, line in enumerate(lines):
        names = line.plain_names()
        for name in dict.fromkeys(names):
            numbers[name] = (*numbers.get(name, ()), number)
        if not names:
            others.append(number)
    return KnownHosts(tuple(lines), numbers, tuple(others))


def _escape(pattern: str) -> str:
    # In known_hosts brackets stand for themselves: "[host]:port".
    return pattern.lower().replace("[", "[[]")


def parse_known_hosts(text: str) -> tuple[KnownHost, ...]:
    """Parse a known_hosts file; lines that cannot be read are left out, as ssh does."""
    return tuple(line for raw in text.splitlines() if (line := _parse_line(raw.split())) is not None)


def _parse_line(fields: list[str]) -> KnownHost | None:
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#"):
        return None
    names, kind, blob = fields[:3]
    try:
        key = HostKey(kind, base64.b64decode(blob, validate=True))
        hashed = None
        if names.startswith("|1|"):
            salt, digest = names[3:].split("|")
            hashed = (base64.b64decode(salt), base64.b64decode(digest))
    except (binascii.Error, ValueError):
        return None
    return KnownHost(marker, names, key, hashed)


@lru_cache(maxsize=64)
def _load_files(files: tuple[tuple[Path, int, int], ...]) -> KnownHosts:
    """``files``: paths, and what tells that they have changed: time of the last change in ns, size in bytes."""
    texts = (path.read_text(encoding="utf-8", errors="replace") for path, _, _ in files)
    return build_known_hosts([line for text in texts for line in parse_known_hosts(text)])


def load_known_hosts(paths: Sequence[Path]) -> KnownHosts:
    """Read the files there are; parsed once as long as they do not change. Raises HostKeyRefused."""
    files: list[tuple[Path, int, int]] = []
    for path in paths:
        try:
            status = path.expanduser().stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostKeyRefused(f"{path} cannot be read: {error.strerror}") from error
        files.append((path.expanduser(), status.st_mtime_ns, status.st_size))
    try:
        return _load_files(tuple(files))
    except OSError as error:
        raise HostKeyRefused(f"{error.filename} cannot be read: {error.strerror}") from error


def check_pins(pins: Sequence[str]) -> None:
    """Raise HostKeyRefused for a pin that is no SHA-256 fingerprint."""
    for pin in pins:
        if not _PIN.fullmatch(pin):
            raise HostKeyRefused(
                f"ottr_host_key: {pin!r} is not a SHA-256 fingerprint",
                hint="write it as `ssh-keygen -lf` prints it: SHA256: and 43 characters",
            )


@dataclass(slots=True)
class HostKeyCheck:
    """Decides about the key that one host shows. Pins, where there are any, take the place of known_hosts."""

    name: str
    port: int
    known_hosts: KnownHosts
    pins: Sequence[str] = ()
    shown: list[HostKey] = field(default_factory=list)
    _matching: tuple[KnownHost, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        plain = self.name.lower()
        named = plain if self.port == 22 else f"[{plain}]:{self.port}"
        # ssh also takes a key known for the host without a port, when there is none for this port.
        self._matching = self.known_hosts.find(named) or self.known_hosts.find(plain)

    def rounds(self) -> Iterator[tuple[str, ...]]:
        """Algorithms to offer, one connection after another, until a key is accepted.

        Only the known types first, so that another key of the host is not taken for a changed one. All of them
        where that finds nothing (to show what there is), and the rest where a pin may be of another type.
        """
        known = tuple(a for a in ALGORITHMS if any(a in key.algorithms for key in self.known()))
        if known and not self.pins:
            yield known
            if self.shown:
                return
        rest: tuple[str, ...] = ALGORITHMS
        while rest:
            before = len(self.shown)
            yield rest
            if not self.pins or len(self.shown) == before:
                return
            rest = tuple(a for a in rest if a not in self.shown[-1].algorithms)

    def accepts(self, key: HostKey) -> bool:
        """Tell whether this is the host's key; remembers it for the error when it is not."""
        self.shown.append(key)
        if any(line.marker == "@revoked" and line.key == key for line in self._matching):
            return False
        if self.pins:
            return any(hmac.compare_digest(key.fingerprint, pin) for pin in self.pins)
        return key in self.known()

    def known(self) -> tuple[HostKey, ...]:
        """Keys that known_hosts has for this host."""
        return tuple(line.key for line in self._matching if not line.marker)

    def refusal(self) -> HostKeyRefused:
        """The error, with every fingerprint the operator must compare."""
        shown = ", ".join(f"{key.type} {key.fingerprint}" for key in self.shown)
        if any(line.marker == "@revoked" and line.key in self.shown for line in self._matching):
            return HostKeyRefused(f"{self.name} showed a host key that known_hosts calls revoked: {shown}")
        expected = ", ".join(self.pins or [f"{key.type} {key.fingerprint}" for key in self.known()])
        if expected:
            return HostKeyRefused(
                f"{self.name} showed the host key {shown}, but the known one is {expected}",
                hint="find out why it changed; if the machine was set up anew, correct known_hosts or ottr_host_key",
            )
        return HostKeyRefused(
            f"the host key of {self.name} is not known; it showed {shown}",
            hint=f"compare it on the machine itself, then set ottr_host_key: {self.shown[-1].fingerprint} "
            f"or add it to known_hosts (host certificates are not supported)",
        )
