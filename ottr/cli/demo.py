# SPDX-License-Identifier: Apache-2.0
"""``ottr demo``: one whole rotation of a lab, with a look from outside before and after."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ottr.cli import screen
from ottr.cli.lab import Hosts, Real, open_lab
from ottr.cli.options import Fleet, Form, Misuse, Pace, Shared
from ottr.cli.plan import format_plan
from ottr.cli.screen import BOLD, paint
from ottr.cli.session import open_app, warm_up
from ottr.cli.table import format_table
from ottr.model import Outcome
from ottr.report import ExitStatus, describe_time

if TYPE_CHECKING:
    from ottr.app import App
    from ottr.cli.rollout import Run
    from ottr.lab.parts import OpenLab, ServingDevice
    from ottr.x509 import Certificate

_HEAD = ("DEVICE", "PLATFORM", "SEEN", "SERIAL", "NOT AFTER", "SHA-256", "ISSUER")
_SHORT = 16
_HAND_OVER_S = 3.0


def demo(shared: Shared, hosts: Hosts = 3, real: Real = False) -> int:
    """Start a lab, rotate it, and show what each device serves before and after."""
    if shared.config is not None or shared.output is Form.JSON:
        raise Misuse("the demo brings its own ottr.yaml and is for people: it takes no --config and no JSON")
    servers = "BIND and Pebble" if real else "a DNS and a private CA"
    screen.say(f"Starting {hosts} Linux hosts, simulated appliances, {servers} ...")
    screen.flush()
    with open_lab(hosts, None, real=real) as lab:
        own = Shared(lab.settings, shared.output, shared.verbose, shared.log_file, shared.log_format)
        with open_app(own, Fleet()) as app:
            warm_up(app)
            before = _look(lab)
            status, rotated = _rotate(app, own)
            after = _look_again(lab, before, rotated)
            complete = _show(lab, rotated, before, after)
            if not real and complete:
                complete = _supersede(app, own, lab, after)
    return ExitStatus.FAILED if status is ExitStatus.OK and not complete else status


def _show(
    lab: OpenLab, rotated: Sequence[str], before: Mapping[str, Certificate], after: Mapping[str, Certificate]
) -> bool:
    """Tell whether every device was rotated, and serves another certificate."""
    _title("What each device served before and serves now, as a TLS client sees it")
    screen.say_all(_compare(lab.devices, before, after))
    changed = sum(before[name].sha256 != after[name].sha256 for name in before)
    screen.say(f"\n{len(rotated)} of {len(before)} devices rotated, {changed} serve another certificate than before.")
    return len(rotated) == changed == len(before)


def _supersede(app: App, shared: Shared, lab: OpenLab, before: Mapping[str, Certificate]) -> bool:
    """Rotate once more where certificates are to be revoked when they are replaced, and see that they are."""
    from ottr.cli.superseded import PATTERN, rotate_again, show_standings

    _title(f"ottr rotate '{PATTERN}' --force")
    status, rotated = rotate_again(app, shared)
    after = _look_again(lab, before, rotated)
    _title("What the CA says of the former certificates and of those served now")
    return show_standings(lab, rotated, before, after) and status is ExitStatus.OK


def _rotate(app: App, shared: Shared) -> tuple[ExitStatus, Sequence[str]]:
    """The same as the commands `ottr plan` and `ottr rotate`."""
    from ottr.cli.rollout import Run
    from ottr.service import Selection

    _title("ottr plan")
    candidates = app.service.plan(Selection())
    screen.say_all(format_plan(candidates, whole=False))
    _title("ottr rotate")
    run: Run = Run(app, shared, Pace(), lambda: sum(one.due for one in candidates))
    status = run.follow(lambda rollout, stop, watch: app.service.rotate(Selection(), rollout, stop, watch=watch))
    return status, [one.device for one in run.results if one.outcome is Outcome.ROTATED]


def _look(lab: OpenLab) -> Mapping[str, Certificate]:
    """A handshake with every device that has nothing to do with Ottr's own."""
    from ottr.x509 import parse_certificate

    return {device.name: parse_certificate(device.fetch_served_pem()) for device in lab.devices}


def _look_again(lab: OpenLab, before: Mapping[str, Certificate], rotated: Sequence[str]) -> Mapping[str, Certificate]:
    """For some 100 ms after a reload nginx's former workers still take connections: look until they are gone."""
    deadline = time.monotonic() + _HAND_OVER_S
    after = _look(lab)
    while any(after[name].sha256 == before[name].sha256 for name in rotated) and time.monotonic() < deadline:
        after = _look(lab)
    return after


def _title(text: str) -> None:
    screen.say()
    screen.say(paint(f"== {text}", BOLD))
    screen.flush()


def _compare(
    devices: Sequence[ServingDevice], before: Mapping[str, Certificate], after: Mapping[str, Certificate]
) -> Iterator[str]:
    rows: list[Sequence[str]] = []
    for device in devices:
        kind = f"{device.platform} {device.os_version}"
        rows += [
            _row(device.name, kind, "before", before[device.name]),
            _row(device.name, kind, "after", after[device.name]),
        ]
    yield from format_table(_HEAD, rows)


def _row(name: str, kind: str, when: str, leaf: Certificate) -> tuple[str, ...]:
    return name, kind, when, leaf.serial, describe_time(leaf.not_after) or "", leaf.sha256[:_SHORT], leaf.issuer
