# SPDX-License-Identifier: Apache-2.0
"""Virtual servers: TLS listeners that show what the running configuration's profiles have, chosen by SNI."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

from ottr.drivers.f5.simulator.answers import name_of
from ottr.drivers.f5.simulator.configuration import CERTIFICATE, CLIENT_SSL, KEY, VIRTUAL, Object
from ottr.drivers.f5.simulator.material import read_chain, read_key, write_chain
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.store import alternative_names
from ottr.simulation.pair import Pair, build_context
from ottr.simulation.requests import Request, Response
from ottr.simulation.server import TlsServer

_PAGE = Response(200, b"<html><title>It works</title></html>", "text/html; charset=UTF-8")
Shown = tuple[tuple[str, tuple[Pair, ...]], ...]
"""Server name (empty: any other) and pairs of each profile; the default one is first."""


class Traffic:
    """The listeners of all virtual servers, on ``address``."""

    def __init__(self, state: State, address: str) -> None:
        self._state, self._address = state, address
        self._servers: dict[str, TlsServer] = {}
        self._shown: dict[str, Shown] = {}
        self._running = False

    def start(self) -> None:
        """Listen, and write the ports into the configuration. Raises OSError."""
        self._running = True
        for path, virtual in self._state.configuration.of(VIRTUAL).items():
            if not virtual["destination"]:
                server = self._start(path, self._address, virtual["_port"])
                self._set_destination(path, f"/Common/{self._address}:{server.port}")
        self.refresh()

    def stop(self) -> None:
        """End every listener."""
        self._running = False
        for server in self._servers.values():
            server.stop()
        self._servers.clear()
        self._shown.clear()

    def refresh(self) -> None:
        """Show what is configured now; listen only where this unit is the active one."""
        if not self._running:
            return
        wanted = self._wanted()
        for path in [path for path in self._servers if path not in wanted]:
            self._servers.pop(path).stop()
            self._shown.pop(path, None)
        for path, virtual in wanted.items():
            shown = self._configured(virtual)
            if path in self._servers and self._shown.get(path) == shown:
                continue
            if path in self._shown and self._state.faults.take("serve_old_after_install"):
                self._shown[path] = shown
                continue
            if path not in self._servers:
                address, _, port = name_of(virtual["destination"]).rpartition(":")
                self._start(path, address, int(port))
            self._show(path, shown)

    def show_all(self) -> None:
        """Show what is configured, also where a fault kept the former."""
        for path, virtual in self._wanted().items():
            self._show(path, self._configured(virtual))

    def restart(self, down_s: float) -> None:
        """End every connection and come back."""
        for server in self._servers.values():
            server.restart(down_s)

    def server(self, path: str) -> TlsServer | None:
        """The listener of a virtual server; None when it has none."""
        return self._servers.get(path)

    def fingerprint(self, path: str) -> str:
        """SHA-256 of the certificate that clients without a name see; empty when they see none."""
        return self._servers[path].fingerprint if path in self._servers else ""

    def _wanted(self) -> Mapping[str, Object]:
        if not self._state.active:
            return {}
        return {
            path: virtual
            for path, virtual in self._state.configuration.of(VIRTUAL).items()
            if "clientside" in virtual["_profiles"].values() and virtual["destination"] and virtual.get("enabled")
        }

    def _start(self, path: str, address: str, port: int) -> TlsServer:
        self._servers[path] = TlsServer(address, port, _answer)
        self._servers[path].start()
        return self._servers[path]

    def _set_destination(self, path: str, destination: str) -> None:
        configuration = self._state.configuration
        for tree in (configuration.running, configuration.saved):
            if path in tree.get(VIRTUAL, {}):
                tree[VIRTUAL][path]["destination"] = destination

    def _configured(self, virtual: Object) -> Shown:
        profiles = self._state.configuration.of(CLIENT_SSL)
        used = [profiles[name] for name, context in virtual["_profiles"].items() if context == "clientside"]
        used.sort(key=lambda profile: profile["sniDefault"] != "true")
        return tuple((self._server_name(profile), tuple(self._pairs(profile))) for profile in used)

    def _server_name(self, profile: Object) -> str:
        if profile["serverName"] != "none" or not self._state.settings.unconfirmed.sni_from_certificate:
            return "" if profile["serverName"] == "none" else str(profile["serverName"])
        leaf = next(iter(self._pairs(profile))).leaf
        return ",".join(piece.removeprefix("DNS:") for piece in alternative_names(leaf).split(", "))

    def _pairs(self, profile: Object) -> Iterable[Pair]:
        certificates = self._state.configuration.of(CERTIFICATE)
        for entry in profile["certKeyChain"]:
            chain = read_chain(certificates[entry["cert"]]["_pem"])
            if not self._state.settings.unconfirmed.bundle_sends_all:
                chain = chain[:1]
            if entry.get("chain", "none") != "none":
                chain += [above for above in read_chain(certificates[entry["chain"]]["_pem"]) if above not in chain]
            key = read_key(self._state.configuration.of(KEY)[entry["key"]]["_pem"])
            if key is not None:
                yield Pair(write_chain(chain), key)

    def _show(self, path: str, shown: Shown) -> None:
        self._shown[path] = shown
        contexts = [(names.split(","), _context(pairs)) for names, pairs in shown]
        default = contexts[0][1]

        def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
            for names, context in contexts:
                if context and name and any(pattern and fnmatch(name.lower(), pattern) for pattern in names):
                    connection.context = context
                    return

        if default is not None:
            default.sni_callback = choose
        self._servers[path].show(shown[0][1][0] if shown[0][1] else None, default)


def _context(pairs: tuple[Pair, ...]) -> ssl.SSLContext | None:
    if not pairs:
        return None
    try:
        return build_context(pairs[0], ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED, *pairs[1:])
    except (ssl.SSLError, ValueError):
        return None


def _answer(_request: Request) -> Response:
    return _PAGE
