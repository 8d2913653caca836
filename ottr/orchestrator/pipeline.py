# SPDX-License-Identifier: Apache-2.0
"""The rotation of one device, from top to bottom."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeGuard

from ottr import x509
from ottr.acme import IssueRequest
from ottr.drivers import DeadMan, Driver, Noticing, Serving
from ottr.errors import (
    DeviceLeased,
    JournalError,
    OttrError,
    RollbackFailed,
    WrongCertificate,
)
from ottr.model import (
    CertificateRequest,
    Endpoint,
    Facts,
    IssuedCertificate,
    Outcome,
    Route,
    SigningRequest,
    Step,
)
from ottr.orchestrator.rotation import Rotation
from ottr.orchestrator.sessions import Sessions

log = logging.getLogger(__name__)


class Verifier(Protocol):
    """Looks from outside (``ottr.probe.Probe``)."""

    def verify(self, endpoints: Sequence[Endpoint], issued: IssuedCertificate, timeout_s: float) -> None:
        """Raise VerificationError unless every endpoint serves what was issued."""


def rotate(
    route: Route,
    rotation: Rotation,
    *,
    sessions: Sessions,
    issue: Callable[[IssueRequest, Rotation], IssuedCertificate],
    probe: Verifier,
    due: Callable[[str], bool],
    until: Step = Step.RECORD,
) -> Outcome:
    """Rotate; called again with the same rotation after a crash or a failure, it goes on.

    ``due`` is asked with the PEM of the leaf on the device, under the lease, before anything is changed. After the
    step ``until`` the rotation is held: it stays open, and what was installed goes back by itself in time.
    """
    request = rotation.request
    with sessions() as driver:
        before = rotation.before(lambda: _inspect(driver))
        if not due(before.leaf_pem):
            return Outcome.NOT_DUE
        csr = rotation.once(Step.CSR, SigningRequest, lambda: driver.create_csr(request))
    if until is Step.CSR:
        return Outcome.HELD
    issued = rotation.order(lambda: issue(_issue_request(csr, request, route, before), rotation))
    if not sessions.held:
        rotation.flush()  # the device may be long in answering, or gone
    _check_pair(csr, issued)
    if until is Step.ORDER:
        return Outcome.HELD
    with _restored(sessions, rotation, request, before), sessions() as driver:
        if until is Step.RECORD or not rotation.installed:
            rotation.armed = _arm(driver, request, before, route.dead_man_s)
            rotation.install(lambda: driver.install(request, issued))
            rotation.warnings = list_notices(driver)
        if until is Step.INSTALL:
            return Outcome.HELD
        rotation.verify(issued, route.endpoints, lambda: _verify(probe, driver, request, issued, route))
    return Outcome.ROTATED


@contextmanager
def _restored(sessions: Sessions, rotation: Rotation, request: CertificateRequest, before: Facts) -> Iterator[None]:
    """Whatever goes wrong inside, a plain bug too: bind what was bound before."""
    try:
        yield
    except DeviceLeased:
        raise  # another orchestrator goes on with this rotation; the device is its business now
    except BaseException as error:
        try:
            with sessions() as driver:
                rotation.roll_back(lambda: driver.rollback(request, before))
        except (DeviceLeased, JournalError):
            raise  # it is another one's; or done, but not written
        except Exception as failure:
            if not rotation.half_installed:
                raise error from failure  # nothing was bound, so that there is nothing to put right
            goes_back = rotation.armed or not rotation.touched
            if goes_back and isinstance(failure, OttrError) and failure.retryable:
                raise  # the dead-man timer and the next run put it right
            raise RollbackFailed(
                f"{error}; then the former certificate could not be bound again: {failure}",
                hint=_advise(rotation.record.device, error, failure),
            ) from failure
        raise


def _advise(device: str, *errors: BaseException) -> str:
    """What a human can do: every hint there is, once, and the commands for the time after."""
    hints = dict.fromkeys(error.hint for error in errors if isinstance(error, OttrError) and error.hint)
    commands = (
        f"`ottr verify {device}` shows what it serves",
        f"then `ottr resume` goes on, or `ottr rollback {device}` goes back",
    )
    return "; ".join((*hints, *commands))


def list_notices(driver: Driver) -> tuple[str, ...]:
    """What the driver has to say about the device, if it says anything. A mistake in that stops nothing."""
    try:
        return driver.notices() if _notices(driver) else ()
    except Exception:
        log.exception("what the driver wanted to say is lost")
        return ()


def _inspect(driver: Driver) -> Facts:
    """What is on the device; a certificate that cannot be read (old appliances) counts as none."""
    facts = driver.inspect()
    return facts if x509.find_certificate(facts.leaf_pem) else replace(facts, leaf_pem="")


def _issue_request(csr: SigningRequest, request: CertificateRequest, route: Route, before: Facts) -> IssueRequest:
    return IssueRequest(csr, request.dns_names, request.key_type, route.profile, before.leaf_pem)


def _check_pair(csr: SigningRequest, issued: IssuedCertificate) -> None:
    """Nothing touches the device unless the certificate is for its key."""
    if x509.parse_certificate(issued.leaf_pem).spki_der != x509.parse_request(csr.pem).spki_der:
        raise WrongCertificate(
            "the issued certificate is for another key than the request's",
            hint="`ottr abandon` the rotation; the next run makes a new key",
        )


def _arm(driver: Driver, request: CertificateRequest, before: Facts, seconds: int) -> bool:
    """Tell whether the device goes back by itself from now on."""
    if not seconds or not _goes_back(driver):
        return False
    driver.arm(request, before, seconds)
    return True


def _verify(
    probe: Verifier, driver: Driver, request: CertificateRequest, issued: IssuedCertificate, route: Route
) -> None:
    """Seen from outside, wherever the device serves it, and told to stay: only both together are a rotation."""
    probe.verify(_find_endpoints(driver, route), issued, route.verify_timeout_s)
    if route.dead_man_s and _goes_back(driver):
        driver.disarm(request)


def _find_endpoints(driver: Driver, route: Route) -> tuple[Endpoint, ...]:
    """The route's, and those the device itself knows of."""
    more = driver.endpoints() if _serves(driver) else ()
    return tuple(dict.fromkeys((*route.endpoints, *more)))


# As isinstance() would tell, which looks through a Protocol anew each time: these run for every device.
def _goes_back(driver: Driver) -> TypeGuard[DeadMan]:
    return hasattr(driver, "arm") and hasattr(driver, "disarm")


def _notices(driver: Driver) -> TypeGuard[Noticing]:
    return hasattr(driver, "notices")


def _serves(driver: Driver) -> TypeGuard[Serving]:
    return hasattr(driver, "endpoints")
