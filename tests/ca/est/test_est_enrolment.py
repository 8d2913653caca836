# SPDX-License-Identifier: Apache-2.0
"""Who gets which certificate over EST: without a socket, every way to be refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottr.ca.authority import Authority
from ottr.ca.certificates import Entry, insert_certificate
from ottr.ca.clients import ClientRefused, verify_client
from ottr.ca.csr import Request, read_common_name
from ottr.ca.est import schema
from ottr.ca.est.enrolment import enrol_client, enrol_user, renew_client
from ottr.ca.est.messages import read_csr
from ottr.ca.est.server import EstServer
from ottr.ca.est.users import Grant, User, create_user, find_user, remove_user
from ottr.ca.issuance import Terms
from ottr.ca.keyed import issue_with_key
from ottr.ca.keys import PrivateKey, generate_key
from ottr.ca.model import Certificate, KeyAlgorithm, Names, Reason, Role
from ottr.ca.names import ANY_NAME, NameRules
from ottr.ca.opening import init_authority, open_authority
from ottr.ca.peers import Peer
from ottr.ca.renewal import renew_issuers
from ottr.ca.rollover import retire_old, start_rollover
from ottr.ca.schema import certificate, event
from ottr.errors import RequestRefused, SettingsError, StoreError
from tests.ca.conftest import PASSPHRASE, MovableClock, run_openssl
from tests.ca.est.conftest import Holder, Issue, Serve, read_issued, say
from tests.ca.est.running import encode, read_certificates
from tests.ca.requests import build_csr, build_name

DEVICES = Grant(NameRules(dns=("*.dev.test",), common_names=("sensor-*",)), ("client", "server"))


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def password(authority: Authority) -> str:
    return basic("devices", create_user(authority, "devices", DEVICES))


# By password


def test_a_password_enrols_for_the_names_it_is_bound_to(server: EstServer, authority: Authority, password: str) -> None:
    device = Holder(server)
    body = device.csr("a.dev.test", common_name="sensor-1")
    issued = read_issued(device.ask("simpleenroll", body, authorization=password))
    assert issued.public_key() == device.key.public_key()
    row = authority.find_serial(format(issued.serial_number, "x"))
    assert (row.requester, row.profile, row.names.dns) == ("est:user/devices", "client", ("a.dev.test",))
    issued = read_issued(device.ask("server/simpleenroll", device.csr("a.dev.test"), authorization=password))
    assert authority.find_serial(format(issued.serial_number, "x")).profile == "server"


@pytest.mark.parametrize(
    ("path", "names", "common_name", "problem"),
    [
        ("simpleenroll", ("www.example.test",), "sensor-1", "www.example.test is not a name this requester may have"),
        ("simpleenroll", ("a.dev.test", "dev.test"), "", "dev.test is not a name this requester may have"),
        ("simpleenroll", (), "alice", "'alice' is not a common name this requester may have"),
        ("server/simpleenroll", (), "www.example.test", "www.example.test is not a name this requester may have"),
    ],
)
def test_a_password_enrols_for_nothing_else(
    server: EstServer, password: str, path: str, names: tuple[str, ...], common_name: str, problem: str
) -> None:
    device = Holder(server)
    refused = device.ask(path, device.csr(*names, common_name=common_name), authorization=password)
    assert say(refused) == (403, problem)


def test_a_password_is_for_its_profiles(serve: Serve, authority: Authority) -> None:
    rules = NameRules(common_names=("*",))
    password = basic("one", create_user(authority, "one", Grant(rules, ("client",))))
    device = Holder(serve(profiles=("client", "server")))
    refused = device.ask("server/simpleenroll", device.csr(common_name="a"), authorization=password)
    assert say(refused) == (403, "this password is not for the profile server")
    device = Holder(serve(profiles=("server",)))
    refused = device.ask("simpleenroll", device.csr(common_name="a"), authorization=password)
    assert say(refused) == (403, "this password is not for the profile client")


def test_wrong_passwords_are_refused_and_asked_for(server: EstServer, password: str) -> None:
    device = Holder(server)
    body = device.csr(common_name="sensor-1")
    wrong = ["Bearer abc", "Basic ???", "Basic " + base64.b64encode(b"devices").decode(), "Basic \xff", ""]
    for authorization in (basic("devices", "wrong"), basic("others", "wrong"), basic("", ""), *wrong):
        refused = device.ask("simpleenroll", body, authorization=authorization)
        assert say(refused) == (401, "there is no such user and password, or not any more")
        assert refused.headers["www-authenticate"] == 'Basic realm="est", charset="UTF-8"'
    nobody = device.ask("simpleenroll", body)
    assert say(nobody) == (401, "this needs a client certificate of this CA")
    assert nobody.headers["www-authenticate"].startswith("Basic ")


def test_where_there_are_no_users_nobody_enrols(server: EstServer) -> None:
    device = Holder(server)
    for name in ("a", "a\0", "\N{SNOWMAN}"):
        assert (
            device.ask("simpleenroll", device.csr(common_name="a"), authorization=basic(name, "b")).status_code == 401
        )


def test_a_password_is_not_taken_without_tls(server: EstServer, password: str) -> None:
    device = Holder(server)
    body = device.csr(common_name="sensor-1")
    refused = device.ask("simpleenroll", body, peer=Peer("192.0.2.7"), authorization=password)
    assert say(refused) == (403, "passwords are not taken without TLS; change this one")


def test_a_password_ends(server: EstServer, authority: Authority, clock: MovableClock) -> None:
    text = create_user(authority, "once", replace(DEVICES, uses=1))
    device = Holder(server)
    body = device.csr(common_name="sensor-1")
    refused = device.ask("simpleenroll", device.csr(common_name="other"), authorization=basic("once", text))
    assert refused.status_code == 403
    with authority.database.read() as connection:
        user = find_user(connection, "once", text, clock())
    assert user is not None
    read_issued(device.ask("simpleenroll", body, authorization=basic("once", text)))
    assert device.ask("simpleenroll", body, authorization=basic("once", text)).status_code == 401
    with pytest.raises(RequestRefused, match="as often as it may be"):  # two asked at once
        enrol_user(authority, user, "client", read_csr(body))
    short = create_user(authority, "short", replace(DEVICES, life_s=60))
    clock.move(seconds=59)
    read_issued(device.ask("simpleenroll", body, authorization=basic("short", short)))
    clock.move(seconds=1)
    assert device.ask("simpleenroll", body, authorization=basic("short", short)).status_code == 401
    usual = create_user(authority, "usual", DEVICES)
    clock.move(days=30, seconds=-1)
    read_issued(device.ask("simpleenroll", body, authorization=basic("usual", usual)))
    clock.move(seconds=1)
    assert device.ask("simpleenroll", body, authorization=basic("usual", usual)).status_code == 401
    removed = create_user(authority, "removed", DEVICES)
    remove_user(authority, "removed")
    assert device.ask("simpleenroll", body, authorization=basic("removed", removed)).status_code == 401


def test_IO_18_a_password_is_long_made_here_and_stored_nowhere(authority: Authority) -> None:
    text, other = create_user(authority, "one", DEVICES), create_user(authority, "two", DEVICES)
    assert len(text) >= 43
    assert text != other
    assert text.encode() not in authority.settings.folder.joinpath("ca.db").read_bytes()
    with authority.database.read() as connection:
        assert text not in str(connection.execute(event.select()).all())


def test_users_are_named_once_and_for_profiles_there_are(authority: Authority) -> None:
    with pytest.raises(RequestRefused, match="no user 'one'"):
        remove_user(authority, "one")
    create_user(authority, "one", DEVICES)
    for name, error in (("one", "user 'one' already"), ("a:b", "not the name"), ("", "not the name")):
        with pytest.raises(RequestRefused, match=error):
            create_user(authority, name, DEVICES)
    with pytest.raises(SettingsError, match="no profile 'x'"):
        create_user(authority, "two", replace(DEVICES, profiles=("x",)))
    with pytest.raises(RequestRefused, match="no user 'two'"):
        remove_user(authority, "two")


def test_who_may_enrol_is_in_the_audit_trail(authority: Authority) -> None:
    create_user(authority, "one", DEVICES)
    remove_user(authority, "one")
    with authority.database.read() as connection:
        rows = connection.execute(event.select().order_by(event.c.id.desc()).limit(2)).all()
    user = {"user": "one"}
    assert [(row.kind, row.detail) for row in rows] == [("est user removed", user), ("est user", user)]


def test_the_rules_of_a_user_come_back_as_they_were(authority: Authority, clock: MovableClock) -> None:
    rules = NameRules(("a",), ("192.0.2.0/24",), ("*@x",), ("spiffe://*",), ("c",), whole_subject=True)
    text = create_user(authority, "one", Grant(rules, ("client",)))
    with authority.database.read() as connection:
        user = find_user(connection, "one", text, clock())
    assert user is not None
    assert user.rules == rules


MAY = NameRules(("*.dev.test",), ("10.0.0.0/8",), ("*@dev.test",), ("spiffe://dev/*",), ("sensor-*",))
ALLOWED: list[x509.GeneralName] = [
    x509.DNSName("a.dev.test"),
    x509.DNSName("*.b.dev.test"),
    x509.IPAddress(ip_address("10.1.2.3")),
    x509.RFC822Name("a@dev.test"),
    x509.UniformResourceIdentifier("spiffe://dev/a"),
]
REFUSED: list[x509.GeneralName] = [
    x509.DNSName("dev.test"),
    x509.DNSName("*.test"),
    x509.DNSName("a.dev.test.evil.test"),
    x509.IPAddress(ip_address("11.1.2.3")),
    x509.IPAddress(ip_address("::ffff:10.1.2.3")),
    x509.RFC822Name("a@evil.test"),
    x509.UniformResourceIdentifier("spiffe://evil/a"),
    x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    x509.DirectoryName(build_name("sensor-1")),
]
WISHES: list[tuple[x509.ExtensionType, bool]] = [
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.OCSP_SIGNING]), False),
    (x509.OCSPNoCheck(), False),
]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    names=st.lists(st.sampled_from([*ALLOWED, *REFUSED]), max_size=3, unique=True),
    common_name=st.sampled_from(["sensor-1", "a.dev.test", "alice", "dev.test", ""]),
    wishes=st.lists(st.sampled_from(WISHES), unique_by=id),
)
def test_a_password_never_gets_more_than_it_may(
    server: EstServer,
    authority: Authority,
    names: list[x509.GeneralName],
    common_name: str,
    wishes: list[tuple[x509.ExtensionType, bool]],
) -> None:
    user = User("devices", MAY, ("client",))
    device = Holder(server)
    san = [(x509.SubjectAlternativeName(names), False)] if names else []
    texts = {str(one.value) for one in names}
    fits = common_name in ({"", "sensor-1"} | texts) and (common_name or names)
    body = device.csr(common_name=common_name, extensions=[*san, *wishes])
    if not fits or set(names) & set(REFUSED):
        with pytest.raises(RequestRefused):
            enrol_user(authority, user, "client", read_csr(body))
        return
    with authority.database.write() as connection:
        connection.execute(schema.user.delete())
    create_user(authority, "devices", Grant(MAY, ("client",)))
    issued = enrol_user(authority, user, "client", read_csr(body))
    found = {type(one.value): one.value for one in issued.extensions}
    assert set(found.get(x509.SubjectAlternativeName, ())) == set(names)
    assert read_common_name(issued.subject) == common_name
    assert found[x509.BasicConstraints] == x509.BasicConstraints(ca=False, path_length=None)
    assert found[x509.ExtendedKeyUsage] == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    assert x509.OCSPNoCheck not in found


# By bootstrap certificate


BOOTSTRAP = {"profiles": ("client", "server"), "bootstrap": ("client",)}


def test_a_bootstrap_certificate_enrols_for_its_own_names(serve: Serve, issue: Issue, authority: Authority) -> None:
    factory = issue("sensor-1", "a.dev.test", "b.dev.test", server=serve(**BOOTSTRAP))
    device = Holder(factory.server)
    body = device.csr("b.dev.test", common_name="sensor-1")
    issued = read_issued(factory.ask("simpleenroll", body))
    row = authority.find_serial(format(issued.serial_number, "x"))
    assert (row.requester, row.names.dns) == (f"est:intermediate-1/{factory.row.serial}", ("b.dev.test",))  # type: ignore[union-attr]
    issued = read_issued(factory.ask("server/simpleenroll", device.csr("b.dev.test")))
    assert issued.subject.rfc4514_string() == "CN=b.dev.test"
    for common_name in ("", "a.dev.test"):
        read_issued(factory.ask("simpleenroll", device.csr("a.dev.test", common_name=common_name)))


@pytest.mark.parametrize(
    ("path", "names", "common_name", "problem"),
    [
        ("simpleenroll", ("c.dev.test",), "sensor-1", "c.dev.test is not a name of the client certificate"),
        ("simpleenroll", ("x.a.dev.test",), "", "x.a.dev.test is not a name of the client certificate"),
        ("simpleenroll", (), "sensor-2", "'sensor-2' is not the common name of the client certificate"),
        ("server/simpleenroll", (), "c.dev.test", "c.dev.test is not a name of the client certificate"),
    ],
)
def test_a_bootstrap_certificate_enrols_for_nothing_else(
    serve: Serve, issue: Issue, path: str, names: tuple[str, ...], common_name: str, problem: str
) -> None:
    factory = issue("sensor-1", "a.dev.test", "*.a.dev.test", server=serve(**BOOTSTRAP))
    refused = factory.ask(path, factory.csr(*names, common_name=common_name))
    assert say(refused) == (403, problem)


def test_of_a_subject_only_the_common_name_is_taken_over(serve: Serve, issue: Issue) -> None:
    factory = issue("sensor-1", server=serve(**BOOTSTRAP))
    subject = x509.Name.from_rfc4514_string("CN=sensor-1,O=Somebody Else")
    request = build_csr(common_name="sensor-1", key=factory.key)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    body = encode(builder.sign(factory.key, request.signature_hash_algorithm))  # type: ignore[arg-type]
    assert read_issued(factory.ask("simpleenroll", body)).subject.rfc4514_string() == "CN=sensor-1"


def test_other_certificates_do_not_bootstrap(issue: Issue) -> None:
    client = issue("sensor-1")
    refused = client.ask("simpleenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (403, "certificates of the profile client enrol for nothing else")


# By the certificate before


def test_IO_09_IO_10_a_client_renews_itself(issue: Issue, authority: Authority, clock: MovableClock) -> None:
    client = issue("sensor-1", "a.dev.test", "192.0.2.1")
    assert client.row is not None
    clock.move(days=200)
    key = generate_key(KeyAlgorithm.EC384)
    san = x509.SubjectAlternativeName([x509.IPAddress(ip_address("192.0.2.1")), x509.DNSName("A.dev.test")])
    body = client.csr(common_name="sensor-1", key=key, extensions=[(san, False)])
    issued = read_issued(client.ask("simplereenroll", body))
    old = client.certificate
    assert issued.not_valid_after_utc > old.not_valid_after_utc
    assert issued.serial_number != old.serial_number
    assert issued.public_key() == key.public_key()
    assert issued.subject == old.subject
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        before, after = (one.extensions.get_extension_for_class(kind).value for one in (old, issued))
        assert set(before) == set(after)
    row, former = (authority.find_serial(format(one.serial_number, "x")) for one in (issued, old))
    assert former.replaced_by == row.id
    assert row.requester == f"est:intermediate-1/{former.serial}"
    assert row.profile == "client"
    with authority.database.read() as connection:
        last = connection.execute(event.select().order_by(event.c.id.desc()).limit(1)).one()
    assert (last.kind, last.serial, last.detail) == ("renew", row.serial, {"replaces": former.serial})


def test_the_same_key_may_be_certified_again_and_again(issue: Issue, authority: Authority) -> None:
    client = issue("sensor-1")
    body = client.csr(common_name="sensor-1")
    first, second = (read_issued(client.ask("client/simplereenroll", body)) for _ in range(2))
    assert first.public_key() == second.public_key() == client.key.public_key()
    assert first.serial_number != second.serial_number
    former = authority.find_serial(format(client.certificate.serial_number, "x"))
    assert former.replaced_by == authority.find_serial(format(second.serial_number, "x")).id


@pytest.mark.parametrize(
    ("names", "common_name"),
    [
        (("a.dev.test",), "sensor-2"),
        (("a.dev.test",), ""),
        (("a.dev.test", "b.dev.test"), "sensor-1"),
        (("b.dev.test",), "sensor-1"),
        ((), "sensor-1"),
    ],
)
def test_CK_22_a_renewal_keeps_subject_and_names(issue: Issue, names: tuple[str, ...], common_name: str) -> None:
    client = issue("sensor-1", "a.dev.test")
    refused = client.ask("simplereenroll", client.csr(*names, common_name=common_name))
    said = "subject and names of the CSR must be those of the certificate: CN=sensor-1, a.dev.test"
    assert say(refused) == (400, said)


def test_a_certificate_without_a_subject_is_renewed_without_one(issue: Issue) -> None:
    client = issue("", "a.dev.test")
    assert read_issued(client.ask("simplereenroll", client.csr("a.dev.test"))).subject == x509.Name([])
    refused = client.ask("simplereenroll", client.csr("a.dev.test", common_name="a.dev.test"))
    assert say(refused)[1] == "subject and names of the CSR must be those of the certificate: no subject, a.dev.test"


def test_a_renewal_keeps_the_whole_subject_or_is_refused(server: EstServer, authority: Authority) -> None:
    client = Holder(server)
    subject = x509.Name.from_rfc4514_string("CN=alice,OU=People,O=Example")
    request = Request(client.key.public_key(), Names(), subject)
    client.row = authority.issue(request, Terms("client", ANY_NAME, "operator"))
    builder = x509.CertificateSigningRequestBuilder().subject_name(client.certificate.subject)
    body = encode(builder.sign(client.key, hashes.SHA256()))
    assert read_issued(client.ask("simplereenroll", body)).subject == client.certificate.subject
    swapped = x509.Name(reversed(list(client.certificate.subject)))
    body = encode(x509.CertificateSigningRequestBuilder().subject_name(swapped).sign(client.key, hashes.SHA256()))
    assert client.ask("simplereenroll", body).status_code == 400
    subject = x509.Name.from_rfc4514_string("CN=alice,L=Town,O=Example")
    client.row = take_in(authority, subject, client.key)
    body = encode(x509.CertificateSigningRequestBuilder().subject_name(subject).sign(client.key, hashes.SHA256()))
    refused = (403, "certificates of the profile client have no such subject any more")
    assert say(client.ask("simplereenroll", body)) == refused


def take_in(authority: Authority, subject: x509.Name, key: PrivateKey) -> Certificate:
    """A certificate that the issuer's key has signed elsewhere, as `ottr ca import` records it."""
    issuer, signer = authority.active_issuer(), authority.load_signer("intermediate-1")
    builder = build_leaf(issuer.certificate.subject, subject, key, authority.clock())
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = builder.add_extension(purpose, critical=False).sign(signer.key, signer.digest)
    with authority.database.write() as connection:
        return insert_certificate(connection, leaf, Entry(issuer.id, "client", "import", authority.clock()))


