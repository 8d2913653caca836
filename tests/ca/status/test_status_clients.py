# SPDX-License-Identifier: Apache-2.0
"""What clients of others make of the answers: OpenSSL, GnuTLS, NSS, and a linter."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ottr.ca.model import Reason
from ottr.ca.status.transport import encode_path
from ottr.lab.network import claim_network
from tests.ca.conftest import run_openssl
from tests.ca.linting import lint_crl, lint_ocsp_answer
from tests.ca.status.site import KINDS, Site, open_site

NAMES = {
    "key_compromise": "keyCompromise",
    "ca_compromise": "cACompromise",
    "affiliation_changed": "affiliationChanged",
    "superseded": "superseded",
    "cessation_of_operation": "cessationOfOperation",
    "certificate_hold": "certificateHold",
    "privilege_withdrawn": "(UNKNOWN)",
    "aa_compromise": "(UNKNOWN)",
}
"""Reasons as OpenSSL 3.0 has them; it does not know all, and unspecified is not said."""
DIGESTS = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}


def find_status(kind: str) -> str:
    """As clients call it; what was released from a hold is good."""
    if kind in ("good", "remove_from_crl"):
        return "good"
    return kind if kind in ("unknown", "foreign") else "revoked"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with claim_network() as network, open_site(tmp_path_factory.mktemp("site"), network.port(0)) as opened:
        yield opened


def run(*command: str | Path) -> str:
    """All that a program says; OpenSSL's exit status says too little, GnuTLS's and NSS's are read by their words."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=30, input="")
    return done.stdout + done.stderr


