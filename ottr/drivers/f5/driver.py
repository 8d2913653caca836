# SPDX-License-Identifier: Apache-2.0
"""One certificate of client-ssl profiles: its objects on the device have the label of the rotation in their names."""

from __future__ import annotations

import logging
import re

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.group import Group
from ottr.drivers.f5.keys import Keys, remove_each
from ottr.drivers.f5.options import Options
from ottr.drivers.f5.places import certificate_name, chain_name, check_label, common
from ottr.drivers.f5.profiles import Profiles, find_leaf_name, holds, write_bound
from ottr.drivers.f5.shell import RestShell, ShellRefused, print_certificate
from ottr.drivers.f5.virtuals import find_endpoints
from ottr.errors import DeviceBusy, DeviceRejected, UnsupportedDevice
from ottr.model import CertificateRequest, Endpoint, Facts, IssuedCertificate, SigningRequest
from ottr.x509 import Certificate, parse_certificate, split_pem

_log = logging.getLogger(__name__)
_OBJECT = re.compile(r"/[\w./:-]+", re.ASCII)
_CACHE_PATH = re.compile(r"/config/filestore/files_d/[\w./-]*/certificate_d/:[\w.:-]+")


class TrafficDevice:
    """A driver; also Reusable, Labelled, Preflight and Serving."""

    def __init__(
        self,
        client: Client,
        shell: RestShell,
        group: Group,
        options: Options,
        dns_names: tuple[str, ...],
        os_version: str,
    ) -> None:
        self._client = client
        self._shell = shell
        self._group = group
        self._options = options
        self._dns_names = dns_names
        self._os_version = os_version
        self._keys = Keys(client, shell)
        self._profiles = Profiles(client, options)

    def inspect(self) -> Facts:
        """See Driver. ``bound`` is a label, or JSON with the pairs of the profiles while they are not of one label."""
        try:
            found = self._profiles.read()
        except UnsupportedDevice:
            return Facts(os_version=self._os_version)
        return Facts(write_bound(found), self._read_certificate(find_leaf_name(found)), self._os_version)

    def create_csr(self, request: CertificateRequest) -> SigningRequest:
        """See Driver. The objects are in the running configuration only until the install saves it."""
        check_label(request.label)
        return SigningRequest(self._keys.make(request, self._check_obstacles))

    def install(self, request: CertificateRequest, issued: IssuedCertificate) -> None:
        """See Driver. New objects for each rotation, all profiles in one transaction, save, sync."""
        label, leaf = check_label(request.label), parse_certificate(issued.leaf_pem)
        self._group.check_ready()
        changed = not self._is_bound(label)
        if changed:
            self._keys.check(label, leaf)
            self._import(label, leaf, issued)
            self._profiles.bind(label)
            if not self._is_bound(label):
                raise DeviceBusy(
                    f"{self._client.name} does not have {label} in its profiles after the change",
                    hint="somebody else has changed them meanwhile; the next run tries again",
                )
        self._group.settle(changed=changed)

    def rollback(self, request: CertificateRequest, before: Facts) -> None:
        """See Driver. Pairs that somebody else has put in since are left alone."""
        label = check_label(request.label)
        if before.bound == label:
            return
        changed = self._profiles.unbind(label, before.bound)
        if changed and self._is_anywhere(label):
            raise DeviceRejected(f"{self._client.name} still has {label} in a profile", hint="take it out by hand")
        if changed or self._client.find_certificate(common(certificate_name(label))) is not None:
            self._group.settle_quietly(changed=changed)

    def cleanup(self, labels: frozenset[str]) -> None:
        """See Driver. What anything on the device still refers to stays."""
        removed, kept = remove_each(self._keys, frozenset(map(check_label, labels)))
        for sentence in kept:
            _log.warning("%s", sentence)
        if removed:
            self._group.settle_quietly(changed=True)

    def labels(self) -> frozenset[str]:
        """See Labelled."""
        return self._keys.labels()

    def check(self) -> tuple[str, ...]:
        """See Preflight."""
        return self._find_obstacles()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """See Serving: the virtual servers that use the profiles."""
        if not self._options.verify_virtuals:
            return ()
        return find_endpoints(self._client, self._options.profiles, self._dns_names)

    def alive(self) -> bool:
        """See Reusable: a session is a token, and a refused one is replaced."""
        return True

    def _import(self, label: str, leaf: Certificate, issued: IssuedCertificate) -> None:
        """The chain first: where the certificate is, everything is."""
        chain = "".join(split_pem(issued.chain_pem))
        if chain:
            self._client.install_certificate(chain_name(label), chain)
        self._client.install_certificate(certificate_name(label), split_pem(issued.leaf_pem)[0])
        found = self._client.find_certificate(common(certificate_name(label)))
        if found is None or found.get("expirationDate") != int(leaf.not_after.timestamp()):
            raise DeviceRejected(f"{self._client.name} shows another certificate than the imported one as {label}")

    def _read_certificate(self, path: str) -> str:
        """PEM of a certificate's file; empty when it cannot be read, since REST shows none.

        The name is somebody's on the device, and the shell is root's: only names without any special sign go there.
        """
        if not _OBJECT.fullmatch(path):
            return ""
        try:
            listed = self._shell.run(f"tmsh list sys file ssl-cert {path} -hidden")
            found = _CACHE_PATH.search(listed.output)
            text = self._shell.run(print_certificate(found[0])).output if found else ""
        except ShellRefused:
            return ""
        return next(iter(split_pem(text)), "")

    def _is_bound(self, label: str) -> bool:
        return all(holds(pairs.entries, label) for pairs in self._profiles.read().values())

    def _is_anywhere(self, label: str) -> bool:
        return any(holds(pairs.entries, label) for pairs in self._profiles.read().values())

    def _check_obstacles(self) -> None:
        obstacles = self._find_obstacles()
        if obstacles:
            raise UnsupportedDevice(f"{self._client.name}: {'; '.join(obstacles)}", hint="see the options of the route")

    def _find_obstacles(self) -> tuple[str, ...]:
        try:
            obstacle = self._profiles.find_obstacle()
        except UnsupportedDevice as error:
            obstacle = str(error)
        self._group.check_ready()
        return (obstacle,) if obstacle else ()
