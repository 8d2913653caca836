# SPDX-License-Identifier: Apache-2.0
"""The nodes of a device's configuration that a rotation reads and writes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ottr.drivers.panos.client import Client, build_element
from ottr.drivers.panos.options import Options
from ottr.drivers.panos.places import build_place, entry, is_label
from ottr.errors import DeviceRejected
from ottr.x509 import Certificate, find_certificate

_PROFILE_TAG = "ssl-tls-service-profile"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a configuration says: the certificate of the route's profile, and the profile of the web interface.

    For a route that does not bind the web interface ``management`` is the route's own profile.
    """

    certificate: str
    management: str


class Configuration:
    """One route's part of the candidate, and of the running configuration where ``running`` is asked for."""

    def __init__(self, client: Client, options: Options) -> None:
        self._client = client
        self._manages = options.management
        self._own = options.ssl_tls_service_profile
        self._place = build_place(options)
        self._profile = f"{self._place.profiles}/{entry(self._own)}"

    def read_binding(self, *, running: bool = False) -> Binding:
        """Look what is bound; empty names where nothing is."""
        certificate = self._client.find(f"{self._profile}/certificate", running=running)
        if not self._manages:
            return Binding(certificate, self._own)
        return Binding(certificate, self._client.find(f"{self._place.system}/{_PROFILE_TAG}", running=running))

    def read_used(self, binding: Binding) -> str:
        """Name of the certificate that serves under a binding of the running configuration; empty: the device's own."""
        if binding.management == self._own:
            return binding.certificate
        if not binding.management:
            return ""
        return self._client.find(f"{self._place.profiles}/{entry(binding.management)}/certificate", running=True)

    def complete(self, label: str) -> Binding:
        """The binding of an installed certificate."""
        return Binding(label, self._own)

    def bind(self, label: str) -> None:
        """Re-point the profile by ``set``, which keeps its other settings; the web interface last."""
        present = self.read_binding()
        if present.certificate != label:
            elements = [build_element("certificate", label)]
            if not present.certificate:
                settings = build_element("protocol-settings")
                settings.extend([build_element("min-version", "tls1-2"), build_element("max-version", "max")])
                elements.append(settings)
            self._client.set(self._profile, *elements)
        if present.management != self._own:
            self._client.set(self._place.system, build_element(_PROFILE_TAG, self._own))

    def unbind(self, former: Binding) -> None:
        """The web interface first: as long as the profile names our certificate, this can be done again."""
        if former.management != self._own:
            if former.management:
                self._client.set(self._place.system, build_element(_PROFILE_TAG, former.management))
            else:
                self._client.delete(f"{self._place.system}/{_PROFILE_TAG}")
        if former.certificate:
            self._client.set(self._profile, build_element("certificate", former.certificate))
        else:
            self._client.delete(self._profile)

    def find_certificate(self, name: str) -> str:
        """XPath of a certificate or CSR in the candidate; empty when there is none."""
        paths = (f"{root}/{entry(name)}" for root in self._place.certificates)
        return next((path for path in paths if self._client.find(f"{path}/common-name")), "")

    def read_certificate(self, name: str, tag: str, *, running: bool = False) -> str:
        """One field of a certificate's entry; empty when it is not there."""
        paths = (f"{root}/{entry(name)}/{tag}" for root in self._place.certificates)
        return next((text for path in paths if (text := self._client.find(path, running=running))), "")

    def holds(self, label: str, leaf: Certificate, *, running: bool = False) -> bool:
        """Whether the entry has exactly this certificate."""
        held = find_certificate(self.read_certificate(label, "public-key", running=running))
        return held is not None and held.der == leaf.der

    def lacks_key(self, name: str) -> bool:
        """Whether the device says that an entry has no private key; False too where it cannot say.

        The key's own field is never read: it is the key, encrypted. An entry with a CSR has the key that signed it.
        """
        if self.read_certificate(name, "csr"):
            return False
        try:
            return self._has_field(name, "public-key") and not self._has_field(name, "private-key")
        except DeviceRejected:
            return False

    def _has_field(self, name: str, tag: str) -> bool:
        paths = (f"{root}/{entry(name)}[{tag}]/public-key" for root in self._place.certificates)
        return any(self._client.find(path) for path in paths)

    def fetch_labels(self) -> frozenset[str]:
        """Every label of ours that has an entry in the candidate."""
        found = [self._client.fetch_names(root) for root in self._place.certificates]
        return frozenset(name for name in frozenset().union(*found) if is_label(name))


def write_bound(binding: Binding, options: Options) -> str:
    """The certificate's name where the profile is in use; else JSON with the web interface's profile too."""
    if binding.management == options.ssl_tls_service_profile:
        return binding.certificate
    return json.dumps({"certificate": binding.certificate, "management": binding.management})


def parse_bound(bound: str, options: Options) -> Binding:
    """Read what ``write_bound`` has written. Raises DeviceRejected."""
    if not bound.startswith("{"):
        return Binding(bound, options.ssl_tls_service_profile)
    try:
        value = json.loads(bound)
        return Binding(str(value["certificate"]), str(value["management"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceRejected(f"{bound!r} is nothing that was bound", hint="nothing was sent to the device") from error
