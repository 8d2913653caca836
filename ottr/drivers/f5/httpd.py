# SPDX-License-Identifier: Apache-2.0
"""The pair of files of the device's own web server, worked on by its shell: the key never leaves the device.

The pair is always replaced by one line of shell that has everything ready before it renames two files, and first
keeps a copy of the pair that was there. The first line of our certificate's file is the rotation's label: text before
a certificate is skipped by whoever reads PEM.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ottr.drivers.f5.places import check_label, key_name
from ottr.drivers.f5.shell import Shell, print_certificate, run_checked
from ottr.errors import DeviceRejected, KeyLost, UnsupportedDevice
from ottr.x509 import Certificate, find_certificate, split_pem

_CONF = "/config/httpd/conf/"
_SEEN_AS = "/etc/httpd/conf/"
_PATH = re.compile(r"/config/httpd/conf/(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*")
_KEY_FILE = re.compile(r"/config/filestore/files_d/Common_d/certificate_key_d/:Common:[\w.:-]+")
_MARK = re.compile(r"^(ottr-[a-z0-9-]{1,26})\s*$", re.MULTILINE)
_PUBLIC = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
_NONE = ("", "none")
FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Paths:
    """What the web server reads. ``chain`` is empty when it sends no issuers."""

    certificate: str
    key: str
    chain: str = ""

    @property
    def folders(self) -> tuple[str, str]:
        """Of the certificate and of the key."""
        return str(PurePosixPath(self.certificate).parent), str(PurePosixPath(self.key).parent)


@dataclass(frozen=True, slots=True)
class Held:
    """What the files have: the label of the first line, empty where it is not ours, and the first certificate."""

    label: str
    leaf: Certificate | None
    leaf_pem: str
    paired: bool
    """Whether key and certificate belong together."""


def build_paths(name: str, settings: dict[str, Any]) -> Paths:
    """Read the paths out of ``sys httpd``, as REST or tmsh names them. Raises UnsupportedDevice."""
    texts = [str(settings.get(field) or "") for field in ("sslCertfile", "sslCertkeyfile", "sslCertchainfile")]
    certificate, key, chain = (text.replace(_SEEN_AS, _CONF, 1) if text not in _NONE else "" for text in texts)
    if not _PATH.fullmatch(certificate) or not _PATH.fullmatch(key) or (chain and not _PATH.fullmatch(chain)):
        raise UnsupportedDevice(
            f"{name}: the web server's certificate is {certificate or 'nowhere'}, its key {key or 'nowhere'}",
            hint="set sys httpd ssl-certfile and ssl-certkeyfile to files below /config/httpd/conf",
        )
    return Paths(certificate, key, chain)


def read_paths(shell: Shell) -> Paths:
    """Ask tmsh for the paths. Raises DriverError."""
    names = {
        "ssl-certfile": "sslCertfile",
        "ssl-certkeyfile": "sslCertkeyfile",
        "ssl-certchainfile": "sslCertchainfile",
    }
    text = run_checked(shell, f"tmsh list sys httpd {' '.join(names)}", "list sys httpd")
    found = dict(re.findall(r"^\s*(ssl-[a-z]+)\s+(\S+)\s*$", text, re.MULTILINE))
    return build_paths(shell.name, {names[name]: value for name, value in found.items() if name in names})


class Files:
    """The web server's pair on one device."""

    def __init__(self, shell: Shell, paths: Paths) -> None:
        self._shell = shell
        self.paths = paths

    def read(self) -> Held:
        """Look at the files. Raises DriverError."""
        certificate, key = self.paths.certificate, self.paths.key
        line = f"grep ^ottr- {certificate}; {print_certificate(certificate)}; openssl pkey -in {key} -pubout"
        output = self._shell.run(line).output
        marks, leaves, keys = _MARK.findall(output), split_pem(output), _PUBLIC.findall(output)
        pem = leaves[0] if leaves else ""
        leaf = find_certificate(pem)
        paired = bool(keys and leaf and _decode(keys[0]) == leaf.spki_der)
        return Held(marks[0] if marks and pem else "", leaf, pem, paired)

    def stage(self, label: str, upload: str, leaf: Certificate) -> None:
        """Put the new pair beside the old one, and compare its key. Raises KeyLost, DriverError."""
        certificate, key = self._beside(label, "crt"), self._beside(label, "key")
        listed = self._shell.run(f"tmsh list sys file ssl-key /Common/{key_name(label)} -hidden")
        found = _KEY_FILE.search(listed.output)
        if not found:
            raise KeyLost(f"{self._shell.name} has no key {label} any more: it was removed, or lost in a reboot")
        line = f"umask 077 && cp {found[0]} {key} && chmod 600 {key} && cp {upload} {certificate}"
        run_checked(self._shell, f"{line} && chmod 644 {certificate}", "put the new pair beside the old one")
        shown = _PUBLIC.findall(run_checked(self._shell, f"openssl pkey -in {key} -pubout", "read the new key"))
        if not shown or _decode(shown[0]) != leaf.spki_der:
            raise KeyLost(f"{self._shell.name}: {label} is another key than the certificate's")

    def switch(self, label: str) -> None:
        """Keep a copy of what is there and put the staged pair in its place. Raises DriverError."""
        certificate, key = self.paths.certificate, self.paths.key
        before_certificate, before_key = self._beside(label, "before.crt"), self._beside(label, "before.key")
        copies = f"cp -p {certificate} {before_certificate}.new && cp -p {key} {before_key}.new"
        kept = f"mv -f {before_certificate}.new {before_certificate} && mv -f {before_key}.new {before_key}"
        # The certificate first: its first line tells that the pair is ours to be put back.
        moved = f"mv -f {self._beside(label, 'crt')} {certificate} && mv -f {self._beside(label, 'key')} {key}"
        run_checked(self._shell, f"umask 077 && {copies} && {kept} && {moved}", "replace the pair")

    def restore(self, label: str) -> None:
        """Put back the pair that was there before. Raises DriverError."""
        run_checked(self._shell, f"umask 077 && {self._build_restore(label)}", "put the former pair back")

    def arm(self, label: str, seconds: int) -> None:
        """Let the device put the former pair back by itself in so many seconds, unless it is told otherwise."""
        armed, fired = self._beside(label, f"armed-{secrets.token_hex(6)}"), self._beside(label, "fired")
        line = f"rm -f {self._beside(label, 'armed')}-* {fired} && touch {armed}"
        run_checked(self._shell, line, "arm the dead-man timer")
        job = f"sleep {int(seconds)} && mv -f {armed} {fired} && grep -qx {label} {self.paths.certificate}"
        job += f" && umask 077 && {self._build_restore(label)} && bigstart restart httpd"
        done = self._shell.run(f'nohup sh -c "{job}" >/dev/null 2>&1 </dev/null &')
        if done.status:
            raise DeviceRejected(f"{self._shell.name} does not start the dead-man timer: status {done.status}")

    def disarm(self, label: str) -> bool:
        """Take the timers of a label away; False when one has gone off before."""
        names = self.list_names()
        stayed = f"{label}.fired" not in names
        for name in sorted(name for name in names if name.startswith(f"{label}.armed-")):
            path, away = self._beside(label, name.removeprefix(f"{label}.")), self._beside(label, "disarmed")
            # Whoever renames it first has it: the timer, or we.
            stayed = self._shell.run(f"mv {path} {away} && rm -f {away}").status == 0 and stayed
        return stayed

    def set_chain(self, path: str) -> None:
        """Name the file with the issuers; httpd may restart at once. Raises DriverError."""
        run_checked(self._shell, f"tmsh modify sys httpd ssl-certchainfile {path or 'none'}", "set ssl-certchainfile")

    def restart(self) -> None:
        """Restart the web server. Raises DriverError: DeviceUnreachable is what one expects over REST."""
        run_checked(self._shell, "bigstart restart httpd", "restart httpd")

    def list_names(self) -> frozenset[str]:
        """Names of all files beside the pair. Raises DriverError."""
        output = run_checked(self._shell, f"ls {' '.join(dict.fromkeys(self.paths.folders))}", "list the folder")
        return frozenset(output.split())

    def remove(self, label: str) -> None:
        """Remove what a label has beside the pair. Raises DriverError."""
        patterns = dict.fromkeys(f"{folder}/{check_label(label)}.*" for folder in self.paths.folders)
        run_checked(self._shell, f"rm -f {' '.join(patterns)}", "remove old files")

    def _build_restore(self, label: str) -> str:
        certificate, key = self._beside(label, "back.crt"), self._beside(label, "back.key")
        kept = self._beside(label, "before.crt"), self._beside(label, "before.key")
        line = f"cp -p {kept[0]} {certificate} && cp -p {kept[1]} {key}"
        return f"{line} && mv -f {certificate} {self.paths.certificate} && mv -f {key} {self.paths.key}"

    def _beside(self, label: str, what: str) -> str:
        folder = self.paths.folders[0 if what.endswith("crt") else 1]
        return f"{folder}/{check_label(label)}.{what}"


def write_bound(held: Held, paths: Paths) -> str:
    """The label of the pair, where the issuers come out of its own file; else JSON with what is set for them."""
    if held.label and paths.chain in ("", paths.certificate):
        return held.label
    return json.dumps({"label": held.label or FOREIGN, "chain": paths.chain}, sort_keys=True)


def parse_chain(bound: str) -> str | None:
    """The file for the issuers that was set; None: nothing has to be put back. Raises DeviceRejected."""
    if not bound.startswith("{"):
        return None
    try:
        chain = json.loads(bound)["chain"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceRejected(f"{bound!r} is nothing that was bound", hint="nothing was sent to the device") from error
    if chain and not (isinstance(chain, str) and _PATH.fullmatch(chain)):
        raise DeviceRejected(f"{bound!r} is nothing that was bound", hint="nothing was sent to the device")
    return str(chain)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()))
    except ValueError:
        return b""
