# SPDX-License-Identifier: Apache-2.0
"""The routes at work: from a device to its route, or to the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ottr.errors import OttrError, RoutingError
from ottr.files.document import Source, build_entry
from ottr.model import Device, Endpoint, Route
from ottr.routing.conditions import Attributes, list_attributes
from ottr.routing.endpoints import apply_driver, read_endpoints, resolve_endpoints
from ottr.routing.rules import EndpointRule, RouteRule
from ottr.routing.versions import parse_version
from ottr.settings import IssuerSettings


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a device cannot be rotated as things stand."""

    code: str
    """``no_route``, ``no_issuer``, ``unknown_issuer``, ``bad_options`` or ``bad_endpoints``."""
    message: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one route when a device was held against it."""

    line: int
    driver: str
    taken: bool
    why: str
    """The first condition that was not met; empty when the route was taken."""


class Router:
    """Finds the route of a device. Safe to use from several threads."""

    def __init__(
        self, rules: tuple[RouteRule, ...], issuers: Mapping[str, IssuerSettings], default_issuer: str = ""
    ) -> None:
        self.rules = rules
        self._issuers = issuers
        self._default_issuer = default_issuer
        self._used = frozenset(condition.key for rule in rules for condition in rule.conditions)
        # Fleets have few kinds of devices: what a kind takes is found out once.
        self._found: dict[Attributes, RouteRule | None] = {}

    def route(self, device: Device) -> Route | Reason:
        """Return the route of a device, or the reason why there is none."""
        rule = self._find(self._attributes(device))
        if rule is None:
            return Reason("no_route", self._explain_none(device))
        name = device.certificate_authority or rule.issuer or self._default_issuer
        issuer = self._issuers.get(name)
        if issuer is None:
            return self._explain_issuer(name)
        variables = device.variables
        own = "ottr_options" in variables or "ottr_endpoints" in variables or "ottr_endpoint" in variables
        if not own:
            return _build_route(rule, issuer, rule.options, resolve_endpoints(rule.filled, device))
        return _build_own_route(rule, device, issuer)

    def explain(self, device: Device) -> tuple[Trial, ...]:
        """Hold a device against every route in turn, for `ottr explain`."""
        attributes = self._attributes(device)
        trials: list[Trial] = []
        taken: RouteRule | None = None
        for rule in self.rules:
            if taken is not None:
                why = f"not asked: the route of line {taken.line} comes first"
            elif not (why := rule.refuse(attributes)):
                taken = rule
            trials.append(Trial(rule.line, rule.driver, taken is rule, why))
        return tuple(trials)

    def _attributes(self, device: Device) -> Attributes:
        return list_attributes(device, self._default_issuer, self._used)

    def _find(self, attributes: Attributes) -> RouteRule | None:
        try:
            return self._found[attributes]
        except KeyError:
            rule = next((rule for rule in self.rules if not rule.refuse(attributes)), None)
            self._found[attributes] = rule
            return rule

    def _explain_none(self, device: Device) -> str:
        message = f"no route matches {device.name}; `ottr explain {device.name}` says what each one misses"
        if "os_version" in self._used and parse_version(device.platform, device.os_version) is None:
            return f"{message}; os_version {device.os_version!r} is not understood as a version"
        return message

    def _explain_issuer(self, name: str) -> Reason:
        if not name:
            return Reason("no_issuer", "neither the device, nor its route, nor default_issuer of ottr.yaml names one")
        known = ", ".join(sorted(self._issuers)) or "none; `ottr init` writes a start"
        return Reason("unknown_issuer", f"there is no issuer {name!r}; issuers of ottr.yaml: {known}")


def _build_own_route(rule: RouteRule, device: Device, issuer: IssuerSettings) -> Route | Reason:
    """A route with options and endpoints that the inventory sets for one device."""
    source = Source(Path(device.name), RoutingError)
    try:
        own = build_entry(device.variables.get("ottr_options"), source, "ottr_options").items()
        options = {**rule.options, **{key: entry.plain() for key, entry in own.items()}}
        rule.module.check_options(options)
    except (OttrError, ValueError) as error:
        return Reason("bad_options", str(error))
    try:
        endpoints = apply_driver(_find_own_endpoints(rule, device, source), rule.module, options)
    except OttrError as error:
        return Reason("bad_endpoints", str(error))
    return _build_route(rule, issuer, options, resolve_endpoints(endpoints, device))


def _find_own_endpoints(rule: RouteRule, device: Device, source: Source) -> tuple[EndpointRule, ...]:
    for key in ("ottr_endpoints", "ottr_endpoint"):
        if key in device.variables:
            return read_endpoints(build_entry(device.variables[key], source, key))
    return rule.endpoints


def _build_route(
    rule: RouteRule,
    issuer: IssuerSettings,
    options: Mapping[str, Any],
    endpoints: tuple[Endpoint, ...],
) -> Route | Reason:
    if not endpoints:
        where = f"the route of line {rule.line}, or to the device with ottr_endpoint"
        return Reason("bad_endpoints", f"{rule.driver} cannot tell where this is served: give an endpoint to {where}")
    return Route(
        driver=rule.driver,
        issuer=issuer.name,
        key_type=rule.key_type or issuer.key_type,
        options=options,
        endpoints=endpoints,
        profile=rule.profile or issuer.profile,
        renew_before=rule.renew_before_s,
        renew_fraction=rule.renew_fraction,
        revoke_superseded=rule.revoke_superseded,
        dead_man_s=rule.dead_man_s,
        verify_timeout_s=rule.verify_timeout_s,
        before=rule.before,
        after=rule.after,
        windows=rule.windows,
        line=rule.line,
    )
