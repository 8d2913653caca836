# SPDX-License-Identifier: Apache-2.0
"""Dynamic updates (RFC 2136) signed with TSIG (RFC 8945).

Options: ``server`` (address or address:port of the primary), ``key_name``, ``key_secret`` (base64),
``algorithm`` (default hmac-sha256), ``ttl`` (seconds, at most and by default 60), ``tcp`` (never UDP), ``timeout_s``.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.rdtypes.ANY.TXT import TXT

from ottr.dns.exchange import exchange
from ottr.dns.options import SolverOptions
from ottr.dns.servers import TRANSPORT_ERRORS, ServerAddress, describe_error, parse_server
from ottr.dns.zones import longest_zone
from ottr.errors import DnsError, DnsRefused
from ottr.model import TxtRecord
from ottr.settings import SolverSettings

_OPTIONS = ("server", "key_name", "key_secret", "algorithm", "ttl", "tcp", "timeout_s")
_ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_UDP_TIMEOUT_S = 3.0

_HINTS = {
    "BADKEY": "check `key_name` and `algorithm`: the server does not know this key",
    "BADSIG": "check `key_secret` and `algorithm`: the server's key is another one",
    "BADTIME": "set the clocks of this machine and of the server: they differ by more than the server allows",
    "NOTAUTH": "check `server` and `zones`: the server must be the primary of the zone",
    "NOTZONE": "check `zones`: the name must be in the zone",
    "REFUSED": "let the server's update policy allow this key to write TXT at this name (BIND: update-policy, its log)",
    "SERVFAIL": "look into the server's log: it could not write the zone",
    "NOTIMP": "check `server`: this one takes no dynamic updates",
}
_NO_ANSWER = "check `server`, its port, and that a firewall lets UDP and TCP through"


@dataclass(frozen=True, slots=True)
class Rfc2136Solver:
    """Writes to the primary of its zones. The server adds and removes single values atomically."""

    zones: tuple[str, ...]
    server: ServerAddress
    key: dns.tsig.Key = field(repr=False)
    ttl_s: int = 60
    tcp: bool = False
    timeout_s: float = 10.0

    def present(self, record: TxtRecord) -> None:
        """Add this value; no error when it is there already. Raises DnsError."""
        update = self._start_update(record)
        update.add(dns.name.from_text(record.name), self.ttl_s, _build_txt(record.value))
        self._send(update, record)

    def cleanup(self, record: TxtRecord) -> None:
        """Remove this value and no other; no error when it is gone already. Raises DnsError."""
        update = self._start_update(record)
        update.delete(dns.name.from_text(record.name), _build_txt(record.value))
        self._send(update, record)

    def _start_update(self, record: TxtRecord) -> dns.update.UpdateMessage:
        zone = longest_zone(record.name, self.zones)
        if zone is None:
            raise DnsRefused(f"{record.name} is in none of the zones {', '.join(self.zones)}")
        return dns.update.UpdateMessage(zone, keyring=self.key)

    def _send(self, update: dns.update.UpdateMessage, record: TxtRecord) -> None:
        try:
            response = self._exchange(update)
        except dns.tsig.PeerError as error:
            raise self._refused(record, _PEER_WORDS.get(type(error), str(error))) from error
        except dns.exception.FormError as error:
            raise self._unsigned(record) from error
        except TRANSPORT_ERRORS as error:
            raise DnsError(
                f"the DNS server {self.server} did not take the update of {record.name}: {describe_error(error)}",
                hint=_NO_ANSWER,
            ) from error
        if response.rcode() != dns.rcode.NOERROR:
            raise self._refused(record, dns.rcode.to_text(response.rcode()))

    def _exchange(self, update: dns.update.UpdateMessage) -> dns.message.Message:
        """Try UDP, then TCP for the rest of the time; an update sent twice does what it does once."""
        left_s = self.timeout_s
        if not self.tcp:
            udp_s = min(_UDP_TIMEOUT_S, self.timeout_s / 2)
            try:
                return self._ask(update, udp_s, tcp=False)
            except (dns.exception.Timeout, dns.message.Truncated, OSError):
                left_s -= udp_s
        return self._ask(update, left_s, tcp=True)

    def _ask(self, update: dns.update.UpdateMessage, timeout_s: float, *, tcp: bool) -> dns.message.Message:
        """Sign and send once; the answer's signature is checked."""
        answer = exchange(update.to_wire(), self.server, timeout_s, tcp=tcp)
        response = dns.message.from_wire(
            answer, keyring=update.keyring, request_mac=update.mac, raise_on_truncation=not tcp
        )
        if not update.is_response(response):
            raise OSError("what came back is no answer to the update")
        return response

    def _unsigned(self, record: TxtRecord) -> DnsError:
        return DnsRefused(
            f"the answer of {self.server} to the update of {record.name} is not signed",
            hint="check that the server takes signed updates of this zone (its log says), and that it is the right one",
        )

    def _refused(self, record: TxtRecord, word: str) -> DnsError:
        return DnsRefused(
            f"the DNS server {self.server} refused the update of {record.name}: {word}", hint=_HINTS.get(word, "")
        )


_PEER_WORDS: dict[type[Exception], str] = {
    dns.tsig.PeerBadKey: "BADKEY",
    dns.tsig.PeerBadSignature: "BADSIG",
    dns.tsig.PeerBadTime: "BADTIME",
}


def _build_txt(value: str) -> TXT:
    return TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [value])


def build_solver(settings: SolverSettings) -> Rfc2136Solver:
    """Build the solver from its settings. Raises SettingsError."""
    options = SolverOptions(settings, _OPTIONS)
    try:
        server = parse_server(options.text("server"))
    except ValueError as error:
        raise options.wrong(f"option 'server': {error}") from error
    return Rfc2136Solver(
        zones=settings.zones,
        server=server,
        key=_build_key(options),
        ttl_s=int(options.number("ttl", 60, 0, 60)),
        tcp=options.flag("tcp"),
        timeout_s=options.number("timeout_s", 10, 0.1, 300),
    )


def _build_key(options: SolverOptions) -> dns.tsig.Key:
    algorithm = options.choice("algorithm", _ALGORITHMS, "hmac-sha256")
    try:
        name = dns.name.from_text(options.text("key_name"))
    except dns.exception.DNSException as error:
        raise options.wrong(f"option 'key_name' is no DNS name: {error}") from error
    try:
        return dns.tsig.Key(name, options.secret("key_secret").reveal(), algorithm)
    except (binascii.Error, ValueError) as error:
        raise options.wrong("option 'key_secret' is not base64") from error
