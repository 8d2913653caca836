# SPDX-License-Identifier: Apache-2.0
"""Logins from ottr.yaml, looked up only for the devices at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from ottr.errors import CredentialsError
from ottr.files.secrets import resolve_secret
from ottr.model import Credentials, Device, Secret
from ottr.settings import CredentialSource, SecretReference


def complete_credentials(
    given: Credentials, device: Device, sources: Sequence[CredentialSource], environment: Mapping[str, str]
) -> Credentials:
    """Fill in what the inventory left open, each field from the first matching source that has it.

    Secrets that the inventory gives already are not looked up. Raises CredentialsError.
    """
    for source in sources:
        if source.pattern == device.platform or fnmatchcase(device.name, source.pattern):
            given = _fill(given, source, environment)
    return given


def _fill(given: Credentials, source: CredentialSource, environment: Mapping[str, str]) -> Credentials:
    def look_up(present: Secret | None, reference: SecretReference | None) -> Secret | None:
        return present or (resolve_secret(reference, environment, CredentialsError) if reference else None)

    username = look_up(Secret(given.username) if given.username else None, source.username)
    return replace(
        given,
        username=username.reveal() if username else "",
        password=look_up(given.password, source.password),
        private_key_file=given.private_key_file or str(source.private_key_file or ""),
        private_key_passphrase=look_up(given.private_key_passphrase, source.private_key_passphrase),
        become_password=look_up(given.become_password, source.become_password),
    )
