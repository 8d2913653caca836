# SPDX-License-Identifier: Apache-2.0
"""The way to a machine: ~/.ssh/config (ssh_config(5)) and the ssh arguments of Ansible's variables.

Used of both: HostName, Port, User, IdentityFile, ProxyJump, HostKeyAlias, UserKnownHostsFile, Include, and a
ProxyCommand that is ``ssh -W %h:%p JUMP``. Another ProxyCommand is refused, since going without it would be wrong;
everything else is ignored, with a warning where it comes from Ansible's variables.
"""

from __future__ import annotations

import getpass
import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from paramiko import SSHConfig
from paramiko.ssh_exception import ConfigParseError

from ottr.errors import DriverError, UnsupportedDevice

DEFAULT_FILES = (Path("~/.ssh/config"), Path("/etc/ssh/ssh_config"))

_log = logging.getLogger(__name__)
_INCLUDE = re.compile(r"^\s*include\s*[\s=]\s*(.+)$", re.IGNORECASE)
_MOST_HOPS = 8
_USED = {"hostname", "port", "user", "identityfile", "proxyjump", "hostkeyalias", "userknownhostsfile", "proxycommand"}
_HARMLESS = {
    "controlmaster", "controlpath", "controlpersist", "compression", "loglevel", "serveraliveinterval",
    "serveralivecountmax", "tcpkeepalive", "batchmode", "preferredauthentications", "identitiesonly",
    "connecttimeout", "connectionattempts", "forwardagent", "addkeystoagent", "stricthostkeychecking=yes",
}  # fmt: skip
_FLAGS = {"-C", "-q", "-v", "-vv", "-vvv", "-4", "-6", "-a", "-x", "-T", "-n"}
_SHORT = {"-J": "proxyjump", "-p": "port", "-l": "user", "-i": "identityfile"}


@dataclass(frozen=True, slots=True)
class Hop:
    """One machine to log in to on the way."""

    host: str
    port: int
    username: str
    identity_files: tuple[str, ...] = ()
    host_key_alias: str = ""
    known_hosts: tuple[Path, ...] = ()
    """Of UserKnownHostsFile; empty: the default."""

    @property
    def known_as(self) -> str:
        """The name to look up in known_hosts."""
        return self.host_key_alias or self.host


def resolve_hops(
    address: str,
    *,
    port: int | None,
    username: str,
    arguments: str = "",
    files: Sequence[Path] = DEFAULT_FILES,
) -> tuple[Hop, ...]:
    """Find the machines to pass through, the one at ``address`` last.

    ``port`` and ``username`` of the inventory win over ``arguments`` (ssh's command line), and those over files.
    Raises DriverError for a file that cannot be read, UnsupportedDevice for a way that cannot be gone.
    """
    given = _parse_arguments(arguments)
    chosen = tuple(Path(file) for file in given.pop("-F", [])) or tuple(files)
    own = {key: value[-1] for key, value in given.items() if key != "identityfile"}
    own |= {"port": str(port)} if port else {}
    own |= {"user": username} if username else {}
    hops = _resolve(address, own, tuple(given.get("identityfile", [])), chosen, 0)
    return hops if username or hops[-1].username else (*hops[:-1], replace(hops[-1], username=getpass.getuser()))


def _resolve(
    name: str, own: Mapping[str, str], identity_files: tuple[str, ...], files: tuple[Path, ...], depth: int
) -> tuple[Hop, ...]:
    if depth > _MOST_HOPS:
        raise UnsupportedDevice(f"the way to {name} leads through more than {_MOST_HOPS} jump hosts")
    found = _lookup(name, files)
    config = {**{key: value for key, value in found.items() if isinstance(value, str)}, **own}
    listed = found.get("identityfile", ())
    hop = Hop(
        host=config.get("hostname", name),
        port=_parse_port(config.get("port", "22"), name),
        username=config.get("user", "") or getpass.getuser(),
        identity_files=identity_files or tuple(listed if isinstance(listed, list) else ()),
        host_key_alias=config.get("hostkeyalias", ""),
        known_hosts=tuple(Path(file) for file in shlex.split(config.get("userknownhostsfile", ""))),
    )
    return (*_resolve_jumps(_find_jumps(config, name, "proxyjump" in own), files, depth), hop)


def _resolve_jumps(jumps: Sequence[str], files: tuple[Path, ...], depth: int) -> tuple[Hop, ...]:
    hops: tuple[Hop, ...] = ()
    for index, jump in enumerate(jumps):
        user, _, rest = jump.removeprefix("ssh://").rpartition("@")
        host, port = _split_port(rest)
        own = {key: value for key, value in (("user", user), ("port", port)) if value}
        if index:  # each further one is reached through the one before, whatever the files say
            own["proxyjump"] = "none"
        hops += _resolve(host, own, (), files, depth + 1)
    return hops


