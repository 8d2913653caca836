# SPDX-License-Identifier: Apache-2.0
"""Names of the inventory's variables that Ottr reads. All others never leave the reader."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "host_platform",
    "os_version",
    "device_model",
    "data_center",
    "origin",
    "common_name",
    "subject_alternative_name",
    "certificate_authority",
    "ha_group",
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_connection",
    "ansible_network_os",
    "ansible_private_key_file",
    "ansible_ssh_private_key_file",
    "ansible_become",
    "ansible_become_method",
    "ansible_become_user",
)
"""Known even when they stand in a vaulted file, where whole files are encrypted; then they are not cached."""

SSH_ARGUMENTS: Final = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
COMMAND_LINES: Final = (*SSH_ARGUMENTS, "ansible_become_exe", "ansible_become_flags")
"""Pieces of command lines: somebody may have put a password into one."""

PREFIXES: Final = ("ottr_", "certificate_", *COMMAND_LINES)
"""Variables of drivers, facts that a rotation writes back, and command lines. A vaulted one of these is a secret."""

PASSWORDS: Final = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
BECOME_PASSWORDS: Final = ("ansible_become_password", "ansible_become_pass")
PASSPHRASES: Final = ("ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase")

SECRETS: Final = (*PASSWORDS, *BECOME_PASSWORDS, *PASSPHRASES)
"""Secrets, vaulted or not."""

SECRET_SUFFIXES: Final = ("_password", "_passphrase", "_secret", "_token", "_api_key")
"""A variable of ``PREFIXES`` that ends like this is a secret, vaulted or not."""
