# SPDX-License-Identifier: Apache-2.0
"""Versions of devices in the form of PEP 440, and ranges of them.

Vendors number in their own ways; a build, hotfix or patch number becomes a post-release:

=================================  ===================  =========================
platform                           as the vendor says   here
=================================  ===================  =========================
PAN-OS                             ``10.1.14-h9``       ``10.1.14.post9``
BIG-IP (``f5``)                    ``16.1.2.2-0.0.28``  ``16.1.2.2.post28``
Junos                              ``21.4R3-S5.4``      ``21.4.post3000005000004``
OpenSSH, appliances                ``9.2p1``            ``9.2.post1``
OpenSSL, Cisco rebuilds            ``17.9.4a``          ``17.9.4.post1``
Cisco                              ``15.2(4)M6``        ``15.2.4.post6``
Debian, Ubuntu (also by codename)  ``12 (bookworm)``    ``12``
=================================  ===================  =========================

Ranges follow PEP 440 with prereleases admitted. Mind two of its rules: ``>10.1.14`` leaves out
``10.1.14.post9`` (write ``>=10.1.14.post1``), ``==16.1.2.2`` leaves out its builds (write ``==16.1.2.2.*``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

_LONGEST = 100
_CODENAMES = {
    "buster": "10",
    "bullseye": "11",
    "bookworm": "12",
    "trixie": "13",
    "forky": "14",
    "duke": "15",
    "trusty": "14.04",
    "xenial": "16.04",
    "bionic": "18.04",
    "focal": "20.04",
    "jammy": "22.04",
    "noble": "24.04",
    "resolute": "26.04",
}
_BIG_IP = re.compile(r"([0-9]+(?:\.[0-9]+)*)(?:(?:-| build )([0-9]+)\.([0-9]+)\.([0-9]+))?")
_JUNOS = re.compile(r"([0-9]+\.[0-9]+)(?:r([0-9]+)(?:-s([0-9]+))?(?:\.([0-9]+))?(?:-evo)?)?")
_PARENTHESES = re.compile(r"([0-9])\(([0-9]+)\)")
_REBUILD = re.compile(r"([0-9]+(?:\.[0-9]+)*)([a-z])")
_ANY = re.compile(r"[a-z/ ]*([0-9]+(?:\.[0-9]+)*)(.*)")


@lru_cache(maxsize=4096)
def parse_version(platform: str, text: str) -> Version | None:
    """Bring what a device calls its version into the form of PEP 440; None when it cannot be told."""
    said = " ".join(text.lower().split())
    if not said.isascii() or len(said) > _LONGEST:
        return None
    if platform in ("f5", "bigip", "f5_bigip"):
        return _parse_numbered(_BIG_IP, said)
    if platform.startswith("junos"):
        return _parse_numbered(_JUNOS, said)
    return _parse_codename(said) or _parse_plain(said)


def _parse_numbered(pattern: re.Pattern[str], text: str) -> Version | None:
    """A release and up to three numbers after it, the first weighing most."""
    match = pattern.fullmatch(text)
    if match is None:
        return None
    release, *numbers = match.groups()
    if numbers[0] is None:
        return Version(release)
    post = 0
    for number in numbers:
        post = post * 1_000_000 + int(number or 0)
    return Version(f"{release}.post{post}")


def _parse_codename(text: str) -> Version | None:
    words = [] if re.search("[0-9]", text) else re.findall("[a-z]+", text)
    return next((Version(_CODENAMES[word]) for word in words if word in _CODENAMES), None)


def _parse_plain(text: str) -> Version | None:
    """PEP 440 as it stands, else a release and at most one number after it: more would have no sure order."""
    text = _PARENTHESES.sub(r"\1.\2.", text).rstrip(".")
    if rebuild := _REBUILD.fullmatch(text):
        return Version(f"{rebuild[1]}.post{ord(rebuild[2]) - ord('a') + 1}")
    try:
        return Version(Version(text).public)
    except InvalidVersion:
        pass
    match = _ANY.fullmatch(text)
    numbers = re.findall(r"[0-9]+", match[2]) if match else []
    if match is None or len(numbers) > 1:
        return None
    return Version(f"{match[1]}.post{numbers[0]}" if numbers else match[1])


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A set of PEP 440 specifiers, all of which must hold."""

    text: str
    specifiers: SpecifierSet

    def holds(self, version: Version) -> bool:
        """Whether a version is in the range; prereleases are like any other."""
        return self.specifiers.contains(version, prereleases=True)

    @property
    def empty(self) -> bool:
        """Whether surely no version is in the range."""
        return _intersect(_outer(clause) for clause in self.specifiers).empty

    def covers(self, narrow: VersionRange) -> bool:
        """Whether every version of another range is surely in this one; False also when unsure."""
        others = set(narrow.specifiers)
        around = _intersect(_outer(clause) for clause in others)
        return all(clause in others or _within(around, clause) for clause in self.specifiers)


