# SPDX-License-Identifier: Apache-2.0
"""EST as clients meet it: the CA's own TLS, and a real nginx before it; curl and openssl are the clients."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ottr.ca.authority import Authority, parse_row
from ottr.ca.csr import Request
from ottr.ca.est.server import MOST_BYTES
from ottr.ca.est.users import Grant, create_user
from ottr.ca.exporting import export_key, export_pem
from ottr.ca.issuance import Terms
from ottr.ca.keyed import issue_with_key
from ottr.ca.keys import generate_key
from ottr.ca.model import KeyAlgorithm, Names, Reason
from ottr.ca.names import ANY_NAME, NameRules, parse_names
from ottr.ca.opening import open_authority
from ottr.ca.passphrase import VARIABLE
from ottr.ca.rollover import retire_old, start_rollover
from ottr.ca.serving import ServerSettings, build_server
from ottr.ca.trust import list_trusted
from ottr.cli import main
from ottr.errors import SettingsError, StoreError
from ottr.lab.network import claim_network
from ottr.lab.nginx import Nginx
from tests.ca.conftest import PASSPHRASE, SETTINGS
from tests.ca.est.conftest import write_pem
from tests.ca.est.running import CSR, Answer, Device, curl, encode, serve
from tests.ca.requests import CLIENT, build_csr, build_name

SHIPPED = Path(__file__).parents[3] / "docs" / "nginx-est.conf"
SECRET = "0123456789abcdef0123456789abcdef"
EST = "est: {enabled: true, profiles: [client]}\n"
PROXIED = """\
est:
  enabled: true
  proxy: {addresses: [127.0.0.1], secret_file: proxy.secret}
"""


@contextmanager
def open_with(folder: Path, text: str) -> Iterator[Authority]:
    """The CA of a folder with other settings, and the time that it is: TLS knows no other."""
    (folder / "ca.yaml").write_text(SETTINGS + text)
    with open_authority(folder, PASSPHRASE) as authority:
        yield authority


@dataclass(frozen=True)
class Site:
    """A server, as curl reaches it."""

    authority: Authority
    port: int
    ca: Path

    def ask(self, path: str, *options: str, body: bytes | None = None) -> Answer:
        kind = () if body is None else ("-H", CSR)
        return curl(f"https://127.0.0.1:{self.port}{path}", *kind, *options, body=body, ca=self.ca)

    def est(self, operation: str, *options: str, body: bytes | None = None) -> Answer:
        return self.ask(f"/.well-known/est/{operation}", *options, body=body)

    def renew(self, device: Device, common_name: str) -> Answer:
        body = encode(build_csr(common_name=common_name, key=device.key))
        return self.est("simplereenroll", *device.identity, body=body)

    def describe(self, *options: str) -> tuple[int, Any]:
        found = self.ask("/ca/client", *options)
        return found.status, json.loads(found.body) if found.status == 200 else found.text


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Iterator[Site]:
    """Stand-alone: the CA's own TLS."""
    with open_with(folder, EST) as authority, serve(authority) as port:
        roots = tmp_path / "roots.pem"
        roots.write_bytes(export_pem(authority.trust_bundle()))
        yield Site(authority, port, roots)