def _find_jumps(config: Mapping[str, str], name: str, given: bool) -> tuple[str, ...]:
    jump = config.get("proxyjump", "")
    command = "" if given else config.get("proxycommand", "")
    if command and command.lower() != "none":
        jump = _parse_proxy_command(command, name)
    if not jump or jump.lower() == "none":
        return ()
    return tuple(part.strip() for part in jump.split(","))


def _parse_proxy_command(command: str, name: str) -> str:
    """Take the jump host out of ``ssh -W %h:%p [-q] [-p PORT] [-l USER] JUMP``."""
    words = shlex.split(command)
    options = {"-W": "", "-p": "", "-l": "", "-J": ""}
    rest = []
    words = words[1:] if words and Path(words[0]).name == "ssh" else ["refused", "refused"]
    while words:
        word = words.pop(0)
        if word in options and words:
            options[word] = words.pop(0)
        elif word not in _FLAGS:
            rest.append(word)
    if not options["-W"] or len(rest) != 1 or rest[0].startswith("-"):
        raise UnsupportedDevice(
            f"the way to {name} is a ProxyCommand that is not supported",
            hint="only `ssh -W %h:%p JUMP` is; use ProxyJump",
        )
    user = f"{options['-l']}@" if options["-l"] and "@" not in rest[0] else ""
    port = f":{options['-p']}" if options["-p"] else ""
    before = f"{options['-J']}," if options["-J"] else ""
    return f"{before}{user}{rest[0]}{port}"


def _split_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return (text, "") if ":" in port else (host, port)


def _parse_port(text: str, name: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise DriverError(f"{text!r} is not a port ({name})", hint="check ansible_port and ~/.ssh/config")


def _parse_arguments(arguments: str) -> dict[str, list[str]]:
    """Take ssh's command line apart: option in lower case to its values, files of ``-F`` under ``-F``."""
    if not arguments.strip():
        return {}
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise DriverError(f"ansible_ssh_common_args or _extra_args cannot be parsed: {error}") from error
    found: dict[str, list[str]] = {}
    while words:
        word = words.pop(0)
        flag, value = word[:2], word[2:]
        if flag in {"-o", "-F", *_SHORT}:
            value = value or (words.pop(0) if words else "")
            key = flag if flag == "-F" else _SHORT.get(flag, "")
            if flag == "-o":
                key, _, value = re.sub(r"\s*=\s*|\s+", "=", value.strip(), count=1).partition("=")
            _take(found, key if flag == "-F" else key.lower(), value)
        elif word not in _FLAGS:
            _warn_ignored(word.partition("=")[0] if flag == "--" else flag)
    return found


def _take(found: dict[str, list[str]], key: str, value: str) -> None:
    if key == "-F" or key in _USED:
        found.setdefault(key, []).append(value)
    elif not {key, f"{key}={value.lower()}"} & _HARMLESS:
        _warn_ignored(key)  # not its value, which may be a secret


@lru_cache(maxsize=256)
def _warn_ignored(argument: str) -> None:
    # The cache makes it one warning a run, not one a host.
    _log.warning("ssh argument %s of the inventory is ignored", argument)


def _lookup(name: str, files: tuple[Path, ...]) -> Mapping[str, str | list[str]]:
    stamps = []
    for file in files:
        path = file.expanduser()
        try:
            stamps.append((path, path.stat().st_mtime_ns))
        except OSError:
            continue
    if not stamps:
        return {}
    try:
        return _load(tuple(stamps)).lookup(name)
    except (ConfigParseError, OSError, ValueError) as error:
        raise DriverError(f"{', '.join(str(path) for path, _ in stamps)} cannot be used: {error}") from error


@lru_cache(maxsize=16)
def _load(stamps: tuple[tuple[Path, int], ...]) -> SSHConfig:
    lines = []
    for path, _ in stamps:
        # A file begins outside of every Host block, whatever block the one before ended in.
        lines += ["Host *", *_expand(path, 0)]
    return SSHConfig.from_text("\n".join(lines))


def _expand(path: Path, depth: int) -> list[str]:
    """Lines of a file with those of its Include files in their place; paths are relative to the file's folder."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        include = _INCLUDE.match(line)
        if include is None or depth > _MOST_HOPS:
            lines.append(line)
            continue
        for pattern in shlex.split(include[1]):
            target = Path(pattern).expanduser()
            base = Path(target.anchor) if target.is_absolute() else path.parent
            for file in sorted(base.glob(str(target.relative_to(base) if target.is_absolute() else target))):
                lines += _expand(file, depth + 1)
    return lines