def build_leaf(
    issuer: x509.Name, subject: x509.Name, key: PrivateKey, now: datetime, serial: int = 0
) -> x509.CertificateBuilder:
    end = now + timedelta(days=30)
    number = serial or x509.random_serial_number()
    return x509.CertificateBuilder(issuer, subject, key.public_key(), number, now - timedelta(minutes=1), end)


def test_only_profiles_of_est_are_renewed(issue: Issue, serve: Serve) -> None:
    client = issue("sensor-1", server=serve(profiles=("server",)))
    refused = client.ask("simplereenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (403, "certificates of the profile client are not renewed here")
    client = issue("sensor-1")
    refused = client.ask("server/simplereenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (403, "certificates of the profile client are not renewed here")


@pytest.mark.parametrize(
    ("reason", "said"),
    [(Reason.KEY_COMPROMISE, "revoked"), (Reason.SUPERSEDED, "revoked"), (Reason.CERTIFICATE_HOLD, "on hold")],
)
def test_IO_09_CK_22_revoked_and_held_ones_are_refused(
    issue: Issue, authority: Authority, reason: Reason, said: str
) -> None:
    client = issue("sensor-1")
    assert client.row is not None
    authority.revoke(client.row.issuer_id, client.row.serial, reason, "operator")
    refused = client.ask("simplereenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (403, f"the client certificate is {said}")
    assert client.row.der is not None
    with pytest.raises(ClientRefused, match=said):  # before anything is decided, and again when it is signed
        verify_client(authority, client.row.der)


def test_what_was_revoked_a_moment_ago_gets_nothing(issue: Issue, authority: Authority, serve: Serve) -> None:
    client = issue("sensor-1", server=serve(**BOOTSTRAP))
    assert client.row is not None
    assert client.row.der is not None
    verified = verify_client(authority, client.row.der)
    authority.revoke(client.row.issuer_id, client.row.serial, Reason.KEY_COMPROMISE, "operator")
    request = Request(generate_key(KeyAlgorithm.EC256).public_key(), Names(), client.certificate.subject)
    with pytest.raises(ClientRefused, match="is revoked"):
        renew_client(authority, verified, request)
    with pytest.raises(ClientRefused, match="is revoked"):
        enrol_client(authority, verified, "client", request)
    assert authority.find_serial(client.row.serial).replaced_by is None


def test_expired_ones_and_those_of_tomorrow_are_refused(
    issue: Issue, authority: Authority, clock: MovableClock
) -> None:
    client, later = issue("sensor-1"), issue("sensor-2", not_before=clock.now + timedelta(days=2))
    refused = later.ask("simplereenroll", later.csr(common_name="sensor-2"))
    assert say(refused) == (403, "it is not valid yet")
    clock.now = later.certificate.not_valid_before_utc
    read_issued(later.ask("simplereenroll", later.csr(common_name="sensor-2")))
    clock.now = client.certificate.not_valid_after_utc
    refused = client.ask("simplereenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (403, "the client certificate has expired")


def test_IO_12_the_certificate_itself_counts_not_its_serial(issue: Issue, authority: Authority) -> None:
    client = issue("sensor-1")
    key = generate_key(KeyAlgorithm.EC256)
    old = client.certificate
    same, other = (
        build_leaf(old.issuer, old.subject, key, authority.clock(), serial) for serial in (old.serial_number, 0)
    )
    body = client.csr(common_name="sensor-1", key=key)

    def show(forged: x509.Certificate) -> tuple[int, str]:
        peer = Peer("192.0.2.7", secure=True, certificate_der=forged.public_bytes(Encoding.DER))
        return say(client.ask("simplereenroll", body, peer=peer))

    assert show(same.sign(key, hashes.SHA256())) == (403, "the client certificate is not of this CA")
    # Signed with the issuer's very key, as by a signing service that recorded nothing.
    signer = authority.load_signer("intermediate-1")
    unrecorded = (403, "the client certificate is not in the table of this CA")
    for forged in (same, other):
        assert show(forged.sign(signer.key, signer.digest)) == unrecorded
    refused = client.ask("simplereenroll", body, peer=Peer("192.0.2.7", secure=True, certificate_der=b"0"))
    assert say(refused) == (403, "the client certificate cannot be read")


def test_IO_20_a_certificate_without_clientAuth_is_none_of_a_client(issue: Issue, authority: Authority) -> None:
    server = issue("", "www.dev.test", profile="server")
    refused = server.ask("server/simplereenroll", server.csr("www.dev.test", common_name="www.dev.test"))
    assert say(refused) == (403, "the client certificate is not one for clients: it has no clientAuth")
    intermediate = authority.active_issuer().certificate
    with pytest.raises(ClientRefused, match="no clientAuth"):
        verify_client(authority, intermediate.public_bytes(Encoding.DER))


def test_a_key_that_is_known_to_others_is_not_certified_again(issue: Issue, authority: Authority) -> None:
    one, two = issue("sensor-1"), issue("sensor-2")
    assert two.row is not None
    authority.revoke(two.row.issuer_id, two.row.serial, Reason.KEY_COMPROMISE, "operator")
    refused = one.ask("simplereenroll", one.csr(common_name="sensor-1", key=two.key))
    assert say(refused)[0] == 400
    assert "known to others" in say(refused)[1]


# Rollover


def test_IO_14_an_old_client_renews_into_the_new_CA_and_once_the_old_is_retired_no_more(
    issue: Issue, authority: Authority
) -> None:
    client, late = issue("sensor-1"), issue("sensor-2")
    start_rollover(authority)
    issued = read_issued(client.ask("simplereenroll", client.csr(common_name="sensor-1")))
    client.row = authority.find_serial(format(issued.serial_number, "x"))
    assert client.row.issuer_id == "intermediate-2"
    retire_old(authority)
    read_issued(client.ask("simplereenroll", client.csr(common_name="sensor-1")))
    refused = late.ask("simplereenroll", late.csr(common_name="sensor-2"))
    assert say(refused) == (403, "the issuer of the client certificate is not trusted any more")


def test_a_client_of_a_revoked_or_expired_issuer_is_refused(
    issue: Issue, authority: Authority, clock: MovableClock
) -> None:
    untrusted = (403, "the issuer of the client certificate is not trusted any more")
    one = issue("sensor-1")
    start_rollover(authority)
    two = issue("sensor-2")
    root = authority.active_issuer(Role.ROOT)
    authority.revoke(root.id, root.serial, Reason.CESSATION_OF_OPERATION, "operator")
    assert say(two.ask("simplereenroll", two.csr(common_name="sensor-2"))) == untrusted

    def move(**ends: datetime) -> None:
        serial = next(issuer.serial for issuer in authority.issuers() if issuer.id == "intermediate-1")
        with authority.database.write() as connection:
            connection.execute(certificate.update().where(certificate.c.serial == serial).values(**ends))

    move(not_before=clock.now)
    read_issued(one.ask("simplereenroll", one.csr(common_name="sensor-1")))
    move(not_after=clock.now)
    assert say(one.ask("simplereenroll", one.csr(common_name="sensor-1"))) == untrusted


def test_the_CA_certificates_are_the_trusted_ones_and_the_words_of_old_roots_for_new_ones(
    server: EstServer, authority: Authority, clock: MovableClock
) -> None:
    def list_subjects() -> list[tuple[str, str]]:
        answered = Holder(server).ask("cacerts")
        assert answered.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
        found = read_certificates(bytes(answered.body))
        return sorted((str(one.subject.rfc4514_string())[3:-10], one.issuer.rfc4514_string()[3:-10]) for one in found)

    root, intermediate = "Example Root CA {}", "Example Intermediate CA {}"
    first = [(intermediate.format(1), root.format(1)), (root.format(1), root.format(1))]
    assert list_subjects() == first
    start_rollover(authority)
    second = [(intermediate.format(2), root.format(2)), (root.format(2), root.format(2))]
    assert list_subjects() == sorted([*first, *second, (root.format(2), root.format(1))])
    retire_old(authority)
    assert list_subjects() == second
    clock.move(days=5 * 365 * 0.7)
    renew_issuers(authority)
    third = (intermediate.format(3), root.format(2))
    assert list_subjects() == sorted([*second, third])


# Requests


@pytest.mark.parametrize(
    ("change", "status", "problem"),
    [
        (lambda body: b"?" + body, 400, "the CSR is not in base64"),
        (lambda body: b"", 400, "the CSR cannot be read"),
        (lambda body: base64.b64encode(b"\x30\x00"), 400, "the CSR cannot be read"),
        (lambda body: base64.b64encode(base64.b64decode(body)[:-4] + b"1234"), 400, "the signature of the CSR"),
        (lambda body: base64.b64encode(b"0" * 70_000), 400, "the CSR has 70000 bytes"),
    ],
)
def test_CSRs_that_are_none_are_refused(issue: Issue, change: object, status: int, problem: str) -> None:
    client = issue("sensor-1")
    refused = say(client.ask("simplereenroll", change(client.csr(common_name="sensor-1"))))  # type: ignore[operator]
    assert refused[0] == status
    assert problem in refused[1]


def test_a_CSR_comes_in_base64_of_any_lines_and_as_others_send_it(issue: Issue) -> None:
    client = issue("sensor-1")
    csr = build_csr(common_name="sensor-1", key=client.key)
    der, pem = csr.public_bytes(Encoding.DER), csr.public_bytes(Encoding.PEM)
    one_line = base64.b64encode(der)
    for body in (one_line, one_line[:7] + b"\r\n \t" + one_line[7:], der, pem):
        read_issued(client.ask("simplereenroll", body))
    body = client.csr(common_name="sensor-1")
    read_issued(
        client.ask("simplereenroll", body, content_type="Application/PKCS10; x=y", content_transfer_encoding="8bit")
    )
    refused = client.ask("simplereenroll", body, content_type="text/plain")
    assert say(refused) == (415, "the body has the type application/pkcs10")


def test_a_CSR_of_another_kind_of_key_and_of_weak_ones(issue: Issue) -> None:
    client = issue("sensor-1")
    for algorithm in (KeyAlgorithm.RSA2048, KeyAlgorithm.ED25519):
        read_issued(client.ask("simplereenroll", client.csr(common_name="sensor-1", key=generate_key(algorithm))))
    weak = rsa.generate_private_key(65537, 1024)
    refused = client.ask("simplereenroll", client.csr(common_name="sensor-1", key=weak))
    assert say(refused) == (400, "RSA keys of 1024 bits are not signed")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    path=st.sampled_from(["simpleenroll", "simplereenroll", "server/simpleenroll", "csrattrs"]) | st.text(max_size=20),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    headers=st.dictionaries(
        st.sampled_from(["authorization", "content-type", "x-ssl-client-cert", "x-ottr-proxy-secret"]),
        st.text(st.characters(max_codepoint=255), max_size=40)
        | st.binary(max_size=30).map(lambda raw: "Basic " + base64.b64encode(raw).decode())
        | st.just("application/pkcs10"),
    ),
    body=st.binary(max_size=200) | st.binary(max_size=200).map(base64.b64encode),
)
def test_whatever_comes_is_answered_without_an_error_of_the_server(
    issue: Issue, path: str, method: str, headers: dict[str, str], body: bytes
) -> None:
    client = issue("sensor-1")
    for peer in (client.peer, Peer()):
        assert client.ask(path, body, method=method, peer=peer, **headers).status_code < 500


@pytest.mark.parametrize(
    "path", ["", "cacert", "serverkeygen", "other/cacerts", "client/server/cacerts", "/cacerts/", "ocsp/simpleenroll"]
)
def test_there_is_nothing_elsewhere(server: EstServer, path: str) -> None:
    assert say(Holder(server).ask(path)) == (404, "there is nothing at this URL")


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("cacerts", "POST", "GET, HEAD"),
        ("csrattrs", "DELETE", "GET, HEAD"),
        ("simpleenroll", "GET", "POST"),
        ("simplereenroll", "PUT", "POST"),
    ],
)
def test_each_operation_has_its_method(server: EstServer, path: str, method: str, allow: str) -> None:
    refused = Holder(server).ask(path, method=method)
    assert say(refused) == (405, f"this is asked for with {allow.split(',')[0]}")
    assert refused.headers["allow"] == allow


def test_CK_22_what_a_CSR_should_have(serve: Serve, authority: Authority, tmp_path: object) -> None:
    def read(profile: str, *keys: KeyAlgorithm) -> str:
        base = authority.settings.profile(profile)
        profiles = {**authority.settings.profiles, "x": replace(base, name="x", keys=frozenset(keys) or base.keys)}
        authority.settings = replace(authority.settings, profiles=profiles)
        answered = Holder(serve(profiles=("x",))).ask("csrattrs")
        assert answered.headers["content-type"] == "application/csrattrs"
        file = authority.settings.folder / "attributes.der"
        file.write_bytes(base64.b64decode(bytes(answered.body)))
        said = run_openssl("asn1parse", "-inform", "DER", "-in", file)
        return " ".join(line.rpartition(":")[2] for line in said.splitlines() if "OBJECT" in line)

    assert read("client") == "id-ecPublicKey prime256v1 ecdsa-with-SHA256"
    assert read("server", KeyAlgorithm.EC384) == (
        "Extension Request X509v3 Subject Alternative Name id-ecPublicKey secp384r1 ecdsa-with-SHA384"
    )
    assert read("client", KeyAlgorithm.RSA3072) == "rsaEncryption sha256WithRSAEncryption"
    assert read("client", KeyAlgorithm.ED25519) == "ED25519"


def test_a_label_chooses_the_profile_of_what_a_CSR_should_have(server: EstServer) -> None:
    device = Holder(server)
    usual, client, other = (device.ask(f"{label}csrattrs").body for label in ("", "client/", "server/"))
    assert usual == client != other


def test_when_the_CA_cannot_sign_the_client_is_told_to_come_again(
    issue: Issue, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = issue("sensor-1")

    def fail(*arguments: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(authority, "prepare", fail)
    refused = client.ask("simplereenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (503, "the CA cannot do this now; try again later")
    assert "the disk is gone" in caplog.text


def test_a_CA_of_another_organization_is_another_CA(
    issue: Issue, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("other") / "ca"
    init_authority(folder, "organization: Example\n", PASSPHRASE)
    client = issue("sensor-1")
    with open_authority(folder, PASSPHRASE, clock=authority.clock) as other:
        row = issue_with_key(other, Names(), client.certificate.subject, Terms("client", ANY_NAME, "operator"))
    client.row = row
    refused = client.ask("simplereenroll", client.csr(common_name="sensor-1"))
    assert say(refused) == (403, "the client certificate is not of this CA")
