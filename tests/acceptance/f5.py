# SPDX-License-Identifier: Apache-2.0
"""BIG-IPs for the acceptance tests: the certificate of a virtual server's profile, or of the management interface."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ottr.drivers.f5.simulator import F5Simulator, Settings, Virtual
from tests.acceptance.appliances import API_PORT, ZONE, Appliance, Left

VIRTUAL_PORT = 9443
QUICK = Settings(
    username="ottr", restart_s=0.05, reboot_s=0.2, sync_s=0.02, virtuals=(Virtual("web", port=VIRTUAL_PORT),)
)
_COMMON: Mapping[str, Any] = {
    "poll_interval": 0.05,
    "restart_timeout": 5,
    "sync_timeout": 3,
    "request_timeout": 20,
}
OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "client_ssl": {**_COMMON, "client_ssl": "site"},
        "management": {**_COMMON, "management": True, "ssh_port": 0},
    }
)
PORTS: Mapping[str, int] = MappingProxyType({"client_ssl": VIRTUAL_PORT, "management": API_PORT})
_CONF = "/config/httpd/conf"
_OURS = ("sys/file/ssl-cert", "sys/file/ssl-key")


def describe(address: str, settings: Settings, place: str) -> Appliance:
    return Appliance(f"{settings.hostname}.{ZONE}", "f5", address, PORTS[place], settings.os_version)


def look(simulator: F5Simulator) -> Left:
    """What is on a BIG-IP, once nothing runs on it any more."""
    assert simulator.wait_until_idle()
    state = simulator.state
    with state.lock:
        running, saved = (
            {path for name in _OURS for path in tree.get(name, {}) if "/ottr-" in path}
            for tree in (state.configuration.running, state.configuration.saved)
        )
        beside = [name for folder in ("ssl.crt", "ssl.key") for name in state.disk.names(f"{_CONF}/{folder}")]
    names = {*simulator.certificate_names, *beside}
    return Left(
        frozenset(name.partition(".")[0] for name in names if name.startswith("ottr-")),
        len(running ^ saved),
        simulator.sessions,
        len(simulator.exported_keys),
    )
