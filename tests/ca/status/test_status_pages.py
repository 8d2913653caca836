# SPDX-License-Identifier: Apache-2.0
"""The HTTP of it: what is where, under which headers, and what is refused how."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ottr.ca.acme.exchange import Reply
from ottr.ca.authority import Authority, parse_row
from ottr.ca.model import Certificate, Reason
from ottr.ca.status.answer import Refusal
from ottr.ca.status.fast import FastPath, judge_head
from ottr.ca.status.pages import Asked, StatusPages
from ottr.ca.status.service import Status
from ottr.ca.status.transport import decode_path, encode_path
from ottr.errors import StoreError
from tests.ca.conftest import MovableClock
from tests.ca.status.asking import NONCE, build_request, read_status
from tests.ca.status.conftest import OpenStatus

POST_TYPE = {"content-type": "application/ocsp-request"}


@pytest.fixture
def pages(status: Status) -> StatusPages:
    return StatusPages(status)


def get(pages: StatusPages, path: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return pages.handle(Asked("GET", path.encode(), named))


def post(pages: StatusPages, body: bytes, path: bytes = b"/ocsp") -> Reply:
    return pages.handle(Asked("POST", path, POST_TYPE, body))


def test_OT_54_OT_52_answers_have_their_content_type(
    pages: StatusPages, authority: Authority, row: Certificate
) -> None:
    request = build_request(authority, row)
    for reply in (post(pages, request), post(pages, request, b"/ocsp/"), get(pages, f"/ocsp/{encode_path(request)}")):
        assert (reply.status, reply.content_type) == (200, "application/ocsp-response")
        assert read_status(reply.content) == "good"


def test_CK_10_CK_16_caching_headers_say_what_is_signed(
    pages: StatusPages, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    request = build_request(authority, row)
    made = clock.now
    for hours in (0, 5):
        clock.move(hours=hours)
        for reply in (post(pages, request), get(pages, f"/ocsp/{encode_path(request)}")):
            left_s = 86400 - hours * 3600
            assert reply.headers["Cache-Control"] == f"max-age={left_s}, public, no-transform, must-revalidate"
            assert parsedate_to_datetime(reply.headers["Expires"]) == made + timedelta(days=1)
            assert parsedate_to_datetime(reply.headers["Last-Modified"]) == made - timedelta(minutes=5)
            assert reply.headers["ETag"] == f'"{hashlib.sha256(reply.content).hexdigest()[:32]}"'


def test_CK_21_what_expires_is_not_said_to_be_fresh(
    open_status: OpenStatus, row: Certificate, authority: Authority, clock: MovableClock
) -> None:
    """Neither Expires nor max-age goes beyond the nextUpdate that is signed, which the signer's own end bounds."""
    pages = StatusPages(open_status(ocsp={"lifetime": "7d"}))
    request = build_request(authority, row)
    clock.move(days=6, hours=23, minutes=59)
    post(pages, request)
    clock.move(days=4)
    reply = post(pages, request)
    assert reply.headers["Cache-Control"].startswith("max-age=")
    left = parsedate_to_datetime(reply.headers["Expires"]) - clock.now
    assert f"max-age={int(left.total_seconds())}, " in reply.headers["Cache-Control"]
    assert left <= timedelta(days=7)


def test_a_client_that_has_an_answer_gets_304(pages: StatusPages, authority: Authority, row: Certificate) -> None:
    for path in (
        f"/ocsp/{encode_path(build_request(authority, row))}",
        "/crl/intermediate-1.crl",
        "/ca/intermediate-1.der",
    ):
        etag = get(pages, path).headers["ETag"]
        for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            reply = get(pages, path, if_none_match=condition)
            assert (reply.status, reply.content) == (304, b"")
            assert reply.headers["ETag"] == etag
        assert get(pages, path, if_none_match='"other"').status == 200


def test_what_nobody_may_keep(pages: StatusPages, authority: Authority, row: Certificate) -> None:
    for reply in (post(pages, build_request(authority, row, nonce=NONCE)), post(pages, b""), post(pages, b"x")):
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
        assert "ETag" not in reply.headers


