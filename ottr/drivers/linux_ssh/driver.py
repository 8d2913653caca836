# SPDX-License-Identifier: Apache-2.0
"""One Linux host: every method is one script, run by the shell of the session."""

from __future__ import annotations

import base64
import logging
import re
import secrets
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from ottr.drivers.linux_ssh import scripts
from ottr.drivers.linux_ssh.options import Options, parse_options
from ottr.errors import DeviceBusy, DeviceRejected, DriverError, KeyLost, UnsupportedDevice
from ottr.model import CertificateRequest, Credentials, Device, Facts, IssuedCertificate, SigningRequest
from ottr.transports.shell import open_shell
from ottr.transports.ssh import Completed, open_session
from ottr.x509 import parse_certificate, split_pem

_log = logging.getLogger(__name__)
_LABEL = re.compile(r"ottr-[a-z0-9-]{1,26}")
_BOUND = re.compile(r"(?:(?:ottr|original)[a-z0-9-]*)?")
_CSR = re.compile(
    r"-----BEGIN (NEW )?CERTIFICATE REQUEST-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END (NEW )?CERTIFICATE REQUEST-----"
)
_STATUSES: Mapping[int, type[DriverError]] = {10: KeyLost, 11: UnsupportedDevice, 13: DeviceBusy}
_HINTS = (
    ("no space left", "free some space on the host; the next run goes on with the same certificate"),
    ("read-only", "the host's file system is read-only, or the login may not write there (see ansible_become)"),
    ("permission denied", "the login may not do this: see ansible_become"),
    ("not permitted", "the login may not do this: see ansible_become"),
    ("own test", "run the service's test on the host; its configuration or the paths of the route are wrong"),
    ("reloaded", "look into the service's log on the host; is it running?"),
    ("no folder", "check the paths in the options of the route, and ansible_become"),
    ("no openssl", "install the openssl program on the host"),
)
_CLOCK_SKEW_S = 300
_EXPOSED = "exposed="
_SPKI_HEAD = 33  # bytes before the modulus of RSA 2048 (RFC 3279 section 2.3.1); 27 and 24 for P-256 and P-384
_SLOW_S = 240.0


