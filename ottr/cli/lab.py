# SPDX-License-Identifier: Apache-2.0
"""``ottr lab``: a small fleet with its DNS and CA, held open."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ottr.cli import screen
from ottr.cli.options import Form, Shared
from ottr.cli.table import format_table
from ottr.errors import LabError
from ottr.report import SCHEMA_VERSION, ExitStatus

if TYPE_CHECKING:
    from ottr.lab.parts import OpenLab

_BARE = {"openssl": "openssl"}
_REAL = {
    **_BARE,
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "nginx": "nginx",
    "named": "bind9",
    "pebble": "pebble",
}
"""Program and the Debian package that has it."""

Hosts = Annotated[int, typer.Option("--hosts", min=1, max=1000, help="How many Linux hosts.")]
Real = Annotated[
    bool, typer.Option("--real", help="With sshd, nginx, BIND and Pebble, which must be installed, instead of our own.")
]


def lab(
    shared: Shared,
    hosts: Hosts = 3,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where it lives; else a new temporary folder, removed at the end.")
    ] = None,
    real: Real = False,
) -> int:
    """Hold a lab open: Linux hosts, simulated appliances, a DNS and a CA, on loopback addresses."""
    with ended_by_signals() as ended, open_lab(hosts, folder, real=real) as opened:
        if shared.output is Form.JSON:
            screen.say_json(_describe(opened))
        else:
            screen.say_all(_format(opened))
        screen.flush()
        ended.wait()
    return ExitStatus.OK


@contextmanager
def open_lab(hosts: int, folder: Path | None, *, real: bool) -> Iterator[OpenLab]:
    """Start a lab in a folder, or in one of its own that goes away with it. Raises LabError."""
    require_programs(_REAL if real else _BARE)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ottr-lab-")))
        elif folder.exists() and any(folder.iterdir()):
            raise LabError(f"{folder} is not empty", hint="name a folder that is new or empty")
        yield stack.enter_context(_build(hosts, folder, real=real))


def _build(hosts: int, folder: Path, *, real: bool) -> AbstractContextManager[OpenLab]:
    if real:
        from ottr.lab import Lab
        from ottr.lab.appliance import MIXED

        return Lab(folder, hosts, simulated=MIXED)
    from ottr.lab.appliance import BARE
    from ottr.lab.embedded.lab import EmbeddedLab

    return EmbeddedLab(folder, hosts, simulated=BARE)


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


def require_programs(packages: Mapping[str, str]) -> None:
    """Raises LabError that names the packages of every program that is missing."""
    from ottr.lab.process import find_program

    missing = []
    for program, package in packages.items():
        try:
            find_program(program)
        except LabError:
            missing.append((program, package))
    if missing:
        programs, names = zip(*missing, strict=True)
        raise LabError(
            f"the lab needs programs that are not installed: {', '.join(programs)}",
            hint=f"on Debian: apt-get install --no-install-recommends {' '.join(names)}",
        )


def _describe(lab: OpenLab) -> dict[str, object]:
    return {
        "version": SCHEMA_VERSION,
        "folder": str(lab.folder),
        "config": str(lab.settings),
        "inventory": str(lab.inventory),
        "routing": str(lab.routing),
        "directory": lab.ca.directory,
        "dns_server": lab.dns.server,
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


def _format(lab: OpenLab) -> Iterator[str]:
    yield f"{len(lab.devices)} devices, {lab.described}"
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
