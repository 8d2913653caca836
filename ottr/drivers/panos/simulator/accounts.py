# SPDX-License-Identifier: Apache-2.0
"""Administrators, their API keys, and which part of the device a key works on."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ottr.drivers.panos.simulator.answers import Refusal
from ottr.drivers.panos.simulator.settings import Admin, Settings
from ottr.drivers.panos.simulator.tree import Path

Clock = time.monotonic


@dataclass(slots=True)
class Session:
    """One API key: whose it is, until when, and the target set for it."""

    username: str
    ends_at: float | None
    target: Path | None = None


class Accounts:
    """Checks passwords and keys."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._passwords: dict[str, str] = {name: admin.password for name, admin in settings.admins.items()}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def admin(self, username: str) -> Admin:
        """The account of a user."""
        return self._settings.admins[username]

    def make_key(self, username: str, password: str) -> str:
        """Check the password and return a key. Without a lifetime a user has one key. Raises Refusal."""
        known = self._passwords.get(username)
        if known is None or not hmac.compare_digest(known.encode(), password.encode()):
            raise invalid_credential()
        lifetime_s = self._settings.key_lifetime_minutes * 60
        with self._lock:
            mine = [key for key, session in self._sessions.items() if session.username == username]
            if mine and not lifetime_s:
                return mine[0]
            if self._settings.unconfirmed.new_key_ends_others:
                for key in mine:
                    del self._sessions[key]
            # No + and no /: clients exist that put the key into a form without encoding it.
            key = "LUFRPT1" + base64.urlsafe_b64encode(secrets.token_bytes(64)).decode().replace("-", "x")
            self._sessions[key] = Session(username, Clock() + lifetime_s if lifetime_s else None)
        return key

    def check(self, key: str) -> Session:
        """The session of a key. Raises Refusal (HTTP 403)."""
        with self._lock:
            session = self._sessions.get(key)
            if session is None or (session.ends_at is not None and Clock() > session.ends_at):
                self._sessions.pop(key, None)
                raise invalid_credential()
            return session

    def check_basic(self, authorization: str) -> Session:
        """The session of ``Authorization: Basic``. Raises Refusal."""
        try:
            user, _, password = base64.b64decode(authorization.removeprefix("Basic ").encode()).decode().partition(":")
        except ValueError as error:
            raise invalid_credential() from error
        return self.check(self.make_key(user, password))

    def expire_keys(self) -> None:
        """End every key, as by "expire all API keys" or a reboot with a new master key."""
        with self._lock:
            self._sessions.clear()

    def change_password(self, username: str, password: str) -> None:
        """Set a password; the user's keys end."""
        with self._lock:
            self._passwords[username] = password
            self._sessions = {key: s for key, s in self._sessions.items() if s.username != username}

    @property
    def keys(self) -> Mapping[str, str]:
        """Every valid key and its user: for tests that look for leaks."""
        with self._lock:
            return {key: session.username for key, session in self._sessions.items()}


def invalid_credential() -> Refusal:
    """HTTP 403 with the device's words."""
    return Refusal(403, "Invalid Credential", status=403, shape="spaced")
