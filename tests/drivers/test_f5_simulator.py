# SPDX-License-Identifier: Apache-2.0
"""A rotation of a profile on the simulated BIG-IP, and what the device refuses on the way."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ottr.drivers.f5.simulator import F5Simulator, Profile, Settings, User, Virtual
from tests.drivers.f5 import FAST, SITE, VERSIONS, Wire, fingerprint, issuer, run_f5, seen, sign


@pytest.fixture
def device() -> Iterator[F5Simulator]:
    with run_f5() as running:
        yield running


@pytest.fixture
def wire(device: F5Simulator) -> Wire:
    return Wire(device).log_in()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rotation_with_the_key_made_on_the_device(version: str) -> None:
    with run_f5(version) as device:
        wire = Wire(device).log_in()
        before = seen(device, "web")
        pem = wire.prepare("ottr-1")
        inside = wire.begin()
        command = inside.bind("ottr-1")
        assert (command["method"], command["commandId"]) == ("PATCH", 1)
        assert wire.get(f"tm/transaction/{inside.transaction}/commands")["items"][0]["uri"].endswith(f"/mgmt/{SITE}")
        assert seen(device, "web") == before == device.served_fingerprint("web")
        assert wire.commit(inside)["state"] == "COMPLETED"
        assert seen(device, "web") == fingerprint(pem) == device.served_fingerprint("web")
        shown = wire.get(SITE)
        assert (shown["cert"], shown["chain"], shown["inheritCertkeychain"]) == ("/Common/ottr-1.crt", "none", "false")
        assert shown["selfLink"].endswith(f"~Common~site?ver={version}")
        assert ("usage" in shown["certKeyChain"][0]) == version.startswith("17")
        wire.log_out()
        assert (device.sessions, device.exported_keys) == (0, ())


@pytest.mark.parametrize("version", ["13.1.5", "14.0.0", "none"])
def test_there_is_no_such_version(version: str) -> None:
    with pytest.raises(ValueError, match="no BIG-IP version"):
        F5Simulator(os_version=version)


# Tokens


def test_a_login_gives_a_token(device: F5Simulator, wire: Wire) -> None:
    token = wire.get(f"shared/authz/tokens/{wire.token}").json
    assert (len(wire.token), wire.token, wire.token.isupper() or wire.token.isdigit()) == (26, token["name"], True)
    assert (token["timeout"], token["userName"], token["generation"]) == (1200, "admin", 1)
    assert token["expirationMicros"] - token["lastUpdateMicros"] == 1200 * 1_000_000
    assert [item["token"] for item in wire.get("shared/authz/tokens")["items"]] == [wire.token]
    log = list(device.requests)
    assert wire.token not in repr(log)
    assert device.password not in repr(log)
    assert not any(entry.url_secrets for entry in log)
    assert {wire.token, device.password} <= device.secrets


def test_a_token_can_be_extended_up_to_ten_hours(wire: Wire) -> None:
    path = f"shared/authz/tokens/{wire.token}"
    extended = wire.patch(path, timeout=36000)
    assert (extended.status, extended["timeout"], extended["generation"]) == (200, 36000, 2)
    refused = wire.patch(path, timeout=36001)
    assert (refused.status, refused.message) == (406, "Auth-token absolute timeout (36000 seconds) exceeded")
    assert wire.patch(path, timeout="long").status == 400


def test_a_token_ends_with_its_time(device: F5Simulator, wire: Wire) -> None:
    device.advance(1199)
    assert wire.get("tm/sys").status == 200
    device.advance(2)
    refused = wire.get("tm/sys")
    assert (refused.status, refused.message) == (401, "X-F5-Auth-Token does not exist.")
    assert device.sessions == 0


def test_a_user_sees_only_own_tokens(device: F5Simulator, wire: Wire) -> None:
    other = Wire(device, "alice", "alice-simulated").log_in()
    for answer in (other.get(f"shared/authz/tokens/{wire.token}"), other.delete(f"shared/authz/tokens/{wire.token}")):
        assert answer.status == 400
        assert answer.message.startswith("Authorization failed")
    assert [item["token"] for item in other.get("shared/authz/tokens")["items"]] == [other.token]
    assert other.delete("shared/authz/tokens/NOBODY").status == 404


def test_a_user_has_so_many_tokens_and_no_more() -> None:
    with run_f5(token_limit=2) as device:
        wires = [Wire(device, "alice", "alice-simulated").log_in() for _ in range(2)]
        login = {"username": "alice", "password": "alice-simulated", "loginProviderName": "tmos"}
        refused = Wire(device).post("shared/authn/login", **login)
        assert refused.status == 400
        assert "has reached maximum active login tokens" in refused.message
        wires[0].log_out()
        assert Wire(device).post("shared/authn/login", **login).status == 200
        assert [Wire(device).log_in() for _ in range(3)]  # admin is exempt


def test_who_may_not_come_in(device: F5Simulator) -> None:
    wire = Wire(device)
    refused = wire.post("shared/authn/login", username="admin", password="wrong", loginProviderName="tmos")
    assert (refused.status, refused.message) == (401, "Authentication failed.")
    assert wire.post("shared/authn/login", username="x", password="x", loginProviderName="radius").status == 400
    anonymous = wire.get("tm/sys")
    assert anonymous.status == 401
    assert anonymous.headers["www-authenticate"].startswith("Basic")
    assert b"401 F5 Authorization Required" in anonymous.body
    assert wire.send("GET", "tm/sys", headers={"Authorization": "Basic !"}).status == 401
    basic = base64.b64encode(b"admin:simulated").decode()
    assert wire.send("GET", "tm/sys", headers={"Authorization": f"Basic {basic}"}).status == 200
    assert wire.send("GET", "tm/sys", headers={"Authorization": f"Basic {basic}", "X-F5-Auth-Token": "X"}).status == 401
    assert wire.get("shared/authn/login").status == 405


def test_a_first_password_must_be_changed() -> None:
    with run_f5(other_users={"new": User("initial", must_change_password=True)}) as device:
        answer = Wire(device).post("shared/authn/login", username="new", password="initial")
        assert answer.status == 401
        assert "Password expired" in answer.message
        device.state.accounts.change_password("new", "changed")
        assert Wire(device, "new", "changed").log_in().token


@pytest.mark.parametrize(
    ("user", "can", "cannot"),
    [
        ("certs", [("tm/sys/crypto/key", {"name": "a.key"})], [("tm/util/bash", {}), ("tm/sys/config", {})]),
        ("guest", [], [("tm/sys/crypto/key", {"name": "a.key"}), ("tm/transaction", {})]),
    ],
)
def test_roles(device: F5Simulator, user: str, can: list[Any], cannot: list[Any]) -> None:
    wire = Wire(device, user, f"{user}-simulated").log_in()
    assert wire.get(SITE).status == 200
    for path, body in can:
        assert wire.post(path, **body).status == 200
    for path, body in cannot:
        refused = wire.post(path, **body)
        assert refused.status == 401
        assert refused.message.startswith("Authorization failed: user=https://localhost/mgmt/shared/authz/users/")
    wire.log_out()


def test_a_resource_administrator_has_no_shell() -> None:
    with run_f5(other_users={"ra": User("ra", "resource-admin")}) as device:
        wire = Wire(device, "ra", "ra").log_in()
        assert wire.post("tm/sys/crypto/key", name="a.key").status == 200
        assert wire.post("tm/util/bash", command="run", utilCmdArgs="-c id").status == 401


# What REST refuses


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "tm/nonsense", None, 404),
        ("GET", "nonsense", None, 404),
        ("GET", "tm/sys/version/0", None, 404),
        ("PUT", "tm/sys/crypto/key/a.key", {}, 405),
        ("PUT", "tm/ltm/virtual", {}, 405),
        ("POST", SITE, {}, 405),
        ("DELETE", "tm/sys/crypto/key", None, 400),
        ("POST", "tm/sys/version", {}, 405),
        ("POST", "tm/auth/partition", {"name": "x"}, 400),
        ("GET", f"{SITE}/nonsense", None, 404),
        ("GET", f"{SITE}?nonsense=1", None, 400),
        ("GET", "tm/ltm/virtual?$filter=name+eq+web", None, 400),
        ("GET", "tm/ltm/virtual?$top=x", None, 400),
        ("PATCH", SITE, {"nonsense": 1}, 400),
        ("PATCH", SITE, {"certKeyChain": "x"}, 400),
        ("PATCH", SITE, {"certKeyChain": [{"name": "x", "cert": "/Common/default.crt"}]}, 400),
        ("PATCH", SITE, {"certKeyChain": [{"name": "x", "nonsense": 1}]}, 400),
        ("PATCH", SITE, {"sniDefault": "perhaps"}, 400),
        ("POST", "tm/util/bash", {"command": "walk", "utilCmdArgs": "-c id"}, 400),
        ("GET", "tm/util/bash", None, 405),
        ("POST", "tm/sys/config", {"command": "nonsense"}, 400),
        ("POST", "tm/sys/service", {"command": "restart", "name": "nonsense"}, 400),
        ("POST", "tm/sys/service", {"command": "nonsense", "name": "httpd"}, 400),
        ("PATCH", "tm/sys/httpd", {"nonsense": 1}, 400),
        ("POST", "tm/cm", {"command": "walk", "utilCmdArgs": "x"}, 400),
        ("POST", "tm/cm", {"command": "run", "utilCmdArgs": "nonsense"}, 400),
        ("POST", "tm/cm/device", {}, 405),
        ("GET", "tm/cm/device/nobody", None, 404),
        ("PUT", "tm/transaction", {}, 405),
        ("GET", "tm/transaction/1", None, 404),
        ("GET", "tm/task/util/bash/1", None, 404),
        ("PUT", "tm/task/util/bash", {}, 405),
        ("POST", "tm/adc/fileobject/ssl-key", {}, 405),
        ("POST", "tm/ltm/virtual", {"name": "x"}, 400),
        ("PATCH", "tm/ltm/virtual/web", {"nonsense": 1}, 400),
        ("PATCH", "tm/ltm/virtual/web", {"profiles": 1}, 400),
        ("GET", "tm/ltm/virtual/web/nonsense", None, 404),
        ("PUT", "tm/ltm/virtual/web/profiles", {}, 405),
        ("PUT", "tm/ltm/virtual/web/profiles/site", {}, 405),
        ("GET", "tm/ltm/virtual/web/profiles/nobody", None, 404),
        ("PATCH", "tm/auth/partition/Common", {"nonsense": 1}, 400),
        ("POST", "shared/authz/tokens", {}, 405),
        ("GET", "shared/file-transfer/uploads/x", None, 405),
        ("GET", "shared/file-transfer/uploads", None, 404),
        ("GET", "shared/file-transfer/bulk/absent", None, 404),
    ],
)
def test_what_means_nothing_is_an_error(wire: Wire, method: str, path: str, body: Any, status: int) -> None:
    before = wire.device.state_hash()
    refused = wire.send(method, path, body)
    assert refused.status == status
    assert refused["code"] == status
    assert wire.device.state_hash() == before


def test_a_body_is_a_json_object(wire: Wire) -> None:
    assert wire.send("POST", "tm/sys/config", raw=b"{").status == 400
    assert wire.send("POST", "tm/sys/config", raw=b"[]").status == 400
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert wire.send("POST", "tm/sys/config", raw=b"a=b", headers=form).status == 415


def test_lists_can_be_cut_and_chosen_from(wire: Wire) -> None:
    for number in range(3):
        assert wire.make_key(f"k{number}.key").status == 200
    page = wire.get("tm/sys/file/ssl-key?$top=2&$skip=1&$select=name")
    assert page["items"] == [{"name": "k0.key"}, {"name": "k1.key"}]
    assert (page["totalItems"], page["currentItemCount"]) == (4, 2)
    assert "$skip=3" in page["nextLink"]
    assert page["kind"] == "tm:sys:file:ssl-key:ssl-keycollectionstate"
    assert len(wire.get("tm/sys/file/ssl-key?$filter=partition+eq+Common")["items"]) == 4
    assert "items" not in wire.get("tm/sys/file/ssl-key?$filter=partition+eq+Other").json


def test_partitions() -> None:
    with run_f5(partitions=("Shop",)) as device:
        wire = Wire(device).log_in()
        assert [item["name"] for item in wire.get("tm/auth/partition")["items"]] == ["Common", "Shop"]
        assert wire.get("tm/auth/partition/Shop")["fullPath"] == "/Shop"
        assert wire.patch("tm/auth/partition/Shop", description="ours")["description"] == "ours"
        assert wire.post("tm/sys/crypto/key", name="a.key", partition="Shop").status == 200
        assert wire.get("tm/sys/crypto/key/~Shop~a.key")["name"] == "/Shop/a.key"
        refused = wire.post("tm/sys/crypto/key", name="a.key", partition="Nowhere")
        assert (refused.status, refused.message) == (400, "01020036:3: The requested folder (/Nowhere) was not found.")


# Keys and CSRs


@pytest.mark.parametrize(
    ("body", "kind", "size"),
    [
        ({}, "rsa-private", "2048"),
        ({"keyType": "rsa-private", "keySize": 3072}, "rsa-private", "3072"),
        ({"keyType": "ec-private"}, "ec-private", "256"),
        ({"keyType": "ec-private", "curveName": "secp384r1"}, "ec-private", "384"),
        ({"key-type": "ec-private", "curve-name": "secp521r1"}, "ec-private", "521"),
    ],
)
def test_a_key_is_made_on_the_device(wire: Wire, body: dict[str, Any], kind: str, size: str) -> None:
    made = wire.post("tm/sys/crypto/key", name="a.key", **body)
    assert (made.status, made["name"], made["fullPath"]) == (200, "a.key", "a.key")
    assert (made["keyType"], made["keySize"], made["kind"]) == (kind, size, "tm:sys:crypto:key:keystate")
    read = wire.get("tm/sys/crypto/key/~Common~a.key")
    assert (read["name"], read["fullPath"], read["keySize"]) == ("/Common/a.key", "/Common/a.key", size)
    file = wire.get("tm/sys/file/ssl-key/~Common~a.key")
    assert (file["keySize"], file["keyType"]) == (int(size), kind)
    assert file["checksum"].startswith("SHA1:")
    place = next(i["cachePath"] for i in wire.get("tm/adc/fileobject/ssl-key")["items"] if "a.key" in i["name"])
    assert place.startswith("/config/filestore/files_d/Common_d/certificate_key_d/:Common:a.key_")
    assert wire.device.read(place)
    assert wire.device.exported_keys == ()
    assert wire.delete("tm/sys/crypto/key/a.key").status == 200
    assert wire.device.read(place) is None
    absent = wire.get("tm/sys/crypto/key/a.key")
    assert absent.status == 404
    assert absent.message.startswith("01020036:3: The requested")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a.key", "keySize": "1000"},
        {"name": "a.key", "keySize": "big"},
        {"name": "a.key", "keyType": "dsa-private"},
        {"name": "a.key", "keyType": "ec-private", "curveName": "secp256k1"},
        {"name": "a.key", "nonsense": 1},
        {"name": "*.key"},
        {"name": "a:b.key"},
        {"name": "-a.key"},
        {"name": "a" * 256},
        {"keySize": "2048"},
        {"name": "a.key", "options": [{"gen-certificate": "x"}]},
        {"name": "a.key", "options": [{"gen-csr": "*.example.com"}]},
    ],
)
def test_a_key_that_is_not_made(wire: Wire, body: dict[str, Any]) -> None:
    before = wire.device.state_hash()
    assert wire.post("tm/sys/crypto/key", **body).status == 400
    assert wire.device.state_hash() == before


def test_a_name_is_taken_once(wire: Wire) -> None:
    assert wire.make_key("a.key").status == 200
    again = wire.make_key("a.key")
    assert again.status == 409
    assert again.message.endswith("(/Common/a.key) already exists in partition Common.")
    assert wire.make_csr("a.csr", "a.key").status == 200
    assert wire.make_csr("a.csr", "a.key").status == 409


def test_a_csr_has_the_key_and_the_names_asked_for(wire: Wire) -> None:
    wire.post("tm/sys/crypto/key", name="a.key")
    names = "DNS:a.example.com, DNS:*.example.com,IP:192.0.2.7, email:a@example.com, URI:https://a.example.com/"
    more = {
        "commonName": "*.example.com",
        "organization": "Otters",
        "country": "US",
        "challengePassword": "drop-of-water",
    }
    made = wire.make_csr("a.csr", "a.key", subjectAlternativeName=names, **more)
    assert (made.status, made["fullPath"]) == (200, "a.csr")
    assert "challengePassword" not in made.json
    csr = x509.load_pem_x509_csr(wire.read_csr("a.csr"))
    assert isinstance(csr.public_key(), rsa.RSAPublicKey)
    assert csr.subject.rfc4514_string() == "C=US,O=Otters,CN=*.example.com"
    asked = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert asked.get_values_for_type(x509.DNSName) == ["a.example.com", "*.example.com"]
    assert [str(ip) for ip in asked.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    assert csr.signature_hash_algorithm
    assert csr.signature_hash_algorithm.name == "sha256"
    read = wire.get("tm/sys/crypto/csr/a.csr").json
    assert "BEGIN" not in str(read)
    assert [item["name"] for item in wire.get("tm/sys/crypto/csr")["items"]] == ["/Common/a.csr"]
    assert wire.delete("tm/sys/crypto/csr/a.csr").status == 200
    assert wire.get("tm/sys/crypto/csr/a.csr").status == 404
    assert wire.delete("tm/sys/crypto/csr/a.csr").status == 404
    assert "drop-of-water" not in repr(list(wire.device.requests))


def test_tmsh_names_are_taken_for_a_csr(wire: Wire) -> None:
    wire.make_key("a.key")
    body = {
        "name": "a.csr",
        "key": "a.key",
        "common-name": "a.example.com",
        "subject-alternative-name": "DNS:a.example.com",
    }
    assert wire.send("POST", "tm/sys/crypto/csr", body).status == 200
    csr = x509.load_pem_x509_csr(wire.read_csr("a.csr"))
    assert csr.subject.rfc4514_string() == "CN=a.example.com"
    assert isinstance(csr.public_key(), ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    "body",
    [
        {"key": "absent.key"},
        {"key": ""},
        {"commonName": ""},
        {"subjectAlternativeName": "IP Address:192.0.2.1"},
        {"subjectAlternativeName": "a.example.com"},
        {"subjectAlternativeName": "DNS:"},
        {"subjectAlternativeName": "IP:nonsense"},
        {"country": "Utopia"},
        {"partition": "Other"},
        {"consumer": "nobody"},
        {"keySize": "2048"},
        {"name": "*.csr"},
    ],
)
def test_a_csr_that_is_not_made(wire: Wire, body: dict[str, Any]) -> None:
    wire.make_key("a.key")
    before = wire.device.state_hash()
    assert wire.make_csr(**{"name": "a.csr", "key": "a.key", **body}).status == 400
    assert wire.device.state_hash() == before


def test_key_and_csr_in_one_request(wire: Wire) -> None:
    made = wire.post("tm/sys/crypto/key", name="a.key", options=[{"gen-csr": "a.example.com"}], organization="Otters")
    assert made.status == 200
    assert "csr" not in made.json
    csr = x509.load_pem_x509_csr(wire.read_csr("a.key"))
    assert csr.subject.rfc4514_string() == "O=Otters,CN=a.example.com"


def test_the_csr_can_be_moved_and_downloaded(wire: Wire) -> None:
    wire.make_key("a.key")
    wire.make_csr("a.csr", "a.key")
    moved = wire.post(
        "tm/util/unix-mv", command="run", utilCmdArgs="/config/ssl/ssl.csr/a.csr /var/config/rest/bulk/a.csr"
    )
    assert "commandResult" not in moved.json
    span = {"Content-Range": "0-99999/0"}
    got = wire.send("GET", "shared/file-transfer/bulk/a.csr", headers=span)
    assert x509.load_pem_x509_csr(got.body)
    assert got.headers["content-range"] == f"0-{len(got.body) - 1}/{len(got.body)}"
    part = wire.send("GET", "shared/file-transfer/bulk/a.csr", headers={"Content-Range": "5-9/10"})
    assert part.body == got.body[5:10]
    assert wire.send("GET", "shared/file-transfer/bulk/a.csr", headers={"Content-Range": "9999-10000/1"}).status == 400
    assert wire.get("shared/file-transfer/bulk/a.csr").status == 400
    assert wire.get("tm/sys/crypto/csr/a.csr").status == 404
    ls = {"command": "run", "utilCmdArgs": "/var/config/rest/bulk"}
    assert wire.post("tm/util/unix-ls", **ls)["commandResult"] == "a.csr\n"
    rm = {"command": "run", "utilCmdArgs": "-f /var/config/rest/bulk/a.csr"}
    assert "commandResult" not in wire.post("tm/util/unix-rm", **rm).json
    assert "No such file" in wire.post("tm/util/unix-rm", **rm)["commandResult"]
    assert "No such file" in wire.post("tm/util/unix-ls", command="run", utilCmdArgs="/var/tmp/x")["commandResult"]
    mv = "/var/tmp/x /var/tmp/y"
    assert "cannot stat" in wire.post("tm/util/unix-mv", command="run", utilCmdArgs=mv)["commandResult"]
    for wrong in ("/etc/passwd /tmp/x", "/tmp/x", "'", "/tmp/../etc/x /tmp/x"):
        assert wire.post("tm/util/unix-mv", command="run", utilCmdArgs=wrong).status == 400


# Uploads and installs


def test_an_upload_in_chunks(wire: Wire) -> None:
    first = wire.send_chunk("a.pem", b"0123456789", "0-9/15")
    assert (first["remainingByteCount"], first["usedChunks"]) == (5, {"0": 10})
    assert wire.device.read("/var/config/rest/downloads/a.pem") is None
    last = wire.send_chunk("a.pem", b"abcde", "10-14/15")
    assert (last["remainingByteCount"], last["totalByteCount"]) == (0, 15)
    assert wire.device.read(last["localFilePath"]) == b"0123456789abcde"


@pytest.mark.parametrize(
    ("name", "content", "span"),
    [
        ("a.pem", b"abc", ""),
        ("a.pem", b"abc", "bytes 0-2/3"),
        ("a.pem", b"abc", "0-3/3"),
        ("a.pem", b"abc", "0-1/3"),
        ("a.pem", b"abc", "3-5/9"),
        ("a:b.pem", b"abc", "0-2/3"),
        ("..", b"abc", "0-2/3"),
    ],
)
def test_an_upload_that_is_not_taken(wire: Wire, name: str, content: bytes, span: str) -> None:
    before = wire.device.state_hash()
    assert wire.send_chunk(name, content, span).status == 400
    assert wire.device.state_hash() == before


def test_an_upload_has_its_own_content_type(wire: Wire) -> None:
    headers = {"Content-Type": "application/json", "Content-Range": "0-1/2"}
    assert wire.send("POST", "shared/file-transfer/uploads/a", headers=headers, raw=b"{}").status == 400


@pytest.mark.parametrize("way", ["crypto", "file"])
def test_a_certificate_is_installed_and_replaced(wire: Wire, way: str) -> None:
    wire.make_key("a.key")
    wire.make_csr("a.csr", "a.key")
    csr = wire.read_csr("a.csr")
    for revision in (1, 2):
        pem = sign(csr)
        assert wire.upload("a.pem", pem.encode()).status == 200
        source = "/var/config/rest/downloads/a.pem"
        if way == "crypto":
            done = wire.post("tm/sys/crypto/cert", command="install", name="a.crt", from__local__file=source)
            assert done["kind"] == "tm:sys:crypto:cert:installstate"
        elif revision == 1:
            done = wire.post("tm/sys/file/ssl-cert", name="a.crt", partition="Common", sourcePath=f"file:{source}")
            assert wire.post("tm/sys/file/ssl-cert", name="a.crt", sourcePath=f"file:{source}").status == 409
        else:
            done = wire.put("tm/sys/file/ssl-cert/~Common~a.crt", sourcePath=f"file://{source}")
        assert done.status == 200
        shown = wire.get("tm/sys/file/ssl-cert/~Common~a.crt")
        assert (shown["revision"], shown["isBundle"], shown["keyType"]) == (revision, "false", "ec-public")
        assert shown["size"] == len(pem.encode())
        assert shown["fingerprint"].replace(":", "").lower() == f"sha256/{fingerprint(pem)}"
    listed = next(item for item in wire.get("tm/sys/crypto/cert")["items"] if item["name"] == "/Common/a.crt")
    assert listed["apiRawValues"]["publicKeyType"] == "EC"
    assert listed["commonName"] == "site.example.com"
    assert wire.put("tm/sys/file/ssl-cert/~Common~a.crt", issuerCert="/Common/default.crt").status == 200
    assert wire.put("tm/sys/file/ssl-cert/~Common~a.crt", nonsense="x").status == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tm/sys/crypto/cert", {"command": "install", "name": "a.crt", "from-local-file": "/var/tmp/absent"}),
        ("tm/sys/crypto/cert", {"command": "install", "name": "a.crt"}),
        ("tm/sys/crypto/cert", {"command": "install", "name": "*", "from-local-file": "/shared/no.pem"}),
        ("tm/sys/crypto/cert", {"command": "install", "name": "a.crt", "from-local-file": "/shared/no.pem"}),
        ("tm/sys/crypto/key", {"command": "install", "name": "a.key", "from-local-file": "/shared/no.pem"}),
        ("tm/sys/crypto/cert", {"command": "walk", "name": "a.crt"}),
        ("tm/sys/crypto/csr", {"command": "install", "name": "a.crt"}),
        ("tm/sys/crypto/cert", {"name": "a.crt"}),
        ("tm/sys/file/ssl-cert", {"name": "a.crt", "sourcePath": "/shared/no.pem"}),
        ("tm/sys/file/ssl-cert", {"name": "a.crt", "sourcePath": "file:/shared/no.pem"}),
        ("tm/sys/file/ssl-cert", {"name": "a.crt", "nonsense": 1}),
    ],
)
def test_a_certificate_that_is_not_installed(wire: Wire, path: str, body: dict[str, Any]) -> None:
    wire.device.state.disk.write("/shared/no.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    before = wire.device.state_hash()
    assert wire.send("POST", path, body).status == 400
    assert wire.device.state_hash() == before


# Profiles, virtual servers, transactions


def test_a_key_that_does_not_match_is_refused(wire: Wire) -> None:
    wire.prepare("a")
    before = wire.get(SITE).json
    entry = {"name": "a", "cert": "/Common/a.crt", "key": "/Common/default.key"}
    refused = wire.patch(SITE, certKeyChain=[entry])
    words = "profile /Common/site's key(/Common/default.key) and certificate(/Common/a.crt) do not match."
    assert (refused.status, refused.message, refused["apiError"]) == (400, f"01070317:3: {words}", 3)
    assert wire.patch(SITE, cert="/Common/a.crt").status == 400
    assert wire.get(SITE).json == before
    assert wire.patch(SITE, cert="a.crt", key="/Common/a.key").status == 200
    assert wire.get(SITE)["certKeyChain"][0]["cert"] == "/Common/a.crt"


def test_a_bound_certificate_is_not_replaced_by_anothers(wire: Wire) -> None:
    wire.prepare("a")
    wire.bind("a")
    before = seen(wire.device, "web")
    wire.make_key("b.key")
    wire.make_csr("b.csr", "b.key")
    refused = wire.install("a.crt", sign(wire.read_csr("b.csr")))
    assert refused.status == 400
    assert "do not match" in refused.message
    assert seen(wire.device, "web") == before


def test_what_is_used_is_not_deleted(wire: Wire) -> None:
    wire.prepare("a")
    assert wire.install("chain.crt", issuer()).status == 200
    wire.bind("a", chain="/Common/chain.crt")
    for path in ("file/ssl-cert/~Common~a.crt", "crypto/cert/a.crt", "file/ssl-cert/~Common~chain.crt"):
        refused = wire.delete(f"tm/sys/{path}")
        assert refused.status == 400
        assert refused.message.startswith("01071349:3:")
        assert refused.message.endswith("is in use.")
    assert wire.delete("tm/sys/crypto/key/a.key").status == 400
    assert wire.delete(SITE).status == 400
    default = {"name": "default", "cert": "/Common/default.crt", "key": "/Common/default.key"}
    assert wire.patch(SITE, certKeyChain=[default]).status == 200
    refused = wire.delete("tm/sys/crypto/key/a.key")
    assert (refused.status, "a.crt" in refused.message) == (400, True)
    assert [wire.delete(f"tm/sys/crypto/{name}").status for name in ("cert/a.crt", "key/a.key")] == [200, 200]


def test_what_is_not_there_is_not_bound(wire: Wire) -> None:
    refused = wire.bind("absent")
    assert refused.status == 400
    assert refused.message == "01020036:3: The requested certificate file (/Common/absent.crt) was not found."


def test_a_profile_follows_the_one_above_until_it_is_changed(wire: Wire) -> None:
    wire.prepare("a")
    below = wire.post(
        "tm/ltm/profile/client-ssl", name="below", defaultsFrom="/Common/site", serverName="b.example.com"
    )
    assert (below.status, below["inheritCertkeychain"], below["cert"]) == (200, "true", "/Common/default.crt")
    wire.bind("a")
    assert wire.get("tm/ltm/profile/client-ssl/below")["cert"] == "/Common/a.crt"
    assert wire.patch("tm/ltm/profile/client-ssl/below", cert="default.crt", key="default.key").status == 200
    assert wire.get("tm/ltm/profile/client-ssl/below")["inheritCertkeychain"] == "false"
    back = wire.patch("tm/ltm/profile/client-ssl/below", inheritCertkeychain=True)
    assert (back["inheritCertkeychain"], back["cert"]) == ("true", "/Common/a.crt")
    assert wire.put("tm/ltm/profile/client-ssl/below", **{**back.json, "ciphers": "NATIVE"}).status == 200
    assert wire.delete("tm/ltm/profile/client-ssl/below").status == 200


def test_what_was_read_can_be_written_back(wire: Wire) -> None:
    before = wire.get(SITE).json
    wire.prepare("a")
    wire.bind("a")
    assert wire.patch(SITE, certKeyChain=before["certKeyChain"]).status == 200
    assert wire.get(SITE)["certKeyChain"] == before["certKeyChain"]


def test_rsa_and_ec_side_by_side(wire: Wire) -> None:
    rsa_pem = None
    entries = []
    for name, kind in (("r", {"keyType": "rsa-private"}), ("e", {}), ("f", {})):
        wire.make_key(f"{name}.key", **kind)
        wire.make_csr(f"{name}.csr", f"{name}.key")
        pem = sign(wire.read_csr(f"{name}.csr"))
        rsa_pem = rsa_pem or pem
        wire.install(f"{name}.crt", pem)
        entries.append({"name": name, "cert": f"/Common/{name}.crt", "key": f"/Common/{name}.key"})
    assert wire.patch(SITE, certKeyChain=entries[:2]).status == 200
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert handshake_with(context, wire.device) == fingerprint(rsa_pem or "")
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert handshake_with(context, wire.device) != fingerprint(rsa_pem or "")
    refused = wire.patch(SITE, certKeyChain=entries[1:])
    assert (refused.status, "same key type" in refused.message) == (400, True)
    assert wire.patch(SITE, certKeyChain=[entries[0], entries[0]]).status == 400


def handshake_with(context: ssl.SSLContext, device: F5Simulator) -> str:
    with (
        socket.create_connection((device.address, device.ports["web"]), 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


TWO = Settings(
    profiles=(
        Profile("one", "one.example.com", sni_default=True, common_name="one.example.com"),
        Profile("two", "*.two.example.com", common_name="two.example.com"),
    ),
    virtuals=(Virtual("web", ("one", "two")), Virtual("other", ("two",))),
)


def test_profiles_are_chosen_by_name() -> None:
    with F5Simulator(settings=TWO) as device:
        one, two = seen(device, "web"), seen(device, "other")
        assert one != two
        assert seen(device, "web", "one.example.com") == seen(device, "web", "nobody.example.com") == one
        assert seen(device, "web", "a.two.example.com") == two
        wire = Wire(device).log_in()
        refused = wire.patch("tm/ltm/profile/client-ssl/two", sniDefault="true")
        assert refused.status == 400
        assert refused.message.startswith("0107149c:3:")
        pem = wire.prepare("a")
        wire.bind("a", "tm/ltm/profile/client-ssl/two")
        assert seen(device, "web", "a.two.example.com") == seen(device, "other") == fingerprint(pem)
        assert seen(device, "web") == one


def test_virtual_servers_can_be_changed(wire: Wire) -> None:
    virtual = "tm/ltm/virtual/~Common~web"
    items = wire.get(f"{virtual}?expandSubcollections=true")["profilesReference"]["items"]
    assert [(item["name"], item["context"]) for item in items] == [("tcp", "all"), ("site", "clientside")]
    assert wire.get(f"{virtual}/profiles/~Common~site")["context"] == "clientside"
    assert wire.delete(f"{virtual}/profiles/~Common~site").status == 200
    assert wire.device.served_fingerprint("web") == ""
    added = wire.post(f"{virtual}/profiles", name="/Common/site", context="clientside")
    assert added["fullPath"] == "/Common/site"
    assert wire.device.served_fingerprint("web") == seen(wire.device, "web")
    destination = wire.get(virtual)["destination"]
    assert destination == f"/Common/{wire.device.address}:{wire.device.ports['web']}"
    assert wire.patch(virtual, enabled=False).status == 200
    assert wire.device.served_fingerprint("web") == ""
    assert wire.delete(virtual).status == 200
    body = {"destination": destination, "profiles": ["tcp", {"name": "site", "context": "clientside"}]}
    assert wire.post("tm/ltm/virtual", name="new", **body).status == 200
    assert wire.device.served_fingerprint("new") == seen(wire.device, "new")
    wrong = {**body, "profiles": [{"name": "nobody", "context": "clientside"}]}
    assert wire.post("tm/ltm/virtual", name="wrong", **wrong).status == 400


def test_a_transaction_counts_as_a_whole_or_not_at_all(wire: Wire) -> None:
    wire.prepare("a")
    before = wire.device.state_hash()
    inside = wire.begin()
    assert inside.bind("a").status == 200
    assert inside.delete("tm/sys/crypto/key/nobody.key").status == 200
    refused = wire.commit(inside)
    assert refused.status == 404
    assert refused.message.startswith("transaction failed:01020036:3:")
    assert wire.device.state_hash() == before
    assert wire.get(f"tm/transaction/{inside.transaction}").status == 404


def test_a_transaction_is_checked_at_its_end(wire: Wire) -> None:
    wire.prepare("a")
    wire.bind("a")
    wire.make_key("b.key")
    wire.make_csr("b.csr", "b.key")
    pem = sign(wire.read_csr("b.csr"))
    wire.upload("b.pem", pem.encode())
    inside = wire.begin()
    source = "file:/var/config/rest/downloads/b.pem"
    inside.put("tm/sys/file/ssl-cert/~Common~a.crt", sourcePath=source)
    inside.patch(SITE, certKeyChain=[{"name": "a_0", "cert": "/Common/a.crt", "key": "/Common/b.key"}])
    checked = wire.patch(f"tm/transaction/{inside.transaction}", state="VALIDATING", validateOnly=True)
    assert (checked.status, checked["validateOnly"]) == (200, True)
    assert seen(wire.device, "web") != fingerprint(pem)
    assert wire.commit(inside).status == 200
    assert seen(wire.device, "web") == fingerprint(pem)


def test_a_script_in_a_transaction_may_ask_the_device(wire: Wire) -> None:
    inside = wire.begin()
    inside.post("tm/util/bash", command="run", utilCmdArgs="-c 'tmsh show sys version > /shared/version'")
    assert wire.commit(inside).status == 200
    assert b"16.1.2" in (wire.device.read("/shared/version") or b"")


def test_transactions_can_be_listed_dropped_and_forgotten(wire: Wire) -> None:
    first, second = wire.begin(), wire.begin()
    assert len(wire.get("tm/transaction")["items"]) == 2
    assert wire.get(f"tm/transaction/{first.transaction}")["state"] == "STARTED"
    assert wire.delete(f"tm/transaction/{first.transaction}").status == 200
    assert wire.patch(f"tm/transaction/{second.transaction}", state="NONSENSE").status == 400
    assert wire.post(f"tm/transaction/{second.transaction}").status == 405
    assert wire.get(f"tm/transaction/{second.transaction}/nonsense").status == 404
    wire.device.advance(121)
    assert second.patch(SITE, description="x").status == 404
    assert "items" not in wire.get("tm/transaction").json


def test_looking_changes_nothing(wire: Wire) -> None:
    before = wire.device.state_hash()
    for path in ("", "/version", "/hardware", "/httpd", "/global-settings", "/crypto/key", "/crypto/cert", "/folder"):
        assert wire.get(f"tm/sys{path}").status == 200
    for path in ("", "/device", "/device-group", "/sync-status", "/failover-status"):
        assert wire.get(f"tm/cm{path}").status == 200
    wire.bash("ls /config; tmsh list sys httpd")
    assert wire.get("shared/echo-query").status == 200
    assert wire.device.state_hash() == before
    assert wire.patch(SITE, description="x").status == 200
    assert wire.device.state_hash() != before


def test_two_devices_share_nothing() -> None:
    with F5Simulator(settings=FAST) as first, F5Simulator(settings=FAST) as second:
        wire = Wire(first).log_in()
        before = second.state_hash()
        wire.prepare("a")
        assert Wire(second, token=wire.token).get("tm/sys").status == 401
        assert second.state_hash() == before
        assert {"a.key", "a.crt", "a.csr"} <= first.certificate_names - second.certificate_names
        assert len(first.private_keys) > len(second.private_keys)


def test_a_disk_that_a_killed_simulator_left_goes_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, young, others = (tmp_path / name for name in ("ottr-f5-dead", "ottr-f5-young", "somebody"))
    for folder in (abandoned, young, others):
        (folder / "config").mkdir(parents=True)
    with F5Simulator(settings=FAST) as first:
        used = next(path for path in tmp_path.iterdir() if path not in (abandoned, young, others))
        for folder in (abandoned, others, used):
            os.utime(folder, (0, 0))
        with F5Simulator(settings=FAST):
            assert not abandoned.exists()
            assert len(list(tmp_path.iterdir())) == 4
        assert first.read("/config/httpd/conf/ssl.crt/server.crt")
    assert set(tmp_path.iterdir()) == {young, others}
