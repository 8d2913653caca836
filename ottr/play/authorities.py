# SPDX-License-Identifier: Apache-2.0
"""The private CAs that a play asks: each is opened once, for deriving a key from a passphrase is slow on purpose."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from ottr.ca.authority import Authority
from ottr.ca.envelope import Passphrase
from ottr.ca.opening import open_authority
from ottr.ca.passphrase import find_passphrase
from ottr.model import Secret
from ottr.play.certifying import certify
from ottr.play.revoking import revoke
from ottr.play.trust import describe_trust


class Act(Protocol):
    """Does what a task asks for."""

    def __call__(self, authority: Authority, asked: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """With ``check`` it only says what would be done."""


_VERBS: Mapping[str, Act] = MappingProxyType(
    {"ca_certificate": certify, "ca_revoke": revoke, "ca_bundle": describe_trust}
)
_NEED_KEYS = frozenset({"ca_certificate"})


@dataclass(frozen=True, slots=True)
class Place:
    """Which CA, and what opens its keys."""

    folder: Path
    passphrase: Secret | None = None
    passphrase_file: Path | None = None


class Authorities:
    """Answers one request at a time, for many threads."""

    def __init__(self) -> None:
        self._opened: dict[tuple[Place, bool], Authority] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._stack = ExitStack()

    def act(self, verb: str, place: Place, asked: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """Do what a task asks for, or, with ``check``, say what would be done. Raises OttrError.

        Two hosts that ask for the same certificate at once get one: the second finds that of the first.
        """
        authority = self._open(place, needs_keys=verb in _NEED_KEYS)
        with self._turn:
            return _VERBS[verb](authority, asked, check=check)

    def close(self) -> None:
        """Close all of them."""
        self._stack.close()

    def _open(self, place: Place, *, needs_keys: bool) -> Authority:
        with self._lock:
            if (place, needs_keys) not in self._opened:
                passphrase = _find_passphrase(place, needs_keys=needs_keys)
                opened = self._stack.enter_context(open_authority(place.folder, passphrase))
                self._opened[place, needs_keys] = opened
            return self._opened[place, needs_keys]


def parse_place(asked: Mapping[str, Any]) -> Place:
    """The CA of a request."""
    return Place(
        Path(asked["folder"]),
        Secret(asked["passphrase"]) if asked["passphrase"] else None,
        Path(asked["passphrase_file"]) if asked["passphrase_file"] else None,
    )


def _find_passphrase(place: Place, *, needs_keys: bool) -> Passphrase:
    """What was handed over, or from where the command takes it. Nobody is asked: nobody sits there.

    Who needs no keys can do without; what needs one all the same raises KeyUnavailable then.
    """
    if place.passphrase is not None:
        return Passphrase(place.passphrase.reveal().encode())
    passphrase = Passphrase(lambda: find_passphrase(place.passphrase_file, os.environ, None))
    if needs_keys or place.passphrase_file is not None:
        passphrase.reveal()
    return passphrase