def test_IO_09_CK_22_a_device_enrols_and_renews_with_curl_and_openssl(site: Site, tmp_path: Path) -> None:
    password = create_user(site.authority, "devices", Grant(NameRules(common_names=("sensor-*",)), ("client",)))
    script = """\
    set -eu
    ask() { curl -sSf --cacert "$ROOTS" "$@"; }
    certificate() { openssl base64 -d | openssl pkcs7 -inform DER -print_certs; }
    ask "$EST/cacerts" | certificate > issuers.pem
    ask "$EST/csrattrs" | openssl base64 -d | openssl asn1parse -inform DER | grep -q prime256v1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=sensor-7 \
        -out first.csr
    openssl req -in first.csr -outform DER | openssl base64 -out first.b64
    ask -K login -H 'Content-Type: application/pkcs10' -H 'Content-Transfer-Encoding: base64' \
        --data-binary @first.b64 "$EST/simpleenroll" | certificate > cert.pem
    openssl verify -x509_strict -purpose sslclient -CAfile issuers.pem cert.pem
    openssl req -new -newkey rsa:2048 -nodes -keyout next.pem -subj /CN=sensor-7 -outform DER -out next.csr
    openssl base64 -in next.csr -out next.b64
    ask --cert cert.pem --key key.pem -H 'Content-Type: application/pkcs10' \
        --data-binary @next.b64 "$EST/simplereenroll" | certificate > renewed.pem
    openssl verify -x509_strict -purpose sslclient -CAfile issuers.pem renewed.pem
    ask --cert renewed.pem --key next.pem "${EST%/.well-known/est}/ca/client"
    """
    environment = {
        **os.environ,
        "ROOTS": str(site.ca),
        "EST": f"https://127.0.0.1:{site.port}/.well-known/est",
    }
    (tmp_path / "login").write_text(f'user = "devices:{password}"\n')
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert (shown["subject"], shown["due"], shown["issuer"]) == ("CN=sensor-7", False, "intermediate-1")
    first, renewed = (
        x509.load_pem_x509_certificates((tmp_path / name).read_bytes())[0] for name in ("cert.pem", "renewed.pem")
    )
    assert shown["serial"] == format(renewed.serial_number, "x") != format(first.serial_number, "x")
    assert type(renewed.public_key()) is not type(first.public_key())


def test_IO_11_IO_12_stand_alone_nobody_is_let_in_without_a_good_certificate(site: Site, tmp_path: Path) -> None:
    device, victim = Device(tmp_path / "device"), Device(tmp_path / "victim")
    row, _ = device.obtain(site.authority, "sensor-1"), victim.obtain(site.authority, "sensor-2")
    nobody = site.est("simplereenroll", body=encode(build_csr(common_name="sensor-1", key=device.key)))
    assert (nobody.status, nobody.headers["www-authenticate"].split()[0]) == (401, "Basic")
    forged = ("-H", "X-SSL-Client-Verify: SUCCESS", "-H", f"X-SSL-Client-Cert: {quote(write_pem(victim.certificate))}")
    body = encode(build_csr(common_name="sensor-2", key=device.key))
    for identity in ((), device.identity):
        assert site.est("simplereenroll", *identity, *forged, body=body).status == 401
    # Without the key there is no TLS connection, and without an issuer of ours neither.
    (tmp_path / "victim" / "key.pem").write_bytes((tmp_path / "device" / "key.pem").read_bytes())
    assert site.describe(*victim.identity)[0] == 0
    stranger = Device(tmp_path / "stranger")
    run = ("openssl", "req", "-x509", "-key", stranger.folder / "key.pem", "-subj", "/CN=sensor-1", "-days", "1")
    subprocess.run([*run, "-out", stranger.folder / "cert.pem"], check=True, capture_output=True, timeout=30)
    assert site.describe(*stranger.identity)[0] == 0
    assert site.describe(*device.identity)[0] == 200
    site.authority.hold(row.issuer_id, row.serial, "operator")
    assert site.describe(*device.identity) == (403, "the client certificate is on hold\n")
    site.authority.revoke(row.issuer_id, row.serial, Reason.KEY_COMPROMISE, "operator")
    refused = site.renew(device, "sensor-1")
    assert (refused.status, refused.text) == (403, "the client certificate is revoked\n")


def test_an_expired_certificate_makes_no_connection(site: Site, tmp_path: Path) -> None:
    device = Device(tmp_path / "device")
    request = Request(device.key.public_key(), Names(), build_name("sensor-1"))
    prepared = site.authority.prepare(request, CLIENT)
    past = prepared.issuer.not_before
    signer = site.authority.load_signer(prepared.issuer.id)
    builder = x509.CertificateBuilder(
        prepared.linted.issuer,
        prepared.linted.subject,
        device.key.public_key(),
        prepared.linted.serial_number,
        past,
        past + timedelta(minutes=1),
        list(prepared.linted.extensions),
    )
    device.keep(builder.sign(signer.key, signer.digest))
    assert site.describe(*device.identity)[0] == 0


