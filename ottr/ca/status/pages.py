# SPDX-License-Identifier: Apache-2.0
"""What is served over plain HTTP: OCSP answers, CRLs, issuers' certificates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ottr.ca.acme.exchange import Reply
from ottr.ca.status.caching import NO_STORE, build_age_header, build_answer_headers, build_file_headers, has_etag
from ottr.ca.status.crls import Kind
from ottr.ca.status.request import MOST_BYTES
from ottr.ca.status.responder import Answer
from ottr.ca.status.service import Status
from ottr.ca.status.transport import ANSWER_TYPE, OCSP_PATH, REQUEST_TYPE, decode_path
from ottr.errors import AuthorityError, UnknownCertificate

_ISSUER = re.compile(r"/ca/([a-z0-9-]+)\.der")
_CRL = re.compile(r"/crl/([a-z]+-[0-9]+)(-delta)?\.crl")
_CRL_AGE_S = 300
_ISSUER_AGE_S = 86400


@dataclass(frozen=True, slots=True)
class Asked:
    """One HTTP request."""

    method: str
    path: bytes
    """Before anything is decoded: base64 has slashes of its own."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""


class StatusPages:
    """Answers requests for the status of certificates. Safe for threads."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def handle(self, asked: Asked) -> Reply:
        """Answer, whatever is asked; 404 for what is not here."""
        if asked.path == OCSP_PATH or asked.path.startswith(OCSP_PATH + b"/"):
            return self._answer_ocsp(asked) if self._status.responder.settings.enabled else Reply(404)
        if asked.method not in ("GET", "HEAD"):
            return Reply(405, headers={"Allow": "GET, HEAD"})
        try:
            return _shorten(asked, self._find_file(asked.path.decode("latin-1")))
        except UnknownCertificate:
            return Reply(404)
        except AuthorityError:
            return Reply(503, headers={"Retry-After": "30", **NO_STORE})

    def _answer_ocsp(self, asked: Asked) -> Reply:
        if asked.method == "POST":
            if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != REQUEST_TYPE:
                return Reply(415, headers={"Accept": REQUEST_TYPE})
            return self._write_answer(self._status.responder.answer(asked.body))
        if asked.method not in ("GET", "HEAD"):
            return Reply(405, headers={"Allow": "GET, HEAD, POST"})
        request = decode_path(asked.path[len(OCSP_PATH) + 1 :])
        if len(request) > MOST_BYTES:
            return Reply(414)
        return _shorten(asked, self._write_answer(self._status.responder.answer(request)))

    def _write_answer(self, answer: Answer) -> Reply:
        if answer.validity is None:
            return Reply(headers=NO_STORE, body=answer.der, content_type=ANSWER_TYPE)
        validity = answer.validity
        left_s = int((validity.next_update - self._status.authority.clock()).total_seconds())
        headers = build_answer_headers(answer.der, validity.this_update, validity.next_update)
        headers["Cache-Control"] = build_age_header(max(left_s, 0))
        return Reply(headers=headers, body=answer.der, content_type=ANSWER_TYPE)

    def _find_file(self, path: str) -> Reply:
        if found := _CRL.fullmatch(path):
            return self._find_crl(found[1], Kind.DELTA if found[2] else Kind.COMPLETE)
        found = _ISSUER.fullmatch(path)
        for one in self._status.authority.issuers() if found else ():
            if found and one.id == found[1]:
                return _write_file(one.certificate_der, "application/pkix-cert", _ISSUER_AGE_S)
        return Reply(404)

    def _find_crl(self, issuer_id: str, kind: Kind) -> Reply:
        if kind is Kind.DELTA and not self._status.crls.settings.deltas:
            return Reply(404)
        return _write_file(self._status.crls.get(issuer_id, kind).der, "application/pkix-crl", _CRL_AGE_S)


def _write_file(content: bytes, content_type: str, seconds: int) -> Reply:
    return Reply(headers=build_file_headers(content, seconds), body=content, content_type=content_type)


def _shorten(asked: Asked, reply: Reply) -> Reply:
    """304 when the client has it already (RFC 9110 section 15.4.5)."""
    etag = reply.headers.get("ETag")
    if etag is None or not has_etag(asked.headers.get("if-none-match", ""), etag):
        return reply
    return Reply(304, headers=reply.headers)
