# SPDX-License-Identifier: Apache-2.0
"""httpd of the device: reads key and certificate from its files when it starts, and is away when they are no pair."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from ottr.drivers.f5.simulator.configuration import HTTPD
from ottr.drivers.f5.simulator.material import matches, read_chain, read_key, write_chain, write_key
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.system import HTTPD_PATH
from ottr.simulation.pair import Pair, make_self_signed
from ottr.simulation.requests import Request, Response
from ottr.simulation.server import TlsServer

_CERTIFICATE, _KEY = "/config/httpd/conf/ssl.crt/server.crt", "/config/httpd/conf/ssl.key/server.key"


class WebServer:
    """The management port: iControl REST behind httpd."""

    def __init__(self, state: State, address: str, port: int, answer: Callable[[Request], Response]) -> None:
        self._state = state
        self.server = TlsServer(address, port, answer)
        if state.disk.read(_CERTIFICATE) is None:
            pair = make_self_signed(state.settings.hostname)
            state.disk.write(_CERTIFICATE, pair.chain_pem.encode(), 0o644)
            state.disk.write(_KEY, write_key(pair.key).encode(), 0o600)
            for trusted in ("/config/big3d/client.crt", "/config/gtm/server.crt"):
                state.disk.write(trusted, pair.chain_pem.encode(), 0o644)

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self.server.serve(self._read(), ssl.TLSVersion.TLSv1_2)
        self.server.start()

    def stop(self) -> None:
        """End it for good."""
        self.server.stop()

    def restart(self, down_s: float | None = None) -> None:
        """Read the files again; stay away when they are no pair, or a fault says so."""
        state = self._state
        pair = self._read()
        if state.faults.take("httpd_stays_down"):
            pair = None
        if pair is None:
            self.server.restart(None)
            return
        if not state.faults.take("serve_old_after_install"):
            self.server.serve(pair, ssl.TLSVersion.TLSv1_2)
        state.not_ready = state.settings.restarting_answers
        self.server.restart(state.settings.restart_s if down_s is None else down_s)

    def halt(self) -> None:
        """End httpd; it can be started again."""
        self.server.restart(None)

    def test(self) -> str:
        """What ``httpd -t`` says; empty when all is well."""
        if self._state.settings.unconfirmed.httpd_test and self._read() is None:
            return "SSLCertificateFile and SSLCertificateKeyFile: absent, unreadable or no pair"
        return ""

    def _read(self) -> Pair | None:
        found = self._state.configuration.get(HTTPD, HTTPD_PATH)
        chain = read_chain(self._state.disk.read(str(found["sslCertfile"])) or b"")
        key = read_key(self._state.disk.read(str(found["sslCertkeyfile"])) or b"")
        if not chain or key is None or not matches(key, chain[0]):
            return None
        if issuers := found.get("sslCertchainfile"):
            above = read_chain(self._state.disk.read(str(issuers)) or b"")
            if not above:
                return None
            chain = [chain[0], *[certificate for certificate in above if certificate != chain[0]]]
        elif not self._state.settings.unconfirmed.httpd_sends_bundle:
            chain = chain[:1]
        return Pair(write_chain(chain), key)
