# SPDX-License-Identifier: Apache-2.0
"""Key and CSR of a rotation: made on the device; only the CSR is ever fetched."""

from __future__ import annotations

import re
from collections.abc import Callable

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.messages import InUse
from ottr.drivers.f5.places import (
    BULK,
    CSR_FOLDER,
    DOWNLOADS,
    certificate_name,
    chain_name,
    check_dns_names,
    common,
    csr_name,
    find_label,
    key_name,
)
from ottr.drivers.f5.shell import RestShell, ShellRefused
from ottr.errors import DeviceRejected, KeyLost
from ottr.model import CertificateRequest
from ottr.x509 import Certificate, parse_request

_CSR = re.compile(
    r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\n[A-Za-z0-9+/=\n]+-----END (?:NEW )?CERTIFICATE REQUEST-----"
)


class Keys:
    """Objects of one device by label. ``shell`` may be refused: then the CSR is fetched as a file."""

    def __init__(self, client: Client, shell: RestShell) -> None:
        self._client = client
        self._shell = shell
        self.name = client.name

    def make(self, request: CertificateRequest, check: Callable[[], None]) -> str:
        """The CSR in PEM, the same one when asked again. Raises KeyLost, DriverError.

        ``check`` is called before anything is made.
        """
        label = request.label
        check_dns_names(request.dns_names)
        csr = self.read_csr(label)
        if csr and not self.has_key(label):
            raise KeyLost(f"{self.name} has the CSR {label} without its key")
        if not csr:
            if not self.has_key(label):
                check()
                self._client.create_key(label, request.key_type)
            self._client.create_csr(label, request.dns_names)
            csr = self.read_csr(label)
        if not csr:
            raise DeviceRejected(
                f"{self.name} made the CSR {label}, and nothing of it can be read",
                hint="the account needs the role Administrator: for util/bash, or for util/unix-mv",
            )
        return csr

    def has_key(self, label: str) -> bool:
        """Whether the device has the key of a label."""
        return bool(self._client.fetch_key_type(common(key_name(label))))

    def check(self, label: str, leaf: Certificate) -> None:
        """Nothing is imported unless the device has the key of the certificate. Raises KeyLost, DriverError."""
        if not self.has_key(label):
            raise KeyLost(f"{self.name} has no key {label} any more: it was removed, or lost in a reboot")
        csr = self.read_csr(label)
        try:
            same = bool(csr) and parse_request(csr).spki_der == leaf.spki_der
        except ValueError as error:
            raise DeviceRejected(f"{self.name}: the CSR of {label} cannot be parsed") from error
        if not same:
            raise KeyLost(f"{self.name}: {label} is another key than the certificate's, or its CSR has gone")

    def read_csr(self, label: str) -> str:
        """PEM; empty when there is none. Raises DriverError."""
        try:
            text = self._shell.run(f"tmsh list sys crypto csr {csr_name(label)}").output
        except ShellRefused:
            text = self._download(csr_name(label))
        found = _CSR.findall(text)
        return f"{found[-1]}\n" if found else ""

    def remove(self, label: str) -> bool:
        """Remove all objects of a label, its key last; False when there was nothing. Raises InUse, DriverError.

        As long as something is left of a label, its key is: so it is found again after a crash.
        """
        for folder, name in _files(label):
            self._client.run_file_command("unix-rm", f"{folder}/{name}")
        certificates = self._client.delete_certificates(label)
        return self._client.delete_key(label) or certificates

    def labels(self) -> frozenset[str]:
        """Every label that has a key or a certificate."""
        return frozenset(filter(None, map(find_label, self._client.fetch_names())))

    def _download(self, name: str) -> str:
        """A file can only be fetched from one folder; once it has been moved there it stays until the clean-up."""
        content = self._client.rest.download(name)
        if not content:
            self._client.run_file_command("unix-mv", f"{CSR_FOLDER}/{name} {BULK}/{name}")
            content = self._client.rest.download(name)
        return content.decode("ascii", "replace").replace("\r", "")


def remove_each(keys: Keys, labels: frozenset[str]) -> tuple[bool, list[str]]:
    """Remove the objects of labels: whether there were any, and a sentence for each that is in use."""
    removed, kept = False, []
    for label in sorted(labels):
        try:
            removed = keys.remove(label) or removed
        except InUse as error:
            kept.append(f"{error}; {label} stays")
    return removed, kept


def _files(label: str) -> tuple[tuple[str, str], ...]:
    return (DOWNLOADS, certificate_name(label)), (DOWNLOADS, chain_name(label)), (BULK, csr_name(label))
