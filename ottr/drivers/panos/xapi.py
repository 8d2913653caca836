# SPDX-License-Identifier: Apache-2.0
"""The XML API as pan-python speaks it, with every request going through our own transport."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from pan.xapi import PanXapi, PanXapiError

from ottr.drivers.panos import messages
from ottr.drivers.panos.wire import Wire
from ottr.errors import AuthenticationFailed, DriverError
from ottr.model import Secret
from ottr.transports.http import HttpResponse, encode_multipart

_FORM = "application/x-www-form-urlencoded"
_SESSION_TIMED_OUT = "22"
_KEPT = "api_key"


class _Answer:
    """An answer as the library reads one."""

    def __init__(self, response: HttpResponse) -> None:
        self._response = response

    def read(self) -> bytes:
        return self._response.body

    def getheader(self, name: str) -> str | None:
        return self._response.headers.get(name)


class Xapi(PanXapi):  # type: ignore[misc]
    """One login. ``key_in_header`` is for 9.0 and later; else the key goes in the form, never in a URL.

    ``kept`` has the API key of another session of this run, or gets the one of this session.
    """

    def __init__(
        self,
        wire: Wire,
        username: str,
        password: Secret,
        *,
        key_in_header: bool,
        kept: MutableMapping[str, Secret] | None = None,
    ) -> None:
        # Not the library's own constructor: that reads ~/.panrc, where a key or a target of other work may stand.
        self._log = logging.getLogger(__name__).log
        self._wire = wire
        self._password = password
        self.key_in_header = key_in_header
        self.api_username, self.api_password = username, None
        self._kept = {} if kept is None else kept
        former = self._kept.get(_KEPT)
        self.api_key: str | None = former.reveal() if former else None
        self.serial: str | None = None
        self._legacy_api = False

    def __str__(self) -> str:
        return f"XML API of {self._wire.name}"

    def keygen(self) -> str:
        """Log in for a key. Raises AuthenticationFailed."""
        form = {"type": "keygen", "user": self.api_username, "password": self._password.reveal()}
        response = self._wire.post(urlencode(form).encode(), {"Content-Type": _FORM})
        try:
            key = ET.fromstring(response.body).findtext("result/key", "")  # noqa: S314 expat takes no entities from outside
        except ET.ParseError:
            key = ""
        if response.status == 403 or not key:
            raise AuthenticationFailed(
                f"{self._wire.name} refused the login of {self.api_username}", hint=messages.LOGIN_HINT
            )
        self.api_key, self._kept[_KEPT] = key, Secret(key)
        return key

    def upload(self, fields: Mapping[str, str], file_name: str, content: bytes) -> None:
        """Send ``type=import`` with a file; every parameter is a field of the form. Raises DriverError."""
        self.element_root = None
        query = {"type": "import", **fields}
        response = self._authorized(query, lambda form: encode_multipart({**form, "file": (file_name, content)}))
        self._read(response)

    def run(self, method: str, **arguments: Any) -> ET.Element | None:
        """Call one method of the library and return the root of the XML answer. Raises DriverError."""
        self.element_root = None
        try:
            getattr(self, method)(**arguments)
        except PanXapiError as error:
            raise self._describe(str(error)) from error
        return self.element_root

    def _PanXapi__api_request(self, query: dict[str, Any]) -> _Answer:
        return _Answer(self._authorized({k: v for k, v in query.items() if k != "key"}, _encode_form))

    def _authorized(self, query: Mapping[str, Any], encode: Any) -> HttpResponse:
        """Send with the key; once more with a new one when it is refused."""
        if self.api_key is None:
            self.keygen()
        response = self._send(query, encode)
        if _is_key_refused(response):
            self.keygen()
            response = self._send(query, encode)
        if response.status == 403:
            raise AuthenticationFailed(
                f"{self._wire.name} refuses what {self.api_username} asks for, with a new key too",
                hint=messages.ROLE_HINT,
            )
        return response

    def _send(self, query: Mapping[str, Any], encode: Any) -> HttpResponse:
        key = str(self.api_key)
        body, content_type = encode(query if self.key_in_header else {**query, "key": key})
        headers = {"Content-Type": content_type}
        return self._wire.post(body, {**headers, "X-PAN-KEY": key} if self.key_in_header else headers)

    def _read(self, response: HttpResponse) -> None:
        if not self._PanXapi__set_response(_Answer(response)):
            raise self._describe(str(self.status_detail or ""))

    def _describe(self, words: str) -> DriverError:
        code = self.element_root.get("code", "") if self.element_root is not None else ""
        return messages.build_error(self._wire.name, code, self._redact(" ".join(words.split()))[:800])

    def _redact(self, words: str) -> str:
        for secret in (self._password.reveal(), self.api_key):
            words = words.replace(secret, "********") if secret else words
        return "" if words == "None" else words


def _encode_form(query: Mapping[str, Any]) -> tuple[bytes, str]:
    return urlencode(query).encode(), _FORM


def _is_key_refused(response: HttpResponse) -> bool:
    if response.status == 403:
        return True
    head = response.body[:120]
    return b"code" in head and f'code="{_SESSION_TIMED_OUT}"'.encode() in head
