# SPDX-License-Identifier: Apache-2.0
"""What the CA says of certificates, asked as a relying party would: the CRL they name, and the OCSP responder.

OCSP is spoken by the openssl program, so that a client that is not ours has checked the answers.
"""

from __future__ import annotations

import http.client
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID as Access

from ottr.errors import LabError
from ottr.lab.process import find_program

_TIMEOUT_S = 10.0
_STATUS = re.compile(r"^(\d+)\.pem: (\w+)$(?:(?!^\d+\.pem).)*?(?:^\s+Reason: (\w+)$|(?=^\d+\.pem|\Z))", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Standing:
    """``good``, or ``revoked`` with its reason, in the words of each."""

    crl: str
    ocsp: str

    @property
    def revoked(self) -> bool:
        """Whether both say so."""
        return self.crl.startswith("revoked") and self.ocsp.startswith("revoked")

    @property
    def good(self) -> bool:
        """Whether both say so."""
        return self.crl == self.ocsp == "good"


def ask_standings(leaves_der: Sequence[bytes], root: Path) -> tuple[Standing, ...]:
    """Ask for every certificate; all have one issuer, below ``root`` (PEM). Raises LabError."""
    leaves = [x509.load_der_x509_certificate(der) for der in leaves_der]
    if not leaves:
        return ()
    issuer = x509.load_der_x509_certificate(_download(_find_access(leaves[0], Access.CA_ISSUERS)))
    answers = _ask_responder(leaves, issuer, root)
    return tuple(Standing(_look_up(leaf, issuer), answers[number]) for number, leaf in enumerate(leaves))


def _look_up(leaf: x509.Certificate, issuer: x509.Certificate) -> str:
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    url = next(str(name.value) for point in points for name in point.full_name or ())
    crl = x509.load_der_x509_crl(_download(url))
    key = issuer.public_key()
    if not crl.is_signature_valid(key):  # type: ignore[arg-type]  # a CA's key is one that signs
        raise LabError(f"the CRL at {url} is not signed by {issuer.subject.rfc4514_string()}")
    entry = crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
    if entry is None:
        return "good"
    reasons = [one.value.reason.value for one in entry.extensions if isinstance(one.value, x509.CRLReason)]
    return _describe("revoked", "".join(reasons))  # without one: unspecified (RFC 5280 section 5.3.1)


def _ask_responder(leaves: Sequence[x509.Certificate], issuer: x509.Certificate, root: Path) -> Mapping[int, str]:
    """One request for all of them."""
    url = _find_access(leaves[0], Access.OCSP)
    with tempfile.TemporaryDirectory(prefix="ottr-ocsp-") as temporary:
        folder = Path(temporary)
        words = ["-issuer", "issuer.pem", "-CAfile", str(root), "-url", url]
        (folder / "issuer.pem").write_bytes(issuer.public_bytes(Encoding.PEM))
        for number, leaf in enumerate(leaves):
            (folder / f"{number}.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
            words += ["-cert", f"{number}.pem"]
        command = [find_program("openssl"), "ocsp", *words]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S + len(leaves)
        )
    found = {int(number): _describe(status, reason) for number, status, reason in _STATUS.findall(done.stdout)}
    if done.returncode or "Response verify OK" not in done.stderr or len(found) < len(leaves):
        raise LabError(f"openssl ocsp did not get a good answer from {url}: {done.stdout}{done.stderr}")
    return found


def _describe(status: str, reason: str) -> str:
    return f"{status} ({reason})" if reason else status


def _find_access(leaf: x509.Certificate, method: x509.ObjectIdentifier) -> str:
    descriptions = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    return next(str(one.access_location.value) for one in descriptions if one.access_method == method)


def _download(url: str) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        content = response.read()
    except OSError as error:
        raise LabError(f"{url} cannot be read: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise LabError(f"{url} cannot be read: status {response.status}")
    return content