def check_openssl(said: str, kind: str) -> None:
    """JL-07: the status line is printed for answers that do not verify, too."""
    status = find_status(kind)
    if status == "foreign":
        assert "Responder Error: unauthorized (6)" in said
        return
    assert "Response verify OK" in said
    assert f".pem: {status}\n" in said
    assert "WARNING" not in said
    assert "rror" not in said
    reasons = [line.split(": ")[1] for line in said.splitlines() if line.startswith("\tReason: ")]
    assert reasons == ([NAMES[kind]] if status == "revoked" and kind != "unspecified" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_JL_03_CK_01_CK_02_CK_03_OT_50_openssl_over_POST(site: Site, kind: str) -> None:
    for digest in DIGESTS:
        for nonce in ("-nonce", "-no_nonce"):
            asked = ("-issuer", site.issuer(kind), f"-{digest}", "-cert", site.leaf(kind), nonce)
            said = run("openssl", "ocsp", "-CAfile", site.chain, "-url", site.ocsp_url, *asked)
            check_openssl(said, kind)
            assert "no nonce in response" not in said


def build_request(site: Site, kind: str, digest: str, nonce: bytes) -> bytes:
    issuer = x509.load_pem_x509_certificate(site.issuer(kind).read_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate(site.load(kind), issuer, DIGESTS[digest])
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", KINDS)
def test_OT_54_openssl_over_GET(site: Site, tmp_path: Path, kind: str) -> None:
    """By curl, the path escaped and, on the way back, not."""
    requests = {}
    for digest in DIGESTS:
        for nonce in (b"", b"n" * 32):
            requests[f"{digest}-{len(nonce)}"] = build_request(site, kind, digest, nonce)
    command = ["curl", "-sS", "--path-as-is"]
    for name, request in requests.items():
        (tmp_path / f"{name}.req").write_bytes(request)
        path = encode_path(request)
        command += ["-o", str(tmp_path / f"{name}.res"), f"{site.ocsp_url}/{quote(path, safe='')}"]
        command += ["-o", str(tmp_path / f"{name}.raw"), f"{site.ocsp_url}/{path}"]
    assert run(*command) == ""
    for name in requests:
        answer, request = tmp_path / f"{name}.res", tmp_path / f"{name}.req"
        asked = ("-issuer", site.issuer(kind), f"-{name.split('-')[0]}", "-cert", site.leaf(kind), "-no_nonce")
        said = run("openssl", "ocsp", "-CAfile", site.chain, "-reqin", request, "-respin", answer, *asked)
        check_openssl(said, kind)
        raw = (tmp_path / f"{name}.raw").read_bytes()
        if find_status(kind) == "revoked":
            reason = ocsp.load_der_ocsp_response(raw).revocation_reason
            assert (reason.name if reason else "unspecified") == kind
        if name.endswith("-0") and find_status(kind) != "unknown":
            assert raw == answer.read_bytes()
        elif kind != "foreign":
            nonces = ocsp.load_der_ocsp_response(raw).extensions
            assert [one.value.nonce for one in nonces] == ([b"n" * 32] if name.endswith("-32") else [])


@pytest.mark.parametrize("kind", KINDS)
def test_GnuTLS(site: Site, kind: str) -> None:
    for nonce in ((), ("--nonce",)):
        asked = (f"--load-issuer={site.issuer(kind)}", f"--load-cert={site.leaf(kind)}", *nonce)
        said = run("ocsptool", f"--ask={site.ocsp_url}", f"--load-trust={site.chain}", *asked)
        if kind == "foreign":
            assert "Response Status: unauthorized" in said
            continue
        assert f"Certificate Status: {find_status(kind)}\n" in said
        assert "Verifying OCSP Response: Success." in said
        assert ("Nonce: " in said) == bool(nonce)


@pytest.fixture(scope="module")
def nss(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nss")
    assert run("certutil", "-N", "-d", folder, "--empty-password") == ""
    batch = [
        ("root", "CT,C,C", site.root),
        ("int", ",,", site.issuer("good")),
        ("stranger", "CT,C,C", site.issuer("foreign")),
    ]
    batch += [(kind, ",,", site.leaf(kind)) for kind in KINDS]
    lines = [f"-A -d {folder} -n {name} -t {trust} -i {file}" for name, trust, file in batch]
    (folder / "batch").write_text("\n".join(lines) + "\n")
    said = run("certutil", "-B", "-d", folder, "-i", folder / "batch")
    assert "rror" not in said
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_NSS_follows_the_address_in_the_certificate(site: Site, nss: Path, kind: str) -> None:
    refusals = {"unknown": "has no status for the certificate", "foreign": "has refused this request as unauthorized"}
    if kind in refusals:  # these carry no address
        said = run("ocspclnt", "-S", kind, "-d", nss, "-l", site.ocsp_url, "-t", "int")
        assert f"The OCSP server {refusals[kind]}" in said
        return
    said = run("ocspclnt", "-S", kind, "-d", nss)
    expected = "succeeded" if find_status(kind) == "good" else "Peer's Certificate has been revoked"
    assert expected in said


def test_IO_13_openssl_verifies_the_CRL_and_finds_every_reason_in_it(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "crl.der"
    assert run("curl", "-sS", "-o", file, f"{site.url}/crl/intermediate-1.crl") == ""
    said = run_openssl("crl", "-inform", "DER", "-in", file, "-CAfile", site.chain, "-noout", "-text")
    assert "verify OK" in said
    assert "X509v3 CRL Number" in said
    assert "X509v3 Authority Key Identifier" in said
    parsed = x509.load_der_x509_crl(file.read_bytes())
    assert parsed.issuer == site.load("good").issuer
    found = {}
    for one in parsed:
        extensions = [entry.value.reason for entry in one.extensions]
        found[one.serial_number] = extensions[0].name if extensions else "unspecified"
    listed = [reason for reason in Reason if reason is not Reason.REMOVE_FROM_CRL]
    assert found == {site.load(reason.value).serial_number: reason.value for reason in listed}


def test_JL_05_openssl_checks_whole_chains_by_CRL(site: Site, tmp_path: Path) -> None:
    files = []
    for issuer in ("root-1", "intermediate-1"):
        assert run("curl", "-sS", "-o", tmp_path / issuer, f"{site.url}/crl/{issuer}.crl") == ""
        files += ["-CRLfile", str(tmp_path / f"{issuer}.pem")]
        run_openssl("crl", "-inform", "DER", "-in", tmp_path / issuer, "-out", tmp_path / f"{issuer}.pem")
    checks = ("-crl_check_all", "-extended_crl", "-CAfile", site.root, "-untrusted", site.issuer("good"), *files)
    for kind in ("good", "remove_from_crl"):
        assert "OK" in run_openssl("verify", *checks, site.leaf(kind))
    for kind in ("unspecified", "certificate_hold", "superseded"):
        assert "certificate revoked" in run("openssl", "verify", *checks, site.leaf(kind))


def fetch(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/ocsp-request"} if body else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        content: bytes = response.read()
    return content


def test_OT_53_the_addresses_in_a_certificate_lead_to_what_they_promise(site: Site) -> None:
    leaf = site.load("good")
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    urls = [str(one.access_location.value) for one in access]
    assert urls == [site.ocsp_url, f"{site.url}/ca/intermediate-1.der"]
    leaf.verify_directly_issued_by(x509.load_der_x509_certificate(fetch(urls[1])))
    point = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0]
    assert point.full_name is not None
    assert x509.load_der_x509_crl(fetch(str(point.full_name[0].value))).issuer == leaf.issuer


def test_pkilint_finds_nothing(site: Site) -> None:
    for kind in (kind for kind in KINDS if kind != "foreign"):
        for digest in DIGESTS:
            for nonce in (b"", b"n" * 32):
                answer = fetch(site.ocsp_url, build_request(site, kind, digest, nonce))
                assert lint_ocsp_answer(answer) == ()
    for issuer in ("root-1", "intermediate-1"):
        assert lint_crl(fetch(f"{site.url}/crl/{issuer}.crl")) == ()