def test_IO_14_stand_alone_a_client_renews_into_the_new_CA_and_is_known_at_once(site: Site, tmp_path: Path) -> None:
    device, late = Device(tmp_path / "device"), Device(tmp_path / "late")
    device.obtain(site.authority, "sensor-1")
    late.obtain(site.authority, "sensor-2")
    start_rollover(site.authority)
    device.keep(*site.renew(device, "sensor-1").certificates)
    status, shown = site.describe(*device.identity)
    assert (status, shown["issuer"]) == (200, "intermediate-2")
    old_and_new = x509.load_pem_x509_certificates(site.ask("/ca/bundle.pem").body)
    assert old_and_new == list(site.authority.trust_bundle())
    assert len(old_and_new) == 2
    assert x509.load_pem_x509_certificates(site.ask("/ca/issuers.pem").body) == list(list_trusted(site.authority))
    retire_old(site.authority)
    assert site.describe(*device.identity)[0] == 200
    untrusted = (403, "the issuer of the client certificate is not trusted any more\n")
    assert site.describe(*late.identity) == untrusted
    refused = site.renew(late, "sensor-2")
    assert (refused.status, refused.text) == untrusted
    assert x509.load_pem_x509_certificates(site.ask("/ca/bundle.pem").body) == [old_and_new[0]]
    with serve(site.authority) as port:  # begun after that, it does not even shake hands
        (tmp_path / "new.pem").write_bytes(export_pem(site.authority.trust_bundle()))
        again = Site(site.authority, port, tmp_path / "new.pem")
        assert [again.describe(*one.identity)[0] for one in (device, late)] == [200, 0]


def test_requests_that_are_too_long_or_for_nothing(site: Site) -> None:
    assert site.est("simpleenroll", body=b"A" * (MOST_BYTES + 1)).status == 413
    assert site.est("simpleenroll", "-X", "GET").status == 405
    assert site.est("other/cacerts").status == 404
    assert site.ask("/ca/client", "-X", "DELETE").status == 405
    head = site.est("cacerts", "-I")
    assert (head.status, head.headers["content-transfer-encoding"]) == (200, "base64")


def test_while_the_database_fails_issuers_and_keys_are_for_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StoreError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(site.authority.database, "read", fail)
        for path in ("/ca/bundle.pem", "/ca/issuers.pem", "/.well-known/jwks.json", "/.well-known/est/cacerts"):
            assert site.ask(path).status == 503
    assert site.ask("/ca/bundle.pem").status == 200


def test_OT_61_a_token_signed_with_an_exported_key_is_verified_through_the_set_as_it_is_served(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, PASSPHRASE.reveal().decode())
    row = issue_with_key(site.authority, Names(), build_name("tokens"), CLIENT, exposed=True)
    file, password = tmp_path / "tokens.pem", tmp_path / "password"
    places = ("--dir", str(site.authority.settings.folder), "--out", str(file), "--password-file", str(password))
    assert main.run(["ca", "export", row.serial, "--key", *places]) == 0
    key = load_pem_private_key(file.read_bytes(), password.read_bytes().strip())
    token = jwt.encode({"sub": "a"}, key, "ES256", headers={"kid": row.key_id})
    trust = ssl.create_default_context(cafile=str(site.ca))
    keys = jwt.PyJWKClient(f"https://127.0.0.1:{site.port}/.well-known/jwks.json", ssl_context=trust)
    assert jwt.decode(token, keys.get_signing_key_from_jwt(token), algorithms=["ES256"]) == {"sub": "a"}


def test_EST_that_is_off_is_not_there(folder: Path, tmp_path: Path) -> None:
    with open_with(folder, "") as authority, serve(authority) as port:
        roots = tmp_path / "roots.pem"
        roots.write_bytes(export_pem(authority.trust_bundle()))
        site = Site(authority, port, roots)
        assert [site.est("cacerts").status, site.ask("/ca/client").status] == [404, 404]


def test_EST_without_TLS_and_without_a_proxy_is_a_mistake(folder: Path) -> None:
    with (
        open_with(folder, EST) as authority,
        ExitStack() as stack,
        pytest.raises(SettingsError, match="no client cert"),
    ):
        build_server(authority, ServerSettings(port=0, plain=True), print, stack)


# Behind nginx


