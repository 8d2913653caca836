# SPDX-License-Identifier: Apache-2.0
"""One certificate of one PAN-OS device: its object on the device has the label of the rotation as its name."""

from __future__ import annotations

import logging

from panos.firewall import FirewallCommit
from panos.panorama import PanoramaCommitAll

from ottr.drivers.panos.client import Client
from ottr.drivers.panos.configuration import Binding, Configuration, parse_bound, write_bound
from ottr.drivers.panos.options import Options
from ottr.drivers.panos.patience import Patience, find_foreign_changes, find_foreign_locks
from ottr.drivers.panos.places import check_label
from ottr.drivers.panos.wire import Wire
from ottr.errors import DeviceRejected, KeyLost, NotActive, UnsupportedDevice
from ottr.model import CertificateRequest, Facts, IssuedCertificate, SigningRequest
from ottr.x509 import Certificate, find_certificate, parse_certificate, parse_request, split_pem

_log = logging.getLogger(__name__)
_REFERENCED = "cannot be deleted because of references"
_OVERTAKEN = "somebody else has changed the profile meanwhile; the next run tries again"


class PanosDevice:
    """A driver; also Reusable, Labelled and Preflight."""

    def __init__(self, client: Client, wire: Wire, patience: Patience, options: Options, os_version: str) -> None:
        self._client = client
        self._wire = wire
        self._patience = patience
        self._options = options
        self._os_version = os_version
        self._configuration = Configuration(client, options)

    def inspect(self) -> Facts:
        """See Driver. ``bound`` is the name of the profile's certificate, or JSON while the profile is not in use."""
        binding = self._configuration.read_binding(running=True)
        name = self._configuration.read_used(binding)
        leaves = split_pem(self._configuration.read_certificate(name, "public-key", running=True)) if name else ()
        return Facts(write_bound(binding, self._options), leaves[0] if leaves else "", self._os_version)

    def create_csr(self, request: CertificateRequest) -> SigningRequest:
        """See Driver. Until the certificate's commit the key is in the candidate configuration only."""
        label = check_label(request.label)
        obstacles = self._find_obstacles()
        if obstacles:
            raise UnsupportedDevice(f"{self._client.name}: {'; '.join(obstacles)}", hint="see the options of the route")
        if not self._configuration.find_certificate(label):
            self._patience.await_others(lambda: find_foreign_locks(self._client))
            self._client.generate(label, request.dns_names, request.key_type)
            if not self._configuration.find_certificate(label):
                raise UnsupportedDevice(f"{self._client.name} made the key {label} in another place than the route's")
        csr = self._read_csr(label)
        if not csr:
            raise KeyLost(f"{self._client.name}: {label} is there without its CSR")
        return SigningRequest(csr)

    def install(self, request: CertificateRequest, issued: IssuedCertificate) -> None:
        """See Driver. Imports under the key's name, binds by ``set`` and commits only what this account changed."""
        label, leaf = check_label(request.label), parse_certificate(issued.leaf_pem)
        self._wire.trust(leaf.sha256)
        self._patience.await_own_jobs()
        former = self._patience.ride_out(lambda: self._configuration.read_binding(running=True))
        self._patience.persist(lambda: self._install(label, leaf, issued, former))

    def rollback(self, request: CertificateRequest, before: Facts) -> None:
        """See Driver. A binding that somebody else has changed meanwhile is left alone."""
        label, former = check_label(request.label), parse_bound(before.bound, self._options)
        leaf = find_certificate(before.leaf_pem)
        if leaf is not None:
            self._wire.trust(leaf.sha256)
        self._patience.persist(lambda: self._roll_back(label, former))

    def cleanup(self, labels: frozenset[str]) -> None:
        """See Driver. What a profile still refers to stays; the commit removes the rest from the device."""
        doomed = {label: self._configuration.find_certificate(label) for label in sorted(map(check_label, labels))}
        if not any(path or self._runs(label) for label, path in doomed.items()):
            return
        self._patience.await_own_jobs()
        self._patience.await_others(self._find_others)
        bound = {self._configuration.read_binding(running=running).certificate for running in (False, True)}
        gone = [label for label, path in doomed.items() if label not in bound and self._delete(label, path)]
        if any(map(self._runs, gone)):
            self._commit()
            if left := self._patience.ride_out(lambda: [label for label in gone if self._runs(label)]):
                raise DeviceRejected(f"{self._client.name} still has {', '.join(left)} after the commit")
            self._push()

    def labels(self) -> frozenset[str]:
        """See Labelled."""
        return self._configuration.fetch_labels()

    def check(self) -> tuple[str, ...]:
        """See Preflight."""
        return (*self._find_obstacles(), *self._find_others())

    def alive(self) -> bool:
        """See Reusable: a session is a key, and a refused one is replaced."""
        return True

    def _install(self, label: str, leaf: Certificate, issued: IssuedCertificate, former: Binding) -> None:
        self._check_active()
        self._patience.await_own_jobs()
        if not self._is_installed(label, leaf):
            self._patience.await_others(self._find_others)
            try:
                self._bring(label, leaf, issued, former)
            except DeviceRejected as error:
                if self._configuration.find_certificate(label):
                    raise
                raise KeyLost(f"{self._client.name}: {label} has gone while it was installed") from error
        self._push()

    def _bring(self, label: str, leaf: Certificate, issued: IssuedCertificate, former: Binding) -> None:
        """Compare, import, compare again, bind, commit, and look at what runs."""
        if not self._configuration.holds(label, leaf):
            self._check_key(label, leaf)
            pem = "".join((*split_pem(issued.leaf_pem), *split_pem(issued.chain_pem)))
            self._client.import_certificate(label, pem)
            if not self._configuration.holds(label, leaf):
                raise DeviceRejected(f"{self._client.name} shows another certificate than the imported one as {label}")
        if self._configuration.lacks_key(label):
            raise KeyLost(f"{self._client.name}: {label} was reverted directly before the import, and has no key now")
        self._check_binding(label, former)
        self._configuration.bind(label)
        self._commit()
        if not self._patience.ride_out(lambda: self._is_installed(label, leaf)):
            raise DeviceRejected(f"{self._client.name} does not have {label} bound after the commit", hint=_OVERTAKEN)

    def _check_binding(self, label: str, former: Binding) -> None:
        """What somebody else has bound while we waited is not taken back.

        Their full commit may have taken half of our binding along.
        """
        runs, own = self._configuration.read_binding(running=True), self._configuration.complete(label).management
        if runs.certificate not in (former.certificate, label) or runs.management not in (former.management, own):
            names = [write_bound(binding, self._options) or "nothing" for binding in (runs, former)]
            raise DeviceRejected(
                f"{self._client.name} has {names[0]} bound, neither {names[1]} nor {label}", hint=_OVERTAKEN
            )

    def _check_key(self, label: str, leaf: Certificate) -> None:
        """Nothing is imported unless the device has the key of the certificate."""
        csr = self._read_csr(label)
        if not csr:
            raise KeyLost(f"{self._client.name} has no key {label} any more: it was reverted, loaded or rebooted")
        try:
            same = parse_request(csr).spki_der == leaf.spki_der
        except ValueError as error:
            raise DeviceRejected(f"{self._client.name}: the CSR of {label} cannot be parsed") from error
        if not same:
            raise KeyLost(f"{self._client.name}: {label} is another key than the certificate's")

    def _roll_back(self, label: str, former: Binding) -> None:
        self._patience.await_own_jobs()
        if self._configuration.read_binding().certificate == label:
            runs = self._configuration.read_binding(running=True)
            self._configuration.unbind(former if runs.certificate == label else runs)
        if self._is_bound(label):
            self._commit()
            if self._patience.ride_out(lambda: self._is_bound(label)):
                raise DeviceRejected(
                    f"{self._client.name} still has {label} bound after the commit",
                    hint=f"set the profile {self._options.ssl_tls_service_profile} to {former.certificate} and commit",
                )
        if self._options.template and self._configuration.read_certificate(label, "public-key"):
            self._push()

    def _read_csr(self, label: str) -> str:
        """As the device exports it; in a template, where an export may look elsewhere, as its entry has it."""
        csr = self._configuration.read_certificate(label, "csr")
        return self._client.export_csr(label) if csr and not self._options.template else csr

    def _delete(self, label: str, path: str) -> bool:
        """Whether the candidate is without it now."""
        try:
            if path:
                self._client.delete(path)
        except DeviceRejected as error:
            if _REFERENCED not in str(error):
                raise
            _log.warning("%s: %s stays, it is in use", self._client.name, label)
            return False
        return True

    def _commit(self) -> None:
        self._patience.commit(FirewallCommit(admins=[self._client.username]), "partial")

    def _push(self) -> None:
        options = self._options
        if options.template:
            style = "template stack" if options.template_stack else "template"
            self._patience.commit(PanoramaCommitAll(style, options.template_stack or options.template), "all")

    def _is_installed(self, label: str, leaf: Certificate) -> bool:
        binding = self._configuration.read_binding(running=True)
        return binding == self._configuration.complete(label) and self._configuration.holds(label, leaf, running=True)

    def _is_bound(self, label: str) -> bool:
        return self._configuration.read_binding(running=True).certificate == label

    def _runs(self, label: str) -> bool:
        return bool(self._configuration.read_certificate(label, "common-name", running=True))

    def _find_obstacles(self) -> tuple[str, ...]:
        """Raises NotActive."""
        found = []
        if not self._options.management and not self._configuration.read_binding().certificate:
            found.append(f"there is no SSL/TLS service profile {self._options.ssl_tls_service_profile}")
        self._check_active()
        return tuple(found)

    def _check_active(self) -> None:
        if self._client.is_passive():
            raise NotActive(f"{self._client.name} is the passive member of its HA pair")

    def _find_others(self) -> tuple[str, ...]:
        changes = find_foreign_changes(self._client) if self._options.wait_for_others else ()
        return (*find_foreign_locks(self._client), *changes)
