# SPDX-License-Identifier: Apache-2.0
"""A small authoritative DNS server over UDP and TCP that takes signed dynamic updates (RFC 2136, RFC 8945).

What a lab needs and no more: no recursion, transfers, delegations, wildcards, DNSSEC, or prerequisites of updates.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import dns.zone

_ZONE = """\
@ 60 IN SOA ns1 hostmaster 1 60 1 3600 1
@ 60 IN NS ns1
ns1 60 IN A {address}
"""
_MOST_ALIASES = 8
_IDLE_S = 10.0
_LEAST_UDP = 512
_HEADER_BYTES = 12
_QR = 0x8000
_OPCODE = 0x7800
_KEPT = (dns.rdatatype.SOA, dns.rdatatype.NS)


class Zones:
    """The records. Safe for threads."""

    def __init__(self, zones: Sequence[str], address: str) -> None:
        text = _ZONE.format(address=address)
        self._lock = threading.Lock()
        self._zones = {
            zone.origin: zone
            for zone in (dns.zone.from_text(text, origin=f"{name}.", relativize=False) for name in zones)
            if zone.origin
        }

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Answer a question with authority, aliases followed as far as they are ours."""
        response = dns.message.make_response(query)
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return response
        name, kind = query.question[0].name, query.question[0].rdtype
        with self._lock:
            for _ in range(_MOST_ALIASES):
                alias = self._look_up(response, name, kind)
                if alias is None:
                    break
                name = alias
        return response

    def change(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Make the changes of an update, all or none of them."""
        if len(update.zone) != 1 or update.zone[0].rdtype != dns.rdatatype.SOA:
            return dns.rcode.FORMERR
        if update.prerequisite:
            return dns.rcode.NOTIMP
        with self._lock:
            zone = self._zones.get(update.zone[0].name)
            if zone is None or zone.origin is None:
                return dns.rcode.NOTAUTH
            if not all(one.name.is_subdomain(zone.origin) for one in update.update):
                return dns.rcode.NOTZONE
            with zone.writer() as changes:
                for one in update.update:
                    _change(changes, zone.origin, one)
                changes.update_serial(name=zone.origin)
        return dns.rcode.NOERROR

    def _look_up(
        self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> dns.name.Name | None:
        """Add what there is at a name; return where its alias leads to, if it is one."""
        zone = self._find(name)
        if zone is None or zone.origin is None:
            if not response.answer:
                response.set_rcode(dns.rcode.REFUSED)
            return None
        response.flags |= dns.flags.AA
        if found := zone.get_rrset(name, kind):
            response.answer.append(found)
            return None
        if alias := zone.get_rrset(name, dns.rdatatype.CNAME):
            response.answer.append(alias)
            return dns.name.from_text(alias[0].target.to_text())
        if not any(other.is_subdomain(name) for other in zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if authority := zone.get_rrset(zone.origin, dns.rdatatype.SOA):
            response.authority.append(authority)
        return None

    def _find(self, name: dns.name.Name) -> dns.zone.Zone | None:
        found = [origin for origin in self._zones if name.is_subdomain(origin)]
        return self._zones[max(found, key=len)] if found else None


def _change(changes: dns.transaction.Transaction, apex: dns.name.Name, one: dns.rrset.RRset) -> None:
    """One record set of an update (RFC 2136 section 3.4.2); what makes the zone one stays."""
    kept = one.name == apex
    if kept and one.rdtype in _KEPT and one.deleting is not None:
        return
    if one.deleting is None:
        changes.add(one)
    elif one.deleting == dns.rdataclass.NONE:
        changes.delete(dns.rrset.from_rdata_list(one.name, 0, list(one)))
    elif one.rdtype != dns.rdatatype.ANY:
        changes.delete(one.name, one.rdtype)
    elif not kept:
        changes.delete(one.name)


class DnsServer:
    """Answers at ``address:port`` over UDP and TCP from threads of its own."""

    def __init__(self, address: str, port: int, zones: Zones, key: dns.tsig.Key) -> None:
        self._zones, self._keys = zones, {key.name: key}
        self._servers: list[socketserver.BaseServer] = []
        self._threads: list[threading.Thread] = []
        self.address, self.port = address, port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        place = (self.address, self.port)
        try:
            self._servers.append(_Udp(place, self))
            self._servers.append(_Tcp(place, self))
        except OSError:
            self._close()
            raise
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End; nothing is left when this returns."""
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        self._close()

    def respond(self, wire: bytes, size: int = 65535) -> bytes:
        """The answer to a message, of ``size`` bytes at most; empty when there can be none."""
        if len(wire) < _HEADER_BYTES or wire[2] & 0x80:
            return b""
        try:
            query = dns.message.from_wire(wire, keyring=self._keys)
        except (dns.tsig.BadTime, dns.tsig.BadSignature, dns.tsig.BadKey, dns.message.UnknownTSIGKey):
            return _refuse(wire, dns.rcode.NOTAUTH)
        except (dns.exception.DNSException, struct.error):
            return _refuse(wire, dns.rcode.FORMERR)
        response = self._do(query)
        return response.to_wire(max_size=max(_LEAST_UDP, min(size, query.payload or size)), prefer_truncation=True)

    def _do(self, query: dns.message.Message) -> dns.message.Message:
        if query.opcode() == dns.opcode.QUERY:
            return self._zones.answer(query)
        response = dns.message.make_response(query)
        if not isinstance(query, dns.update.UpdateMessage):
            response.set_rcode(dns.rcode.NOTIMP)
        else:
            response.set_rcode(self._zones.change(query) if query.had_tsig else dns.rcode.REFUSED)
        return response

    def _close(self) -> None:
        for server in self._servers:
            server.server_close()
        self._servers.clear()
        self._threads.clear()


def _refuse(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone, for what cannot be taken apart or whose signature is wrong."""
    flags = _QR | (struct.unpack("!H", wire[2:4])[0] & _OPCODE) | rcode
    return wire[:2] + struct.pack("!HHHHH", flags, 0, 0, 0, 0)


class _Udp(socketserver.UDPServer):
    def __init__(self, place: tuple[str, int], owner: DnsServer) -> None:
        self.owner = owner
        super().__init__(place, _UdpHandler)


class _UdpHandler(socketserver.DatagramRequestHandler):
    server: _Udp

    def handle(self) -> None:
        self.wfile.write(self.server.owner.respond(self.rfile.read(), _LEAST_UDP))


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], owner: DnsServer) -> None:
        self.owner = owner
        super().__init__(place, _TcpHandler)


class _TcpHandler(socketserver.StreamRequestHandler):
    server: _Tcp
    timeout = _IDLE_S

    def handle(self) -> None:
        with suppress(OSError, struct.error):
            while len(head := self.rfile.read(2)) == 2:
                answer = self.server.owner.respond(self.rfile.read(struct.unpack("!H", head)[0]))
                self.wfile.write(struct.pack("!H", len(answer)) + answer)
