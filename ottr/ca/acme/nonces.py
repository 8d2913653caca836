# SPDX-License-Identifier: Apache-2.0
"""Anti-replay nonces (RFC 8555 section 6.5), each good for one request to the process that gave it.

A nonce is a time and some randomness under a MAC (BLAKE2b with a key, RFC 7693), so giving one costs no memory; only
those that were used are remembered, for as long as they would be good. After a restart the old ones are refused as
``badNonce``, with a fresh one, as every client must be ready for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from ottr.ca.jose import JoseError, decode, encode

LIFETIME_S = 3600
_REMEMBERED_S = LIFETIME_S + 60
"""Longer by more than it takes to check a signature: one that was read as good is not forgotten before its use."""
_MAC_SIZE, _BODY_SIZE = 16, 16
_PER_SECOND = struct.Struct(">Q")


class Nonces:
    """Gives nonces and takes each back once. Safe for threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._used: set[bytes] = set()
        self._order: deque[bytes] = deque()
        self._lock = threading.Lock()

    def give(self) -> str:
        """A fresh one; those that were used and are too old by now need not be remembered any more."""
        now = int(self._clock().timestamp())
        self._forget(now)
        body = _PER_SECOND.pack(now) + secrets.token_bytes(8)
        return encode(body + self._mac(body))

    def use(self, body: bytes) -> bool:
        """Use up what ``read`` returned; False when it has been used."""
        with self._lock:
            if body in self._used:
                return False
            self._used.add(body)
            self._order.append(body)
        return True

    def read(self, nonce: object) -> bytes | None:
        """What of a nonce tells it from others; None when it is not ours or too old. Says nothing about its use."""
        try:
            raw = decode(nonce, "the nonce")
        except JoseError:
            return None
        body, mac = raw[:_BODY_SIZE], raw[_BODY_SIZE:]
        if len(mac) != _MAC_SIZE or not hmac.compare_digest(mac, self._mac(body)):
            return None
        age_s = self._clock().timestamp() - _PER_SECOND.unpack_from(body)[0]
        return body if age_s <= LIFETIME_S else None

    def _forget(self, now: int) -> None:
        """The queue is in the order of use, not of age: what is too old leaves a little late, never early."""
        with self._lock:
            while self._order and _PER_SECOND.unpack_from(self._order[0])[0] < now - _REMEMBERED_S:
                self._used.discard(self._order.popleft())

    def _mac(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=_MAC_SIZE, key=self._key).digest()
