# SPDX-License-Identifier: Apache-2.0
"""The operations of one device's iControl REST that a rotation needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ottr.drivers.f5.messages import AlreadyThere, NoSuchObject
from ottr.drivers.f5.places import certificate_name, chain_name, common, csr_name, key_name, tilde
from ottr.drivers.f5.rest import Answer, Rest
from ottr.errors import DeviceBusy, DeviceRejected, UnsupportedDevice
from ottr.model import KeyType

_KEYS: Mapping[KeyType, Mapping[str, str]] = {
    KeyType.EC256: {"keyType": "ec-private", "curveName": "prime256v1"},
    KeyType.EC384: {"keyType": "ec-private", "curveName": "secp384r1"},
    KeyType.RSA2048: {"keyType": "rsa-private", "keySize": "2048"},
    KeyType.RSA3072: {"keyType": "rsa-private", "keySize": "3072"},
    KeyType.RSA4096: {"keyType": "rsa-private", "keySize": "4096"},
}
_LONGEST_COMMON_NAME = 64
_VERSION = re.compile(r"[?&]ver=([0-9.]+)")
_PROFILES = "tm/ltm/profile/client-ssl"
_KEY_FILES = "tm/sys/file/ssl-key"
_CERTIFICATE_FILES = "tm/sys/file/ssl-cert"
_CSRS = "tm/sys/crypto/csr"
_CHAIN = "certKeyChain"


class Client:
    """Sends single operations. No key and no key's file is ever asked for."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.name = rest.name

    def fetch_unit(self) -> tuple[str, str]:
        """The software's version, and this unit's failover status in lower case (``active``, ``standby``)."""
        answer = self.rest.get("tm/cm/failover-status")
        found = _VERSION.search(str(answer.get("selfLink", "")))
        return found[1] if found else "", next(_find_descriptions(answer, "status"), "").lower()

    def fetch_active_units(self) -> frozenset[str]:
        """Names of the active devices of the group."""
        items = self.rest.get("tm/cm/device?$select=name,failoverState").get("items", [])
        return frozenset(str(item.get("name", "")) for item in items if item.get("failoverState") == "active")

    def fetch_sync_status(self) -> tuple[str, str]:
        """How this unit and its group stand to each other, and what the device says besides."""
        answer = self.rest.get("tm/cm/sync-status")
        said = (*_find_descriptions(answer, "summary"), *_find_descriptions(answer, "details"))
        return next(_find_descriptions(answer, "status"), ""), "; ".join(said)

    def sync(self, group: str) -> None:
        """Start to give this unit's configuration to its group. Raises DriverError."""
        self.rest.post("tm/cm", {"command": "run", "utilCmdArgs": f"config-sync to-group {group}"})

    def save(self) -> None:
        """Write the running configuration down. Raises DriverError."""
        self.rest.post("tm/sys/config", {"command": "save"})

    def fetch_key_type(self, path: str) -> str:
        """``rsa-private``, ``ec-private``, ... of a key's file object; empty when it is not there."""
        found = self.rest.find(f"{_KEY_FILES}/{tilde(path)}")
        return str(found.get("keyType") or "unknown") if found is not None else ""

    def create_key(self, label: str, key_type: KeyType) -> None:
        """Make a key on the device; one of this name stays. Raises DriverError."""
        body = {"name": key_name(label), "partition": "Common", **_KEYS[key_type]}
        self._create("tm/sys/crypto/key", body)

    def create_csr(self, label: str, dns_names: Sequence[str]) -> None:
        """Make a CSR for the label's key; one of this name stays. Raises DriverError."""
        common_name = next((name for name in dns_names if len(name) <= _LONGEST_COMMON_NAME), "")
        if not common_name:
            raise UnsupportedDevice(
                f"{self.name}: a CSR needs a common name, and no name has at most {_LONGEST_COMMON_NAME} characters",
                hint="add a short name to subject_alternative_name",
            )
        names = ", ".join(f"DNS:{name}" for name in dns_names)
        own = {"name": csr_name(label), "partition": "Common", "key": key_name(label)}
        self._create(_CSRS, {**own, "commonName": common_name, "subjectAlternativeName": names})

    def install_certificate(self, name: str, pem: str) -> None:
        """Upload and import; a certificate of this name is overwritten. Raises DriverError."""
        path = self.rest.upload(name, pem.encode())
        body = {"command": "install", "name": name, "partition": "Common", "from-local-file": path}
        self.rest.post("tm/sys/crypto/cert", body)
        self.run_file_command("unix-rm", path)

    def find_certificate(self, path: str) -> Answer | None:
        """The file object of a certificate; None when it is not there."""
        return self.rest.find(f"{_CERTIFICATE_FILES}/{tilde(path)}")

    def fetch_names(self) -> frozenset[str]:
        """Names of the keys and certificates of /Common, and nothing else of them."""
        collections = (self.rest.get(f"{path}?$select=name,partition") for path in (_KEY_FILES, _CERTIFICATE_FILES))
        items = (item for answer in collections for item in answer.get("items", []))
        return frozenset(str(item.get("name", "")) for item in items if item.get("partition", "Common") == "Common")

    def delete_certificates(self, label: str) -> bool:
        """Remove certificate and chain; False when neither was there. Raises InUse, DriverError."""
        names = (certificate_name(label), chain_name(label))
        removed = [self.rest.delete(f"{_CERTIFICATE_FILES}/{tilde(common(name))}") for name in names]
        return any(removed)

    def delete_key(self, label: str) -> bool:
        """Remove the CSR, then the key; False when neither was there. Raises InUse, DriverError."""
        csr = self.rest.delete(f"{_CSRS}/{tilde(common(csr_name(label)))}")
        return self.rest.delete(f"{_KEY_FILES}/{tilde(common(key_name(label)))}") or csr

    def run_file_command(self, command: str, arguments: str) -> None:
        """``unix-mv`` or ``unix-rm``; a file that is not there is no matter. Raises DriverError."""
        try:
            self.rest.post(f"tm/util/{command}", {"command": "run", "utilCmdArgs": arguments})
        except DeviceRejected:
            return

    def find_profile(self, path: str) -> Answer | None:
        """A client-ssl profile; None when it is not there."""
        return self.rest.find(f"{_PROFILES}/{tilde(path)}")

    def change_profiles(self, chains: Mapping[str, Sequence[Mapping[str, Any]]], former: Mapping[str, Answer]) -> None:
        """Give profiles new certKeyChains in one transaction. Raises DriverError.

        DeviceBusy when a profile has changed since it was read as ``former``: then nothing is done, and an open
        transaction disappears by itself.
        """
        try:
            number = str(self.rest.post("tm/transaction", {})["transId"])
            for path, chain in chains.items():
                body = {"certKeyChain": list(chain)}
                self.rest.patch(f"{_PROFILES}/{tilde(path)}", body, {"X-F5-REST-Coordination-Id": number})
            changed = [
                path for path in chains if (self.find_profile(path) or {}).get(_CHAIN) != former[path].get(_CHAIN)
            ]
            if changed:
                raise DeviceBusy(
                    f"{self.name}: somebody else is changing {', '.join(changed)}",
                    hint="nothing of theirs was touched; the next run goes on",
                )
            self.rest.patch(f"tm/transaction/{number}", {"state": "VALIDATING", "validateOnly": False})
        except KeyError as error:
            raise DeviceRejected(f"{self.name} began a transaction without a number") from error
        except NoSuchObject as error:
            raise DeviceBusy(f"{error}", hint="the transaction has run out; the next run tries again") from error

    def fetch_virtuals(self) -> Iterator[Answer]:
        """Virtual servers, each with its ``profiles``."""
        for virtual in self.rest.get("tm/ltm/virtual?expandSubcollections=true").get("items", []):
            inside = virtual.get("profilesReference", {})
            if "items" not in inside:
                inside = self.rest.get(f"tm/ltm/virtual/{tilde(str(virtual.get('fullPath')))}/profiles")
            yield {**virtual, "profiles": inside.get("items", [])}

    def fetch_httpd(self) -> Answer:
        """The settings of the device's own web server."""
        return self.rest.get("tm/sys/httpd")

    def _create(self, collection: str, body: Answer) -> None:
        try:
            self.rest.post(collection, body)
        except AlreadyThere:
            return


def _find_descriptions(answer: Any, name: str) -> Iterator[str]:
    """Values of this name in the nested statistics that /tm/cm answers with, outermost first."""
    entries = answer.get("entries", {}) if isinstance(answer, dict) else {}
    for key, value in entries.items():
        if isinstance(value, dict):
            if key == name and "description" in value:
                yield str(value["description"])
            yield from _find_descriptions(value.get("nestedStats"), name)
