# SPDX-License-Identifier: Apache-2.0
"""A route as routing.yaml has it, before it meets a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ottr.drivers import DriverModule
from ottr.model import EndpointProtocol, KeyType
from ottr.routing.conditions import Attributes, Condition


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """An endpoint with what the device fills in left open."""

    port: int | None = None
    """None: the protocol's, or the driver's."""
    protocol: EndpointProtocol | None = None
    address: str = ""
    """Empty: the device's."""
    server_name: str | None = None
    """None: the device's first name; empty: no SNI."""


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One entry of ``routes``, with ``defaults`` filled in."""

    line: int
    driver: str
    module: DriverModule
    conditions: tuple[Condition, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    issuer: str = ""
    key_type: KeyType | None = None
    profile: str = ""
    endpoints: tuple[EndpointRule, ...] = (EndpointRule(),)
    """As the operator has them; ports and protocols may be open."""
    filled: tuple[EndpointRule, ...] = ()
    """The same with ports and protocols, given the route's own options."""
    renew_before_s: float | None = None
    renew_fraction: float | None = None
    revoke_superseded: bool = False
    dead_man_s: int = 300
    verify_timeout_s: float = 30.0
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    windows: tuple[str, ...] = ()

    def refuse(self, attributes: Attributes) -> str:
        """Say which condition comes first that a device does not meet; empty when it meets all."""
        return next((why for condition in self.conditions if (why := condition.refuse(attributes))), "")
