# SPDX-License-Identifier: Apache-2.0
"""The scripts that run on a host: way_back.sh and library.sh, and texts that set variables and call a function."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from shlex import join, quote

from ottr.drivers.linux_ssh.options import Options
from ottr.model import KeyType

_NEW_KEY = {
    KeyType.EC256: ("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"),
    KeyType.EC384: ("ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-pkeyopt", "ec_param_enc:named_curve"),
    KeyType.RSA2048: ("rsa:2048",),
    KeyType.RSA3072: ("rsa:3072",),
    KeyType.RSA4096: ("rsa:4096",),
}
_LABEL_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253
_LONGEST_COMMON_NAME = 64


@cache
def load_library() -> str:
    """The functions, for a shell to read once. It keeps way_back.sh as a text too: the dead-man timer's program."""
    return f'way_back={quote(_read_functions("way_back.sh"))}\neval "$way_back"\n{_read_functions("library.sh")}'


def _read_functions(file: str) -> str:
    """Without the comments and the indentation that only people need."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    lines = (line.lstrip("\t") for line in text.splitlines(keepends=True))
    return "".join(line for line in lines if not line.startswith("#"))


def build_settings(options: Options, label: str) -> str:
    """Assignments and functions that library.sh expects."""
    return "\n".join(
        (
            f"base={quote(options.folder)}",
            f"label={quote(label)}",
            f"files={quote(chr(10).join(f'{target} {path}' for target, path in options.files))}",
            f"unit={quote(' '.join(options.units))}",
            f"owner={quote(options.owner)} group={quote(options.group)} mode={quote(options.mode)}",
            f"test_command() {{ {_build_last(options.test_command)}; }}",
            f"reload_command() {{ {_build_last(options.reload_command)}; }}",
        )
    )


def _build_last(command: tuple[str, ...]) -> str:
    """The last thing a subshell does: it becomes the program instead of starting it."""
    return f"exec {join(command)}" if command else ":"


def build_call(options: Options, label: str, *words: str) -> str:
    """A script that calls a function of the library."""
    return f"{build_settings(options, label)}\n{join(words)}"


def build_timer_end(options: Options, label: str, bound: str) -> str:
    """How the program of the dead-man timer ends; its arguments are the seconds to wait and its licence's nonce."""
    return f'{build_settings(options, label)}\ngo_off "$2" {quote(bound)}'


def check_dns_names(names: tuple[str, ...]) -> None:
    """Raise ValueError unless all are DNS names in lower case (RFC 5890 A-labels), a leading ``*.`` allowed."""
    if not names:
        raise ValueError("there is no DNS name")
    for name in names:
        labels = name.removeprefix("*.").split(".")
        if len(name) > _LONGEST_NAME or not all(_LABEL_NAME.fullmatch(label) for label in labels):
            raise ValueError(f"{name!r} is not a DNS name")


def build_request_configuration(dns_names: tuple[str, ...]) -> str:
    """A configuration for openssl req, any version since 1.0.2; names have been checked."""
    names = ",".join(f"DNS:{name}" for name in dns_names)
    return (
        "[req]\nprompt = no\nstring_mask = utf8only\ndistinguished_name = subject\nreq_extensions = extensions\n"
        f"[subject]\n[extensions]\nsubjectAltName = {names}"
    )


def build_subject(dns_names: tuple[str, ...]) -> str:
    """Subject as openssl's ``-subj`` takes it; empty where the first name is too long for a CN (RFC 5280 A.1)."""
    return f"/CN={dns_names[0]}" if len(dns_names[0]) <= _LONGEST_COMMON_NAME else "/"


def build_new_key_arguments(key_type: KeyType) -> tuple[str, ...]:
    """Arguments of openssl req that make a new key."""
    return ("-newkey", *_NEW_KEY[key_type])
