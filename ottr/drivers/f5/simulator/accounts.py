# SPDX-License-Identifier: Apache-2.0
"""Users, passwords and tokens."""

from __future__ import annotations

import base64
import hmac
import secrets
import string
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal
from ottr.drivers.f5.simulator.settings import Settings, User

_LONGEST_S = 36000
_ALPHABET = string.ascii_uppercase + string.digits
_PROVIDERS = ("tmos", "local")
_KIND = ":resterrorresponse"


@dataclass(frozen=True, slots=True)
class Token:
    """A login. ``start`` and ``timeout_s`` by the device's clock."""

    text: str
    user: str
    start: float
    timeout_s: int
    generation: int = 1

    @property
    def end(self) -> float:
        """Seconds since the epoch."""
        return self.start + self.timeout_s


class Accounts:
    """All users and tokens of one device. ``clock`` gives seconds since the epoch."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._users = dict(settings.users)
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def user(self, name: str) -> User:
        """An account. Raises KeyError."""
        return self._users[name]

    def log_in(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What ``shared/authn/login`` answers. Raises Refusal."""
        name = str(body.get("username", ""))
        if body.get("loginProviderName", "tmos") not in _PROVIDERS:
            raise Refusal(400, "loginProviderName is invalid.", referer="127.0.0.1", kind=_KIND)
        self.check_password(name, str(body.get("password", "")))
        token = self._issue(name)
        provider = f"https://localhost/mgmt/cm/system/authn/providers/tmos/{uuid.uuid4()}/login"
        return {
            "username": name,
            "loginReference": {"link": provider},
            "loginProviderName": "tmos",
            "token": self.show(token),
            "generation": 0,
            "lastUpdateMicros": 0,
        }

    def check_password(self, name: str, password: str) -> None:
        """Raises Refusal when it is wrong, or must be changed first."""
        user = self._users.get(name)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            raise Refusal(401, "Authentication failed.", originalRequestBody="", referer="127.0.0.1", kind=_KIND)
        if user.must_change_password:
            raise Refusal(401, "Password expired. Update password via /mgmt/shared/authz/users", kind=_KIND)

    def check_basic(self, authorization: str) -> str:
        """The user of ``Authorization: Basic``. Raises Refusal."""
        try:
            pair = base64.b64decode(authorization.removeprefix("Basic ").encode()).decode()
        except ValueError as error:
            raise Refusal(401, "Authentication failed.", referer="127.0.0.1", kind=_KIND) from error
        name, _, password = pair.partition(":")
        self.check_password(name, password)
        if self._settings.unconfirmed.basic_makes_tokens:
            self._issue(name)
        return name

    def check_token(self, text: str) -> str:
        """The user of a token. Raises Refusal."""
        with self._lock:
            self._forget_expired()
            token = self._tokens.get(text)
        if token is None:
            raise Refusal(401, "X-F5-Auth-Token does not exist.", referer="127.0.0.1", kind=_KIND)
        return token.user

    def own_token(self, text: str, user: str) -> Token:
        """A token that the user may see. Raises Refusal."""
        with self._lock:
            self._forget_expired()
            token = self._tokens.get(text)
        if token is None:
            raise Refusal(404, "Object not found - tokens", referer="127.0.0.1", kind=_KIND)
        if token.user != user:
            raise Refusal(400, "Authorization failed: no permission for this token", kind=_KIND)
        return token

    def extend(self, token: Token, body: Mapping[str, Any]) -> Token:
        """Change a token's timeout. Raises Refusal above the absolute limit."""
        timeout_s = body.get("timeout")
        if set(body) != {"timeout"} or not isinstance(timeout_s, int | str) or not str(timeout_s).isdigit():
            raise Refusal(400, "timeout must be a number of seconds", kind=_KIND)
        if int(timeout_s) > _LONGEST_S:
            raise Refusal(406, f"Auth-token absolute timeout ({_LONGEST_S} seconds) exceeded", kind=_KIND)
        changed = replace(token, timeout_s=int(timeout_s), generation=token.generation + 1)
        with self._lock:
            self._tokens[token.text] = changed
        return changed

    def delete(self, token: Token) -> None:
        """End a token."""
        with self._lock:
            self._tokens.pop(token.text, None)

    def tokens_of(self, user: str) -> list[Token]:
        """A user's tokens."""
        with self._lock:
            self._forget_expired()
            return [token for token in self._tokens.values() if token.user == user]

    def expire_tokens(self) -> None:
        """End every token."""
        with self._lock:
            self._tokens.clear()

    def change_password(self, name: str, password: str) -> None:
        """Set a password; tokens stay."""
        self._users[name] = replace(self._users[name], password=password, must_change_password=False)

    @property
    def tokens(self) -> Mapping[str, str]:
        """Every valid token and its user: for tests that look for leaks."""
        with self._lock:
            self._forget_expired()
            return {token.text: token.user for token in self._tokens.values()}

    @property
    def passwords(self) -> frozenset[str]:
        """Every password, for tests that look for leaks."""
        return frozenset(user.password for user in self._users.values())

    def show(self, token: Token) -> dict[str, Any]:
        """A token as REST shows it."""
        more: dict[str, Any] = {"groupReferences": []} if self._settings.version >= (15, 0) else {}
        return {
            "token": token.text,
            "name": token.text,
            "userName": token.user,
            "authProviderName": "tmos",
            "user": {"link": f"https://localhost/mgmt/shared/authz/users/{token.user}"},
            **more,
            "timeout": token.timeout_s,
            "startTime": datetime.fromtimestamp(token.start, UTC).isoformat(timespec="milliseconds"),
            "address": "127.0.0.1",
            "partition": "[All]",
            "generation": token.generation,
            "lastUpdateMicros": int(token.start * 1_000_000),
            "expirationMicros": int(token.end * 1_000_000),
            "kind": "shared:authz:tokens:authtokenitemstate",
            "selfLink": f"https://localhost/mgmt/shared/authz/tokens/{token.text}",
        }

    def _issue(self, user: str) -> Token:
        limited = user != "admin" or self._settings.unconfirmed.admin_has_token_limit
        with self._lock:
            self._forget_expired()
            mine = sum(token.user == user for token in self._tokens.values())
            if limited and mine >= self._settings.token_limit:
                message = f"user {uuid.uuid5(uuid.NAMESPACE_DNS, user)} has reached maximum active login tokens"
                raise Refusal(400, message, originalRequestBody="", referer="127.0.0.1", kind=_KIND)
            text = "".join(secrets.choice(_ALPHABET) for _ in range(26))
            token = Token(text, user, self._clock(), self._settings.token_timeout_s)
            self._tokens[text] = token
        return token

    def _forget_expired(self) -> None:
        now = self._clock()
        self._tokens = {text: token for text, token in self._tokens.items() if token.end > now}
