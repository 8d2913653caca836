# SPDX-License-Identifier: Apache-2.0
"""``--check``: a real look at everything a rotation would meet. No key, no order, no change to the device."""

from __future__ import annotations

import logging
from dataclasses import replace

from ottr import x509
from ottr.acme import Issuer
from ottr.drivers import Driver, Preflight
from ottr.errors import DeviceUnreachable, NotActive, OttrError
from ottr.model import Device, ErrorReport, Facts, Outcome, RotationResult, Route
from ottr.orchestrator.pipeline import list_notices
from ottr.orchestrator.rotation import report
from ottr.orchestrator.target import HA_STANDBY, Surroundings, Target

log = logging.getLogger(__name__)

_HINT = "put this right; `ottr rotate --check` looks again"


def check(target: Target, around: Surroundings) -> RotationResult:
    """Look at one device, its DNS names and its CA. The outcome is ``planned`` when a rotation can begin."""
    device, route = target.device, target.route
    blank = RotationResult(
        device.name, Outcome.FAILED, step="preflight", driver=route.driver, issuer=route.issuer, started=around.clock()
    )
    try:
        with around.connect(target) as driver:
            facts, problems, notices = driver.inspect(), _problems(driver), list_notices(driver)
        problems += _dns_problems(device, around) + _ca_problems(target, around)
    except Exception as error:  # whatever it is: a device's trouble stays with the device
        if not isinstance(error, OttrError):
            log.exception("%s: unexpected", device.name)
        if isinstance(error, NotActive):
            return replace(blank, outcome=Outcome.SKIPPED, reason=HA_STANDBY, error=report(error))
        outcome = Outcome.UNREACHABLE if isinstance(error, DeviceUnreachable) else Outcome.FAILED
        return replace(blank, outcome=outcome, error=report(error), finished=around.clock())
    result = replace(blank, diff=difference(device, route, facts), warnings=notices, finished=around.clock())
    if problems:
        return replace(result, error=ErrorReport("NotReady", "; ".join(problems), _HINT))
    return replace(result, outcome=Outcome.PLANNED)


def difference(device: Device, route: Route, facts: Facts) -> tuple[tuple[str, str, str], ...]:
    """What a rotation would change about the certificate on the device."""
    before = x509.find_certificate(facts.leaf_pem)
    rows = (
        ("names", " ".join(before.dns_names) if before else "", " ".join(device.dns_names)),
        ("issuer", before.issuer if before else "", route.issuer),
        ("key type", (before.key_type or "another") if before else "", route.key_type.value),
        ("not_after", f"{before.not_after:%Y-%m-%dT%H:%M:%SZ}" if before else "", "as the CA decides"),
    )
    return tuple(row for row in rows if row[1] != row[2])


def _problems(driver: Driver) -> list[str]:
    return list(driver.check()) if isinstance(driver, Preflight) else []


def _dns_problems(device: Device, around: Surroundings) -> list[str]:
    problems = []
    for name in device.dns_names:
        try:
            around.publisher.probe(name)
        except OttrError as error:
            problems.append(str(error))
    return problems


def _ca_problems(target: Target, around: Surroundings) -> list[str]:
    """Whether the CA answers (its directory is fetched, once for all devices), clocks agree, and CAA records let it
    issue."""
    try:
        authority = around.authorities[target.route.issuer].issuer
        identities = authority.caa_identities()
    except OttrError as error:
        return [str(error)]
    return _clock_problems(authority) + _caa_problems(target, around, identities)


def _clock_problems(issuer: Issuer) -> list[str]:
    try:
        issuer.check_clock()
    except OttrError as error:
        return [str(error)]
    return []


def _caa_problems(target: Target, around: Surroundings, identities: tuple[str, ...]) -> list[str]:
    issuer, names = target.route.issuer, target.device.dns_names if identities else ()
    try:
        refused = [(name, around.publisher.refusing_caa(name, identities)) for name in names]
    except OttrError as error:
        return [str(error)]
    return [f"the CAA records of {at} do not let {issuer} issue for {name}" for name, at in refused if at]
