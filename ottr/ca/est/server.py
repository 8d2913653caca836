# SPDX-License-Identifier: Apache-2.0
"""The endpoints of EST, without a socket: an ask in, a response out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ottr.ca.authority import Authority
from ottr.ca.clients import Client, ClientRefused, verify_client
from ottr.ca.csr import MOST_BYTES as MOST_CSR_BYTES
from ottr.ca.csr import Request
from ottr.ca.est import schema
from ottr.ca.est.callers import Caller, EstProblem, find_caller
from ottr.ca.est.enrolment import enrol_client, enrol_user, renew_client
from ottr.ca.est.messages import CSR_TYPE, read_basic, read_csr, write_attributes, write_certificates
from ottr.ca.est.settings import EstSettings
from ottr.ca.est.users import User, find_user
from ottr.ca.peers import Peer
from ottr.ca.renewal import is_due
from ottr.ca.trust import list_trusted
from ottr.errors import NameRefused, OttrError, RequestRefused

_LOG = logging.getLogger(__name__)
MOST_BYTES = 2 * MOST_CSR_BYTES
"""Of a request: a CSR in base64."""
_FRESH = {"Cache-Control": "no-store"}
_CHALLENGE = 'Basic realm="est", charset="UTF-8"'
_GET, _POST = ("cacerts", "csrattrs"), ("simpleenroll", "simplereenroll")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it came in."""

    method: str
    path: str
    """Below ``/.well-known/est/``: an operation, or a label and an operation."""
    peer: Peer
    headers: Headers = field(default_factory=Headers, repr=False)
    body: bytes = field(default=b"", repr=False)


class EstServer:
    """Answers EST requests for one CA. Safe for threads. ``enrolled`` is called before a certificate is handed out:
    its issuer may be new to whoever verifies it.
    """

    def __init__(
        self, authority: Authority, settings: EstSettings, enrolled: Callable[[], None] = lambda: None
    ) -> None:
        self._authority = authority
        self.settings = settings
        self._enrolled = enrolled
        authority.database.ensure("est", schema.VERSION, schema.metadata)

    def handle(self, ask: Ask) -> Response:
        """Answer; whatever is wrong is said in one line of text (RFC 7030 section 4.2.3)."""
        return _tell_problems(self._answer, ask)

    def describe_client(self, ask: Ask) -> Response:
        """What the CA thinks of the certificate that a client shows; ``due``: its time to renew has come."""
        return _tell_problems(self._describe, ask)

    def _answer(self, ask: Ask) -> Response:
        label, _, operation = ask.path.rpartition("/")
        if operation not in (*_GET, *_POST) or label not in ("", *self.settings.profiles):
            raise EstProblem(404, "there is nothing at this URL")
        _check_method(ask, "GET, HEAD" if operation in _GET else "POST")
        if operation == "cacerts":
            return write_certificates(list_trusted(self._authority))
        if operation == "csrattrs":
            name = label or self.settings.profiles[0]
            return write_attributes(self._authority.settings.profile(name))
        caller = find_caller(ask.peer, ask.headers, self.settings.proxy)
        if operation == "simplereenroll":
            return self._renew(ask, caller, label)
        return self._enrol(ask, caller, label)

    def _enrol(self, ask: Ask, caller: Caller, label: str) -> Response:
        """By password if there is one (RFC 7030 section 3.2.3), else by certificate (section 3.3.2)."""
        if "authorization" in ask.headers:
            user = self._find_user(caller, ask.headers["authorization"])
            profile = label or user.profiles[0]
            if profile not in user.profiles or profile not in self.settings.profiles:
                raise EstProblem(403, f"this password is not for the profile {profile}")
            return self._hand_out(enrol_user(self._authority, user, profile, _read_request(ask)))
        client = self._find_client(caller)
        if client.row.profile not in self.settings.bootstrap:
            raise EstProblem(403, f"certificates of the profile {client.row.profile} enrol for nothing else")
        profile = label or self.settings.profiles[0]
        return self._hand_out(enrol_client(self._authority, client, profile, _read_request(ask)))

    def _renew(self, ask: Ask, caller: Caller, label: str) -> Response:
        client = self._find_client(caller)
        profile = client.row.profile
        if profile not in self.settings.profiles or label not in ("", profile):
            raise EstProblem(403, f"certificates of the profile {profile} are not renewed here")
        return self._hand_out(renew_client(self._authority, client, _read_request(ask)))

    def _hand_out(self, issued: x509.Certificate) -> Response:
        """The certificate alone (RFC 7030 section 4.2.3); those above it are got with cacerts."""
        self._enrolled()
        return write_certificates([issued])

    def _describe(self, ask: Ask) -> Response:
        _check_method(ask, "GET, HEAD")
        row = self._find_client(find_caller(ask.peer, ask.headers, self.settings.proxy)).row
        fraction, now = self._authority.settings.renew_fraction, self._authority.clock()
        content = {
            "serial": row.serial,
            "issuer": row.issuer_id,
            "subject": row.subject,
            "names": list(row.names.texts),
            "not_after": f"{row.not_after:%Y-%m-%dT%H:%M:%SZ}",
            "due": is_due(row.not_before, row.not_after, fraction, now),
        }
        return JSONResponse(content, headers=_FRESH)

    def _find_client(self, caller: Caller) -> Client:
        if caller.certificate_der is None:
            raise EstProblem(401, "this needs a client certificate of this CA")
        return verify_client(self._authority, caller.certificate_der)

    def _find_user(self, caller: Caller, authorization: str) -> User:
        if not caller.secure:
            raise EstProblem(403, "passwords are not taken without TLS; change this one")
        basic = read_basic(authorization)
        if basic is not None:
            with self._authority.database.read() as connection:
                user = find_user(connection, *basic, self._authority.clock())
            if user is not None:
                return user
        raise EstProblem(401, "there is no such user and password, or not any more")


def _check_method(ask: Ask, allow: str) -> None:
    if ask.method not in allow.split(", "):
        raise EstProblem(405, f"this is asked for with {allow.split(',')[0]}", allow)


def _read_request(ask: Ask) -> Request:
    if ask.headers.get("content-type", "").split(";")[0].strip().lower() != CSR_TYPE:
        raise EstProblem(415, f"the body has the type {CSR_TYPE}")
    return read_csr(ask.body)


def _tell_problems(answer: Callable[[Ask], Response], ask: Ask) -> Response:
    try:
        return answer(ask)
    except EstProblem as problem:
        response = _refuse(problem.status, problem.text)
        if problem.allow:
            response.headers["Allow"] = problem.allow
        if problem.status == 401:
            response.headers["WWW-Authenticate"] = _CHALLENGE
        return response
    except (ClientRefused, NameRefused) as error:
        return _refuse(403, str(error))
    except RequestRefused as error:
        return _refuse(400, str(error))
    except OttrError as error:
        _LOG.error("%s %s: %s", ask.method, ask.path, error)
        return _refuse(503, "the CA cannot do this now; try again later")


def _refuse(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status, _FRESH)
