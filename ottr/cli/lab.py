# SPDX-License-Identifier: Apache-2.0
"""``ottr lab``: a small fleet with its DNS and CA, held open."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ottr.cli import screen
from ottr.cli.options import Form, Shared
from ottr.cli.table import format_table
from ottr.errors import LabError
from ottr.report import SCHEMA_VERSION, ExitStatus

if TYPE_CHECKING:
    from ottr.lab import Lab

PACKAGES = {
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "nginx": "nginx",
    "named": "bind9",
    "pebble": "pebble",
}
"""Program and the Debian package that has it."""

Hosts = Annotated[int, typer.Option("--hosts", min=1, max=1000, help="How many Linux hosts.")]


def lab(
    shared: Shared,
    hosts: Hosts = 3,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where it lives; else a new temporary folder, removed at the end.")
    ] = None,
) -> int:
    """Hold a lab open: hosts with sshd and nginx, simulated appliances, BIND and Pebble, on loopback addresses."""
    with ended_by_signals() as ended, open_lab(hosts, folder) as opened:
        if shared.output is Form.JSON:
            screen.say_json(_describe(opened))
        else:
            screen.say_all(_format(opened))
        screen.flush()
        ended.wait()
    return ExitStatus.OK


@contextmanager
def open_lab(hosts: int, folder: Path | None) -> Iterator[Lab]:
    """Start a lab in a folder, or in one of its own that goes away with it. Raises LabError."""
    require_programs()
    from ottr.lab import Lab
    from ottr.lab.appliance import MIXED

    if folder is not None:
        if folder.exists() and any(folder.iterdir()):
            raise LabError(f"{folder} is not empty", hint="name a folder that is new or empty")
        with Lab(folder, hosts, simulated=MIXED) as opened:
            yield opened
        return
    with (
        tempfile.TemporaryDirectory(prefix="ottr-lab-") as temporary,
        Lab(Path(temporary), hosts, simulated=MIXED) as opened,
    ):
        yield opened


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and SIGHUP set, instead of ending the process."""
    event = threading.Event()
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in former:
        signal.signal(number, lambda _number, _frame: event.set())
    try:
        yield event
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def require_programs() -> None:
    """Raises LabError that names the packages of every program that is missing."""
    from ottr.lab.process import find_program

    missing = []
    for program, package in PACKAGES.items():
        try:
            find_program(program)
        except LabError:
            missing.append((program, package))
    if missing:
        programs, packages = zip(*missing, strict=True)
        raise LabError(
            f"the lab needs programs that are not installed: {', '.join(programs)}",
            hint=f"on Debian: apt-get install --no-install-recommends {' '.join(packages)}",
        )


def _describe(lab: Lab) -> dict[str, object]:
    return {
        "version": SCHEMA_VERSION,
        "folder": str(lab.folder),
        "config": str(lab.settings),
        "inventory": str(lab.inventory),
        "routing": str(lab.routing),
        "directory": lab.pebble.directory,
        "dns_server": lab.bind.server,
        "hosts": [
            {
                "name": device.name,
                "platform": device.platform,
                "os_version": device.os_version,
                "address": device.address,
                "port": device.port,
            }
            for device in lab.devices
        ],
    }


def _format(lab: Lab) -> Iterator[str]:
    yield f"{len(lab.devices)} devices, BIND at {lab.bind.server}, Pebble at {lab.pebble.directory}"
    rows = [
        (f"  {device.name}", f"{device.platform} {device.os_version}", f"https://{device.address}:{device.port}")
        for device in lab.devices
    ]
    yield from format_table(("  DEVICE", "PLATFORM", "SERVES AT"), rows)
    yield ""
    yield "In another terminal:"
    yield f"  export OTTR_CONFIG={lab.settings}"
    yield "  ottr plan"
    yield "  ottr rotate"
    yield "or with files of your own:"
    yield f"  ottr init --lab {lab.folder} my-lab && cd my-lab && ottr plan"
    yield ""
    yield "Ctrl-C ends the lab."
