# SPDX-License-Identifier: Apache-2.0
"""Secrets in the operator's files: a text, ``{env: NAME}`` or ``{file: PATH}``."""

from __future__ import annotations

import logging
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ottr.errors import ConfigurationError
from ottr.files.document import Entry
from ottr.files.fields import read_path, read_text
from ottr.model import Secret
from ottr.settings import SecretReference

_log = logging.getLogger(__name__)

_TELLING = re.compile(r"(?i)(^|_)(secret|password|passphrase|token|(api|auth|access|account|hmac|private)_?key)$")


def read_secret_reference(entry: Entry) -> SecretReference:
    """Return where a secret stands, without looking there. Raises the entry's error, never showing text."""
    where = f"{entry.source.path}:{entry.line}: {entry.key}"
    if isinstance(entry.value, str) and entry.value:
        return SecretReference(where, literal=Secret(entry.value))
    if not is_reference(entry):
        raise entry.error("expected a text, {env: NAME} or {file: PATH}", hint="numbers that are text go in quotes")
    fields = entry.items()
    if "env" in fields:
        return SecretReference(where, env=read_text(fields["env"], "the name of a variable"))
    return SecretReference(where, file=read_path(fields["file"]))


def read_secret(entry: Entry, environment: Mapping[str, str]) -> Secret:
    """Return the secret an entry gives or refers to. Raises the entry's class of error."""
    return resolve_secret(read_secret_reference(entry), environment, entry.source.error)


def is_reference(entry: Entry) -> bool:
    """Whether an entry is ``{env: NAME}`` or ``{file: PATH}``."""
    return isinstance(entry.value, dict) and list(entry.value) in (["env"], ["file"])


def list_variables(entry: Entry) -> frozenset[str]:
    """Return the variables of the environment that an entry, or one inside it, refers to."""
    if is_reference(entry):
        return frozenset(str(one.value) for key, one in entry.items().items() if key == "env")
    inside = entry.value.values() if isinstance(entry.value, dict) else entry.entries()
    return frozenset().union(*(list_variables(one) for one in inside if isinstance(one.value, (dict, list))))


def resolve_secret(
    reference: SecretReference, environment: Mapping[str, str], error: type[ConfigurationError]
) -> Secret:
    """Return the secret a reference leads to. Raises ``error``; line ends around a file's text are dropped."""
    if reference.literal is not None:
        return reference.literal
    if reference.file is not None:
        return _read_file(reference.file, reference.where, error)
    value = environment.get(reference.env, "")
    if not value:
        raise error(f"{reference.where}: the environment variable {reference.env} is not set")
    return Secret(value)


def _read_file(path: Path, where: str, error: type[ConfigurationError]) -> Secret:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as reason:
        said = reason.strerror if isinstance(reason, OSError) else "not UTF-8 text"
        raise error(f"{where}: {path} cannot be read: {said}") from reason
    if mode & 0o022:
        raise error(f"{where}: others may write to {path} (mode {mode:04o})", hint=f"chmod 0600 {path}")
    if mode & 0o004:
        _log.warning("%s: everybody may read %s (mode %04o); chmod 0600 is better", where, path, mode)
    if not text:
        raise error(f"{where}: {path} is empty")
    return Secret(text)


def read_options(entry: Entry, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return free options as plain values; references become secrets, and so does text under a telling key."""
    return {key: _read_option(key, item, environment) for key, item in entry.items().items()}


def _read_option(key: str, entry: Entry, environment: Mapping[str, str]) -> Any:
    if is_reference(entry):
        return read_secret(entry, environment)
    if isinstance(entry.value, (str, int)) and not isinstance(entry.value, bool) and _TELLING.search(key):
        return Secret(entry.written)
    if isinstance(entry.value, dict):
        return {name: _read_option(name, item, environment) for name, item in entry.value.items()}
    return entry.plain()
