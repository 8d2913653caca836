# SPDX-License-Identifier: Apache-2.0
"""What a route asks of a device."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from ottr.model import Device
from ottr.routing.globs import covers
from ottr.routing.versions import VersionRange, parse_version

KEYS = (
    "host_platform",
    "os_version",
    "device_model",
    "certificate_authority",
    "data_center",
    "origin",
    "groups",
    "name",
)
"""Keys of ``match``."""


class Attributes(NamedTuple):
    """What conditions look at; equal attributes take the same route."""

    host_platform: str = ""
    os_version: str = ""
    device_model: str = ""
    certificate_authority: str = ""
    data_center: str = ""
    origin: str = ""
    groups: frozenset[str] = frozenset()
    name: str = ""


def list_attributes(device: Device, default_issuer: str, used: frozenset[str]) -> Attributes:
    """Return what conditions look at; groups and name only when some route uses them, for few differ then."""
    variables = device.variables
    return Attributes(
        device.platform,
        device.os_version,
        device.model,
        device.certificate_authority or default_issuer,
        str(variables.get("data_center", "")),
        str(variables.get("origin", "")),
        device.groups if "groups" in used else frozenset(),
        device.name if "name" in used else "",
    )


class Condition(Protocol):
    """One key of ``match``."""

    @property
    def key(self) -> str:
        """The key."""

    def refuse(self, attributes: Attributes) -> str:
        """Say why a device is not taken; empty when it is."""

    def covers(self, other: Condition | None) -> bool:
        """Whether all that another condition of the key takes (None: there is none) is surely taken too."""


@dataclass(frozen=True, slots=True)
class GlobCondition:
    """One of the globs matches the value, or any of the values."""

    key: str
    globs: tuple[str, ...]

    def refuse(self, attributes: Attributes) -> str:
        """Say why a device is not taken; empty when it is."""
        value = getattr(attributes, self.key)
        values = sorted(value) if isinstance(value, frozenset) else [value]
        if any(fnmatchcase(one, glob) for one in values for glob in self.globs):
            return ""
        return f"{self.key} is {', '.join(map(repr, values)) or 'empty'}, wanted {' or '.join(self.globs)}"

    def covers(self, other: Condition | None) -> bool:
        """Whether all that another condition of the key takes (None: there is none) is surely taken too."""
        if not isinstance(other, GlobCondition):
            # A single value is always there, be it empty, and `*` takes it; groups may be none.
            return self.key != "groups" and any(set(glob) == {"*"} for glob in self.globs)
        return all(any(covers(wide, narrow) for wide in self.globs) for narrow in other.globs)


@dataclass(frozen=True, slots=True)
class VersionCondition:
    """One of the ranges holds the version."""

    ranges: tuple[VersionRange, ...]
    key: str = "os_version"

    def refuse(self, attributes: Attributes) -> str:
        """Say why a device is not taken; empty when it is."""
        version = parse_version(attributes.host_platform, attributes.os_version)
        wanted = " or ".join(one.text for one in self.ranges)
        if version is None:
            return f"os_version {attributes.os_version!r} is not understood as a version, wanted {wanted}"
        if any(one.holds(version) for one in self.ranges):
            return ""
        return f"os_version is {attributes.os_version!r} ({version}), wanted {wanted}"

    def covers(self, other: Condition | None) -> bool:
        """Whether all that another condition of the key takes (None: there is none) is surely taken too."""
        if not isinstance(other, VersionCondition):
            return False
        return all(any(wide.covers(narrow) for wide in self.ranges) for narrow in other.ranges)


def shadows(earlier: tuple[Condition, ...], later: tuple[Condition, ...]) -> bool:
    """Whether the conditions of an earlier route surely take every device that those of a later one take."""
    by_key = {condition.key: condition for condition in later}
    return all(condition.covers(by_key.get(condition.key)) for condition in earlier)
