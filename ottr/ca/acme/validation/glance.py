# SPDX-License-Identifier: Apache-2.0
"""A first look into DNS by the event loop itself: one question over UDP, of which only a plain yes counts.

It spares most orders a thread and a parser. Whatever else comes of it - silence, an alias, other values, an answer
that was cut off, in another form or not for us - says nothing: then it is looked with all care, see ``dns01``.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Callable

_WAIT_S = 1.0
_MOST_BYTES = 4096
_LONGEST_NAME = 255
_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_ASKS = 0x0100  # RD
_JUDGED = 0xFA4F  # QR, opcode, TC, the bit that is always zero, rcode; not AA, RD, RA, AD, CD
_ANSWERS = 0x8000  # QR, no error, whole
_TXT_IN = b"\x00\x10\x00\x01"
_OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"  # RFC 6891: answers of up to 1232 bytes
_OF_THE_QUESTION = b"\xc0\x0c"  # RFC 1035 section 4.1.4: the name at byte 12


def find_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop whose callback calls this; None: it is another thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def write_question(name: str) -> bytes:
    """A question for the TXT records of a name of A-labels, with an id nobody can guess.

    Raises ValueError for names that are too long.
    """
    labels = [label.encode("ascii") for label in name.split(".")]
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > _LONGEST_NAME:
        raise ValueError(f"{name} is too long for DNS")
    return _HEADER.pack(secrets.randbits(16), _ASKS, 1, 0, 0, 1) + wire + _TXT_IN + _OPT


def confirms(answer: bytes, question: bytes, wanted: bytes) -> bool:
    """Whether it answers this question, well and in the usual form, and one of the values is the wanted one."""
    asked = question[_HEADER.size : -len(_OPT)]
    place = _HEADER.size + len(asked)
    if len(answer) < place or answer[_HEADER.size : place] != asked or answer[:2] != question[:2]:
        return False
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(answer)
    if flags & _JUDGED != _ANSWERS or questions != 1:
        return False
    for _ in range(answers):
        if answer[place : place + 2] != _OF_THE_QUESTION or answer[place + 2 : place + 6] != _TXT_IN:
            return False
        start = place + 2 + _RECORD.size
        if start > len(answer):
            return False
        place = start + _RECORD.unpack_from(answer, place + 2)[3]
        if place <= len(answer) and _join(answer[start:place]) == wanted:
            return True
    return False


def _join(strings: bytes) -> bytes:
    """The strings of a TXT record as one; nothing when they do not end where it does."""
    parts, place = [], 0
    while place < len(strings):
        end = place + 1 + strings[place]
        parts.append(strings[place + 1 : end])
        place = end
    return b"".join(parts) if place == len(strings) else b""


class Glance:
    """One question on its way; ``done`` is told in the loop, once. Raises OSError when it cannot be sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: tuple[str, int],
        question: bytes,
        wanted: bytes,
        done: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._question = question
        self._wanted = wanted
        self._done = done
        # A socket for each: who would answer in the server's place has to guess its port, too (RFC 5452).
        self._socket = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(server)
            self._socket.send(question)
        except BaseException:
            self._socket.close()
            raise
        self._timer = loop.call_later(_WAIT_S, self._end, b"")
        # By its number: asyncio would write the socket down, both addresses asked for, to say it is not there yet.
        loop.add_reader(self._socket.fileno(), self._hear)

    def close(self) -> None:
        """Listen no more; for the loop's thread, or when the loop has ended."""
        if not self._loop.is_closed():
            self._timer.cancel()
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _hear(self) -> None:
        try:
            answer = self._socket.recv(_MOST_BYTES)
        except OSError:  # refused
            answer = b""
        self._end(answer)

    def _end(self, answer: bytes) -> None:
        self.close()
        self._done(confirms(answer, self._question, self._wanted))
