# SPDX-License-Identifier: Apache-2.0
"""What a route says about a certificate on a BIG-IP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of a route. Times are seconds."""

    profiles: tuple[str, ...] = ()
    """Full paths of the client-ssl profiles that get the certificate; empty: the management certificate."""
    keep_other_key_types: bool = True
    """A profile's pair of another key type stays beside the new one, unless it is the device's own default."""
    device_group: str = ""
    """The group that is synced after each change; empty: none."""
    verify_virtuals: bool = True
    """All virtual servers that use the profiles are verified, besides the route's endpoints."""
    ca_bundle: Path | None = None
    """Roots that the device's own certificate is checked with; None: the system's."""
    ssh_port: int = 22
    """The way in for the management certificate while REST is away; 0: none."""
    poll_interval_s: float = 3.0
    restart_timeout_s: float = 180.0
    sync_timeout_s: float = 120.0
    request_timeout_s: float = 60.0
    """A small device takes a while to make a key of 4096 bits."""


_TIMES = ("poll_interval", "restart_timeout", "sync_timeout", "request_timeout")
_TRAFFIC = ("device_group", "other_key_types", "verify_virtuals")
_KNOWN = {*_TIMES, *_TRAFFIC, "client_ssl", "management", "ca_bundle", "ssh_port"}
_PATH = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}){2,8}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_GROUP = re.compile(r"(?:/Common/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_COMMON = "/Common/"


def parse_options(options: Mapping[str, Any]) -> Options:
    """Check a route's options. Raises ValueError."""
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise ValueError(f"f5 has no option {unknown[0]!r}; it has {', '.join(sorted(_KNOWN))}")
    profiles = _parse_profiles(options["client_ssl"]) if "client_ssl" in options else ()
    management = _parse_flag("management", options, default=False)
    if management == bool(profiles):
        raise ValueError("say either client_ssl: PROFILE (or a list of them), or management: true")
    for name in _TRAFFIC if management else ():
        if name in options:
            raise ValueError(f"{name} is for client_ssl; the management certificate is each device's own")
    times: dict[str, Any] = {f"{name}_s": _parse_time(name, options[name]) for name in _TIMES if name in options}
    return Options(
        profiles=profiles,
        keep_other_key_types=_parse_choice("other_key_types", options, ("keep", "replace")) == "keep",
        device_group=_parse_group(options.get("device_group", "")),
        verify_virtuals=_parse_flag("verify_virtuals", options, default=True),
        ca_bundle=_parse_path("ca_bundle", options.get("ca_bundle")),
        ssh_port=_parse_port("ssh_port", options.get("ssh_port", 22)),
        **times,
    )


def _parse_profiles(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"client_ssl must be the name of a profile or a list of names, not {value!r}")
    paths = tuple(_parse_profile(name) for name in names)
    if len(set(paths)) < len(paths):
        raise ValueError("client_ssl names a profile twice")
    return paths


def _parse_profile(name: Any) -> str:
    """A full path; a bare name is in /Common."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return _COMMON + name
    if not isinstance(name, str) or not _PATH.fullmatch(name):
        raise ValueError(f"client_ssl {name!r} cannot be used; write NAME or /PARTITION/NAME")
    return name


def _parse_group(value: Any) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not _GROUP.fullmatch(value):
        raise ValueError(f"device_group {value!r} cannot be used")
    return value.removeprefix(_COMMON)


def _parse_flag(name: str, options: Mapping[str, Any], *, default: bool) -> bool:
    value = options.get(name, default)
    if value is not True and value is not False:
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def _parse_choice(name: str, options: Mapping[str, Any], choices: tuple[str, ...]) -> str:
    value = options.get(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(choices)}, not {value!r}")
    return str(value)


def _parse_time(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86400:
        raise ValueError(f"{name} must be seconds, more than 0 and at most a day, not {value!r}")
    return float(value)


def _parse_port(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ValueError(f"{name} must be a port, or 0 for none, not {value!r}")
    return value


def _parse_path(name: str, value: Any) -> Path | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"{name} must be a path, not {value!r}")
