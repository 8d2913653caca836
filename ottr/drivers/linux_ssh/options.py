# SPDX-License-Identifier: Apache-2.0
"""What a route says about a service on a Linux host, and what is usual for the well-known ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of a route."""

    files: tuple[tuple[str, str], ...]
    """File of a generation, and the path the service reads it at."""
    folder: str
    """Where generations live."""
    test_command: tuple[str, ...] = ()
    reload_command: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    """systemd units, reloaded instead of ``reload_command`` where one of them is active."""
    owner: str = ""
    group: str = ""
    mode: str = ""
    """Octal; of the files with the key inside."""
    known_hosts: tuple[Path, ...] = ()

    @property
    def certificate_path(self) -> str:
        """The path whose first certificate is the leaf that is configured."""
        paths = dict(self.files)
        return next(paths[name] for name in ("fullchain.pem", "cert.pem", "combined.pem") if name in paths)


_HAPROXY_RELOAD = 'kill -USR2 "$(cat /run/haproxy.pid)"'

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "nginx": {
        "fullchain": "/etc/nginx/tls/fullchain.pem",
        "key": "/etc/nginx/tls/privkey.pem",
        "test_command": ("nginx", "-t", "-q"),
        "reload_command": ("nginx", "-s", "reload"),
        "units": ("nginx",),
    },
    "apache": {
        "fullchain": "/etc/apache2/tls/fullchain.pem",
        "key": "/etc/apache2/tls/privkey.pem",
        "test_command": ("apachectl", "configtest"),
        "reload_command": ("apachectl", "graceful"),
        "units": ("apache2", "httpd"),
    },
    "haproxy": {
        "combined": "/etc/haproxy/tls.pem",
        "test_command": ("haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg"),
        "reload_command": ("sh", "-c", _HAPROXY_RELOAD),
        "units": ("haproxy",),
    },
    "postfix": {
        "fullchain": "/etc/postfix/tls/fullchain.pem",
        "key": "/etc/postfix/tls/privkey.pem",
        "test_command": ("postfix", "check"),
        "reload_command": ("postfix", "reload"),
        "units": (),
    },
    "files": {"test_command": (), "reload_command": (), "units": ()},
}

_PATHS = {"certificate": "cert.pem", "fullchain": "fullchain.pem", "chain": "chain.pem", "key": "privkey.pem"} | {
    "combined": "combined.pem"
}
_KNOWN = {"service", "directory", "test_command", "reload_command", "owner", "group", "mode", "known_hosts", *_PATHS}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_MODE = re.compile(r"0?[0-7]{3}")


def parse_options(options: Mapping[str, Any]) -> Options:
    """Check a route's options and fill in the preset's. Raises ValueError."""
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise ValueError(f"linux_ssh has no option {unknown[0]!r}; it has {', '.join(sorted(_KNOWN))}")
    service = options.get("service", "files")
    if service not in PRESETS:
        raise ValueError(f"service {service!r} is not one of {', '.join(PRESETS)}")
    preset = PRESETS[service]
    files = _parse_files(options, preset)
    anchor = dict(files).get("privkey.pem") or dict(files)["combined.pem"]
    own_reload = "reload_command" in options
    return Options(
        files=files,
        folder=_parse_path("directory", options["directory"]) if "directory" in options else f"{anchor}.ottr",
        test_command=_parse_command("test_command", options.get("test_command", preset["test_command"])),
        reload_command=_parse_command("reload_command", options.get("reload_command", preset["reload_command"])),
        units=() if own_reload else preset["units"],
        owner=_parse_word("owner", options, _ACCOUNT),
        group=_parse_word("group", options, _ACCOUNT),
        mode=_parse_word("mode", options, _MODE),
        known_hosts=_parse_known_hosts(options.get("known_hosts", ())),
    )


def _parse_files(options: Mapping[str, Any], preset: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # Paths are one statement: as soon as a route names one of them, none is taken from the preset.
    source = options if any(name in options for name in _PATHS) else preset
    paths = {name: _parse_path(name, source[name]) for name in _PATHS if name in source}
    if not ("combined" in paths or ("key" in paths and {"certificate", "fullchain"} & paths.keys())):
        raise ValueError("a service needs the paths `key` and `fullchain` (or `certificate`), or `combined`")
    if len(set(paths.values())) < len(paths):
        raise ValueError("two of certificate, fullchain, chain, key and combined are the same path")
    if "certificate" in paths and not {"chain", "fullchain"} & paths.keys():
        # A service that is given one certificate file has to find the whole chain in it.
        paths["fullchain"] = paths.pop("certificate")
    return tuple((_PATHS[name], path) for name, path in paths.items())


def _parse_path(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"{name} must be an absolute path, not {value!r}")
    if _CONTROL.search(value) or len(value) > 1000:
        raise ValueError(f"{name} has characters that no path of a certificate needs: {value!r}")
    parts = value.split("/")[1:]
    if not all(parts) or {".", ".."} & set(parts):
        raise ValueError(f"{name} must be a plain path without '.', '..', '//' and a '/' at its end: {value!r}")
    return value


def _parse_command(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{name} cannot be taken apart: {error}") from error
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"{name} must be a command line or a list of words, not {value!r}")
    if any("\0" in word for word in value) or (value and not value[0]):
        raise ValueError(f"{name} cannot be run: {value!r}")
    return tuple(value)


def _parse_word(name: str, options: Mapping[str, Any], form: re.Pattern[str]) -> str:
    value = options.get(name, "")
    if value == "":
        return ""
    if not isinstance(value, str) or not form.fullmatch(value):
        hint = "; write it in quotes, as '0640'" if name == "mode" else ""
        raise ValueError(f"{name} {value!r} cannot be used{hint}")
    return value


def _parse_known_hosts(value: Any) -> tuple[Path, ...]:
    paths = (value,) if isinstance(value, str | Path) else value
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | Path) for path in paths):
        raise ValueError(f"known_hosts must be a path or a list of paths, not {value!r}")
    return tuple(Path(path) for path in paths)
