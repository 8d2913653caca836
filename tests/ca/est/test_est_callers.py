# SPDX-License-Identifier: Apache-2.0
"""Whose word counts for a client certificate; the settings of EST."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.datastructures import Headers

from ottr.ca.authority import Authority
from ottr.ca.bundle import parse_bundle
from ottr.ca.clients import ClientRefused, verify_client
from ottr.ca.est.callers import Caller, EstProblem, find_caller
from ottr.ca.est.settings import EstSettings, ProxySettings, read_est_settings
from ottr.ca.peers import Peer, read_peer
from ottr.ca.settings import parse_settings
from ottr.errors import KeyUnavailable, RequestRefused, SettingsError
from tests.ca.conftest import SETTINGS
from tests.ca.est.conftest import Issue, write_pem

SECRET = "0123456789abcdef0123456789abcdef"
PROXY = ProxySettings((ipaddress.ip_network("127.0.0.1"), ipaddress.ip_network("10.0.0.0/8")), SECRET.encode())
AT_PROXY = Peer("10.1.2.3")
KNOWN = {"X-Ottr-Proxy-Secret": SECRET}
OURS = "these headers count only when they come from this server's own proxy"


@pytest.fixture
def pem(issue: Issue) -> str:
    return quote(write_pem(issue("sensor-1").certificate))


def refuse(peer: Peer, headers: dict[str, str] | Headers, proxy: ProxySettings | None = PROXY) -> tuple[int, str]:
    with pytest.raises(EstProblem) as caught:
        find_caller(peer, headers if isinstance(headers, Headers) else Headers(headers), proxy)
    return caught.value.status, caught.value.text


def test_without_a_proxy_the_caller_is_whom_TLS_has_seen() -> None:
    peer = Peer("192.0.2.7", secure=True, certificate_der=b"der")
    for proxy in (None, PROXY):
        assert find_caller(peer, Headers({"X-Forwarded-For": "10.1.2.3"}), proxy) == Caller(True, b"der")
    assert find_caller(Peer("10.1.2.3"), Headers(), PROXY) == Caller(secure=False)


def test_the_proxy_says_who_the_caller_is_and_its_own_certificate_does_not_matter(issue: Issue) -> None:
    client = issue("sensor-1")
    said = {**KNOWN, "X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": quote(write_pem(client.certificate))}
    for peer in (AT_PROXY, Peer("127.0.0.1", secure=True, certificate_der=b"the proxy's")):
        assert find_caller(peer, Headers(said), PROXY) == Caller(True, client.certificate.public_bytes(Encoding.DER))
        nobody = Headers({**KNOWN, "X-SSL-Client-Verify": "NONE"})
        assert find_caller(peer, nobody, PROXY) == Caller(secure=True)


def test_IO_11_headers_of_a_proxy_from_anybody_else_are_refused(pem: str) -> None:
    said = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": pem}
    everything = {**said, **KNOWN}
    assert refuse(Peer("192.0.2.7", secure=True, certificate_der=b"der"), said) == (401, OURS)
    assert refuse(Peer("192.0.2.7"), everything) == (401, OURS)  # the secret alone
    assert refuse(Peer("11.1.2.3"), everything) == (401, OURS)
    assert refuse(Peer(""), everything) == (401, OURS)
    assert refuse(AT_PROXY, said) == (401, OURS)  # the address alone
    for secret in ("", SECRET[:-1], SECRET + "0", SECRET.upper(), "\xe9" * 32):
        assert refuse(AT_PROXY, {**said, "X-Ottr-Proxy-Secret": secret}) == (401, OURS)
    assert refuse(AT_PROXY, everything, None) == (401, OURS)  # no proxy is configured
    for one in everything:
        assert refuse(Peer("192.0.2.7"), {one: everything[one]}) == (401, OURS)


@pytest.mark.parametrize("twice", ["X-SSL-Client-Verify", "X-SSL-Client-Cert", "X-Ottr-Proxy-Secret"])
def test_IO_11_a_header_that_comes_twice_is_refused(pem: str, twice: str) -> None:
    said = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": pem, **KNOWN}
    raw = [(name.lower().encode(), value.encode()) for name, value in [*said.items(), (twice, said[twice])]]
    assert refuse(AT_PROXY, Headers(raw=raw)) == (401, "a header of the proxy comes twice")


@pytest.mark.parametrize(
    ("verify", "said"),
    [
        ("FAILED:certificate has expired", "FAILED:certificate has expired"),
        ("", "it says nothing"),
        ("NONE", "NONE"),
        ("success", "success"),
    ],
)
def test_IO_08_what_the_proxy_did_not_verify_is_refused_with_its_reason(pem: str, verify: str, said: str) -> None:
    refused = refuse(AT_PROXY, {**KNOWN, "X-SSL-Client-Verify": verify, "X-SSL-Client-Cert": pem})
    assert refused == (403, f"the proxy did not verify the client certificate: {said}")


@pytest.mark.parametrize(
    "certificate", ["", "x", "%00", "-----BEGIN CERTIFICATE-----%0AMIIB%0A-----END CERTIFICATE-----"]
)
def test_a_certificate_of_the_proxy_that_cannot_be_read_is_refused(certificate: str) -> None:
    refused = refuse(AT_PROXY, {**KNOWN, "X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": certificate})
    assert refused == (403, "the proxy's client certificate cannot be read")


def test_a_certificate_of_another_version_is_refused(issue: Issue, authority: Authority) -> None:
    der = issue("sensor-1").certificate.public_bytes(Encoding.DER)
    odd = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05")
    assert odd != der
    with pytest.raises(ClientRefused, match="cannot be read"):
        verify_client(authority, odd)
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(odd).decode()}-----END CERTIFICATE-----\n"
    for data in (odd, pem.encode()):
        with pytest.raises((RequestRefused, KeyUnavailable)):
            parse_bundle(data, None, "x.pem")
    refused = refuse(AT_PROXY, {**KNOWN, "X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": quote(pem)})
    assert refused == (403, "the proxy's client certificate cannot be read")


def test_of_a_server_that_tells_no_peer_nothing_is_believed() -> None:
    assert read_peer({"type": "http"}) == Peer()
    assert read_peer({"type": "http", "extensions": {"ottr.peer": "10.1.2.3"}}) == Peer()


# Settings


def read(authority: Authority, text: str) -> EstSettings:
    return read_est_settings(parse_settings(SETTINGS + text, authority.settings.folder))


def write_secret(authority: Authority, content: str = SECRET + "\n", mode: int = 0o400) -> Path:
    path = authority.settings.folder / "proxy.secret"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_EST_is_off_unless_it_is_asked_for(authority: Authority) -> None:
    assert read(authority, "") == EstSettings()
    assert not EstSettings().enabled


def test_the_settings_of_EST(authority: Authority) -> None:
    write_secret(authority)
    text = """