def parse_range(text: str) -> VersionRange:
    """Turn ``>=9.0,<12`` into a range. Raises ValueError with one clear sentence."""
    try:
        specifiers = SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f'{text!r} is not a version range as ">=9.0,<12" or "==12.*" (PEP 440)') from error
    for clause in specifiers:
        if clause.operator == "===" or "!" in clause.version or "+" in clause.version:
            raise ValueError(f"{clause} is not understood: no ===, no epoch (1!2), no local version (1+x)")
    return VersionRange(text, specifiers)


@dataclass(frozen=True, slots=True)
class _Span:
    """Versions from ``low`` to ``high``; None is without bound."""

    low: Version | None = None
    low_in: bool = True
    high: Version | None = None
    high_in: bool = True

    @property
    def empty(self) -> bool:
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and not (self.low_in and self.high_in))

    def holds(self, other: _Span) -> bool:
        """Whether another span lies in this one."""
        return self.reaches_down(other) and self.reaches_up(other)

    def reaches_down(self, other: _Span) -> bool:
        """Whether another span begins in this one, or above it."""
        if self.low is None or other.low is None:
            return self.low is None
        return other.low > self.low or (other.low == self.low and (self.low_in or not other.low_in))

    def reaches_up(self, other: _Span) -> bool:
        """Whether another span ends in this one, or below it."""
        if self.high is None or other.high is None:
            return self.high is None
        return other.high < self.high or (other.high == self.high and (self.high_in or not other.high_in))


def _intersect(spans: Iterable[_Span]) -> _Span:
    result = _Span()
    for span in spans:
        low = span if result.reaches_down(span) else result
        high = span if result.reaches_up(span) else result
        result = _Span(low.low, low.low_in, high.high, high.high_in)
    return result


def _outer(clause: Specifier) -> _Span:
    """A span that holds every version of a clause, and perhaps more."""
    if clause.operator == "!=":
        return _Span()
    if clause.version.endswith(".*"):
        return _prefix(Version(clause.version[:-2]).release)
    version = Version(clause.version)
    if clause.operator == "~=":
        return _Span(version, True, _prefix(version.release[:-1]).high, False)
    return {
        "==": _Span(version, True, version, True),
        ">=": _Span(low=version),
        ">": _Span(low=version, low_in=False),
        "<=": _Span(high=version),
        "<": _Span(high=version, high_in=False),
    }[clause.operator]


def _within(span: _Span, clause: Specifier) -> bool:
    """Whether every version of a span is surely in a clause."""
    if clause.operator == "!=":
        return _intersect((span, _outer(Specifier(f"=={clause.version}")))).empty
    return _outer(clause).holds(span) and not _may_hold_left_out(span, clause)


def _may_hold_left_out(span: _Span, clause: Specifier) -> bool:
    """Whether a span may hold what PEP 440 leaves out: post-releases of V from ``>V``, prereleases from ``<V``."""
    if clause.operator == ">" and span.low is not None:
        version = Version(clause.version)
        return not version.is_postrelease and Version(span.low.base_version) == Version(version.base_version)
    if clause.operator == "<":
        version = Version(clause.version)
        return not version.is_prerelease and not _Span(high=_prefix(version.release).low, high_in=False).holds(span)
    return False


def _prefix(release: tuple[int, ...]) -> _Span:
    """All versions that begin with a release: from its first development release to before the next one's."""
    low = ".".join(str(part) for part in release)
    high = ".".join(str(part) for part in (*release[:-1], release[-1] + 1))
    return _Span(Version(f"{low}.dev0"), True, Version(f"{high}.dev0"), False)
