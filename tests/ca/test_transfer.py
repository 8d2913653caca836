# SPDX-License-Identifier: Apache-2.0
"""What comes from elsewhere, and what goes there."""

from __future__ import annotations

import itertools
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import pkcs12

from ottr.ca.authority import Authority, parse_row
from ottr.ca.bundle import Entity, build_chain, check_pair, is_issued_by, parse_bundle
from ottr.ca.exporting import (
    Preset,
    export_der,
    export_java_truststore,
    export_key,
    export_pem,
    export_pkcs12,
    make_password,
)
from ottr.ca.importing import FOREIGN, import_certificate, import_index, import_issuer
from ottr.ca.keyed import issue_with_key, take_key
from ottr.ca.keys import PrivateKey, generate_key
from ottr.ca.model import KeyAlgorithm, Phase, Reason, Role, Status
from ottr.ca.names import parse_names
from ottr.ca.opensslca import parse_index
from ottr.ca.renewal import renew_certificate
from ottr.errors import KeyUnavailable, RequestRefused, SettingsError, StoreError
from tests.ca.conftest import run_openssl
from tests.ca.requests import SERVER, build_name, build_request


class Elsewhere:
    """A CA that is not ours: root, intermediate, leaves."""

    def __init__(self, title: str = "Elsewhere") -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = sign(f"{title} Root", self.root_key, f"{title} Root", self.root_key, is_ca=True)
        self.intermediate = sign(f"{title} CA", self.key, f"{title} Root", self.root_key, is_ca=True)
        self.title = title

    def issue(self, name: str, key: PrivateKey | None = None, serial: int = 0) -> tuple[x509.Certificate, PrivateKey]:
        key = key or ec.generate_private_key(ec.SECP256R1())
        return sign(name, key, f"{self.title} CA", self.key, serial=serial), key


def sign(
    name: str, key: PrivateKey, issuer: str, issuer_key: PrivateKey, *, is_ca: bool = False, serial: int = 0
) -> x509.Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(build_name(name))
        .issuer_name(build_name(issuer))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=700))
    )
    if is_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def elsewhere() -> Elsewhere:
    return Elsewhere()


def pem(*certificates: x509.Certificate) -> bytes:
    return export_pem(certificates)


def test_OT_31_PEM_in_any_order(elsewhere: Elsewhere) -> None:
    leaf, key = elsewhere.issue("www.example.test")
    blocks = [pem(leaf), pem(elsewhere.intermediate), pem(elsewhere.root), export_key(key, None)]
    for order in itertools.permutations(blocks):
        (found,) = parse_bundle(b"comment\n".join(order), None, "here")
        assert found.certificate == leaf
        assert found.chain == (elsewhere.intermediate, elsewhere.root)
        assert found.key is not None
        assert found.key.public_key() == key.public_key()


def test_a_bundle_without_a_key_is_its_first_leaf(elsewhere: Elsewhere) -> None:
    leaf, _ = elsewhere.issue("www.example.test")
    (found,) = parse_bundle(pem(elsewhere.root, elsewhere.intermediate, leaf), None, "here")
    assert (found.certificate, found.key) == (leaf, None)
    assert found.chain == (elsewhere.intermediate, elsewhere.root)
    (alone,) = parse_bundle(export_der(leaf), None, "here")
    assert (alone.certificate, alone.chain) == (leaf, ())
    (root,) = parse_bundle(pem(elsewhere.root), None, "here")
    assert root.chain == ()


def test_certificates_that_sign_each_other_in_a_ring_do_not_hang() -> None:
    one, two = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ring = (
        sign("one", one, "two", two, is_ca=True),
        sign("two", two, "one", one, is_ca=True),
    )
    (found,) = parse_bundle(pem(*ring), None, "here")
    assert found.certificate in ring
    assert len(found.chain) == 1


def test_two_keys_are_two_entities(elsewhere: Elsewhere) -> None:
    (one, one_key), (two, two_key) = elsewhere.issue("a.test"), elsewhere.issue("b.test")
    data = export_key(one_key, None) + pem(two) + export_key(two_key, b"secret") + pem(one, elsewhere.intermediate)
    found = parse_bundle(data, b"secret", "here")
    assert [entity.certificate for entity in found] == [one, two]
    assert all(entity.chain == (elsewhere.intermediate,) for entity in found)


