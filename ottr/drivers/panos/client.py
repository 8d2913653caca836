# SPDX-License-Identifier: Apache-2.0
"""The operations of one device's XML API that a rotation needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from xml.etree.ElementTree import Element, SubElement, tostring

from ottr.drivers.panos.messages import NoSuchObject
from ottr.drivers.panos.xapi import Xapi
from ottr.errors import DeviceRejected, UnsupportedDevice
from ottr.model import KeyType

_ALGORITHMS: Mapping[KeyType, tuple[str, str, str]] = {
    KeyType.EC256: ("ECDSA", "ecdsa-nbits", "256"),
    KeyType.EC384: ("ECDSA", "ecdsa-nbits", "384"),
    KeyType.RSA2048: ("RSA", "rsa-nbits", "2048"),
    KeyType.RSA3072: ("RSA", "rsa-nbits", "3072"),
    KeyType.RSA4096: ("RSA", "rsa-nbits", "4096"),
}
_LONGEST_COMMON_NAME = 64


class Commit(Protocol):
    """A commit of pan-os-python's object model."""

    def element_str(self) -> bytes:
        """The command as XML."""


class Client:
    """Sends single operations. An entry is never read as a whole: its encrypted private key is none of our business."""

    def __init__(self, name: str, xapi: Xapi, template: str = "") -> None:
        self.name = name
        self._xapi = xapi
        self._template = template

    @property
    def username(self) -> str:
        """The administrator we are."""
        return str(self._xapi.api_username)

    def operate(self, command: str) -> Element:
        """Run an operational command (XML) and return the root of the answer. Raises DriverError."""
        root = self._xapi.run("op", cmd=command)
        if root is None:
            raise DeviceRejected(f"{self.name} answered something else than XML")
        return root

    def is_passive(self) -> bool:
        """Whether it is the member of an HA pair that takes its configuration from the other one."""
        root = self.operate("<show><high-availability><state></state></high-availability></show>")
        states = [root.findtext(f"result/{path}local-info/state", "") for path in ("group/", "")]
        return any("passive" in state for state in states)

    def find(self, xpath: str, *, running: bool = False) -> str:
        """Text of a single-valued node of the candidate, or of the running configuration; empty when absent."""
        try:
            root = self._xapi.run("show" if running else "get", xpath=xpath)
        except NoSuchObject:
            return ""
        tag = xpath.rpartition("/")[2]
        node = root.find(f"result/{tag}") if root is not None else None
        return (node.text or "").strip() if node is not None else ""

    def fetch_names(self, xpath: str) -> frozenset[str]:
        """Names of the entries below a node of the candidate; nothing else of them."""
        try:
            root = self._xapi.run("get", xpath=f"{xpath}/entry/@name")
        except NoSuchObject:
            return frozenset()
        entries = root.iterfind("result/entry") if root is not None else ()
        return frozenset(entry.get("name", "") for entry in entries)

    def set(self, xpath: str, *elements: Element) -> None:
        """Merge elements into a node of the candidate. Raises DriverError."""
        self._xapi.run("set", xpath=xpath, element="".join(_write(element) for element in elements))

    def delete(self, xpath: str) -> None:
        """Remove a node of the candidate; harmless when it is not there. Raises DriverError."""
        try:
            self._xapi.run("delete", xpath=xpath)
        except NoSuchObject:
            return

    def generate(self, name: str, dns_names: Sequence[str], key_type: KeyType) -> None:
        """Make a key and a CSR. Raises DriverError."""
        common_name = next((dns for dns in dns_names if len(dns) <= _LONGEST_COMMON_NAME), "")
        if not common_name:
            raise UnsupportedDevice(
                f"{self.name}: PAN-OS needs a common name, and no name has at most {_LONGEST_COMMON_NAME} characters",
                hint="add a short name to subject_alternative_name",
            )
        if self._template:
            self.operate(_write(_build_target(self._template)))
        self.operate(_write(_build_generate(name, common_name, dns_names, key_type)))

    def export_csr(self, name: str) -> str:
        """PKCS#10 in PEM, out of the candidate; empty when it has gone. Raises DriverError."""
        parameters = {"certificate-name": name, "format": "pkcs10", "include-key": "no"}
        try:
            self._xapi.run("export", category="certificate", extra_qs=parameters)
        except NoSuchObject:
            return ""
        exported = self._xapi.export_result
        return bytes(exported["content"]).decode("ascii", "replace") if exported else ""

    def import_certificate(self, name: str, pem: str) -> None:
        """Import under the name whose key the device has; the leaf first, then its issuers. Raises DriverError."""
        fields = {"category": "certificate", "certificate-name": name, "format": "pem"}
        if self._template:
            fields["target-tpl"] = self._template
        self._xapi.upload(fields, f"{name}.pem", pem.encode())

    def start(self, commit: Commit, action: str) -> str:
        """Start a commit (``partial``) or a push (``all``); returns the job, or nothing. Raises DriverError."""
        root = self._xapi.run("commit", cmd=commit.element_str().decode(), action=action)
        return root.findtext("result/job", "").strip() if root is not None else ""


def build_element(tag: str, text: str = "") -> Element:
    """Make an element with text."""
    element = Element(tag)
    element.text = text or None
    return element


def _write(element: Element) -> str:
    return tostring(element, encoding="unicode")


def _build_generate(name: str, common_name: str, dns_names: Sequence[str], key_type: KeyType) -> Element:
    root = Element("request")
    generate = SubElement(SubElement(root, "certificate"), "generate")
    SubElement(generate, "certificate-name").text = name
    SubElement(generate, "name").text = common_name
    family, tag, bits = _ALGORITHMS[key_type]
    SubElement(SubElement(SubElement(generate, "algorithm"), family), tag).text = bits
    SubElement(generate, "digest").text = "sha256"
    SubElement(generate, "ca").text = "no"
    SubElement(generate, "signed-by").text = "external"
    hostname = SubElement(generate, "hostname")
    for dns_name in dns_names:
        SubElement(hostname, "member").text = dns_name
    return root


def _build_target(template: str) -> Element:
    root = Element("set")
    setting = SubElement(SubElement(root, "system"), "setting")
    SubElement(SubElement(SubElement(setting, "target"), "template"), "name").text = template
    return root
