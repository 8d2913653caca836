# SPDX-License-Identifier: Apache-2.0
"""``verify``: what every endpoint serves now, against what was issued, installed and bound."""

from __future__ import annotations

from dataclasses import replace

from ottr import x509
from ottr.model import Endpoint, ServedStatus, VerifyResult
from ottr.orchestrator.target import Surroundings, Target
from ottr.policy import Known, changed
from ottr.probe import Served
from ottr.state.certificates import CertificateFacts, Observation

SECOND_LOOK_S = 0.5


def verify(target: Target, around: Surroundings, *, remember: bool = True) -> list[VerifyResult]:
    """Look at every endpoint of a device and, unless told not to, write down what was seen, in the state and in the
    inventory.

    A database that knows nothing of the device learns what a good endpoint serves: so a lost one is made anew.
    """
    device, began = target.device.name, around.clock()
    current = around.stores.certificates.current(device).get(device)
    seen = [(endpoint, _look(target, around, endpoint, current)) for endpoint in target.route.endpoints]
    results = [_judge(target, around, endpoint, served, current) for endpoint, served in seen]
    if not remember:
        return results
    observed = [Observation(device, one.endpoint, began, one.sha256, one.problem) for one in results]
    around.stores.certificates.observe(observed)
    warning = _remember(target, around, seen, results)
    return [replace(results[0], warnings=(warning,)), *results[1:]] if warning else results


def _look(target: Target, around: Surroundings, endpoint: Endpoint, current: CertificateFacts | None) -> Served:
    """Just after a reload a worker that is about to go may take one more connection: what surprises is seen twice."""
    probe = around.authorities[target.route.issuer].probe
    served = probe.observe(endpoint)
    if current is not None and served.certificate is not None and served.certificate.sha256 != current.sha256:
        around.wait(SECOND_LOOK_S)
        return probe.observe(endpoint)
    return served


def _judge(
    target: Target, around: Surroundings, endpoint: Endpoint, served: Served, current: CertificateFacts | None
) -> VerifyResult:
    device, leaf = target.device.name, served.certificate
    if leaf is None:
        return VerifyResult(device, str(endpoint), ServedStatus.UNREACHABLE, served.problem)
    newest = _newest(around, device) or current
    problem = served.problem or _difference(target, around, leaf, current, newest)
    good = ServedStatus.UNKNOWN if current is None else ServedStatus.OK
    return VerifyResult(
        device,
        str(endpoint),
        ServedStatus.DRIFT if problem else good,
        problem,
        leaf.sha256,
        leaf.serial,
        leaf.not_after,
        *((newest.issued_at, newest.installed_at, newest.bound_at, newest.served_at) if newest else ()),
    )


def _difference(
    target: Target,
    around: Surroundings,
    leaf: x509.Certificate,
    current: CertificateFacts | None,
    newest: CertificateFacts | None,
) -> str:
    """What is not as the state has it, or, where that knows nothing, not as the route asks."""
    if newest is not None and newest.sha256 == leaf.sha256:
        is_open = newest != current
        return f"serial {leaf.serial} is served, its rotation is open; `ottr resume` ends it" if is_open else ""
    if current is not None and current.sha256 != leaf.sha256:
        return f"serves serial {leaf.serial}, issued was {current.serial}"
    if newest is not None:
        return f"serial {newest.serial} was issued and is not served; `ottr resume` installs it"
    difference = changed(target.device, target.route, Known.of(leaf), _issuer_names(target, around))
    return f"not as the route asks: {difference}" if difference else ""


def _issuer_names(target: Target, around: Surroundings) -> tuple[str, ...]:
    return around.authorities[target.route.issuer].issuer_names


def _newest(around: Surroundings, device: str) -> CertificateFacts | None:
    """The certificate of the open rotation, if it has one."""
    open_ids = {record.id for record in around.stores.journal.open_rotations(device)}
    mine = [facts for facts in around.stores.certificates.of_device(device) if facts.rotation_id in open_ids]
    return mine[-1] if mine else None


def _remember(
    target: Target, around: Surroundings, seen: list[tuple[Endpoint, Served]], results: list[VerifyResult]
) -> str:
    """Keep what every endpoint serves alike and no client would refuse; return the inventory's warning."""
    device = target.device
    leaves = {None if served.problem else served.certificate for _, served in seen}
    leaf = leaves.pop() if len(leaves) == 1 else None
    if leaf is None:
        return ""
    if any(one.status is ServedStatus.UNKNOWN for one in results):
        pem = x509.encode_pem(leaf.der)
        around.stores.certificates.adopt(device.name, target.route.issuer, pem, around.clock())
    return around.recorder.record(device, leaf)