def test_OT_32_a_key_that_is_not_the_certificates(elsewhere: Elsewhere) -> None:
    leaf, _ = elsewhere.issue("a.test")
    other = generate_key(KeyAlgorithm.EC256)
    with pytest.raises(RequestRefused, match="none of its certificates"):
        parse_bundle(pem(leaf) + export_key(other, None), None, "here")
    with pytest.raises(RequestRefused, match="not that of the certificate"):
        check_pair(leaf, other, "here")


def test_OT_31_what_is_broken_is_refused_with_a_reason(elsewhere: Elsewhere) -> None:
    damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(RequestRefused, match="damaged"):
        parse_bundle(damaged, None, "here")
    with pytest.raises(RequestRefused, match="no certificate"):
        parse_bundle(export_key(generate_key(KeyAlgorithm.EC256), None), None, "here")
    with pytest.raises(RequestRefused, match="no certificate"):
        parse_bundle(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", None, "here")
    for data in (b"", b"nonsense", b"\x30\x03\x02\x01\x00"):
        with pytest.raises(KeyUnavailable, match="neither PEM, DER nor PKCS#12"):
            parse_bundle(data, None, "here")


def make_pkcs12(
    folder: Path, leaf: x509.Certificate, key: PrivateKey, *options: str, password: str = "secret"
) -> bytes:
    (folder / "in.pem").write_bytes(pem(leaf) + export_key(key, None))
    command = ["openssl", "pkcs12", "-export", "-in", folder / "in.pem", "-passout", f"pass:{password}", *options]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout


@pytest.mark.parametrize(
    "options",
    [(), ("-legacy",), ("-keypbe", "aes-256-cbc", "-certpbe", "aes-256-cbc"), ("-descert", "-legacy"), ("-nomac",)],
    ids=["default", "legacy", "aes", "3des", "nomac"],
)
def test_OT_30_PKCS12_files_of_openssl(elsewhere: Elsewhere, tmp_path: Path, options: tuple[str, ...]) -> None:
    leaf, key = elsewhere.issue("a.test")
    data = make_pkcs12(tmp_path, leaf, key, "-name", "my name", *options)
    (found,) = parse_bundle(data, b"secret", "here")
    assert (found.certificate, found.friendly_name) == (leaf, "my name")
    assert found.key is not None


def test_OT_30_PKCS12_without_password(elsewhere: Elsewhere, tmp_path: Path) -> None:
    leaf, key = elsewhere.issue("a.test")
    data = make_pkcs12(tmp_path, leaf, key, password="")
    for password in (None, b""):
        assert parse_bundle(data, password, "here")[0].certificate == leaf


def test_OT_30_the_wrong_password_is_said_to_be_that(elsewhere: Elsewhere, tmp_path: Path) -> None:
    leaf, key = elsewhere.issue("a.test")
    with pytest.raises(KeyUnavailable, match="not this password"):
        parse_bundle(make_pkcs12(tmp_path, leaf, key), b"wrong", "here")


def test_OT_30_a_key_without_certificate_and_certificates_without_key(elsewhere: Elsewhere, tmp_path: Path) -> None:
    leaf, key = elsewhere.issue("a.test")
    with pytest.raises(RequestRefused, match="no certificate for it"):
        parse_bundle(make_pkcs12(tmp_path, leaf, key, "-nocerts"), b"secret", "here")
    (found,) = parse_bundle(make_pkcs12(tmp_path, leaf, key, "-nokeys"), b"secret", "here")
    assert (found.certificate, found.key) == (leaf, None)


def test_OT_30_two_entries_are_reported_and_not_silently_one(elsewhere: Elsewhere) -> None:
    (one, key), (two, _) = elsewhere.issue("a.test"), elsewhere.issue("b.test")

    def store(*others: x509.Certificate) -> bytes:
        return pkcs12.serialize_key_and_certificates(None, key, one, others, _encryption())  # type: ignore[arg-type]

    with pytest.raises(RequestRefused, match="more than one entry") as caught:
        parse_bundle(store(elsewhere.intermediate, two), b"secret", "here")
    assert "keytool" in caught.value.hint
    stranger = Elsewhere("Stranger")
    (found,) = parse_bundle(store(elsewhere.intermediate, stranger.root, elsewhere.root), b"secret", "here")
    assert found.chain == (elsewhere.intermediate, elsewhere.root)


def _encryption() -> object:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    return BestAvailableEncryption(b"secret")


def test_a_key_of_an_unknown_kind_in_PKCS12(tmp_path: Path) -> None:
    key = ed448.Ed448PrivateKey.generate()
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(build_name("a"))
        .issuer_name(build_name("a"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, None)
    )
    data = pkcs12.serialize_key_and_certificates(None, key, leaf, None, _encryption())  # type: ignore[arg-type]
    with pytest.raises(KeyUnavailable, match="not used"):
        parse_bundle(data, b"secret", "here")


def test_chains_end_where_nothing_is_found(elsewhere: Elsewhere) -> None:
    leaf, _ = elsewhere.issue("a.test")
    assert build_chain(leaf, ()) == ()
    assert not is_issued_by(leaf, elsewhere.root)


@pytest.mark.parametrize("preset", list(Preset), ids=lambda preset: preset.value)
def test_PKCS12_presets_are_read_by_openssl(authority: Authority, tmp_path: Path, preset: Preset) -> None:
    row = issue_with_key(authority, parse_names(["a.test"]), build_name(""), SERVER)
    password = make_password()
    chain = (parse_row(row), *authority.chains(row.issuer_id)[0])
    file = tmp_path / "store.p12"
    file.write_bytes(export_pkcs12(take_key(authority, row, "operator"), chain, password.encode(), preset, "a.test"))
    legacy = ("-legacy",) if preset is Preset.LEGACY else ()
    said = run_openssl("pkcs12", "-in", file, "-info", "-nodes", "-passin", f"pass:{password}", *legacy)
    assert said.count("BEGIN CERTIFICATE") == 2
    assert "BEGIN PRIVATE KEY" in said
    marks = {
        Preset.MODERN: "Iteration 20000",
        Preset.STRONG: "Iteration 600000",
        Preset.LEGACY: "pbeWithSHA1And3-KeyTripleDES",
    }
    assert marks[preset] in said
    assert f"MAC: {'sha1' if preset is Preset.LEGACY else 'sha256'}" in said


def test_a_pkcs12_of_one_certificate_alone(elsewhere: Elsewhere) -> None:
    leaf, key = elsewhere.issue("a.test")
    (found,) = parse_bundle(export_pkcs12(key, [leaf], b"pw", Preset.MODERN, "name"), b"pw", "here")
    assert (found.certificate, found.friendly_name) == (leaf, "name")


def test_a_java_truststore_has_javas_mark(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "trust.p12"
    file.write_bytes(export_java_truststore(authority.trust_bundle(), b"secret"))
    said = run_openssl("pkcs12", "-in", file, "-nokeys", "-passin", "pass:secret")
    assert "2.16.840.1.113894.746875.1.1" in said
    assert "friendlyName: CN=Example Root CA 1,O=Example" in said


def test_a_key_is_exported_encrypted(authority: Authority, tmp_path: Path) -> None:
    key = generate_key(KeyAlgorithm.EC256)
    file = tmp_path / "key.pem"
    file.write_bytes(export_key(key, b"secret"))
    assert b"ENCRYPTED" in file.read_bytes()
    assert "read EC key" in run_openssl("ec", "-in", file, "-passin", "pass:secret", "-noout")


def test_a_foreign_certificate_is_kept_and_the_CA_does_not_speak_for_it(
    authority: Authority, elsewhere: Elsewhere
) -> None:
    leaf, key = elsewhere.issue("a.test", serial=77)
    row = import_certificate(authority, Entity(leaf, key))
    assert row.issuer_id.startswith(FOREIGN)
    assert row.names.dns == ("a.test",)
    assert take_key(authority, row, "operator").public_key() == leaf.public_key()
    with pytest.raises(RequestRefused, match="here already"):
        import_certificate(authority, Entity(leaf))
    other, _ = Elsewhere("Third").issue("a.test", serial=77)
    assert import_certificate(authority, Entity(other)).issuer_id != row.issuer_id


def test_a_certificate_of_ours_gets_its_issuer_back(authority: Authority, elsewhere: Elsewhere) -> None:
    authority_root = import_issuer(authority, Entity(elsewhere.root, elsewhere.root_key), Phase.RETIRING)
    ours = import_issuer(authority, Entity(elsewhere.intermediate, elsewhere.key), Phase.RETIRING)
    assert (authority_root.id, ours.id, ours.parent_id) == ("root-2", "intermediate-2", "root-2")
    leaf, key = elsewhere.issue("a.test")
    row = import_certificate(authority, Entity(leaf, key), profile="server", auto_renew=True)
    assert row.issuer_id == "intermediate-2"
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    again, again_key = elsewhere.issue("b.test")
    kept = import_certificate(authority, Entity(again, again_key), profile="server", auto_renew=True)
    assert renew_certificate(authority, kept).new.not_after < kept.not_after  # as its profile says


def test_an_imported_pair_must_be_one_and_its_profile_known(authority: Authority, elsewhere: Elsewhere) -> None:
    leaf, key = elsewhere.issue("a.test")
    with pytest.raises(RequestRefused, match="not that of the certificate"):
        import_certificate(authority, Entity(leaf, generate_key(KeyAlgorithm.EC256)))
    with pytest.raises(SettingsError, match="no profile"):
        import_certificate(authority, Entity(leaf, key), profile="nope")


def test_names_this_CA_would_not_sign_are_left_out(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    odd = sign("not a name!", key, "Elsewhere", key)
    assert not import_certificate(authority, Entity(odd)).names
    assert not import_certificate(authority, Entity(sign("ca", key, "Elsewhere", key, is_ca=True))).names


def test_an_imported_issuer_signs_when_it_is_the_newest_active_one(
    authority: Authority, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    import_issuer(authority, Entity(elsewhere.root), Phase.ACTIVE)
    import_issuer(authority, Entity(elsewhere.intermediate, elsewhere.key), Phase.ACTIVE)
    row = authority.issue(build_request("www.example.test"), SERVER)
    assert row.issuer_id == "intermediate-2"
    (tmp_path / "root.pem").write_bytes(pem(elsewhere.root))
    (tmp_path / "int.pem").write_bytes(pem(elsewhere.intermediate))
    (tmp_path / "leaf.pem").write_bytes(pem(parse_row(row)))
    run_openssl("verify", "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "int.pem", tmp_path / "leaf.pem")
    assert authority.active_issuer(Role.ROOT).id == "root-1"
    with pytest.raises(RequestRefused, match="does not have the key of root-2"):
        authority.load_signer("root-2")


def test_issuers_that_are_not_taken_in(authority: Authority, elsewhere: Elsewhere) -> None:
    leaf, key = elsewhere.issue("a.test")
    with pytest.raises(RequestRefused, match="not the certificate of a CA"):
        import_issuer(authority, Entity(leaf, key), Phase.ACTIVE)
    with pytest.raises(RequestRefused, match="issuer of this CA is not here"):
        import_issuer(authority, Entity(elsewhere.intermediate, elsewhere.key), Phase.ACTIVE)
    with pytest.raises(RequestRefused, match="not that of the certificate"):
        import_issuer(authority, Entity(elsewhere.root, elsewhere.key), Phase.ACTIVE)
    import_issuer(authority, Entity(elsewhere.root), Phase.ACTIVE)
    with pytest.raises(RequestRefused, match="here already"):
        import_issuer(authority, Entity(elsewhere.root, elsewhere.root_key), Phase.ACTIVE)


def test_an_issuer_whose_certificate_was_taken_in_before(authority: Authority, elsewhere: Elsewhere) -> None:
    import_issuer(authority, Entity(elsewhere.root), Phase.RETIRING)
    row = import_certificate(authority, Entity(elsewhere.intermediate))
    assert row.issuer_id == "root-2"
    assert import_issuer(authority, Entity(elsewhere.intermediate, elsewhere.key), Phase.RETIRING).serial == row.serial


@pytest.mark.parametrize("with_certificate", [True, False])
def test_JL_08_an_issuer_that_its_parents_index_knows(
    authority: Authority, elsewhere: Elsewhere, *, with_certificate: bool
) -> None:
    """The usual order: the root's index first. Revoked later, it takes along what it signed."""
    root = import_issuer(authority, Entity(elsewhere.root, elsewhere.root_key), Phase.RETIRING)
    lines = f"V\t300101000000Z\t\t{serial_text(elsewhere.intermediate)}\tunknown\t/CN=Elsewhere CA\n"
    found = elsewhere.intermediate if with_certificate else None
    import_index(authority, root.id, parse_index(lines, "index.txt"), lambda entry: found)
    issuer = import_issuer(authority, Entity(elsewhere.intermediate, elsewhere.key), Phase.ACTIVE)
    assert authority.active_issuer().certificate == elsewhere.intermediate
    leaf, _ = elsewhere.issue("a.test")
    row = import_certificate(authority, Entity(leaf))
    assert row.issuer_id == issuer.id
    authority.revoke(root.id, issuer.serial, Reason.KEY_COMPROMISE, "operator")
    assert authority.find(issuer.id, row.serial).status is Status.REVOKED


def test_JL_08_an_issuer_with_the_serial_of_another_certificate(authority: Authority, elsewhere: Elsewhere) -> None:
    root = import_issuer(authority, Entity(elsewhere.root, elsewhere.root_key), Phase.RETIRING)
    number = elsewhere.intermediate.serial_number
    other = sign("other", elsewhere.key, "Elsewhere Root", elsewhere.root_key, is_ca=True, serial=number)
    import_certificate(authority, Entity(other))
    with pytest.raises(RequestRefused, match="is another certificate here"):
        import_issuer(authority, Entity(elsewhere.intermediate, elsewhere.key), Phase.ACTIVE)
    assert [one.id for one in authority.issuers() if one.parent_id == root.id] == [root.id]


def serial_text(leaf: x509.Certificate) -> str:
    """As ``openssl ca`` writes it: an even number of digits."""
    return leaf.serial_number.to_bytes((leaf.serial_number.bit_length() + 7) // 8, "big").hex().upper()


INDEX = """\
V\t{end}\t\t1000\tunknown\t/CN=valid.test
R\t{end}\t260101120000Z,keyCompromise\t1001\tunknown\t/CN=compromised.test
R\t{end}\t20260102120000Z\t1002\tunknown\t/CN=plain.test
R\t{end}\t260103120000Z,holdInstruction,1.2.840.10040.2.2\t1003\tunknown\t/CN=held.test
E\t500101000000Z\t\t0A\tunknown\t/CN=expired.test
R\t{end}\t260104120000Z,removeFromCRL\t1005\tunknown\t/CN=released.test

"""


def index_text(authority: Authority) -> str:
    return INDEX.format(end=f"{authority.clock() + timedelta(days=100):%y%m%d%H%M%SZ}")


def test_JL_08_an_index_of_openssl_ca_is_taken_in(authority: Authority) -> None:
    entries = parse_index(index_text(authority), "index.txt")
    result = import_index(authority, "intermediate-1", entries, lambda entry: None)
    assert (result.added, result.known) == (6, 0)
    found = {
        serial: authority.find("intermediate-1", serial) for serial in ("1000", "1001", "1002", "1003", "a", "1005")
    }
    states = {serial: (row.status, row.reason, row.revoked_at) for serial, row in found.items() if row}
    assert states == {
        "1000": (Status.VALID, None, None),
        "1001": (Status.REVOKED, Reason.KEY_COMPROMISE, datetime(2026, 1, 1, 12, tzinfo=UTC)),
        "1002": (Status.REVOKED, Reason.UNSPECIFIED, datetime(2026, 1, 2, 12, tzinfo=UTC)),
        "1003": (Status.HELD, Reason.CERTIFICATE_HOLD, datetime(2026, 1, 3, 12, tzinfo=UTC)),
        "a": (Status.VALID, None, None),
        "1005": (Status.VALID, None, None),
    }
    expired = found["a"]
    assert expired is not None
    assert expired.not_after == datetime(1950, 1, 1, tzinfo=UTC)
    assert expired.subject == "/CN=expired.test"
    with pytest.raises(StoreError, match="only the index entry"):
        parse_row(expired)
    again = import_index(authority, "intermediate-1", entries, lambda entry: None)
    assert (again.added, again.known) == (0, 6)


def test_JL_08_an_index_that_openssl_ca_wrote(authority: Authority, elsewhere: Elsewhere, tmp_path: Path) -> None:
    import_issuer(authority, Entity(elsewhere.root, elsewhere.root_key), Phase.RETIRING)
    ca = OpensslCa(tmp_path, elsewhere.root, elsewhere.root_key)
    for name, reason in (("a.test", ""), ("b.test", "keyCompromise"), ("c.test", "superseded")):
        ca.issue(name, reason)
    entries = parse_index((tmp_path / "index.txt").read_text(), "index.txt")
    result = import_index(authority, "root-2", entries, lambda entry: ca.load(entry.serial))
    assert result.added == 3
    rows = [authority.find("root-2", entry.serial) for entry in entries]
    assert [row and row.reason for row in rows] == [None, Reason.KEY_COMPROMISE, Reason.SUPERSEDED]
    assert all(row and row.der for row in rows)


class OpensslCa:
    """`openssl ca` in a folder."""

    def __init__(self, folder: Path, root: x509.Certificate, key: PrivateKey) -> None:
        self.folder = folder
        (folder / "root.pem").write_bytes(pem(root))
        (folder / "root.key").write_bytes(export_key(key, None))
        (folder / "index.txt").touch()
        (folder / "serial").write_text("0FFF\n")
        (folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndir={folder}\nnew_certs_dir={folder}\ndatabase={folder}/index.txt\n"
            f"serial={folder}/serial\ncertificate={folder}/root.pem\nprivate_key={folder}/root.key\n"
            "default_md=sha256\ndefault_days=30\npolicy=p\n[p]\ncommonName=supplied\n"
        )

    def issue(self, name: str, reason: str) -> None:
        csr, key = self.folder / f"{name}.csr", self.folder / f"{name}.key"
        new = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}")
        run_openssl(*new, "-keyout", key, "-out", csr)
        leaf = self.folder / f"{name}.pem"
        ca = ("ca", "-config", self.folder / "ca.cnf", "-batch", "-notext")
        run_openssl(*ca, "-in", csr, "-out", leaf)
        if reason:
            run_openssl(*ca, "-revoke", leaf, "-crl_reason", reason)

    def load(self, serial: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{serial.upper().zfill(4)}.pem").read_bytes())


def test_JL_08_a_certificate_that_is_another_one_stops_the_import(authority: Authority, elsewhere: Elsewhere) -> None:
    entries = parse_index(index_text(authority), "index.txt")
    leaf, _ = elsewhere.issue("a.test")
    with pytest.raises(RequestRefused, match="another one"):
        import_index(authority, "intermediate-1", entries, lambda entry: leaf)
    foreign, _ = elsewhere.issue("a.test", serial=0x1000)
    with pytest.raises(RequestRefused, match="did not sign"):
        import_index(authority, "intermediate-1", entries, lambda entry: foreign)
    assert authority.find("intermediate-1", "1000") is None


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("V\t1", "not a line"),
        ("X\t260101120000Z\t\t01\tunknown\t/CN=a", "not a line"),
        ("V\t260101120000Z\t\t0G\tunknown\t/CN=a", "not a serial"),
        ("V\t2601011200Z\t\t01\tunknown\t/CN=a", "not a time"),
        ("V\t261301120000Z\t\t01\tunknown\t/CN=a", "not a time"),
        ("R\t260101120000Z\t260101120000Z,because\t01\tunknown\t/CN=a", "not a reason"),
    ],
)
def test_JL_08_a_line_that_is_wrong_is_named(line: str, complaint: str) -> None:
    with pytest.raises(RequestRefused, match=rf"^index.txt:2: .*{complaint}"):
        parse_index(f"\n{line}\n", "index.txt")


def test_file_names_of_an_index() -> None:
    (entry,) = parse_index("V\t991231235959Z\t\t01\tone.pem\t/CN=a", "index.txt")
    assert (entry.file_name, entry.serial, entry.not_after.year) == ("one.pem", "1", 1999)
