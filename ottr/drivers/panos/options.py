# SPDX-License-Identifier: Apache-2.0
"""What a route says about a certificate on a PAN-OS device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of a route. Times are seconds."""

    ssl_tls_service_profile: str
    """The profile that names the certificate."""
    management: bool = False
    """``bind: management``: the web interface uses the profile too, which is made where it is not there."""
    location: str = "shared"
    """Of the profile: ``shared``, ``vsysN``, or ``panorama`` for Panorama's own."""
    panorama: str = ""
    """``host`` or ``host:port`` of the Panorama that manages the device; its login is the device's."""
    template: str = ""
    """On Panorama, where certificate and profile live."""
    template_stack: str = ""
    """What is pushed after the commit; empty: the template."""
    ca_bundle: Path | None = None
    """Roots that the device's own certificate is checked with; None: the system's."""
    wait_for_others: bool = True
    """``others_changes: wait`` (or ``leave``): nothing is bound while other administrators' changes are pending."""
    poll_interval_s: float = 2.0
    commit_timeout_s: float = 900.0
    busy_timeout_s: float = 300.0
    restart_timeout_s: float = 300.0
    request_timeout_s: float = 60.0
    """A small device takes a while to make a key of 4096 bits."""


_TIMES = ("poll_interval", "commit_timeout", "busy_timeout", "restart_timeout", "request_timeout")
_NAMES = ("ssl_tls_service_profile", "template", "template_stack")
_KNOWN = {*_NAMES, *_TIMES, "bind", "location", "panorama", "ca_bundle", "others_changes"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}")
_LOCATION = re.compile(r"shared|panorama|vsys[1-9][0-9]{0,2}")
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def parse_options(options: Mapping[str, Any]) -> Options:
    """Check a route's options. Raises ValueError."""
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise ValueError(f"panos has no option {unknown[0]!r}; it has {', '.join(sorted(_KNOWN))}")
    names = {name: _parse_text(name, options, _NAME) for name in _NAMES}
    if not names["ssl_tls_service_profile"]:
        raise ValueError("ssl_tls_service_profile is missing: the profile whose certificate is rotated")
    location = _parse_text("location", options, _LOCATION) or "shared"
    panorama = _parse_text("panorama", options, _HOST)
    _check_together(location, panorama, names)
    times: dict[str, Any] = {f"{name}_s": _parse_time(name, options[name]) for name in _TIMES if name in options}
    return Options(
        ssl_tls_service_profile=names["ssl_tls_service_profile"],
        template=names["template"],
        template_stack=names["template_stack"],
        management=_parse_choice("bind", options, ("profile", "management")) == "management",
        location=location,
        panorama=panorama,
        ca_bundle=_parse_path("ca_bundle", options.get("ca_bundle")),
        wait_for_others=_parse_choice("others_changes", options, ("wait", "leave")) == "wait",
        **times,
    )


def _check_together(location: str, panorama: str, names: Mapping[str, str]) -> None:
    if bool(panorama) != bool(names["template"]):
        raise ValueError("panorama and template go together: the Panorama, and the template on it")
    if names["template_stack"] and not panorama:
        raise ValueError("template_stack is what a Panorama pushes: it needs panorama and template")
    if panorama and location == "panorama":
        raise ValueError("location panorama is for Panorama's own certificate; a template has shared or vsysN")


def _parse_text(name: str, options: Mapping[str, Any], form: re.Pattern[str]) -> str:
    value = options.get(name, "")
    if value == "":
        return ""
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{name} {value!r} cannot be used")
    return value


def _parse_choice(name: str, options: Mapping[str, Any], choices: tuple[str, ...]) -> str:
    value = options.get(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(choices)}, not {value!r}")
    return str(value)


def _parse_time(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86400:
        raise ValueError(f"{name} must be seconds, more than 0 and at most a day, not {value!r}")
    return float(value)


def _parse_path(name: str, value: Any) -> Path | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"{name} must be a path, not {value!r}")