est:
  enabled: true
  profiles: [node, server]
  bootstrap: factory
  proxy: {addresses: [127.0.0.1, 10.0.0.0/8], secret_file: proxy.secret}
profiles:
  node: {like: client, usages: [client_auth, server_auth]}
  factory: {like: client, lifetime: 30d}
"""
    expected = EstSettings(True, ("node", "server"), ("factory",), PROXY)
    assert read(authority, text) == expected
    assert SECRET not in repr(read(authority, text))
    absolute = replace(expected, profiles=("client",), bootstrap=(), enabled=False)
    file = authority.settings.folder / "proxy.secret"
    proxy = f"est: {{proxy: {{addresses: [127.0.0.1, 10.0.0.0/8], secret_file: {file}}}}}"
    assert read(authority, proxy) == absolute


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("est: {profiles: []}", "est: profiles: expected some of server, client"),
        ("est: {profiles: [sub_ca]}", "est: profiles"),
        ("est: {profiles: [ocsp]}", "est: profiles"),
        ("est: {profiles: [nothing]}", "est: profiles"),
        ("est: {bootstrap: [server]}", "est: bootstrap: expected some of the profiles with client_auth: client"),
        ("est: {users: 1}", "est: users: no such key"),
        ("est: {proxy: {addresses: [127.0.0.1]}}", "est.proxy: addresses, secret_file"),
        ("est: {proxy: {secret_file: proxy.secret}}", "est.proxy: addresses, secret_file"),
        ("est: {proxy: {addresses: [localhost], secret_file: proxy.secret}}", "est.proxy: addresses: expected"),
        ("est: {proxy: {addresses: [127.0.0.1], secret_file: proxy.secret, key: x}}", "est.proxy: key: no such key"),
    ],
)
def test_settings_that_are_none(authority: Authority, text: str, error: str) -> None:
    write_secret(authority)
    with pytest.raises(SettingsError, match=error):
        read(authority, text)


def test_the_secret_of_the_proxy_is_long_and_nobody_elses(authority: Authority) -> None:
    text = "est: {proxy: {addresses: [127.0.0.1], secret_file: proxy.secret}}"
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        read(authority, text)
    write_secret(authority, "short\n")
    with pytest.raises(SettingsError, match="at least 32 characters"):
        read(authority, text)
    write_secret(authority, mode=0o444)
    with pytest.raises(KeyUnavailable, match="others may read"):
        read(authority, text)
