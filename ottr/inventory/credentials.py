# SPDX-License-Identifier: Apache-2.0
"""From a host's connection variables to credentials, by Ansible's meaning and defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ottr.errors import CredentialsError
from ottr.inventory import HostSecrets, InventoryHost
from ottr.inventory.variables import BECOME_PASSWORDS, PASSPHRASES, PASSWORDS, SSH_ARGUMENTS
from ottr.model import Credentials, Secret

# Of several names for one setting Ansible takes the last one that is set.
_USERS: Final = ("ansible_user", "ansible_ssh_user")
_KEY_FILES: Final = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_TRUE: Final = frozenset({"y", "yes", "on", "1", "true", "t", "1.0"})
_FALSE: Final = frozenset({"n", "no", "off", "0", "false", "f", "0.0", ""})
_SUDO: Final = frozenset({"sudo", "ansible.builtin.sudo"})


def build_credentials(host: InventoryHost, secrets: HostSecrets | None = None) -> Credentials:
    """Make credentials of what the inventory says; a secret that is needed and cannot be read is an error.

    Raises CredentialsError.
    """
    secrets = secrets or HostSecrets()
    values = host.variables
    become = _truth(host.name, "ansible_become", values.get("ansible_become"))
    method = _last(values, ("ansible_become_method",)) or "sudo"
    if become and method not in _SUDO:
        raise CredentialsError(f"{host.name}: ansible_become_method is {method!r}", hint="only sudo is supported")
    key_file = _last(values, _KEY_FILES)
    return Credentials(
        username=_last(values, _USERS),
        password=_secret(host.name, secrets, PASSWORDS),
        private_key_file=str(_expand(host.name, key_file)) if key_file else "",
        private_key_passphrase=_secret(host.name, secrets, PASSPHRASES),
        become=become,
        become_method="sudo",
        become_user=_last(values, ("ansible_become_user",)) or "root",
        become_password=_secret(host.name, secrets, BECOME_PASSWORDS) if become else None,
        ssh_arguments=_ssh_arguments(host, secrets),
    )


def _ssh_arguments(host: InventoryHost, secrets: HostSecrets) -> Secret | None:
    """All of ssh's arguments when one of the variables is a secret; else those of the device's variables hold."""
    if _secret(host.name, secrets, SSH_ARGUMENTS) is None:
        return None
    found = {name: secret.reveal() for name, secret in secrets.values.items() if name in SSH_ARGUMENTS}
    return Secret(" ".join(found.get(name) or str(host.variables.get(name) or "") for name in SSH_ARGUMENTS))


def _last(values: Mapping[str, Any], names: Sequence[str]) -> str:
    found = [str(values[name]) for name in names if values.get(name) not in (None, "")]
    return found[-1] if found else ""


def _secret(host: str, secrets: HostSecrets, names: Sequence[str]) -> Secret | None:
    for name in names:
        if name in secrets.problems:
            raise CredentialsError(
                f"{host}: {name} {secrets.problems[name]}",
                hint="give the vault password: --vault-id, --vault-password-file or --ask-vault-pass",
            )
    found = [secrets.values[name] for name in names if name in secrets.values]
    return found[-1] if found else None


def _expand(host: str, path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CredentialsError(f"{host}: {path!r}: {error}") from error


def _truth(host: str, name: str, value: Any) -> bool:
    text = str(value).strip().lower() if value is not None else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise CredentialsError(f"{host}: {name} is {value!r}, neither true nor false")