class Shell(Protocol):
    """What runs scripts on the host."""

    @property
    def name(self) -> str:
        """Of the host, for messages."""

    def alive(self) -> bool:
        """Whether another script can be run."""

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a script of POSIX sh to its end, with library.sh loaded."""


@contextmanager
def open_host(device: Device, options: Mapping[str, Any], credentials: Credentials) -> Iterator[LinuxHost]:
    """Connect and log in. Raises DriverError."""
    try:
        parsed = parse_options(options)
        scripts.check_dns_names(device.dns_names)
    except ValueError as error:
        raise DeviceRejected(f"{device.name}: {error}", hint="nothing was sent to the host") from error
    with (
        open_session(device, credentials, known_hosts=parsed.known_hosts or credentials.known_hosts) as session,
        open_shell(session, credentials, scripts.load_library()) as shell,
    ):
        yield LinuxHost(shell, parsed)


class LinuxHost:
    """A driver; also DeadMan, Reusable, Labelled, Preflight and Noticing."""

    def __init__(self, shell: Shell, options: Options) -> None:
        self._shell = shell
        self._options = options
        self._timer: tuple[str, ...] = ()
        """Label of the timer that the next ``install`` starts, and the arguments of ``start_timer``."""
        self._notices: tuple[str, ...] = ()

    def inspect(self) -> Facts:
        """See Driver. ``bound`` is where the link ``current`` leads: a label, or ``original``."""
        output = self._call("", "inspect", self._options.certificate_path)
        found = dict(line.split("=", 1) for line in output.splitlines() if re.match(r"[A-Za-z_]+=", line))
        version = found.get("VERSION_ID") or found.get("VERSION_CODENAME", "")
        leaves = split_pem(output)
        return Facts(
            bound=found.get("bound", ""), leaf_pem=leaves[0] if leaves else "", os_version=version.strip("'\"")
        )

    def create_csr(self, request: CertificateRequest) -> SigningRequest:
        """See Driver. The key is made by the host's openssl and has mode 0600."""
        try:
            scripts.check_dns_names(request.dns_names)
        except ValueError as error:
            raise DeviceRejected(f"{self._shell.name}: {error}", hint="nothing was sent to the host") from error
        configuration = scripts.build_request_configuration(request.dns_names)
        subject = scripts.build_subject(request.dns_names)
        new_key = scripts.build_new_key_arguments(request.key_type)
        output = self._call(request.label, "create_csr", configuration, subject, *new_key, timeout_s=_SLOW_S)
        if not _CSR.fullmatch(output.strip()):
            raise DeviceRejected(f"{self._shell.name} returned something else than a CSR")
        return SigningRequest(output.strip() + "\n")

    def install(self, request: CertificateRequest, issued: IssuedCertificate) -> None:
        """See Driver. The host is back at what it was when the service refuses the certificate."""
        try:
            spki_der = parse_certificate(issued.leaf_pem).spki_der
        except ValueError as error:
            raise DeviceRejected("the certificate to install cannot be parsed") from error
        leaf, chain = ("".join(split_pem(pem)).strip() for pem in (issued.leaf_pem, issued.chain_pem))
        keys = (_encode_public_key(spki_der), _encode_parts(spki_der))
        timer = self._timer[1:] if self._timer[:1] == (request.label,) else ()
        output = self._call(request.label, "install_certificate", leaf, chain, *keys, *timer, timeout_s=_SLOW_S)
        self._timer = ()
        self._notices = _find_notices(output)

    def rollback(self, request: CertificateRequest, before: Facts) -> None:
        """See Driver. Where there was nothing before and the service needs a certificate, the new one stays."""
        self._timer = ()
        output = self._call(request.label, "roll_back", _check_bound(before.bound), timeout_s=_SLOW_S)
        if "stays" in output:
            _log.warning("%s had no certificate before and needs one: the new one stays", self._shell.name)

    def cleanup(self, labels: frozenset[str]) -> None:
        """See Driver. What ``current`` leads to and the operator's own former files stay."""
        if labels:
            self._call("", "remove_labels", *(_check_label(label) for label in sorted(labels)))

    def arm(self, request: CertificateRequest, before: Facts, seconds: int) -> None:
        """See DeadMan. Nothing is sent now: the script of the next ``install`` starts the timer before it binds.

        By systemd-run where systemd runs, else by a process of its own. What goes wrong with it, ``install`` raises.
        """
        label = _check_label(request.label)
        end = scripts.build_timer_end(self._options, label, _check_bound(before.bound))
        self._timer = (label, str(int(seconds)), secrets.token_hex(8), end)

    def disarm(self, request: CertificateRequest) -> None:
        """See DeadMan. Raises DeviceRejected when the timer has gone off and taken the certificate away."""
        self._timer = ()
        self._call(request.label, "disarm")

    def alive(self) -> bool:
        """See Reusable."""
        return self._shell.alive()

    def labels(self) -> frozenset[str]:
        """See Labelled."""
        return frozenset(line for line in self._call("", "list_labels").splitlines() if _LABEL.fullmatch(line))

    def check(self) -> tuple[str, ...]:
        """See Preflight. Runs the service's own test of its configuration."""
        problems = []
        output = self._call("", "check", timeout_s=_SLOW_S)
        self._notices = _find_notices(output)
        for line in output.splitlines():
            if line.startswith(_EXPOSED):
                continue
            if not line.startswith("clock="):
                problems.append(line)
            elif abs(skew := int(line.removeprefix("clock=")) - time.time()) > _CLOCK_SKEW_S:
                problems.append(f"the clock of the host is {abs(round(skew))} s {'ahead' if skew > 0 else 'behind'}")
        return tuple(problems)

    def notices(self) -> tuple[str, ...]:
        """See Noticing. A key that every user of the host can read is left so, but not without a word."""
        return self._notices

    def _call(self, label: str, function: str, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run one function of the library and return its output. Raises DriverError."""
        script = scripts.build_call(self._options, label and _check_label(label), function, *arguments)
        done = self._shell.run(script, timeout_s)
        if "PRIVATE KEY" in done.stdout + done.stderr:
            raise DeviceRejected(f"{self._shell.name} sent a private key: nothing of it is used or kept")
        if done.status != 0:
            raise self._describe(done)
        return done.stdout

    def _describe(self, done: Completed) -> DriverError:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        words = "; ".join(lines[-6:])
        words = "".join(character if character.isprintable() else "?" for character in words)[-800:]
        hint = next((hint for sign, hint in _HINTS if sign in words.lower()), "")
        kind = _STATUSES.get(done.status, DeviceRejected)
        return kind(f"{self._shell.name}: {words or f'a script ended with status {done.status}'}", hint=hint)


def _find_notices(output: str) -> tuple[str, ...]:
    found = [line.removeprefix(_EXPOSED).partition(" ") for line in output.splitlines() if line.startswith(_EXPOSED)]
    return tuple(
        f"every user of the host can read the key {path} (mode {mode}, as that of the file before): set `mode: '0600'`"
        " in the options of the route, with `owner` or `group` where the service needs it"
        for mode, _, path in found
    )


def _check_label(label: str) -> str:
    if not _LABEL.fullmatch(label):
        raise DeviceRejected(f"{label!r} is not a label of Ottr", hint="nothing was sent to the host")
    return label


def _check_bound(bound: str) -> str:
    if not _BOUND.fullmatch(bound):
        raise DeviceRejected(f"{bound!r} is nothing that Ottr has bound", hint="nothing was sent to the host")
    return bound


def _encode_public_key(spki_der: bytes) -> str:
    """As openssl writes a SubjectPublicKeyInfo (RFC 7468 section 13)."""
    lines = textwrap.wrap(base64.b64encode(spki_der).decode(), 64)
    return "\n".join(("-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----"))


def _encode_parts(spki_der: bytes) -> str:
    """The public key in base64 as a longer DER text may have it inside, which a private key does: a line for each
    place modulo 3 that it may begin at. The first bytes are left out: they are the structure of the SPKI.
    """
    own = spki_der[_SPKI_HEAD:]
    return "\n".join(base64.b64encode(own[n : n + (len(own) - n) // 3 * 3]).decode() for n in range(3))
