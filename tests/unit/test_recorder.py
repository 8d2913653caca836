# SPDX-License-Identifier: Apache-2.0
"""The facts of a verified certificate reach the inventory, and its warning comes back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from ottr import x509
from ottr.inventory import CertificateFacts, HostSecrets, InventoryHost, RecordResult
from ottr.model import Device
from ottr.recorder import InventoryRecorder

CERTIFICATE = x509.Certificate(
    der=b"",
    sha256="ab" * 32,
    serial="1f",
    subject="",
    issuer="CN=R11,O=Let's Encrypt,C=US",
    dns_names=("web1.example.com",),
    not_before=dt.datetime(2026, 9, 1, tzinfo=dt.UTC),
    not_after=dt.datetime(2026, 11, 30, tzinfo=dt.UTC),
    spki_der=b"",
    key_type=None,
    authority_key_id=None,
)


class Inventory:
    """Takes down what it is given."""

    def __init__(self, result: RecordResult) -> None:
        self.result = result
        self.recorded: list[tuple[str, CertificateFacts]] = []

    def hosts(self, pattern: str = "all", limit: str = "") -> Sequence[InventoryHost]:
        return ()

    def secrets(self, hosts: Sequence[InventoryHost]) -> Mapping[str, HostSecrets]:
        return {}

    def record(self, host: str, facts: CertificateFacts) -> RecordResult:
        self.recorded.append((host, facts))
        return self.result


def record(result: RecordResult) -> tuple[str, Inventory]:
    inventory = Inventory(result)
    device = Device("web1", "linux", "192.0.2.1", ("web1.example.com",))
    return InventoryRecorder(inventory).record(device, CERTIFICATE), inventory


def test_the_facts_of_the_certificate_are_recorded_under_the_hosts_name():
    warning, inventory = record(RecordResult(("host_vars/web1/certificate.yml",)))
    assert warning == ""
    assert inventory.recorded == [
        ("web1", CertificateFacts(CERTIFICATE.not_after, CERTIFICATE.issuer, "1f", "ab" * 32)),
    ]


def test_where_nothing_could_be_written_the_warning_comes_back():
    assert record(RecordResult(warning="it is encrypted"))[0] == "it is encrypted"
