# SPDX-License-Identifier: Apache-2.0
"""One question to one server.

Taking an answer apart costs ten times what asking does, and the two answers that nearly every rotation gets can be
told from a few bytes: that there is no alias, and that the value just written is there.
"""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rrset import RRset

from ottr.dns.exchange import exchange
from ottr.dns.servers import QUERY_TIMEOUT_S, ServerAddress

_PAYLOAD = 1232
"""Largest UDP answer asked for: fits every path without fragments (DNS flag day 2020)."""

_HEADER = struct.Struct("!6H")
_RCODE = 0xF
_OPCODE = 0x7800
_EDNS = struct.pack("!BHHIH", 0, dns.rdatatype.OPT, _PAYLOAD, 0, 0)  # RFC 6891 section 6.1.2
_PLAIN_EDNS = re.compile(rb"\0\0\x29..\0...\0\0\Z", re.DOTALL)
"""An OPT record at the end: any size, no upper bits of an rcode, any version and flags, no options."""
_LONGEST_STRING = 255
_OURS = struct.pack("!HHH", 0xC000 | _HEADER.size, dns.rdatatype.TXT, dns.rdataclass.IN)
"""The head of a record that has the name of the question (RFC 1035 section 4.1.4), up to its TTL."""
_HEAD_SIZE = len(_OURS) + 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, in wire form."""

    query: bytes
    wire: bytes

    def parse(self) -> dns.message.Message:
        """Take it apart. Raises DNSException."""
        query, response = dns.message.from_wire(self.query), dns.message.from_wire(self.wire)
        if not query.is_response(response):
            raise dns.query.BadResponse
        return response

    def denies(self, *, recursive: bool = False) -> bool:
        """Whether it can be seen at once that this is a whole answer without a record, of one who must know.

        That is an authoritative server; with ``recursive`` also one that asked such a server.
        """
        if not self._is_to_our_question():
            return False
        _, flags, _, answers, _, more = _HEADER.unpack_from(self.wire)
        if answers or flags & dns.flags.TC or (more and not _PLAIN_EDNS.search(self.wire)):
            return False
        knows = flags & (dns.flags.AA | dns.flags.RA if recursive else dns.flags.AA)
        return bool(knows) and flags & _RCODE in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)

    def shows(self, value: str) -> bool:
        """Whether it can be seen at once that a record of the name asked for, with one string, this one, is in it."""
        string = value.encode()
        if len(string) > _LONGEST_STRING or not self._is_to_our_question():
            return False
        _, flags, _, answers, _, _ = _HEADER.unpack_from(self.wire)
        data = struct.pack("!HB", len(string) + 1, len(string)) + string  # RFC 1035 section 3.3.14
        return flags & _RCODE == dns.rcode.NOERROR and any(one.startswith(data) for one in self._list_texts(answers))

    def _list_texts(self, answers: int) -> Iterator[bytes]:
        """The data of each answer with its size before it, as far as they are TXT records of the name asked for."""
        at = len(self.query) - len(_EDNS)
        while answers and self.wire.startswith(_OURS, at) and len(self.wire) >= at + _HEAD_SIZE + 2:
            yield self.wire[at + _HEAD_SIZE :]
            at += _HEAD_SIZE + 2 + int.from_bytes(self.wire[at + _HEAD_SIZE : at + _HEAD_SIZE + 2])
            answers -= 1

    def _is_to_our_question(self) -> bool:
        """Whether it is an answer, under the query's id, to one question, the query's."""
        if len(self.wire) < len(self.query) - len(_EDNS):
            return False
        number, flags, questions, _, _, _ = _HEADER.unpack_from(self.wire)
        question = slice(_HEADER.size, len(self.query) - len(_EDNS))
        return (
            number == _HEADER.unpack_from(self.query)[0]
            and flags & (dns.flags.QR | _OPCODE) == dns.flags.QR
            and questions == 1
            and self.wire[question] == self.query[question]
        )


def ask(
    server: ServerAddress,
    name: str,
    kind: str,
    *,
    tcp: bool = False,
    recursive: bool = False,
    timeout_s: float = QUERY_TIMEOUT_S,
) -> Answer:
    """Ask one server, without recursion if not said otherwise; over UDP the answer may be truncated.

    Raises one of ``TRANSPORT_ERRORS``.
    """
    query = _encode(name, kind, dns.flags.RD if recursive else 0)
    return Answer(query, exchange(query, server, timeout_s, tcp=tcp))


def _encode(name: str, kind: str, flags: int) -> bytes:
    """A query (RFC 1035 section 4.1) under a random id."""
    wire_name = dns.name.from_text(name).to_wire() or b""
    asked = struct.pack("!HH", dns.rdatatype.from_text(kind), dns.rdataclass.IN)
    return _HEADER.pack(secrets.randbits(16), flags, 1, 0, 0, 1) + wire_name + asked + _EDNS


def find_answer(response: dns.message.Message) -> RRset | None:
    """Return the records asked for, aliases in the answer followed; None when there are none.

    Raises one of ``TRANSPORT_ERRORS`` for an answer that contradicts itself.
    """
    return cast(dns.message.QueryMessage, response).resolve_chaining().answer