def test_CK_20_what_is_no_request_is_answered_in_OCSP(pages: StatusPages) -> None:
    for reply in (post(pages, b"\xff" * 300), get(pages, "/ocsp"), get(pages, "/ocsp/"), get(pages, "/ocsp/?%%%")):
        assert (reply.status, reply.content) == (200, Refusal.MALFORMED_REQUEST.value)


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("PUT", b"/ocsp", {}, 405),
        ("DELETE", b"/ocsp/abc", {}, 405),
        ("POST", b"/ocsp", {}, 415),
        ("POST", b"/ocsp", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("GET", b"/ocsp/" + b"A" * 30000, {}, 414),
        ("GET", b"/ocsps", {}, 404),
        ("GET", b"/ca/root-9.der", {}, 404),
        ("GET", b"/ca/../ca.yaml", {}, 404),
        ("GET", b"/crl/root-9.crl", {}, 404),
        ("GET", b"/crl/root-1-delta.crl", {}, 404),
        ("GET", b"/", {}, 404),
        ("POST", b"/crl/root-1.crl", {}, 405),
    ],
)
def test_what_is_refused(pages: StatusPages, method: str, path: bytes, headers: dict[str, str], code: int) -> None:
    reply = pages.handle(Asked(method, path, headers))
    assert reply.status == code
    assert ("Allow" in reply.headers) == (code == 405)


def test_a_content_type_may_have_parameters(pages: StatusPages, authority: Authority, row: Certificate) -> None:
    headers = {"content-type": "Application/OCSP-Request; charset=binary"}
    reply = pages.handle(Asked("POST", b"/ocsp", headers, build_request(authority, row)))
    assert read_status(reply.content) == "good"


def test_CK_05_everything_of_OCSP_is_404_when_it_is_off(
    open_status: OpenStatus, authority: Authority, row: Certificate
) -> None:
    pages = StatusPages(open_status(ocsp={"enabled": False}))
    request = build_request(authority, row)
    for reply in (post(pages, request), get(pages, f"/ocsp/{encode_path(request)}"), get(pages, "/ocsp")):
        assert reply.status == 404
    assert get(pages, "/crl/intermediate-1.crl").status == 200


def test_OT_54_the_address_of_an_issuer_gives_the_issuer_in_DER(
    pages: StatusPages, authority: Authority, row: Certificate
) -> None:
    reply = get(pages, f"/ca/{row.issuer_id}.der")
    assert reply.content_type == "application/pkix-cert"
    issuer = x509.load_der_x509_certificate(reply.content)
    parse_row(row).verify_directly_issued_by(issuer)
    assert format(issuer.serial_number, "x") != row.serial


def test_IO_13_CRLs_have_their_content_type(open_status: OpenStatus) -> None:
    pages = StatusPages(open_status(crl={"deltas": True}))
    for path in ("/crl/root-1.crl", "/crl/intermediate-1.crl", "/crl/intermediate-1-delta.crl"):
        reply = get(pages, path)
        assert (reply.status, reply.content_type) == (200, "application/pkix-crl")
        assert reply.headers["Cache-Control"] == "max-age=300, public, must-revalidate"
        x509.load_der_x509_crl(reply.content)


def test_trouble_is_said_as_such(
    pages: StatusPages, authority: Authority, row: Certificate, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = build_request(authority, row)

    def fail() -> None:
        raise StoreError("no room")

    monkeypatch.setattr(authority, "issuers", fail)
    assert get(pages, "/crl/root-1.crl").status == 503
    monkeypatch.setattr(status.watch, "look", fail)
    assert post(pages, request).content == Refusal.TRY_LATER.value


REQUEST = bytes.fromhex("3053fbefbe") + bytes(range(250, 256)) * 3


@pytest.mark.parametrize(
    "path",
    [
        encode_path(REQUEST),
        quote(encode_path(REQUEST), safe=""),
        quote(encode_path(REQUEST)),
        encode_path(REQUEST).rstrip("="),
        base64.urlsafe_b64encode(REQUEST).decode(),
        base64.urlsafe_b64encode(REQUEST).decode().rstrip("="),
    ],
)
def test_CK_21_requests_in_paths_in_every_form(path: str) -> None:
    assert "/" in encode_path(REQUEST)
    assert "+" in encode_path(REQUEST)
    assert decode_path(path.encode()) == REQUEST


@given(st.binary(max_size=80))
def test_any_path_is_decoded_or_nothing(data: bytes) -> None:
    decode_path(data)
    assert decode_path(quote(encode_path(data), safe="").encode()) == data


# The short way.


HOST = b"Host: pki.example.test"
TYPE = b"Content-Type: application/ocsp-request"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines)


USUAL = head(b"POST /ocsp HTTP/1.1", HOST, TYPE, b"Content-Length: 79", b"Connection: Keep-Alive", b"Accept: */*")
PATH = head(b"GET /ocsp/" + encode_path(REQUEST).encode() + b" HTTP/1.1", HOST)


def test_heads_that_are_beyond_doubt() -> None:
    assert judge_head(USUAL) == 79
    assert judge_head(PATH) == REQUEST


