# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as Ansible holds them, and as JSON carries them."""

from __future__ import annotations

import datetime


def plain(value):
    """The value in JSON's own types: Ansible's strings are subclasses, and YAML knows dates."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def strings(value):
    """Every string in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def is_vaulted(value):
    """Whether the value, or one inside it, was encrypted in its file."""
    if isinstance(value, (dict, list, tuple)):
        return any(is_vaulted(item) for item in (value.values() if isinstance(value, dict) else value))
    return type(value).__name__ in ("EncryptedString", "AnsibleVaultEncryptedUnicode")