@dataclass(frozen=True)
class Proxied(Site):
    """An nginx with the configuration that is shipped, and the CA behind it."""

    nginx: Nginx
    upstream: int

    def behind(self, path: str, *options: str, body: bytes | None = None) -> Answer:
        """Ask the CA past nginx."""
        kind = () if body is None else ("-H", CSR)
        return curl(f"http://127.0.0.1:{self.upstream}{path}", *kind, *options, body=body)

    def trust(self, *issuers: x509.Certificate) -> None:
        """Have nginx trust these, and wait until it does."""
        (self.nginx.folder / "tls" / "issuers.pem").write_bytes(export_pem(issuers))
        before = self._workers()
        subprocess.run(self.nginx.reload_command, check=True, capture_output=True, timeout=30)
        wait(lambda: (found := self._workers()) and not found & before)

    def _workers(self) -> set[int]:
        children = Path(f"/proc/{self.nginx.process.pid}/task/{self.nginx.process.pid}/children").read_text()
        return {int(text) for text in children.split()}


def wait(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def configure(nginx: Nginx, upstream: int) -> None:
    """The shipped configuration, with its places changed to those of the test."""
    nginx.prepare()
    tls = nginx.fullchain.parent
    text = SHIPPED.read_text()
    for shipped, ours in (
        ("listen 443 ssl", f"listen 127.0.0.1:{nginx.port} ssl"),
        ("/etc/nginx/ca", str(tls)),
        ("127.0.0.1:14000", f"127.0.0.1:{upstream}"),
    ):
        assert shipped in text
        text = text.replace(shipped, ours)
    (tls / "secret.conf").write_text(f'proxy_set_header X-Ottr-Proxy-Secret "{SECRET}";\n')
    head, _, _ = nginx.configuration.read_text().partition("    server {")
    nginx.configuration.write_text(f"{head}{text}}}\n")


@pytest.fixture
def proxied(folder: Path, tmp_path: Path) -> Iterator[Proxied]:
    secret = folder / "proxy.secret"
    secret.write_text(SECRET)
    secret.chmod(0o400)
    with (
        open_with(folder, PROXIED) as authority,
        serve(authority, plain=True) as upstream,
        claim_network() as network,
    ):
        nginx = Nginx(tmp_path / "nginx", "127.0.0.1", network.port(0), "ca.example.com")
        nginx.folder.mkdir()
        configure(nginx, upstream)
        key = generate_key(KeyAlgorithm.EC256)
        own = authority.issue(
            Request(key.public_key(), parse_names(["127.0.0.1"])), Terms("server", ANY_NAME, "operator")
        )
        nginx.fullchain.write_bytes(export_pem((parse_row(own), *authority.chains(own.issuer_id)[0])))
        nginx.key.write_bytes(export_key(key, None))
        (nginx.fullchain.parent / "issuers.pem").write_bytes(export_pem(list_trusted(authority)))
        roots = tmp_path / "roots.pem"
        roots.write_bytes(export_pem(authority.trust_bundle()))
        with nginx.process:
            yield Proxied(authority, nginx.port, roots, nginx, upstream)


def test_IO_08_IO_09_IO_11_IO_15_behind_nginx(proxied: Proxied, tmp_path: Path) -> None:
    password = create_user(proxied.authority, "devices", Grant(NameRules(common_names=("sensor-*",)), ("client",)))
    assert proxied.est("cacerts").certificates == list(list_trusted(proxied.authority))
    device, victim = Device(tmp_path / "device"), Device(tmp_path / "victim")
    body = encode(build_csr(common_name="sensor-1", key=device.key))
    enrolled = proxied.est("simpleenroll", "-u", f"devices:{password}", body=body)
    device.keep(*enrolled.certificates)
    victim.obtain(proxied.authority, "sensor-2")
    assert proxied.describe() == (401, "this needs a client certificate of this CA\n")
    status, shown = proxied.describe(*device.identity)
    assert (status, shown["serial"]) == (200, format(device.certificate.serial_number, "x"))
    device.keep(*proxied.renew(device, "sensor-1").certificates)
    assert device.certificate != enrolled.certificates[0]
    # What a client says under the names of the proxy's headers is overwritten.
    pem = quote(write_pem(victim.certificate))
    forged = (
        "-H",
        "X-SSL-Client-Verify: SUCCESS",
        "-H",
        f"X-SSL-Client-Cert: {pem}",
        "-H",
        f"X-Ottr-Proxy-Secret: {SECRET}",
    )
    assert proxied.describe(*forged)[0] == 401
    assert proxied.describe(*device.identity, *forged)[1]["subject"] == "CN=sensor-1"
    # Past nginx they are refused, from wherever, unless both address and secret are the proxy's.
    known = ("-H", f"X-Ottr-Proxy-Secret: {SECRET}")
    for options in (
        forged[:4],
        (*forged[:4], "-H", "X-Ottr-Proxy-Secret: guess"),
        (*forged, "--interface", "127.0.0.9"),
    ):
        refused = proxied.behind("/ca/client", *options)
        assert (refused.status, "own proxy" in refused.text) == (401, True)
    assert proxied.behind("/ca/client", *forged, "-H", "X-Forwarded-For: 127.0.0.1").status == 200
    moved = (*forged, "--interface", "127.0.0.9", "-H", "X-Forwarded-For: 127.0.0.1")
    assert proxied.behind("/ca/client", *moved).status == 401
    assert proxied.behind("/ca/client", *known, "-H", "X-SSL-Client-Verify: FAILED:expired").status == 403
    plain = proxied.behind("/.well-known/est/simpleenroll", "-u", f"devices:{password}", body=body)
    assert (plain.status, plain.text) == (403, "passwords are not taken without TLS; change this one\n")
    # What nginx lets in is asked for its status all the same.
    row = proxied.authority.find_serial(shown["serial"])
    device.keep(parse_row(row))
    proxied.authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    assert proxied.describe(*device.identity) == (403, "the client certificate is revoked\n")


def test_IO_14_old_clients_renew_into_the_new_CA_until_nginx_trusts_only_that(proxied: Proxied, tmp_path: Path) -> None:
    device, late = Device(tmp_path / "device"), Device(tmp_path / "late")
    device.obtain(proxied.authority, "sensor-1")
    late.obtain(proxied.authority, "sensor-2")
    start_rollover(proxied.authority)
    proxied.trust(*list_trusted(proxied.authority))
    device.keep(*proxied.renew(device, "sensor-1").certificates)
    issuers = {one.folder.name: proxied.describe(*one.identity)[1]["issuer"] for one in (device, late)}
    assert issuers == {"device": "intermediate-2", "late": "intermediate-1"}
    new = [one for one in list_trusted(proxied.authority) if "CA 2" in one.issuer.rfc4514_string()]
    proxied.trust(*new)
    refused = proxied.renew(late, "sensor-2")
    assert refused.status == 400
    assert "SSL certificate error" in refused.text
    assert proxied.describe(*device.identity)[0] == 200
    retire_old(proxied.authority)
    assert list(list_trusted(proxied.authority)) == new
    assert len(proxied.renew(device, "sensor-1").certificates) == 1


def test_IO_16_nginx_refuses_the_revoked_by_the_CRLs_of_all_issuers(proxied: Proxied, tmp_path: Path) -> None:
    device, revoked = Device(tmp_path / "device"), Device(tmp_path / "revoked")
    device.obtain(proxied.authority, "sensor-1")
    row = revoked.obtain(proxied.authority, "sensor-2")
    configuration = proxied.nginx.configuration
    configuration.write_text(configuration.read_text().replace("# ssl_crl", "ssl_crl"))

    def publish() -> None:
        lists = [proxied.behind(f"/crl/{one.id}.crl").body for one in proxied.authority.issuers()]
        parsed = (x509.load_der_x509_crl(one) for one in lists)
        file = proxied.nginx.fullchain.parent / "crls.pem"
        file.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in parsed))
        proxied.trust(*list_trusted(proxied.authority))

    publish()
    assert [proxied.describe(*one.identity)[0] for one in (device, revoked)] == [200, 200]
    proxied.authority.revoke(row.issuer_id, row.serial, Reason.KEY_COMPROMISE, "operator")
    wait(lambda: row.serial in list_serials(proxied.behind("/crl/intermediate-1.crl").body))
    publish()
    refused = proxied.renew(revoked, "sensor-2")
    assert (refused.status, "SSL certificate error" in refused.text) == (400, True)
    assert proxied.describe(*device.identity)[0] == 200


def list_serials(crl: bytes) -> set[str]:
    return {format(one.serial_number, "x") for one in x509.load_der_x509_crl(crl)}
