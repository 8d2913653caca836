# SPDX-License-Identifier: Apache-2.0
"""The tree of files, and a real nginx that serves it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ottr.ca.authority import Authority
from ottr.ca.model import Certificate, Reason
from ottr.ca.status.identities import read_hashable
from ottr.ca.status.nginx import write_configuration
from ottr.ca.status.publishing import SUFFIX, Published, find_file, publish
from ottr.ca.status.request import build_cert_id
from ottr.ca.status.request import build_request as build_shortest
from ottr.ca.status.service import Status
from ottr.ca.status.transport import encode_path
from ottr.errors import AuthorityError, SettingsError
from ottr.lab.network import Network, claim_network
from ottr.lab.process import Process, find_program
from tests.ca.conftest import MovableClock
from tests.ca.requests import SERVER
from tests.ca.requests import build_request as request_names
from tests.ca.status.asking import SHA1, build_request, read_status
from tests.ca.status.conftest import OpenStatus
from tests.ca.status.site import KINDS, Site, open_site
from tests.ca.status.test_status_clients import check_openssl, find_status


def answers(folder: Path) -> list[Path]:
    return sorted((folder / "www" / "ocsp").rglob(f"*{SUFFIX}"))


def read_answer(folder: Path, authority: Authority, row: Certificate) -> str:
    return read_status((folder / "www" / "ocsp" / find_file(build_request(authority, row))).read_bytes())


def test_everything_is_published(status: Status, authority: Authority, row: Certificate, tmp_path: Path) -> None:
    done = publish(status, tmp_path)
    # Two certificates, the one of the intermediate and a leaf, and two hashes.
    assert done == Published(crls=2, issuers=2, signed=4)
    www = tmp_path / "www"
    for issuer in authority.issuers():
        assert (www / "ca" / f"{issuer.id}.der").read_bytes() == issuer.certificate_der
        crl = x509.load_der_x509_crl((www / "crl" / f"{issuer.id}.crl").read_bytes())
        assert crl.issuer == issuer.certificate.subject
    (root,) = x509.load_pem_x509_certificates((www / "ca" / "bundle.pem").read_bytes())
    assert root == authority.trust_bundle()[0]
    assert len(x509.load_pem_x509_certificates((www / "ca" / "issuers.pem").read_bytes())) == 2
    assert read_answer(tmp_path, authority, row) == "good"
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in www.rglob("*") if file.is_file())


def test_the_web_server_can_read_all_of_it_whatever_the_unit_hides(status: Status, tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        publish(status, tmp_path / "new" / "tree")
    finally:
        os.umask(former)
    assert all(one.stat().st_mode & 0o055 == 0o055 for one in (tmp_path / "new").rglob("*") if one.is_dir())


def test_publishing_again_signs_only_what_has_changed(
    status: Status, authority: Authority, row: Certificate, tmp_path: Path, clock: MovableClock
) -> None:
    publish(status, tmp_path)
    before = {file: file.stat().st_ino for file in tmp_path.rglob("*") if file.is_file()}
    assert publish(status, tmp_path) == Published(crls=2, issuers=2, kept=4)
    assert {file: file.stat().st_ino for file in before} == before
    authority.revoke(row.issuer_id, row.serial, Reason.UNSPECIFIED, "operator")
    assert publish(status, tmp_path) == Published(crls=2, issuers=2, kept=2, signed=2)
    assert read_answer(tmp_path, authority, row) == "revoked"
    assert publish(status, tmp_path) == Published(crls=2, issuers=2, kept=4)
    clock.move(hours=13)
    assert publish(status, tmp_path) == Published(crls=2, issuers=2, signed=4)


def test_a_change_of_reason_is_a_change(status: Status, authority: Authority, row: Certificate, tmp_path: Path) -> None:
    authority.hold(row.issuer_id, row.serial, "operator")
    publish(status, tmp_path)
    authority.revoke(row.issuer_id, row.serial, Reason.KEY_COMPROMISE, "operator")
    assert publish(status, tmp_path).signed == 2


def test_answers_of_a_delegate_that_was_renewed_are_signed_anew(
    open_status: OpenStatus, row: Certificate, tmp_path: Path, clock: MovableClock
) -> None:
    status = open_status(ocsp={"lifetime": "6d"})
    clock.move(days=6)
    publish(status, tmp_path)
    clock.move(days=2)
    assert publish(status, tmp_path).kept == 4
    clock.move(days=5, hours=12)  # the answers of before are over, but for the first hour of their half
    assert publish(status, tmp_path).signed == 4


def test_files_that_are_damaged_are_written_anew(status: Status, row: Certificate, tmp_path: Path) -> None:
    publish(status, tmp_path)
    first, second, *_ = answers(tmp_path)
    first.write_bytes(b"\x30")
    second.write_bytes(b"\x30\x03\x0a\x01\x06")
    assert publish(status, tmp_path).signed == 2


def test_answers_about_expired_certificates_and_remains_of_a_crash_go(
    status: Status, row: Certificate, tmp_path: Path, clock: MovableClock
) -> None:
    publish(status, tmp_path)
    (tmp_path / "www" / "ocsp" / ".new-1234").write_bytes(b"half")
    clock.move(days=91)
    done = publish(status, tmp_path)
    assert (done.signed, done.removed) == (2, 3)
    assert len(answers(tmp_path)) == 2


@pytest.mark.parametrize(("before", "after"), [("7d", "1d"), ("1d", "7d")])
def test_with_another_lifetime_everything_is_signed_anew(
    open_status: OpenStatus, row: Certificate, tmp_path: Path, clock: MovableClock, before: str, after: str
) -> None:
    """The times of the files are what nginx makes headers of."""
    publish(open_status(ocsp={"lifetime": before}), tmp_path)
    clock.move(hours=11)
    status = open_status(ocsp={"lifetime": after})
    done = publish(status, tmp_path)
    assert (done.signed, done.kept, done.removed) == (4, 0, 0)
    for file in answers(tmp_path):
        until = ocsp.load_der_ocsp_response(file.read_bytes()).next_update_utc
        assert until is not None
        assert file.stat().st_mtime + status.responder.settings.lifetime_s == until.timestamp()


def test_answers_of_a_hash_that_is_taken_out_go_at_once(
    open_status: OpenStatus, row: Certificate, tmp_path: Path, clock: MovableClock
) -> None:
    """Else they said `good` of what is revoked afterwards."""
    publish(open_status(ocsp={"lifetime": "7d"}), tmp_path)
    without = open_status(ocsp={"lifetime": "7d", "published_hashes": ["sha1"]})
    done = publish(without, tmp_path)
    assert (done.kept, done.removed) == (2, 2)
    assert {ocsp.load_der_ocsp_response(file.read_bytes()).hash_algorithm.name for file in answers(tmp_path)} == {
        "sha1"
    }
    assert publish(without, tmp_path).removed == 0


def test_answers_of_an_issuer_that_is_over_go_at_once(
    status: Status, authority: Authority, tmp_path: Path, clock: MovableClock
) -> None:
    clock.move(days=5 * 365 - 0.1)
    row = authority.issue(request_names("www.example.test"), SERVER)
    publish(status, tmp_path)
    assert read_answer(tmp_path, authority, row) == "good"
    clock.move(days=0.2)
    assert publish(status, tmp_path).removed == 2
    with pytest.raises(FileNotFoundError):
        read_answer(tmp_path, authority, row)


def test_answers_go_when_OCSP_is_switched_off(open_status: OpenStatus, row: Certificate, tmp_path: Path) -> None:
    publish(open_status(), tmp_path)
    assert publish(open_status(ocsp={"enabled": False}), tmp_path).removed == 4
    assert answers(tmp_path) == []


def test_a_run_that_died_leaves_nothing_that_the_next_one_does_not_know_of(
    open_status: OpenStatus, row: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(open_status(ocsp={"published_hashes": ["sha1"]}), tmp_path)
    both = open_status(ocsp={"published_hashes": ["sha1", "sha256"]})
    with monkeypatch.context() as patch:
        patch.setattr("ottr.ca.status.publishing._remove_old", interrupt)
        with pytest.raises(KeyboardInterrupt):
            publish(both, tmp_path)
    assert len(answers(tmp_path)) == 4
    assert publish(open_status(ocsp={"published_hashes": ["sha1"]}), tmp_path).removed == 2


def interrupt(*given: object) -> None:
    raise KeyboardInterrupt


def test_one_run_at_a_time_so_that_nothing_old_comes_last(
    status: Status, authority: Authority, row: Certificate, tmp_path: Path
) -> None:
    """A run that has to wait sees what has happened meanwhile."""
    publish(status, tmp_path)
    thread = threading.Thread(target=publish, args=(status, tmp_path))
    with (tmp_path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        inode, deadline = f":{os.fstat(lock.fileno()).st_ino} ", time.monotonic() + 20
        while not any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
            assert thread.is_alive(), "it did not wait"
            assert time.monotonic() < deadline
        authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    thread.join(20)
    assert read_answer(tmp_path, authority, row) == "revoked"


def test_deltas_are_published(open_status: OpenStatus, tmp_path: Path) -> None:
    assert publish(open_status(crl={"deltas": True}), tmp_path).crls == 4
    delta = x509.load_der_x509_crl((tmp_path / "www" / "crl" / "root-1-delta.crl").read_bytes())
    assert delta.extensions.get_extension_for_class(x509.DeltaCRLIndicator)


def test_only_the_hashes_that_are_wanted(open_status: OpenStatus, row: Certificate, tmp_path: Path) -> None:
    publish(open_status(ocsp={"published_hashes": ["sha256"]}), tmp_path)
    algorithms = {ocsp.load_der_ocsp_response(file.read_bytes()).hash_algorithm.name for file in answers(tmp_path)}
    assert algorithms == {"sha256"}


def test_without_OCSP_there_is_none(open_status: OpenStatus, row: Certificate, tmp_path: Path) -> None:
    done = publish(open_status(ocsp={"enabled": False}), tmp_path)
    assert (done.signed, answers(tmp_path)) == (0, [])
    assert "ocsp" not in (tmp_path / "nginx.conf").read_text()


def test_what_cannot_be_written(status: Status, tmp_path: Path) -> None:
    (tmp_path / "www").write_text("a file")
    with pytest.raises(AuthorityError, match="www"):
        publish(status, tmp_path)


def test_what_nginx_would_misread_is_refused(status: Status) -> None:
    with pytest.raises(SettingsError, match="misread"):
        write_configuration(status, Path("/srv/a b"))
    with pytest.raises(SettingsError, match="host:port"):
        write_configuration(status, Path("/srv/a"), "x; evil on")
    for place in ("127.0.0.1:80", "[::1]:8080", "unix:/run/ottr.sock", "ca.example.test:14080"):
        assert f"proxy_pass http://{place};" in write_configuration(status, Path("/srv"), place)


# nginx


_NGINX = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    server {{
        listen {port};
        include {tree}/nginx.conf;
    }}
}}
"""


