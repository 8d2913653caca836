# SPDX-License-Identifier: Apache-2.0
"""The management certificate of one device: the pair of files that its own web server reads."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.httpd import Files, Held, build_paths, parse_chain, read_paths, write_bound
from ottr.drivers.f5.keys import Keys, remove_each
from ottr.drivers.f5.patience import Patience
from ottr.drivers.f5.places import certificate_name, check_label, find_label, key_name
from ottr.drivers.f5.shell import RestShell, Shell
from ottr.drivers.f5.wire import Wire
from ottr.errors import DeviceRejected, DeviceUnreachable, UnsupportedDevice
from ottr.model import CertificateRequest, Facts, IssuedCertificate, SigningRequest
from ottr.x509 import Certificate, find_certificate, parse_certificate, split_pem

_log = logging.getLogger(__name__)
_UNPAIRED = "key and certificate of its web server do not belong together"


class ManagementDevice:
    """A driver; also DeadMan, Reusable, Labelled and Preflight.

    ``client`` is None while REST is away: then the shell has come in by SSH, and what needs REST is refused.
    """

    def __init__(self, wire: Wire, shell: Shell, client: Client | None, patience: Patience, os_version: str) -> None:
        self._wire = wire
        self._shell = shell
        self._client = client
        self._patience = patience
        self._os_version = os_version

    def inspect(self) -> Facts:
        """See Driver. ``bound`` is the label in the certificate's file, or JSON where it is not one of ours."""
        try:
            files = self._open_files()
        except UnsupportedDevice:
            return Facts(os_version=self._os_version)
        held = files.read()
        return Facts(write_bound(held, files.paths), held.leaf_pem, self._os_version)

    def create_csr(self, request: CertificateRequest) -> SigningRequest:
        """See Driver."""
        check_label(request.label)
        return SigningRequest(self._keys.make(request, self._check_obstacles))

    def install(self, request: CertificateRequest, issued: IssuedCertificate) -> None:
        """See Driver. Ends when the web server shows the new certificate."""
        label, leaf = check_label(request.label), parse_certificate(issued.leaf_pem)
        client = self._need_client()
        self._wire.trust(leaf.sha256)
        files = self._open_files()
        if not _is_installed(files.read(), label, leaf):
            pem = f"{label}\n{''.join((*split_pem(issued.leaf_pem), *split_pem(issued.chain_pem)))}"
            upload = client.rest.upload(certificate_name(label), pem.encode())
            files.stage(label, upload, leaf)
            files.switch(label)
            client.run_file_command("unix-rm", upload)
        if not _is_installed(files.read(), label, leaf):
            raise DeviceRejected(f"{self._shell.name} has another pair in its files than the new one")
        if files.paths.chain != files.paths.certificate:
            self._set_chain(files, files.paths.certificate)
        self._save()
        self._serve(files, leaf)

    def rollback(self, request: CertificateRequest, before: Facts) -> None:
        """See Driver. A pair that somebody else has put there since is left alone."""
        label, chain = check_label(request.label), parse_chain(before.bound)
        former = find_certificate(before.leaf_pem)
        if before.bound == label:
            return
        if former is not None:
            self._wire.trust(former.sha256)
        files = self._open_files()
        held = files.read()
        if held.label == label or (not held.paired and f"{label}.before.key" in files.list_names()):
            files.restore(label)
            held = files.read()
            if held.label == label or not held.paired:
                raise DeviceRejected(f"{self._shell.name} does not have its former pair back in its files")
        if former is None or held.leaf is None or held.leaf.der != former.der:
            return
        if chain is not None and chain != files.paths.chain and files.paths.chain == files.paths.certificate:
            self._set_chain(files, chain)
            self._save()
        self._serve(files, former)

    def cleanup(self, labels: frozenset[str]) -> None:
        """See Driver. The label whose pair is in the files stays as a whole."""
        doomed = {check_label(label) for label in labels}
        files = self._open_files()
        doomed.discard(files.read().label)
        for label in sorted(doomed):
            files.remove(label)
        removed, kept = remove_each(self._keys, frozenset(doomed))
        for sentence in kept:
            _log.warning("%s", sentence)
        if removed:
            self._save()

    def arm(self, request: CertificateRequest, before: Facts, seconds: int) -> None:
        """See DeadMan: a process on the device waits, and puts the former pair back."""
        del before
        self._open_files().arm(check_label(request.label), seconds)

    def disarm(self, request: CertificateRequest) -> None:
        """See DeadMan. Raises DeviceRejected when the timer has gone off and taken the certificate away."""
        files = self._open_files()
        if not files.disarm(check_label(request.label)):
            raise DeviceRejected(
                f"the dead-man timer of {self._shell.name} has gone off: its former certificate is back",
                hint="the next run installs the same certificate; raise dead_man of the route if the device is slow",
            )

    def labels(self) -> frozenset[str]:
        """See Labelled."""
        beside = (find_label(key_name(name.partition(".")[0])) for name in self._open_files().list_names())
        return self._keys.labels() | frozenset(filter(None, beside))

    def check(self) -> tuple[str, ...]:
        """See Preflight."""
        try:
            held = self._open_files().read()
        except UnsupportedDevice as error:
            return (str(error),)
        return () if held.paired else (_UNPAIRED,)

    def alive(self) -> bool:
        """See Reusable: a session is a token, and a refused one is replaced."""
        return self._client is not None

    def _serve(self, files: Files, leaf: Certificate) -> None:
        """Restart the web server unless it shows the certificate already, and wait until it does and REST is back."""
        if self._wire.look() != leaf.sha256:
            _ignore_lost(files.restart)
            seen: list[str] = []

            def is_served() -> bool:
                seen[:] = [self._wire.look()]
                return seen[0] == leaf.sha256

            if not self._patience.await_restart(is_served):
                name = self._shell.name
                if seen[0]:
                    raise DeviceRejected(f"{name} shows another certificate than its files have after a restart")
                raise DeviceUnreachable(
                    f"the web server of {name} did not come back after its restart",
                    hint="over SSH or at its console: `bigstart restart httpd`, or `tmsh restart sys service httpd`",
                )
        if self._client is not None:
            self._patience.ride_out(self._client.fetch_httpd)

    def _set_chain(self, files: Files, path: str) -> None:
        """Over REST the answer may get lost, since httpd restarts: so it is looked at afterwards."""
        _ignore_lost(lambda: files.set_chain(path))
        if self._patience.ride_out(lambda: self._open_files().paths.chain) != path:
            raise DeviceRejected(f"{self._shell.name} does not take {path or 'none'} as ssl-certchainfile")

    def _save(self) -> None:
        if self._client is not None:
            self._patience.ride_out(self._client.save)

    def _open_files(self) -> Files:
        if self._client is None:
            return Files(self._shell, read_paths(self._shell))
        settings = self._patience.ride_out_start(self._client.fetch_httpd)
        return Files(self._shell, build_paths(self._client.name, settings))

    def _check_obstacles(self) -> None:
        if not self._open_files().read().paired:
            raise UnsupportedDevice(f"{self._shell.name}: {_UNPAIRED}", hint="put a pair there that httpd can serve")

    @property
    def _keys(self) -> Keys:
        client = self._need_client()
        return Keys(client, RestShell(client.rest))

    def _need_client(self) -> Client:
        if self._client is None:
            raise DeviceUnreachable(
                f"the web server of {self._shell.name} is down; only SSH answers",
                hint="restart it (`bigstart restart httpd`) or `ottr rollback`, which can go by SSH",
            )
        return self._client


def _is_installed(held: Held, label: str, leaf: Certificate) -> bool:
    return held.label == label and held.paired and held.leaf is not None and held.leaf.der == leaf.der


def _ignore_lost(action: Callable[[], None]) -> None:
    try:
        action()
    except DeviceUnreachable as error:
        _log.debug("the connection was lost, as it is when httpd restarts: %s", error)
