# SPDX-License-Identifier: Apache-2.0
"""What the tests of linux_ssh share: a CA for CSRs, a look at what is served, and a shell without a network."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ottr.drivers.linux_ssh.scripts import load_library
from ottr.model import CertificateRequest, Endpoint, EndpointProtocol, IssuedCertificate, SigningRequest
from ottr.probe import Probe
from ottr.transports.ssh import Completed

NAMES = ("web1.lab.test", "www.lab.test")
"""DNS names of every certificate here."""

_KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test root")])


def request(number: int = 1, names: tuple[str, ...] = NAMES) -> CertificateRequest:
    return CertificateRequest(f"ottr-test-{number}", names)


def issue(csr: SigningRequest) -> IssuedCertificate:
    """Sign whatever is asked for, as a CA would; the chain is the root."""
    wanted = x509.load_pem_x509_csr(csr.pem.encode())
    names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    leaf = _build(wanted.subject, wanted.public_key()).add_extension(names, critical=False)
    root = _build(_NAME, _KEY.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return IssuedCertificate(
        *(part.sign(_KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode() for part in (leaf, root))
    )


def _build(subject: x509.Name, key: Any) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        _NAME, subject, key, x509.random_serial_number(), now - dt.timedelta(hours=1), now + dt.timedelta(days=30)
    )


def serial(pem: str) -> int:
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def is_pair(certificate: Path, key: Path) -> bool:
    """Whether what is read through the two paths now belongs together."""
    private = load_pem_private_key(key.read_bytes(), None)
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*encoding) == public.public_bytes(*encoding)


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


class LocalShell:
    """Runs the scripts here, by any shell; ``received`` is every byte that came back."""

    name = "here"

    def __init__(self, argv: Sequence[str] = ("sh",), environment: Mapping[str, str] | None = None) -> None:
        self.argv = tuple(argv)
        self.environment = {**os.environ, **(environment or {})}
        self.received = ""

    def alive(self) -> bool:
        return True

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        text = f"{load_library()}\n(\n{script}\n) </dev/null\n"
        done = subprocess.run(
            [*self.argv, "-s"],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment,
            start_new_session=True,
            check=False,
        )
        self.received += done.stdout + done.stderr
        return Completed(done.returncode, done.stdout, done.stderr)


_SHIM = """#!/bin/dash
count() {{
    read -r n <"$1"
    n=$((n + 1))
    echo $n >"$1"
}}
count {folder}/programs.count
[ $n != "$KILL_BEFORE" ] || kill -s KILL 0
{program} "$@"
status=$?
case {program} in
    */mv)
        count {folder}/renames.count
        [ $n != "$KILL_AFTER" ] || kill -s KILL 0
        ;;
esac
exit $status
"""

_COMMANDS = (
    *("mv", "ln", "cp", "cat", "rm", "mkdir", "chmod", "chown", "stat", "readlink", "sync", "openssl", "flock", "cmp"),
    *("tail", "sed", "tr", "grep", "df", "date"),
)


class Crashes:
    """Puts a shim in front of every program that the scripts call, which can end the whole script there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / "programs"
        self._programs.mkdir()
        for command in _COMMANDS:
            shim = self._programs / command
            shim.write_text(_SHIM.format(folder=folder, program=shutil.which(command)))
            shim.chmod(0o755)

    def shell(self, *, before: int = 0, after: int = 0) -> LocalShell:
        """A shell that dies before the n-th program or after the n-th rename; with neither it counts only."""
        for name in ("programs.count", "renames.count"):
            (self.folder / name).write_text("0\n")
        path = f"{self._programs}:{os.environ['PATH']}"
        return LocalShell(environment={"PATH": path, "KILL_BEFORE": str(before), "KILL_AFTER": str(after)})

    @property
    def counts(self) -> tuple[int, int]:
        """Programs and renames since the last shell was made."""
        first, second = (int((self.folder / name).read_text()) for name in ("programs.count", "renames.count"))
        return first, second


def served_serial(address: str, port: int, protocol: EndpointProtocol = EndpointProtocol.TLS) -> int:
    """Serial number of the certificate that is served now; 0 when no handshake comes about."""
    seen = Probe(None).observe(Endpoint(address, port, protocol=protocol)).certificate
    return int(seen.serial, 16) if seen else 0