class Served(Site):
    """The site, by nginx from files where there are some."""

    tree: Path
    live: str


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with claim_network() as claimed:
        yield claimed


@pytest.fixture(scope="module")
def served(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("site")
    with open_site(folder, network.port(0)) as site:
        tree = folder / "tree"
        with Status(site.authority) as status:
            publish(status, tree, f"127.0.0.1:{network.port(0)}")
        place = folder / "nginx"
        place.mkdir()
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = place / "nginx.conf"
        configuration.write_text(_NGINX.format(user=user, folder=place, tree=tree, port=f"127.0.0.1:{network.port(1)}"))
        command = (find_program("nginx"), "-p", str(place), "-e", str(place / "error.log"), "-c", str(configuration))
        with Process(command, log=place / "log", listens=[("127.0.0.1", network.port(1))]):
            found = Served(folder, f"http://127.0.0.1:{network.port(1)}", site.authority)
            found.tree, found.live = tree, site.url
            yield found


def build(site: Site, kind: str) -> bytes:
    issuer = x509.load_pem_x509_certificate(site.issuer(kind).read_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate(site.load(kind), issuer, SHA1)
    return builder.build().public_bytes(Encoding.DER)


def test_OT_54_nginx_serves_the_answers_to_GET(served: Served, tmp_path: Path) -> None:
    """Escaped or not; those without a file come from the server behind it."""
    command = ["curl", "-sS", "--path-as-is"]
    for kind in KINDS:
        path = encode_path(build(served, kind))
        command += ["-o", str(tmp_path / kind), f"{served.ocsp_url}/{quote(path, safe='')}"]
        command += ["-o", str(tmp_path / f"{kind}.raw"), f"{served.ocsp_url}/{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout + done.stderr == ""
    for kind in KINDS:
        answer = (tmp_path / kind).read_bytes()
        if find_status(kind) not in ("unknown", "foreign"):
            file = served.tree / "www" / "ocsp" / find_file(build(served, kind))
            assert answer == file.read_bytes() == (tmp_path / f"{kind}.raw").read_bytes()
        asked = ["-issuer", served.issuer(kind), "-cert", served.leaf(kind), "-no_nonce"]
        checks = ["openssl", "ocsp", "-CAfile", served.chain, "-respin", tmp_path / kind, *asked]
        done = subprocess.run([*map(str, checks)], capture_output=True, text=True, check=False, timeout=30)
        check_openssl(done.stdout + done.stderr, kind)


_WRK = """\
local file = io.open("{answer}", "rb")
local answer = file:read("*a")
function response(status, headers, body)
    if status ~= 200 or body ~= answer then print("WRONG", status) end
end
"""


def test_nginx_serves_the_answers_under_load_too(served: Served, tmp_path: Path) -> None:
    request, script = build(served, "good"), tmp_path / "look.lua"
    script.write_text(_WRK.format(answer=served.tree / "www" / "ocsp" / find_file(request)))
    command = ["wrk", "-t1", "-c8", "-d1s", "-s", str(script), f"{served.ocsp_url}/{encode_path(request)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "WRONG" not in done.stdout
    assert "Socket errors" not in done.stdout
    assert int(done.stdout.partition(" requests in")[0].split()[-1]) > 0


def test_nginx_says_what_the_signature_says(served: Served) -> None:
    with urlopen(f"{served.ocsp_url}/{quote(encode_path(build(served, 'good')), safe='')}", timeout=20) as response:
        answer = ocsp.load_der_ocsp_response(response.read())
        headers = response.headers
    assert headers["Content-Type"] == "application/ocsp-response"
    assert answer.next_update_utc is not None
    # Files have whole seconds.
    assert abs(parsedate_to_datetime(headers["Expires"]) - answer.next_update_utc) <= timedelta(seconds=1)
    policies = headers.get_all("Cache-Control")
    assert "public, no-transform, must-revalidate" in policies
    (age,) = [int(one.removeprefix("max-age=")) for one in policies if one.startswith("max-age=")]
    assert 86000 < age <= 86400
    assert headers["ETag"]


def test_nginx_passes_on_what_has_no_file(served: Served) -> None:
    """POST, with a nonce: by OpenSSL; and other hashes by GET, with slashes in a row."""
    asked = ["-issuer", served.issuer("good"), "-cert", served.leaf("good"), "-nonce"]
    command = ["openssl", "ocsp", "-CAfile", served.chain, "-url", served.ocsp_url, *asked]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=30)
    check_openssl(done.stdout + done.stderr, "good")
    issuer = read_hashable(served.authority.active_issuer())
    serial = int.from_bytes(b"\x7f" + b"\xff" * 15)
    path = encode_path(build_shortest(build_cert_id("sha384", issuer.name, issuer.key, serial)))
    assert "//" in path
    with urlopen(f"{served.ocsp_url}/{path}", timeout=20) as response:
        assert read_status(response.read()) == "unknown"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/crl/intermediate-1.crl", "application/pkix-crl"),
        ("/ca/intermediate-1.der", "application/pkix-cert"),
        ("/ca/bundle.pem", "application/x-pem-file"),
    ],
)
def test_nginx_serves_the_other_files_as_the_server_does(served: Served, path: str, kind: str) -> None:
    with urlopen(f"{served.url}{path}", timeout=20) as one, urlopen(f"{served.live}{path}", timeout=20) as other:
        assert one.headers["Content-Type"] == other.headers["Content-Type"] == kind
        assert one.read() == other.read()
        assert "max-age=300" in ", ".join(one.headers.get_all("Cache-Control"))
