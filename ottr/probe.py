# SPDX-License-Identifier: Apache-2.0
"""The independent observer: a TLS handshake from outside, compared with what was issued."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from ottr import starttls, x509
from ottr.errors import VerificationError
from ottr.model import Endpoint, IssuedCertificate, Waiter

HANDSHAKE_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 0.12
"""What a service needs to hand over to its new workers: nginx lets the old ones answer beside them for 0.1 s."""
NEXT_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Served:
    """What an endpoint served."""

    certificate: x509.Certificate | None
    """None: no handshake came about."""
    problem: str = ""
    """Why a client that trusts the issuer's roots would refuse it; empty: it would not."""


class Probe:
    """Handshakes with endpoints as a client that trusts one set of roots.

    ``trust``: PEM file of roots; None: the system's. ``issuer_names``: globs over the RFC 4514 name of the
    leaf's issuer; empty: any.
    """

    def __init__(self, trust: Path | None, issuer_names: Sequence[str] = (), wait: Waiter = time.sleep) -> None:
        self._trust = trust
        self._issuer_names = tuple(issuer_names)
        self._wait = wait

    def verify(self, endpoints: Sequence[Endpoint], issued: IssuedCertificate, timeout_s: float) -> None:
        """Return when every endpoint serves exactly what was issued. Raises VerificationError.

        Asked again until the time is over: services take a moment to hand over to their new workers.
        """
        expected = x509.parse_certificate(issued.leaf_pem)
        deadline = time.monotonic() + timeout_s
        for endpoint in endpoints:
            problem = self._await_exactly(endpoint, expected, deadline)
            if problem:
                raise VerificationError(
                    f"{endpoint}: {problem}",
                    hint="see what the service loads (its own configuration) and whether the endpoint in "
                    "routing.yaml is the one that serves this certificate",
                )

    def await_served(self, endpoints: Sequence[Endpoint], leaf: x509.Certificate, timeout_s: float) -> str:
        """Wait until every endpoint serves this certificate, trusted or not; return what is wrong, else nothing."""
        deadline = time.monotonic() + timeout_s
        for endpoint in endpoints:
            served = self.observe(endpoint)
            while (served.certificate is None or served.certificate.der != leaf.der) and time.monotonic() < deadline:
                self._wait(0.1)
                served = self.observe(endpoint)
            if served.certificate is None:
                return f"{endpoint}: {served.problem}"
            if served.certificate.der != leaf.der:
                return f"{endpoint} serves serial {served.certificate.serial}, not {leaf.serial}"
        return ""

    def observe(self, endpoint: Endpoint) -> Served:
        """Look at what is served now, whatever it is. Never raises for the endpoint's sake."""
        try:
            certificate = x509.parse_certificate_der(self._shake_hands(endpoint))
        except ssl.SSLCertVerificationError as error:
            return self._observe_untrusted(endpoint, error.verify_message)
        except (OSError, ValueError) as error:
            return Served(None, _words(error))
        return Served(certificate, self._issuer_problem(certificate))

    def serves(self, endpoint: Endpoint, leaf: x509.Certificate) -> bool:
        """Whether exactly this certificate is served now, and nothing is wrong with it."""
        served = self.observe(endpoint)
        return served.certificate is not None and served.certificate.der == leaf.der and not served.problem

    def _await_exactly(self, endpoint: Endpoint, expected: x509.Certificate, deadline: float) -> str:
        """Look until it is served and nothing is wrong with it; return what is wrong at the end, else nothing."""
        pause_s, next_s = FIRST_PAUSE_S, NEXT_PAUSE_S
        while True:
            self._wait(pause_s)
            if self._is_good(endpoint, expected):
                return ""
            if time.monotonic() >= deadline:
                return self._difference(endpoint, expected)
            pause_s, next_s = next_s, min(next_s * 1.5, 1.0)

    def _is_good(self, endpoint: Endpoint, expected: x509.Certificate) -> bool:
        """One handshake, whatever is served: what is wrong may be right in a moment."""
        try:
            served_der = self._shake_hands(endpoint)
        except (OSError, ValueError):
            return False
        return served_der == expected.der and not self._issuer_problem(expected)

    def _shake_hands(self, endpoint: Endpoint) -> bytes:
        """As a client that trusts the issuer's roots; return the leaf in DER."""
        return _handshake(endpoint, _context(*self._trust_key(), endpoint.server_name is not None))

    def _difference(self, endpoint: Endpoint, expected: x509.Certificate) -> str:
        served = self.observe(endpoint)
        if served.certificate is None:
            return served.problem
        if served.certificate.spki_der != expected.spki_der:
            return f"serves another key (certificate {served.certificate.sha256[:16]}…, issued {expected.sha256[:16]}…)"
        if served.certificate.der != expected.der:
            return f"serves serial {served.certificate.serial}, issued was {expected.serial}"
        return served.problem

    def _observe_untrusted(self, endpoint: Endpoint, problem: str) -> Served:
        try:
            return Served(x509.parse_certificate_der(_handshake(endpoint, _anything())), problem)
        except (OSError, ValueError) as error:
            return Served(None, _words(error))

    def _issuer_problem(self, certificate: x509.Certificate) -> str:
        if not self._issuer_names or any(fnmatchcase(certificate.issuer, glob) for glob in self._issuer_names):
            return ""
        return f"is issued by {certificate.issuer}, which no glob of issuer_names matches"

    def _trust_key(self) -> tuple[str, int]:
        return ("", 0) if self._trust is None else (str(self._trust), self._trust.stat().st_mtime_ns)


def _handshake(endpoint: Endpoint, context: ssl.SSLContext) -> bytes:
    """Fetch the leaf in DER; the context checks chain, validity and, where there is a server name, the names."""
    address = (endpoint.host, endpoint.port)
    with socket.create_connection(address, HANDSHAKE_TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        starttls.start(sock, endpoint.protocol)
        with context.wrap_socket(sock, server_hostname=endpoint.server_name) as tls:
            der = tls.getpeercert(binary_form=True)
    if der is None:  # only anonymous cipher suites, which no context of ours offers
        raise OSError("the endpoint showed no certificate")
    return der


@lru_cache(maxsize=64)
def _context(trust: str, changed_ns: int, check_name: bool) -> ssl.SSLContext:
    """Made once for each file of roots and its modification time: loading the system's costs 20 ms."""
    del changed_ns
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_name
    if trust:
        context.load_verify_locations(cafile=trust)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


@lru_cache(maxsize=1)
def _anything() -> ssl.SSLContext:
    """For looking only: what is learnt this way is reported, never trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _words(error: OSError | ValueError) -> str:
    """ValueErrors are names no resolver takes, and certificates that cannot be read."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return f"no handshake: {(strerror or str(error) or type(error).__name__).strip()}"
