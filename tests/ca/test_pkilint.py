# SPDX-License-Identifier: Apache-2.0
"""An independent linter, and GnuTLS, over one of everything the CA issues."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ottr.ca.authority import Authority, parse_row
from ottr.ca.issuance import Issuance, Terms
from ottr.ca.model import KeyAlgorithm, Role
from ottr.ca.names import ANY_NAME
from ottr.ca.rollover import start_rollover
from ottr.ca.settings import parse_settings
from tests.ca.conftest import write_pem
from tests.ca.linting import lint_with_pkilint
from tests.ca.requests import CLIENT, SERVER, build_name, build_request

KEYS = [KeyAlgorithm.EC256, KeyAlgorithm.EC384, KeyAlgorithm.RSA2048, KeyAlgorithm.ED25519]


@pytest.mark.parametrize("algorithm", KEYS, ids=lambda kind: kind.value)
def test_one_of_everything_of_every_kind_of_key_is_clean(authority: Authority, algorithm: KeyAlgorithm) -> None:
    start_rollover(authority, algorithm)
    server = build_request("www.example.test", "*.example.test", "192.0.2.1", "2001:db8::1", algorithm=algorithm)
    person = build_request("alice@example.test", "spiffe://example.test/a", common_name="alice", algorithm=algorithm)
    constraints = x509.NameConstraints([x509.DNSName("example.test")], None)
    sub_ca = Terms("sub_ca", ANY_NAME, "operator", constraints=constraints)
    rows = (
        authority.issue(server, SERVER),
        authority.issue(build_request(f"{'a' * 60}.{'b' * 60}.test", algorithm=algorithm), SERVER),
        authority.issue(person, CLIENT),
        authority.issue(build_request(common_name="bob", algorithm=algorithm), CLIENT),
        authority.issue(build_request(common_name="Sub CA", algorithm=algorithm), sub_ca),
    )
    certificates = [
        *(parse_row(row) for row in rows),
        *authority.trust_bundle(),
        *authority.chains(authority.active_issuer().id)[0],
        authority.load_ocsp_signer(authority.active_issuer().id).certificate,
    ]
    assert len(certificates) == 10
    found = [(one.subject.rfc4514_string(), lint_with_pkilint(one)) for one in certificates]
    assert [one for one in found if one[1]] == []


def test_a_short_lived_certificate_is_clean(authority: Authority, folder: Path) -> None:
    settings = parse_settings("profiles: {short: {like: server, lifetime: 6d, revocable: false}}", folder)
    with authority.database.read() as connection:
        terms = replace(SERVER, profile="short")
        prepared = Issuance(settings, authority.keyring).prepare(
            connection, build_request("www.example.test"), terms, authority.clock()
        )
    assert lint_with_pkilint(prepared.linted) == ()


def test_the_linter_finds_what_is_wrong(authority: Authority) -> None:
    signer, issuer = authority.load_signer("intermediate-1"), authority.active_issuer().certificate
    bad = (
        x509.CertificateBuilder()
        .subject_name(build_name("a"))
        .issuer_name(issuer.subject)
        .public_key(signer.public_key)
        .serial_number(1)
        .not_valid_before(authority.clock())
        .not_valid_after(authority.clock() + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    assert lint_with_pkilint(bad)


def test_GnuTLS_verifies_a_chain(authority: Authority, tmp_path: Path) -> None:
    row = authority.issue(build_request("www.example.test"), SERVER)
    chain = write_pem(tmp_path / "chain.pem", parse_row(row), *authority.chains(row.issuer_id)[0])
    root = write_pem(tmp_path / "root.pem", authority.active_issuer(Role.ROOT).certificate)
    command = ["certtool", "--verify", "--verify-hostname", "www.example.test", "--load-ca-certificate", root]
    done = subprocess.run([*command, "--infile", chain], capture_output=True, text=True, check=False, timeout=30)
    assert "Chain verification output: Verified. The certificate is trusted." in done.stdout, done.stdout + done.stderr
