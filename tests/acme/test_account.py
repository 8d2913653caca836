# SPDX-License-Identifier: Apache-2.0
"""The account: registered once, kept, private; bound, moved to another key, explained when the CA refuses it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from ottr import x509
from ottr.errors import AcmeProblem, IssuanceError, IssuerUnavailable, OttrError
from ottr.model import Secret
from ottr.settings import ExternalAccount
from tests.acme.conftest import MemoryLog, make_request
from tests.acme.proxy import answer, drop, edit, lose, problem

HMAC_KEY = base64.urlsafe_b64encode(bytes(range(48))).decode().rstrip("=")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "accounts" / "test"


def terms(proxy, **meta):
    proxy.on("GET", "/dir", edit(lambda jobj: jobj["meta"].update(meta)))


def test_key_and_url_are_kept_and_private(proxy, make_issuer, folder):
    url = make_issuer(proxy).account_url()
    assert make_issuer(proxy).account_url() == url
    assert proxy.count("POST /sign-me-up") == 1
    assert {path.name for path in folder.iterdir()} == {"key.pem", "account.json", "lock"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3
    assert json.loads((folder / "account.json").read_text())["url"] == url


def test_processes_at_once_register_one_account(proxy, tmp_path):
    program = (
        "import sys; from pathlib import Path; from ottr.acme.issuer import AcmeIssuer;"
        "from ottr.settings import IssuerSettings;"
        "settings = IssuerSettings('test', sys.argv[1], ca_bundle=Path(sys.argv[2]), terms_of_service_agreed=True);"
        "issuer = AcmeIssuer(settings, None, Path(sys.argv[3])); issuer.directory(); print('ready', flush=True);"
        "sys.stdin.read(1); print(issuer.account_url())"
    )
    argv = [sys.executable, "-c", program, proxy.directory, str(proxy.ca_bundle), str(tmp_path / "state")]
    with ExitStack() as stack:
        start = partial(
            subprocess.Popen, argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes = [stack.enter_context(start()) for _ in range(3)]
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
        for process in processes:
            process.stdin.write("x")
            process.stdin.flush()
        urls = {process.stdout.readline() for process in processes}
    assert len(urls) == 1
    assert urls.pop().startswith("https://")
    assert proxy.count("POST /sign-me-up") == 1


def test_registration_killed_half_way_uses_the_same_key(proxy, make_issuer, folder):
    proxy.on("POST", "/sign-me-up", lose, times=2)
    with pytest.raises(IssuerUnavailable):
        make_issuer(proxy).account_url()
    key = (folder / "key.pem").read_bytes()
    assert make_issuer(proxy).account_url()
    assert (folder / "key.pem").read_bytes() == key


def test_leftover_of_a_process_killed_while_writing(proxy, make_issuer, folder):
    folder.mkdir(parents=True)
    (folder / "key.pem.tmp").write_text("half a k")
    assert make_issuer(proxy).account_url()
    assert "PRIVATE KEY" in (folder / "key.pem").read_text()


def test_key_others_can_read_is_refused(proxy, make_issuer, folder):
    make_issuer(proxy).account_url()
    (folder / "key.pem").chmod(0o640)
    with pytest.raises(IssuanceError, match="mode 0640") as raised:
        make_issuer(proxy).account_url()
    assert raised.value.hint == f"chmod 600 {folder / 'key.pem'}"


@pytest.mark.parametrize("text", ["nothing", "public"])
def test_key_that_is_none_is_refused_without_showing_it(proxy, make_issuer, folder, text):
    make_issuer(proxy).account_url()
    if text == "public":
        argv = ["openssl", "pkey", "-in", str(folder / "key.pem"), "-pubout"]
        text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    (folder / "key.pem").write_text(text)
    with pytest.raises(IssuanceError, match="not a P-256 private key") as raised:
        make_issuer(proxy).account_url()
    assert text not in str(raised.value)


@pytest.mark.parametrize("kind", [["RSA"], ["ED25519"], ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]])
def test_key_of_another_kind_is_refused(proxy, make_issuer, folder, kind):
    make_issuer(proxy).account_url()
    subprocess.run(
        ["openssl", "genpkey", "-out", str(folder / "key.pem"), "-algorithm", *kind], check=True, capture_output=True
    )
    with pytest.raises(IssuanceError, match="not a P-256 private key"):
        make_issuer(proxy).account_url()


def test_lost_key(proxy, make_issuer, folder):
    make_issuer(proxy).account_url()
    (folder / "key.pem").unlink()
    with pytest.raises(IssuanceError, match=r"key\.pem is missing") as raised:
        make_issuer(proxy).account_url()
    assert "backup" in raised.value.hint


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"url": "u", "directory": "d", "contact": 7}'])
def test_broken_account_file_is_refused(proxy, make_issuer, folder, text):
    make_issuer(proxy).account_url()
    (folder / "account.json").write_text(text)
    with pytest.raises(IssuanceError, match="not what Ottr wrote"):
        make_issuer(proxy).account_url()


def test_state_folder_that_cannot_be_written(proxy, make_issuer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IssuanceError, match="Not a directory"):
        make_issuer(proxy, state_dir=tmp_path / "file" / "state").account_url()


def test_issuer_that_moved_to_another_ca(proxy, pebble, make_issuer):
    make_issuer(proxy).account_url()
    with pytest.raises(IssuanceError, match="holds an account of") as raised:
        make_issuer(pebble).account_url()
    assert "issuer name of its own" in raised.value.hint


def test_terms_must_be_agreed_to(proxy, make_issuer):
    with pytest.raises(AcmeProblem, match="data:text/plain") as raised:
        make_issuer(proxy, terms_of_service_agreed=False).account_url()
    assert "terms_of_service_agreed" in raised.value.hint
    assert proxy.count("POST") == 0


def test_ca_without_terms(proxy, make_issuer):
    terms(proxy, termsOfService=7)
    with pytest.raises(AcmeProblem, match="POST"):  # Pebble itself insists
        make_issuer(proxy, terms_of_service_agreed=False).account_url()


@pytest.mark.parametrize("meta", [None, {"profiles": [], "externalAccountRequired": "yes"}])
def test_directory_with_little_in_it(proxy, make_issuer, meta):
    proxy.on("GET", "/dir", edit(lambda jobj: jobj.update(meta=meta, keyChange=None)))
    directory = make_issuer(proxy).directory()
    assert (directory.profiles, directory.external_account_required) == ({}, False)
    assert (directory.terms_of_service, directory.key_change) == ("", "")


@pytest.mark.parametrize("body", [b"[]", b"<html>", b'{"newNonce": "x", "newAccount": 7}'])
def test_directory_that_is_none(proxy, issuer, body):
    proxy.on("GET", "/dir", answer(200, body))
    with pytest.raises(AcmeProblem) as raised:
        issuer.directory()
    assert "directory URL" in raised.value.hint
    assert issuer.directory().new_order


def test_names_that_caa_records_may_give_the_ca(proxy, make_issuer):
    terms(proxy, caaIdentities=["ca.test", "other.test"])
    assert make_issuer(proxy).caa_identities() == ("ca.test", "other.test")


def test_external_account(start_pebble, make_issuer, name, log):
    pebble = start_pebble(eab={"kid-1": HMAC_KEY})
    with pytest.raises(AcmeProblem, match="binds accounts to customers") as raised:
        make_issuer(pebble).account_url()
    assert "external_account" in raised.value.hint
    wrong = ExternalAccount("kid-1", Secret("AAAA" + HMAC_KEY[4:]))
    with pytest.raises(AcmeProblem) as refused:
        make_issuer(pebble, external_account=wrong).account_url()
    assert HMAC_KEY not in str(refused.value)
    bound = make_issuer(pebble, external_account=ExternalAccount("kid-1", Secret(HMAC_KEY)))
    assert bound.issue(make_request(name), log)
    assert make_issuer(pebble).account_url() == bound.account_url()


@pytest.mark.parametrize(("algorithm", "digest"), [("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")])
def test_external_account_is_signed_as_the_ca_said(proxy, make_issuer, algorithm, digest):
    external = ExternalAccount("kid-7", Secret(HMAC_KEY), algorithm)
    proxy.on("POST", "/sign-me-up", answer(201, {"status": "valid"}, Location="https://ca.test/account/7"))
    make_issuer(proxy, external_account=external).account_url()
    sent = next(request for request in proxy.requests if request.path == "/sign-me-up")
    binding = sent.payload()["externalAccountBinding"]
    signed = f"{binding['protected']}.{binding['payload']}".encode()
    signature = hmac.new(base64.urlsafe_b64decode(HMAC_KEY), signed, getattr(hashlib, digest)).digest()
    assert base64.urlsafe_b64decode(binding["signature"] + "==") == signature
    header = json.loads(base64.urlsafe_b64decode(binding["protected"] + "=="))
    assert header == {"alg": algorithm, "kid": "kid-7", "url": sent.header()["url"]}
    assert json.loads(base64.urlsafe_b64decode(binding["payload"] + "==")) == sent.header()["jwk"]


@pytest.mark.parametrize(("key", "algorithm"), [("%%% no base64 %%%", "HS256"), (HMAC_KEY, "HS1"), ("ü", "HS256")])
def test_external_account_that_cannot_be_used(proxy, make_issuer, key, algorithm):
    with pytest.raises(IssuanceError, match="external_account cannot be used") as raised:
        make_issuer(proxy, external_account=ExternalAccount("kid", Secret(key), algorithm)).account_url()
    assert key not in str(raised.value)
    assert raised.value.__suppress_context__


def test_contact_is_told_and_kept_up_to_date(proxy, make_issuer, folder, caplog):
    first, second = ("mailto:a@lab.test",), ("mailto:b@lab.test",)
    url = make_issuer(proxy, contact=first).account_url()
    assert proxy.requests[-1].payload()["contact"] == list(first)
    make_issuer(proxy, contact=first).account_url()
    assert proxy.count("POST") == 1
    proxy.on("POST", "/my-account/", problem(400, "invalidContact", "no such host"))
    assert make_issuer(proxy, contact=second).account_url() == url
    assert "no such host" in caplog.text
    make_issuer(proxy, contact=second).account_url()
    assert proxy.requests[-1].payload() == {"contact": list(second)}
    assert json.loads((folder / "account.json").read_text())["contact"] == list(second)
    asked = len(proxy.requests)
    make_issuer(proxy, contact=second).account_url()
    assert len(proxy.requests) == asked + 1  # the directory


def test_account_the_ca_has_forgotten(start_pebble, make_issuer, name, log, folder):
    pebble = start_pebble()
    make_issuer(pebble).account_url()
    pebble.restart()
    issuer = make_issuer(pebble)
    with pytest.raises(AcmeProblem, match="accountDoesNotExist") as raised:
        issuer.issue(make_request(name), log)
    assert "remove account.json" in raised.value.hint
    (folder / "account.json").unlink()
    key = (folder / "key.pem").read_bytes()
    assert make_issuer(pebble).issue(make_request(name), log)
    assert (folder / "key.pem").read_bytes() == key


def test_account_that_was_deactivated(proxy, issuer, make_issuer, name, log):
    issuer.account_url()
    session = issuer._open_session()
    session.post(session.signer.account_url, b'{"status": "deactivated"}')
    with pytest.raises(AcmeProblem) as raised:
        make_issuer(proxy).issue(make_request(name), log)
    assert "deactivated" in raised.value.hint


def test_registration_without_location(proxy, issuer):
    proxy.on("POST", "/sign-me-up", answer(201, {"status": "valid"}))
    with pytest.raises(AcmeProblem, match="names no Location"):
        issuer.account_url()


def test_dead_ca_fails_all_threads_at_once_and_may_come_back(proxy, issuer):
    proxy.on("GET", "/dir", drop, times=2)
    with pytest.raises(IssuerUnavailable):
        issuer.account_url()
    assert issuer.account_url()


class TestKeyChange:
    def test_account_goes_on_with_the_new_key(self, proxy, issuer, make_issuer, folder, name):
        url = issuer.account_url()
        old = (folder / "key.pem").read_bytes()
        issuer.change_account_key()
        assert (folder / "key.pem").read_bytes() != old
        assert not (folder / "key.next.pem").exists()
        assert issuer.issue(make_request(name), MemoryLog())
        assert make_issuer(proxy).account_url() == url
        (folder / "key.pem").write_bytes(old)
        with pytest.raises(OttrError):
            make_issuer(proxy).issue(make_request(name), MemoryLog())

    @pytest.mark.parametrize(("fault", "taken"), [(drop, False), (lose, True)])
    def test_killed_in_between(self, proxy, issuer, make_issuer, folder, name, fault, taken):
        """Whether the CA took the new key or not: the next run finds out and goes on."""
        url = issuer.account_url()
        old = (folder / "key.pem").read_bytes()
        proxy.on("POST", "/rollover-account-key", fault, times=2)
        proxy.on("POST", "/rollover-account-key", drop)
        with pytest.raises(IssuerUnavailable):
            issuer.change_account_key()
        assert (folder / "key.next.pem").stat().st_mode & 0o777 == 0o600
        resumed = make_issuer(proxy)
        assert resumed.account_url() == url
        assert resumed.issue(make_request(name), MemoryLog())
        assert not (folder / "key.next.pem").exists()
        assert ((folder / "key.pem").read_bytes() != old) is taken

    def test_refused(self, proxy, issuer, name, log):
        issuer.account_url()
        proxy.on("POST", "/rollover-account-key", problem(409, "malformed", "key in use"))
        with pytest.raises(AcmeProblem, match="key in use"):
            issuer.change_account_key()
        assert issuer.issue(make_request(name), log)

    def test_ca_that_cannot_be_asked_which_key_it_knows(self, proxy, issuer, make_issuer, folder):
        issuer.account_url()
        proxy.on("POST", "/rollover-account-key", drop, times=2)
        with pytest.raises(IssuerUnavailable):
            issuer.change_account_key()
        proxy.on("POST", "/sign-me-up", problem(403, "unauthorized", "not now"))
        with pytest.raises(AcmeProblem, match="not now"):
            make_issuer(proxy).account_url()
        assert (folder / "key.next.pem").exists()
        assert make_issuer(proxy).account_url()

    def test_not_offered(self, proxy, make_issuer):
        proxy.on("GET", "/dir", edit(lambda jobj: jobj.pop("keyChange")))
        with pytest.raises(AcmeProblem, match="does not offer a change"):
            make_issuer(proxy).change_account_key()


def test_revocation(proxy, issuer, pebble, name, log):
    leaf_pem = issuer.issue(make_request(name), log).leaf_pem
    issuer.revoke(leaf_pem, 4)
    serial = x509.parse_certificate(leaf_pem).serial
    status = json.loads(pebble._download(f"/cert-status-by-serial/{serial}"))
    assert (status["Status"], status["Reason"]) == ("Revoked", 4)
    issuer.revoke(leaf_pem)  # done already is done
    proxy.on("POST", "/revoke-cert", problem(400, "badRevocationReason"))
    with pytest.raises(AcmeProblem) as raised:
        issuer.revoke(leaf_pem, 7)
    assert "another reason" in raised.value.hint
    with pytest.raises(IssuanceError, match="cannot be read"):
        issuer.revoke("nonsense")


def test_revocation_not_offered(proxy, make_issuer, name, log):
    leaf_pem = make_issuer(proxy).issue(make_request(name), log).leaf_pem
    proxy.on("GET", "/dir", edit(lambda jobj: jobj.pop("revokeCert")))
    with pytest.raises(AcmeProblem, match="does not offer revocation"):
        make_issuer(proxy).revoke(leaf_pem)
