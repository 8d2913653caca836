# SPDX-License-Identifier: Apache-2.0
"""The demo's second half: rotate again, and ask the CA what has become of the certificates before."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from ottr.cli import screen
from ottr.cli.options import Pace, Shared
from ottr.cli.table import format_table
from ottr.model import Outcome
from ottr.report import ExitStatus

if TYPE_CHECKING:
    from ottr.app import App
    from ottr.lab.parts import OpenLab
    from ottr.x509 import Certificate

PATTERN = "linux:f5:fw1*"
"""Whose routes say ``revoke_superseded: true``, and a firewall whose route does not."""
_HEAD = ("DEVICE", "CERTIFICATE", "SERIAL", "ROUTE ASKS", "CRL", "OCSP")


def rotate_again(app: App, shared: Shared) -> tuple[ExitStatus, Sequence[str]]:
    """The same as the command `ottr rotate PATTERN --force`; return which devices were rotated."""
    from ottr.cli.rollout import Run
    from ottr.service import Selection

    run: Run = Run(app, shared, Pace(), lambda: 0, advise=False)
    again = Selection(PATTERN)
    status = run.follow(lambda rollout, stop, watch: app.service.rotate(again, rollout, stop, forced=True, watch=watch))
    return status, [one.device for one in run.results if one.outcome is Outcome.ROTATED]


def show_standings(
    lab: OpenLab, rotated: Container[str], before: Mapping[str, Certificate], after: Mapping[str, Certificate]
) -> bool:
    """Say what CRL and OCSP have of each former certificate and of those served now; tell whether that is right."""
    from ottr.lab.embedded.lab import REVOKING
    from ottr.lab.embedded.standing import ask_standings

    devices = [device for device in lab.devices if device.name in rotated]
    asking = [device.platform in REVOKING for device in devices]
    former, current = (
        ask_standings([seen[device.name].der for device in devices], lab.ca.ca_bundle) for seen in (before, after)
    )
    rows: list[Sequence[str]] = []
    for device, asked, was, now in zip(devices, asking, former, current, strict=True):
        wish = "revoke_superseded" if asked else "-"
        rows.append((device.name, "former", before[device.name].serial, wish, was.crl, was.ocsp))
        rows.append((device.name, "served now", after[device.name].serial, "", now.crl, now.ocsp))
    screen.say_all(format_table(_HEAD, rows))
    screen.say(
        f"\n{len(devices)} devices rotated again; the routes of {sum(asking)} ask for the former certificate to be "
        f"revoked, and {sum(one.revoked for one in former)} are."
    )
    right = [was.revoked if asked else was.good for asked, was in zip(asking, former, strict=True)]
    return all(right) and all(now.good for now in current)
