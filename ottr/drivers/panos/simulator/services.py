# SPDX-License-Identifier: Apache-2.0
"""The TLS services of a device: management, portals, gateways, each showing what the running configuration binds."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ottr.drivers.panos.simulator.answers import Element
from ottr.drivers.panos.simulator.places import PROFILE, SYSTEM
from ottr.drivers.panos.simulator.state import State, gateway_leaf, portal_leaf
from ottr.drivers.panos.simulator.tree import Path, Step
from ottr.simulation.pair import Pair, make_self_signed
from ottr.simulation.requests import Request, Response
from ottr.simulation.server import TlsServer

MANAGEMENT = "management"
_LOGIN_PAGE = Response(200, b"<html><title>GlobalProtect Portal</title></html>", "text/html; charset=UTF-8")
_VERSIONS: Mapping[str, ssl.TLSVersion] = MappingProxyType(
    # What is older than TLS 1.2 this machine's OpenSSL does not offer.
    {"tls1-3": ssl.TLSVersion.TLSv1_3, "max": ssl.TLSVersion.MAXIMUM_SUPPORTED}
)

Shown = tuple[Pair | None, ssl.TLSVersion, ssl.TLSVersion]


@dataclass(slots=True)
class _Service:
    leaf: Path
    server: TlsServer
    shown: Shown | None = None


class Services:
    """All TLS servers of a device, by name: ``management``, and portals and gateways by theirs."""

    def __init__(self, state: State, address: str, port: int, answer: Callable[[Request], Response]) -> None:
        self._state = state
        self._factory_pair = make_self_signed(state.settings.hostname)
        management = TlsServer(address, port, answer)
        self._services = {MANAGEMENT: _Service((*SYSTEM, Step(PROFILE)), management)}
        vsys = state.settings.vsys[0]
        for leaf, names in ((portal_leaf, state.settings.portals), (gateway_leaf, state.settings.gateways)):
            for name in names:
                self._services[name] = _Service(leaf((vsys, name)), TlsServer(address, 0, _show_login))

    def start(self) -> None:
        """Listen. Raises OSError."""
        for service in self._services.values():
            self._show(service, self._configured(service))
            service.server.start()

    def stop(self) -> None:
        """End every server."""
        for service in self._services.values():
            service.server.stop()

    def refresh(self) -> None:
        """Show what the running configuration binds; the web server restarts when that changed."""
        for service in self._services.values():
            configured = self._configured(service)
            if configured == service.shown:
                continue
            self._show(service, configured)
            if service.server is self._services[MANAGEMENT].server:
                down_s = self._state.settings.restart_s
                service.server.restart(None if self._state.faults.take("web_server_stays_down") else down_s)

    def reboot(self) -> None:
        """Everything ends and comes back with what is configured."""
        for service in self._services.values():
            self._show(service, self._configured(service))
            service.server.restart(self._state.settings.reboot_s)

    def server(self, name: str) -> TlsServer:
        """One server. Raises KeyError."""
        return self._services[name].server

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each service."""
        return {name: service.server.port for name, service in self._services.items()}

    def _configured(self, service: _Service) -> Shown:
        pair, profile = self._state.pair_for(service.leaf)
        if profile is None and service is self._services[MANAGEMENT]:
            pair = self._factory_pair
        return (pair, *_versions(profile))

    def _show(self, service: _Service, shown: Shown) -> None:
        service.shown = shown
        service.server.serve(*shown)


def _versions(profile: Element | None) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    minimum, maximum = "tls1-0", "max"
    if profile is not None:
        minimum = profile.findtext("protocol-settings/min-version", minimum)
        maximum = profile.findtext("protocol-settings/max-version", maximum)
    oldest = ssl.TLSVersion.TLSv1_2
    return _VERSIONS.get(minimum, oldest), _VERSIONS.get(maximum, oldest)


def _show_login(_request: Request) -> Response:
    return _LOGIN_PAGE
