# SPDX-License-Identifier: Apache-2.0
"""A rotation on the simulated firewall, and what the device refuses on the way."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ottr.drivers.panos.simulator import Admin, PanosSimulator, Settings, Unconfirmed
from ottr.simulation.server import wait_until
from tests.drivers.panos_wire import CERTIFICATES, PROFILE, Wire, fingerprint, issue, issuer, seen, sign

FAST = Settings(commit_s=0.02, restart_s=0.05, reboot_s=0.05)


@pytest.fixture
def firewall() -> Iterator[PanosSimulator]:
    with PanosSimulator(settings=FAST) as running:
        yield running


@pytest.fixture
def wire(firewall: PanosSimulator) -> Wire:
    return Wire(firewall).log_in()


def accepts(firewall: PanosSimulator) -> bool:
    try:
        socket.create_connection((firewall.address, firewall.port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def key_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("version", ["8.1.19", "9.0.0", "9.1.3-h1", "10.0.0", "10.1.10", "10.2.4", "11.0.2", "11.1.0"])
def test_a_rotation_with_the_key_made_on_the_device(version: str) -> None:
    with PanosSimulator(settings=FAST, os_version=version) as firewall:
        wire = Wire(firewall, in_header=firewall.settings.version >= (9, 0)).log_in()
        before = seen(firewall)
        leaf = wire.prepare("ottr-1")
        assert wire.bind("ottr-1").code == "20"
        job = wire.finish(wire.commit())
        assert (job.find("result/job/result"), job.find("result/job/progress")) == ("OK", "100")
        assert firewall.wait_until_idle()
        assert before != seen(firewall) == fingerprint(leaf) == firewall.served_fingerprint()
        shown = wire.config("show", PROFILE)
        assert shown.find("result/entry/certificate") == "ottr-1"
        assert shown.find("result/entry/protocol-settings/min-version") == "tls1-2"


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [
        ("<RSA><rsa-nbits>2048</rsa-nbits></RSA>", 2048),
        ("<RSA><rsa-nbits>3072</rsa-nbits></RSA>", 3072),
        ("<ECDSA><ecdsa-nbits>256</ecdsa-nbits></ECDSA>", 256),
        ("<ECDSA><ecdsa-nbits>384</ecdsa-nbits></ECDSA>", 384),
    ],
)
def test_the_csr_has_the_key_and_the_names_asked_for(wire: Wire, algorithm: str, size: int) -> None:
    inner = "<ip><member>192.0.2.7</member></ip><organization-unit><member>Net</member></organization-unit>"
    assert wire.generate("ottr-1", algorithm, inner).status == "success"
    answer = wire.export("ottr-1")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename=cert_ottr-1.csr"
    csr = x509.load_pem_x509_csr(answer.body)
    key = csr.public_key()
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size == size
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fw1.example.com"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]


def test_an_entry_shows_who_made_it_until_it_is_committed(wire: Wire) -> None:
    wire.prepare("ottr-1")
    entry = wire.config("get", f"{CERTIFICATES}/entry[@name='ottr-1']").root.find("result/entry")
    assert entry is not None
    assert (entry.get("admin"), entry.findtext("algorithm"), entry.findtext("ca")) == ("ottr", "EC", "no")
    assert entry.findtext("csr", "").startswith("-----BEGIN CERTIFICATE REQUEST")
    assert entry.findtext("private-key", "").startswith("-AQ==")
    assert entry.findtext("not-valid-after", "").endswith(" GMT")
    wire.finish(wire.commit())
    entry = wire.config("get", f"{CERTIFICATES}/entry[@name='ottr-1']").root.find("result/entry")
    assert entry is not None
    assert entry.get("admin") is None


def test_nothing_is_live_before_the_commit(firewall: PanosSimulator, wire: Wire) -> None:
    before = seen(firewall)
    wire.prepare("ottr-1")
    wire.bind("ottr-1")
    assert wire.config("show", f"{CERTIFICATES}/entry[@name='ottr-1']").text == "No such node"
    assert wire.config("show", PROFILE).find("result/entry/certificate") == "management-first"
    assert wire.op("<check><pending-changes></pending-changes></check>").find("result") == "yes"
    assert seen(firewall) == before


def test_get_and_show_of_what_is_not_there_differ(wire: Wire) -> None:
    absent = f"{CERTIFICATES}/entry[@name='nobody']"
    assert (wire.config("get", absent).status, wire.config("get", absent).code) == ("success", "7")
    assert (wire.config("show", absent).status, wire.config("show", absent).text) == ("error", "No such node")
    assert wire.config("delete", absent).text == "No such node"


@pytest.mark.parametrize(
    "xpath",
    [
        "/config/shared/certificate/entry[@name='o'connor']",
        '/config/shared/certificate/entry[@name="<a>"]',
        "/shared/certificate",
        "/config/shared/certificate/entry[@name=ottr]",
        "//certificate",
        "/config/shared/*",
        "config/shared",
    ],
)
def test_an_xpath_that_is_none_is_code_6(wire: Wire, xpath: str) -> None:
    assert wire.config("get", xpath).code == "6"


def test_set_merges_and_edit_replaces(wire: Wire) -> None:
    wire.config("set", PROFILE, element="<protocol-settings><max-version>tls1-2</max-version></protocol-settings>")
    assert wire.config("get", PROFILE).find("result/entry/protocol-settings/min-version") == "tls1-2"
    profile = "<entry name='management'><certificate>management-first</certificate></entry>"
    assert wire.config("edit", PROFILE, element=profile).code == "20"
    assert wire.config("get", PROFILE).root.find("result/entry/protocol-settings") is None
    assert wire.config("edit", PROFILE, element="<other/>").code == "12"


@pytest.mark.parametrize(
    ("xpath", "element", "said"),
    [
        (PROFILE, "<certificate>nobody</certificate>", "-> certificate 'nobody' is not a valid reference"),
        (PROFILE, "<cipher>x</cipher>", "cipher unexpected here"),
        (PROFILE, "<protocol-settings><min-version>ssl3</min-version></protocol-settings>", "not an allowed keyword"),
        ("/config/shared", "<certificates/>", "certificates unexpected here"),
        ("/config/shared/ssl-tls-service-profile", "<entry/>", "missing 'name'"),
        (
            "/config/devices/entry[@name='localhost.localdomain']/deviceconfig/system",
            "<ssl-tls-service-profile>nobody</ssl-tls-service-profile>",
            "system -> ssl-tls-service-profile 'nobody' is not a valid reference",
        ),
    ],
)
def test_a_set_that_makes_no_sense_is_code_12_and_changes_nothing(
    firewall: PanosSimulator, wire: Wire, xpath: str, element: str, said: str
) -> None:
    before = firewall.state_hash()
    answer = wire.config("set", xpath, element=element)
    assert answer.code == "12"
    assert said in answer.text
    assert firewall.state_hash() == before


def test_a_ca_certificate_may_not_be_in_a_service_profile(wire: Wire) -> None:
    wire.generate("ottr-ca")
    request = x509.load_pem_x509_csr(wire.export("ottr-ca").body)
    wire.upload("ottr-ca", issue(request.subject, request.public_key(), ca=True))
    assert wire.bind("ottr-ca").code == "12"


def test_what_is_in_use_cannot_be_deleted(wire: Wire) -> None:
    answer = wire.config("delete", f"{CERTIFICATES}/entry[@name='management-first']")
    assert answer.code == "10"
    assert "management-first cannot be deleted because of references from:" in answer.text
    assert "ssl-tls-service-profile -> management -> certificate" in answer.text
    assert "deviceconfig -> system" in wire.config("delete", PROFILE).text


def test_a_renamed_certificate_keeps_its_users(wire: Wire) -> None:
    path = f"{CERTIFICATES}/entry[@name='management-first']"
    assert wire.config("rename", path, newname="other").code == "20"
    assert wire.config("get", PROFILE).find("result/entry/certificate") == "other"
    assert wire.config("rename", path, newname="third").code == "7"


@pytest.mark.parametrize(
    ("version", "panorama", "limit"), [("8.1.0", False, 31), ("9.0.0", False, 63), ("10.2.0", True, 31)]
)
def test_names_are_limited(version: str, panorama: bool, limit: int) -> None:
    with PanosSimulator(settings=replace(FAST, panorama=panorama), os_version=version) as device:
        wire = Wire(device, in_header=version != "8.1.0").log_in()
        assert wire.generate("a" * limit).status == "success"
        answer = wire.generate("a" * (limit + 1))
        assert answer.code == "17"
        assert f"can be at most {limit} characters, but current length: {limit + 1}" in answer.text
        answer = wire.upload("b" * (limit + 1), issuer())
        assert "upload -> certificate -> certificate-name is invalid" in answer.text


@pytest.mark.parametrize("name", ["*.example.com", "_ottr", "a/b", "a'b"])
def test_names_with_other_characters_are_refused(wire: Wire, name: str) -> None:
    assert "is invalid" in wire.generate(name).text


@pytest.mark.parametrize(
    "inner",
    [
        "<unknown/>",
        "<signed-by>another-ca</signed-by>",
        "<digest>md4</digest>",
        "<ip><member>fw1</member></ip>",
        "<algorithm><RSA><rsa-nbits>1000</rsa-nbits></RSA></algorithm>",
        "<hostname><member>a b</member></hostname>",
    ],
)
def test_generate_refuses_what_it_does_not_know(firewall: PanosSimulator, wire: Wire, inner: str) -> None:
    fields = {"algorithm": "<algorithm><ECDSA><ecdsa-nbits>256</ecdsa-nbits></ECDSA></algorithm>"}
    fields[inner[1:].partition(">")[0]] = inner
    start = "<certificate-name>ottr-1</certificate-name><name>fw1</name>"
    before = firewall.state_hash()
    answer = wire.op(
        f"<request><certificate><generate>{start}{''.join(fields.values())}</generate></certificate></request>"
    )
    assert answer.code == "17"
    assert firewall.state_hash() == before


def test_imports_that_fail_say_why_and_change_nothing(firewall: PanosSimulator, wire: Wire) -> None:
    wire.generate("ottr-1")
    before = firewall.state_hash()
    other_ec = issue(x509.Name([]), ec.generate_private_key(ec.SECP256R1()).public_key())
    other_rsa = issue(x509.Name([]), rsa.generate_private_key(65537, 2048).public_key())
    assert "Import of ottr-1 failed. Failed to extract certificate" in wire.upload("ottr-1", "no PEM").text
    assert "Mismatched public and private keys" in wire.upload("ottr-1", other_ec).text
    assert "Mismatched public and private keys" in wire.upload("ottr-1", other_rsa).text
    assert "private key doesn't exist for csr" in wire.upload("ottr-2", issuer()).text
    assert 'Parameter "format" is required' in wire.upload("ottr-1", issuer(), format="").text
    assert firewall.state_hash() == before


@pytest.mark.parametrize(
    ("version", "keyless", "accepted"), [("9.1.0", False, True), ("10.1.0", False, False), ("10.1.0", True, True)]
)
def test_a_certificate_without_a_key(version: str, keyless: bool, accepted: bool) -> None:
    settings = replace(FAST, unconfirmed=Unconfirmed(keyless_import=keyless))
    with PanosSimulator(settings=settings, os_version=version) as firewall:
        wire = Wire(firewall).log_in()
        assert (wire.upload("ca", issuer()).status == "success") is accepted


@pytest.mark.parametrize(
    "query", ["", "?type=import", "?type=import&category=certificate&format=pem&certificate-name=ottr-1"]
)
def test_an_import_takes_its_parameters_from_anywhere(wire: Wire, query: str) -> None:
    wire.generate("ottr-1")
    pem = sign(wire.export("ottr-1").body)
    extra = {} if "type=" in query else {"type": "import"}
    answer = wire.upload("ottr-1", pem, query, **extra)
    assert answer.find("result") == "Successfully imported ottr-1 into candidate configuration"
    assert answer.code == ""


def test_a_quoted_boundary_is_not_understood(wire: Wire) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": 'multipart/form-data; boundary="b"', "X-PAN-KEY": wire.key}
    assert wire.send(query="?type=import&category=certificate", body=body, headers=headers).code == "400"


def test_the_chain_is_served_as_it_was_imported(firewall: PanosSimulator, wire: Wire) -> None:
    wire.generate("ottr-1")
    leaf = sign(wire.export("ottr-1").body)
    wire.upload("ottr-1", leaf + issuer())
    entry = wire.config("get", f"{CERTIFICATES}/entry[@name='ottr-1']")
    assert entry.find("result/entry/public-key").count("BEGIN") == 1
    wire.bind("ottr-1")
    wire.finish(wire.commit())
    assert firewall.wait_until_idle()
    assert seen(firewall) == fingerprint(leaf)
    pair = firewall._services.server("management").pair
    assert pair is not None
    assert pair.chain_pem.count("BEGIN") == 2


def test_a_key_that_does_not_belong_to_the_certificate_locks_everybody_out(
    firewall: PanosSimulator, wire: Wire
) -> None:
    wire.prepare("ottr-1")
    wire.bind("ottr-1")
    assert wire.upload("ottr-1", key_pem(), category="private-key", passphrase="x").status == "success"
    assert wire.commit().find("result/job")
    assert wait_until(lambda: not firewall.state.jobs.busy)
    assert firewall.served_fingerprint() == ""
    assert wait_until(lambda: accepts(firewall))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        seen(firewall)


def test_private_keys_stay(firewall: PanosSimulator, wire: Wire) -> None:
    wire.prepare("ottr-1")
    answer = wire.export("ottr-1", format="pem", include_key="yes", passphrase="secret")
    assert answer.status == "error"
    assert firewall.exported_keys == ("ottr-1",)
    everything = wire.config("get", "/config").body + wire.post(type="export", category="configuration").body
    assert b"PRIVATE KEY" not in everything


def test_private_keys_go_where_a_device_lets_them() -> None:
    with PanosSimulator(settings=replace(FAST, keys_exportable=True)) as firewall:
        wire = Wire(firewall).log_in()
        wire.prepare("ottr-1")
        answer = wire.export("ottr-1", format="pem", include_key="yes", passphrase="secret")
        assert b"ENCRYPTED PRIVATE KEY" in answer.body
        assert wire.export("ottr-1", format="pem", include_key="yes").code == "400"


def test_a_key_from_outside_comes_in_with_a_passphrase_only(wire: Wire) -> None:
    assert wire.upload("a", key_pem(), category="private-key").code == "400"
    assert "Failed to extract private key" in wire.upload("a", "x", category="private-key", passphrase="x").text
    assert wire.upload("a", key_pem(), category="private-key", passphrase="x").status == "success"


def test_a_key_pair_comes_in_when_both_belong_together(wire: Wire) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    certificate = issue(x509.Name([]), key.public_key())
    assert wire.upload("a", certificate + pem, category="keypair", passphrase="x").status == "success"
    assert wire.bind("a").code == "20"
    assert "Mismatched" in wire.upload("b", certificate + key_pem(), category="keypair", passphrase="x").text
    assert "Failed to extract" in wire.upload("b", certificate, category="keypair", passphrase="x").text


def test_a_configuration_comes_in_and_is_loaded(wire: Wire) -> None:
    exported = wire.post(type="export", category="configuration").body.decode()
    answer = wire.upload("", exported.replace("fw1", "fw2"), category="configuration", file_name="new.xml")
    assert answer.text == "new.xml saved"
    wire.op("<load><config><from>new.xml</from></config></load>")
    system = "/config/devices/entry[@name='localhost.localdomain']/deviceconfig/system/hostname"
    assert wire.config("get", system).find("result/hostname") == "fw2"
    assert wire.upload("", "no XML", category="configuration").status == "error"
    assert wire.upload("", "x", category="magic").code == "400"
    assert wire.post(type="import", category="certificate").code == "400"


def test_a_container_goes_only_when_nothing_in_it_is_used(wire: Wire) -> None:
    assert wire.config("delete", CERTIFICATES).code == "10"
    wire.generate("a")
    path = f"{CERTIFICATES}/entry[@name='a']"
    assert wire.config("rename", path, newname="*").code == "17"
    assert wire.config("rename", path, newname="management-first").code == "8"
    assert wire.config("delete", path).code == "20"
    assert wire.config("delete", f"{CERTIFICATES}/entry").code == "6"
    assert wire.config("delete", "/config").code == "6"
    assert wire.config("set", path).code == "400"
    assert wire.config("set", path, element="<a>").code == "18"


def test_a_member_has_its_text_as_name(wire: Wire) -> None:
    group = "/config/shared/tag/entry[@name='t']"
    wire.config("set", group, element="<list><member>a</member><member>b</member></list>")
    assert wire.config("delete", f"{group}/list/member[text()='a']").code == "20"
    left = wire.config("get", f"{group}/list").root.findall("result/list/member")
    assert [member.text for member in left] == ["b"]


def test_exports_that_fail(wire: Wire) -> None:
    wire.generate("ottr-1")
    assert wire.export("nobody").code == "7"
    assert 'Parameter "format" is required while exporting certificate' in wire.export("ottr-1", format="").text
    assert wire.export("ottr-1", format="jks").code == "400"
    assert wire.export("ottr-1", format="pem").status == "error"
    assert wire.post(type="export", category="pcap").code == "400"


class TestCredentials:
    def test_a_wrong_password_is_403_in_single_quotes(self, firewall: PanosSimulator) -> None:
        answer = Wire(firewall).post(type="keygen", user="ottr", password="wrong", anonymous=True)
        assert answer.http == 403
        assert answer.body == (
            b"<response status = 'error' code = '403'><result><msg>Invalid Credential</msg></result></response>"
        )

    def test_the_same_key_while_keys_do_not_expire(self, firewall: PanosSimulator) -> None:
        assert Wire(firewall).log_in().key == Wire(firewall).log_in().key

    @pytest.mark.parametrize("ends", [True, False])
    def test_a_new_key_each_time_with_a_lifetime(self, ends: bool) -> None:
        unconfirmed = Unconfirmed(new_key_ends_others=ends)
        with PanosSimulator(settings=replace(FAST, key_lifetime_minutes=5, unconfirmed=unconfirmed)) as firewall:
            first, second = Wire(firewall).log_in(), Wire(firewall).log_in()
            assert first.key != second.key
            assert first.post(type="version").http == (403 if ends else 200)
            assert second.post(type="version").http == 200

    def test_no_key_and_a_wrong_key_are_refused(self, firewall: PanosSimulator) -> None:
        assert Wire(firewall).post(type="version").http == 403
        assert Wire(firewall, key="LUFRPT1x").post(type="version").http == 403

    def test_the_header_works_from_9_0_on(self) -> None:
        with PanosSimulator(settings=FAST, os_version="8.1.19") as firewall:
            key = Wire(firewall).log_in().key
            assert Wire(firewall, key=key, in_header=True).post(type="version").http == 403
            assert Wire(firewall, key=key, in_header=False).post(type="version").http == 200

    def test_a_key_in_the_url_is_refused_unless_the_setting_permits_it(
        self, firewall: PanosSimulator, wire: Wire
    ) -> None:
        assert wire.send("GET", f"?type=version&key={wire.key}").http == 403
        assert firewall.requests.operations()[-1] == "version"
        assert next(reversed(list(firewall.requests))).url_secrets == ("key",)
        with PanosSimulator(settings=replace(FAST, key_in_url=True)) as other:
            key = Wire(other).log_in().key
            assert Wire(other).send("GET", f"?type=version&Key={key}").http == 200

    def test_basic_authentication(self, firewall: PanosSimulator) -> None:
        good = base64.b64encode(b"ottr:simulated").decode()
        assert Wire(firewall).send(query="?type=version", headers={"Authorization": f"Basic {good}"}).http == 200
        assert Wire(firewall).send(query="?type=version", headers={"Authorization": "Basic !"}).http == 403

    def test_a_role_without_the_right_is_code_16(self) -> None:
        reader = {"reader": Admin("pw", frozenset({"op"}), custom_role=True)}
        with PanosSimulator(settings=replace(FAST, other_admins=reader)) as firewall:
            wire = Wire(firewall, "reader", "pw").log_in()
            answer = wire.config("get", "/config/shared")
            assert (answer.http, answer.code) == (403, "16")
            assert "Failed to revert" in wire.op("<revert><config></config></revert>").text

    def test_a_changed_password_ends_the_keys(self, firewall: PanosSimulator, wire: Wire) -> None:
        firewall.state.accounts.change_password("ottr", "new")
        assert wire.post(type="version").http == 403
        assert firewall.sessions == 0

    def test_the_log_holds_no_secret(self, firewall: PanosSimulator, wire: Wire) -> None:
        wire.in_header = False
        wire.post(type="version")
        wire.generate("ottr-1")
        log = repr(list(firewall.requests))
        assert "********" in log
        assert not [secret for secret in firewall.secrets if secret in log]


class TestStrictness:
    def test_parameters_nobody_knows(self, wire: Wire) -> None:
        assert "Illegal parameter [format]" in wire.post(type="version", format="xml").text
        assert 'Illegal value for parameter "type" [magic]' in wire.post(type="magic").text
        assert 'Missing value for parameter "type"' in wire.post(cmd="<show/>").text
        assert wire.config("clone", PROFILE).code == "400"
        assert wire.post(type="op").code == "400"

    @pytest.mark.parametrize("status", [200, 400])
    def test_the_http_status_of_a_bad_request(self, status: int) -> None:
        unconfirmed = Unconfirmed(bad_request_status=status)  # type: ignore[arg-type]
        with PanosSimulator(settings=replace(FAST, unconfirmed=unconfirmed)) as firewall:
            assert Wire(firewall).log_in().post(type="magic").http == status

    def test_a_parameter_given_twice(self, wire: Wire) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-PAN-KEY": wire.key}
        assert wire.send(query="?type=op", body=b"type=version", headers=headers).code == "400"

    def test_other_bodies_paths_and_methods(self, firewall: PanosSimulator, wire: Wire) -> None:
        assert wire.send(body=b"{}", headers={"Content-Type": "application/json"}).code == "400"
        assert wire.send("PUT").http == 405
        assert wire.send(query="../restapi/v10.1").http == 404

    @pytest.mark.parametrize("cmd", ["<show><magic/></show>", "<request><certificate/></request>", "<reboot/>"])
    def test_commands_nobody_knows(self, wire: Wire, cmd: str) -> None:
        assert wire.op(cmd).code == "17"

    @pytest.mark.parametrize("cmd", ["<show>", "show clock", "<!DOCTYPE a><show><clock/></show>"])
    def test_malformed_xml(self, wire: Wire, cmd: str) -> None:
        assert wire.op(cmd).code == "18"
        assert wire.post(type="commit", cmd=cmd).code == "18"

    @pytest.mark.parametrize(
        "cmd",
        [
            "<commit><everything/></commit>",
            "<commit><partial><magic/></partial></commit>",
            "<commit><partial><shared-object>included</shared-object></partial></commit>",
            "<commit-all/>",
            "<push/>",
        ],
    )
    def test_commits_nobody_knows(self, wire: Wire, cmd: str) -> None:
        assert wire.post(type="commit", cmd=cmd).code == "17"

    def test_tls_1_3_profiles_from_11_0_on(self) -> None:
        element = "<protocol-settings><min-version>tls1-3</min-version></protocol-settings>"
        for version, code in (("10.2.4", "12"), ("11.0.0", "20")):
            with PanosSimulator(settings=FAST, os_version=version) as firewall:
                assert Wire(firewall).log_in().config("set", PROFILE, element=element).code == code

    def test_block_private_key_from_10_0_on(self) -> None:
        for version, status in (("9.1.0", "error"), ("10.0.0", "success")):
            with PanosSimulator(settings=FAST, os_version=version) as firewall:
                wire = Wire(firewall).log_in()
                assert wire.generate("a", inner="<block-private-key>yes</block-private-key>").status == status


class TestUnconfirmed:
    """Both ways of what no source settles."""

    def make(self, **points: object) -> PanosSimulator:
        return PanosSimulator(settings=replace(FAST, unconfirmed=Unconfirmed(**points)))  # type: ignore[arg-type]

    def test_version_quotes(self) -> None:
        for quotes, start in (("double", b'<response status="success"'), ("spaced", b"<response status = 'success'")):
            with self.make(version_quotes=quotes) as firewall:
                assert Wire(firewall).log_in().post(type="version").body.startswith(start)

    def test_where_the_text_of_generate_stands(self) -> None:
        for place, path in (("result", "result"), ("msg", "result/msg")):
            with self.make(generate_answer=place) as firewall:
                assert Wire(firewall).log_in().generate("a").find(path).startswith("Successfully generated")

    def test_generating_again(self) -> None:
        for again, changed in (("overwrite", True), ("refuse", False)):
            with self.make(regenerate=again) as firewall:
                wire = Wire(firewall).log_in()
                wire.generate("a")
                first = wire.export("a").body
                assert (wire.generate("a").status == "success") is changed
                assert (wire.export("a").body != first) is changed

    def test_wildcards_in_hostname(self) -> None:
        for takes in (True, False):
            with self.make(generate_takes_wildcards=takes) as firewall:
                cmd = (
                    "<request><certificate><generate><certificate-name>a</certificate-name><name>*.example.com</name>"
                    "<algorithm><ECDSA><ecdsa-nbits>256</ecdsa-nbits></ECDSA></algorithm>"
                    "<hostname><member>*.example.com</member></hostname></generate></certificate></request>"
                )
                assert (Wire(firewall).log_in().op(cmd).status == "success") is takes

    def test_the_code_of_an_absent_export(self) -> None:
        with self.make(absent_export_code=13) as firewall:
            assert Wire(firewall).log_in().export("nobody").code == "13"

    def test_what_the_entry_keeps(self) -> None:
        with self.make(csr_kept=False, public_key_holds_chain=True) as firewall:
            wire = Wire(firewall).log_in()
            wire.generate("a")
            wire.upload("a", sign(wire.export("a").body) + issuer())
            entry = wire.config("get", f"{CERTIFICATES}/entry[@name='a']")
            assert entry.root.find("result/entry/csr") is None
            assert entry.find("result/entry/public-key").count("BEGIN") == 2

    def test_a_mismatch_that_is_let_in(self) -> None:
        with self.make(mismatch_refused=False) as firewall:
            wire = Wire(firewall).log_in()
            wire.generate("a")
            elliptic = issue(x509.Name([]), ec.generate_private_key(ec.SECP256R1()).public_key())
            of_rsa = issue(x509.Name([]), rsa.generate_private_key(65537, 2048).public_key())
            assert wire.upload("a", of_rsa).status == "error"
            assert wire.upload("a", elliptic).status == "success"

    def test_a_profile_that_names_a_csr(self) -> None:
        with self.make() as firewall:
            wire = Wire(firewall).log_in()
            wire.generate("a")
            assert wire.bind("a").code == "12"
        with self.make(csr_only_reference="commit_fails") as firewall:
            wire = Wire(firewall).log_in()
            wire.generate("a")
            assert wire.bind("a").code == "20"
            assert wire.finish(wire.commit()).find("result/job/result") == "FAIL"

    def test_the_case_of_parameter_names(self) -> None:
        for strict, http in ((False, 200), (True, 400)):
            with self.make(parameters_match_case=strict, bad_request_status=400) as firewall:
                wire = Wire(firewall).log_in()
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                answer = wire.send(body=f"TYPE=version&KEY={wire.key}".encode(), headers=headers)
                assert answer.http == http

    def test_commands_that_may_not_exist(self) -> None:
        partial = "<partial><admin><member>ottr</member></admin></partial>"
        changes = f"<show><config><list><changes>{partial}</changes></list></config></show>"
        for there, status in ((True, "success"), (False, "error")):
            points = {"partial_changes_list": there, "partial_validate": there}
            with self.make(**points, generate_takes_block_private_key=there) as firewall:
                wire = Wire(firewall).log_in()
                assert wire.op(changes).status == status
                assert wire.op(f"<validate>{partial}</validate>").status == status
                assert wire.generate("a", inner="<block-private-key>yes</block-private-key>").status == status

    def test_where_an_export_looks_and_how_its_file_is_called(self) -> None:
        for honours, found in ((True, False), (False, True)):
            with self.make(export_honours_location=honours, csr_file_name="{name}.req") as firewall:
                wire = Wire(firewall).log_in()
                wire.generate("a")
                answer = wire.export("a", vsys="vsys1")
                assert (answer.headers.get("content-disposition") == "attachment; filename=a.req") is found


def test_names_alone_are_read_by_their_attribute(wire: Wire) -> None:
    """As pan-os-python's ``name_only`` asks: nothing else of the entries is sent."""
    wire.prepare("ottr-1")
    entries = wire.config("get", f"{CERTIFICATES}/entry/@name").root.findall("result/entry")
    assert "ottr-1" in {entry.get("name") for entry in entries}
    assert all(len(entry) == 0 and set(entry.attrib) == {"name"} for entry in entries)