@pytest.mark.parametrize(
    "lines",
    [
        USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
        USUAL.replace(b"POST", b"PUT"),
        USUAL.replace(b"/ocsp ", b"/ocsp/x "),
        USUAL.replace(HOST, b"User-Agent: x"),
        USUAL.replace(HOST, HOST + b"\r\n" + HOST),
        USUAL.replace(TYPE, b"Content-Type: text/plain"),
        USUAL.replace(TYPE + b"\r\n", b""),
        USUAL.replace(b"Keep-Alive", b"close"),
        USUAL.replace(b"79", b"0"),
        USUAL.replace(b"79", b"+79"),
        USUAL.replace(b"79", b"79, 79"),
        USUAL.replace(b"79", b"0x4f"),
        USUAL.replace(b"Content-Length: 79\r\n", b""),
        USUAL.replace(b"Content-Length: 79", b"Content-Length: 79\r\nContent-Length: 80"),
        USUAL.replace(b"Accept: */*", b"Transfer-Encoding: chunked"),
        USUAL.replace(b"Accept: */*", b"Expect: 100-continue"),
        USUAL.replace(b"Accept: */*", b"If-None-Match: *"),
        USUAL.replace(b"Accept: */*", b"Accept : */*"),
        USUAL.replace(b"Accept: */*", b"Accept: a\r\n b"),
        USUAL.replace(b"Accept: */*", b"Accept: a\nTransfer-Encoding: chunked"),
        USUAL.replace(b"Accept: */*", b"Accept: \x00"),
        USUAL.replace(b"Accept: */*", b"Accept"),
        PATH + b"\r\nContent-Length: 5",
        PATH.replace(b"/ocsp/", b"/ocsp/?"),
        head(b"GET /ocsp/ HTTP/1.1", HOST),
        head(b"GET /ocsp/A HTTP/1.1", HOST),
        b"",
    ],
)
def test_heads_that_are_left_to_the_parser(lines: bytes) -> None:
    assert judge_head(lines) is None


def send(fast: FastPath, body: bytes, *more: bytes) -> bytes | None:
    lines = (b"POST /ocsp HTTP/1.1", HOST, TYPE, b"Content-Length: %d" % len(body), *more)
    return fast.answer(head(*lines) + b"\r\n\r\n" + body, b"now")


def test_the_short_way_says_the_same_as_the_long_one(
    status: Status, pages: StatusPages, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    fast, request = FastPath(status.responder, clock), build_request(authority, row)
    assert send(fast, request) is None  # not signed yet
    post(pages, request)
    clock.move(hours=1)
    by_path = b"GET /ocsp/%b HTTP/1.1\r\n%b\r\n\r\n" % (encode_path(request).encode(), HOST)
    reply = post(pages, request)
    for answer in (send(fast, request), send(fast, request), fast.answer(by_path, b"now")):
        assert answer is not None
        lines, _, body = answer.partition(b"\r\n\r\n")
        first, *fields = lines.decode().split("\r\n")
        assert first == "HTTP/1.1 200 OK"
        assert body == reply.content
        length = {"content-length": str(len(body)), "content-type": reply.content_type, "date": "now"}
        expected = {**{name.lower(): value for name, value in reply.headers.items()}, **length}
        assert dict(field.split(": ", 1) for field in fields) == expected


def test_the_short_way_is_for_whole_requests_that_have_an_answer(
    status: Status, pages: StatusPages, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    fast, request = FastPath(status.responder, clock), build_request(authority, row)
    post(pages, request)
    whole = head(b"POST /ocsp HTTP/1.1", HOST, TYPE, b"Content-Length: %d" % len(request)) + b"\r\n\r\n" + request
    assert fast.answer(whole, b"") is not None
    by_path = b"GET /ocsp/%b HTTP/1.1\r\n%b\r\n\r\n" % (encode_path(request).encode(), HOST)
    for data in (whole[:-1], whole + b"G", whole + whole, by_path + b"x", by_path[:-2], by_path[:-4], b"", b"\r\n\r\n"):
        assert fast.answer(data, b"") is None
    assert send(fast, build_request(authority, row, nonce=NONCE)) is None
    assert send(fast, request, b"Accept: " + b"x" * 1024) is None
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    assert fast.answer(whole, b"") is None


def test_the_short_way_leaves_trouble_to_the_long_one(
    status: Status, pages: StatusPages, authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, request = FastPath(status.responder, authority.clock), build_request(authority, row)
    post(pages, request)

    def fail() -> None:
        raise StoreError("gone")

    monkeypatch.setattr(status.watch, "look", fail)
    assert send(fast, request) is None
