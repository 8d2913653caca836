# SPDX-License-Identifier: Apache-2.0
"""One login to iControl REST: a token that is renewed when it is refused, and deleted at the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from ottr.drivers.f5 import messages
from ottr.drivers.f5.messages import NoSuchObject
from ottr.drivers.f5.wire import Wire
from ottr.errors import AuthenticationFailed, DeviceRejected, DeviceUnreachable, DriverError
from ottr.model import Secret, Waiter
from ottr.transports.http import HttpResponse

_log = logging.getLogger(__name__)

Answer = dict[str, Any]

_JSON = {"Content-Type": "application/json"}
_BYTES = "application/octet-stream"
_TOKENS = "shared/authz/tokens"
_UPLOAD_TRIES = 3
_LOGOUT_WAITS_S = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0)
"""httpd may be restarting."""


class Rest:
    """Speaks JSON with one device. Nothing of an answer but its ``message`` goes into an error."""

    chunk_size = 512 * 1024

    def __init__(
        self, wire: Wire, username: str, password: Secret, wait: Waiter, restart_timeout_s: float = 180.0
    ) -> None:
        self.wire = wire
        self._logout_waits_s = [
            wait_s for n, wait_s in enumerate(_LOGOUT_WAITS_S, 1) if sum(_LOGOUT_WAITS_S[:n]) <= restart_timeout_s
        ]
        self.username = username
        self._password = password
        self._wait = wait
        self._token: Answer = {}

    @property
    def name(self) -> str:
        """Of the device, for messages."""
        return self.wire.name

    def open(self) -> None:
        """Log in; delete what dead sessions of this account have left from here. Raises DriverError."""
        self._log_in()
        mine = {name: self._token.get(name) for name in ("userName", "address", "timeout")}
        try:
            for token in self.get(_TOKENS).get("items", []):
                if token.get("token") != self._token["token"] and mine == {name: token.get(name) for name in mine}:
                    self._delete(str(token.get("token", "")))
        except (DeviceRejected, AuthenticationFailed) as error:
            _log.debug("%s: its tokens cannot be looked through: %s", self.name, error)

    def close(self) -> None:
        """Delete the token. Never raises: a device that is away forgets it by itself."""
        token, self._token = self._token.get("token", ""), self._token
        for wait_s in (*self._logout_waits_s, 0.0) if token else ():
            try:
                self._delete(str(token))
            except DeviceUnreachable:
                self._wait(wait_s)
            except DriverError as error:
                _log.debug("%s: the token was not deleted: %s", self.name, error)
                return
            else:
                return
        if token:
            _log.warning("%s cannot be told to forget the session; it runs out by itself", self.name)

    def get(self, path: str) -> Answer:
        """Read. Raises DriverError, NoSuchObject when it is not there."""
        return self._json("GET", path)

    def find(self, path: str) -> Answer | None:
        """Read; None when it is not there."""
        try:
            return self.get(path)
        except NoSuchObject:
            return None

    def post(self, path: str, body: Answer) -> Answer:
        """Make or run something. Raises DriverError."""
        return self._json("POST", path, body)

    def patch(self, path: str, body: Answer, headers: Mapping[str, str] | None = None) -> Answer:
        """Change something. Raises DriverError."""
        return self._json("PATCH", path, body, headers)

    def delete(self, path: str) -> bool:
        """Remove; False when it was not there. Raises DriverError."""
        try:
            self._json("DELETE", path)
        except NoSuchObject:
            return False
        return True

    def upload(self, name: str, content: bytes) -> str:
        """Send a file in chunks and return its path on the device. Raises DriverError.

        A broken upload that is begun again may be answered once with the bytes that were sent: so it is begun anew.
        """
        for _ in range(_UPLOAD_TRIES):
            answer = self._send_chunks(name, content)
            path = answer.get("localFilePath")
            if isinstance(path, str) and path:
                return path
        raise DeviceRejected(f"{self.name} does not take the file {name}", hint="is its disk full?")

    def download(self, name: str) -> bytes:
        """Fetch a file of the folder for downloads; empty when it is not there. Raises DriverError."""
        path, span = f"shared/file-transfer/bulk/{name}", f"0-{self.chunk_size - 1}/0"
        try:
            response = self._fetch(path, span)
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdecimal() and int(total) > 0 and len(response.body) != int(total):
                response = self._fetch(path, f"0-{int(total) - 1}/{total}")
        except NoSuchObject:
            return b""
        return response.body

    def _fetch(self, path: str, span: str) -> HttpResponse:
        return self._checked(self._authorized("GET", path, None, {"Content-Type": _BYTES, "Content-Range": span}))

    def _send_chunks(self, name: str, content: bytes) -> Answer:
        answer: Answer = {}
        for start in range(0, len(content), self.chunk_size):
            chunk = content[start : start + self.chunk_size]
            span = f"{start}-{start + len(chunk) - 1}/{len(content)}"
            headers = {"Content-Type": _BYTES, "Content-Range": span}
            response = self._authorized("POST", f"shared/file-transfer/uploads/{name}", chunk, headers)
            if response.body == chunk:
                return {}
            answer = self._read(self._checked(response))
        return answer

    def _json(
        self, method: str, path: str, body: Answer | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        return self._read(self._checked(self._authorized(method, path, data, {**_JSON, **(headers or {})})))

    def _authorized(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpResponse:
        """Send with the token; once more with a new one when it is refused: nothing was done then."""
        response = self._send(method, path, body, headers)
        if response.status == 401:
            self._log_in()
            response = self._send(method, path, body, headers)
        return response

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> HttpResponse:
        return self.wire.send(method, path, body, {**headers, "X-F5-Auth-Token": str(self._token["token"])})

    def _log_in(self) -> None:
        login = {"username": self.username, "password": self._password.reveal(), "loginProviderName": "tmos"}
        response = self.wire.send("POST", "shared/authn/login", json.dumps(login).encode(), _JSON)
        if response.status == 401:
            raise AuthenticationFailed(f"{self.name} refused the login of {self.username}", hint=messages.LOGIN_HINT)
        token = self._read(self._checked(response)).get("token")
        if not isinstance(token, dict) or not token.get("token"):
            raise AuthenticationFailed(f"{self.name} gave {self.username} no token", hint=messages.LOGIN_HINT)
        self._token = token

    def _delete(self, token: str) -> None:
        """The API has no other way to name a token than its path; errors of the transport show no path."""
        response = self._send("DELETE", f"{_TOKENS}/{token}", None, {})
        if response.status not in (401, 404):
            self._checked(response)

    def _checked(self, response: HttpResponse) -> HttpResponse:
        if response.status < 300:
            return response
        try:
            words = str(json.loads(response.body)["message"])
        except (ValueError, KeyError, TypeError):
            words = "Configuration Utility restarting" if b"restarting" in response.body[:4096] else ""
        raise messages.build_error(self.name, response.status, self._redact(" ".join(words.split()))[:800])

    def _read(self, response: HttpResponse) -> Answer:
        if not response.body:
            return {}
        try:
            answer = json.loads(response.body)
        except ValueError as error:
            raise DeviceRejected(f"{self.name} answered something else than JSON") from error
        if not isinstance(answer, dict):
            raise DeviceRejected(f"{self.name} answered something else than a JSON object")
        return answer

    def _redact(self, words: str) -> str:
        for secret in (self._password.reveal(), str(self._token.get("token", ""))):
            words = words.replace(secret, "********") if secret else words
        return words
