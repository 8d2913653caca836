# SPDX-License-Identifier: Apache-2.0
"""``python -m ottr.drivers.panos.simulator``: simulated firewalls until a signal ends them.

A line of JSON for each device at the beginning says where it is, and one at the end how often it was asked for what.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ottr.drivers.panos.simulator import PanosSimulator, Settings, Unconfirmed
from ottr.simulation.faults import parse_fault


def main(arguments: list[str] | None = None) -> int:
    """Start one firewall for each ``--host``, say where each is as one line of JSON, and wait."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        try:
            devices = _start(stack, options)
        except (OSError, ValueError) as error:
            print(f"simulator: {error}", file=sys.stderr)
            return 1
        for device in devices:
            print(json.dumps(_describe(device)), flush=True)
        stop.wait()
        for device in devices:
            print(json.dumps(_count_requests(device)), flush=True)
    return 0


def _start(stack: ExitStack, options: argparse.Namespace) -> list[PanosSimulator]:
    hosts = options.host or ["127.0.0.1"]
    settings = _settings(options)
    firewalls = [
        stack.enter_context(PanosSimulator(host, options.port, settings=_numbered(settings, number, len(hosts))))
        for number, host in enumerate(hosts, 1)
    ]
    devices = list(firewalls)
    if options.panorama:
        panorama = replace(settings, panorama=True, hostname="panorama", serial="000702123456", portals=(), gateways=())
        devices.append(
            stack.enter_context(PanosSimulator(options.panorama, options.port, settings=panorama, managed=firewalls))
        )
    for device in devices:
        for fault in options.fault:
            name, value, times, skip = parse_fault(fault)
            device.faults.arm(name, value, times=times, skip=skip)
    return devices


def _settings(options: argparse.Namespace) -> Settings:
    chosen = dict(_parse_setting(text, Unconfirmed()) for text in options.unconfirmed)
    return Settings(
        os_version=options.os_version,
        hostname=options.hostname,
        username=options.username,
        password=options.password,
        vsys=tuple(options.vsys or ["vsys1"]),
        portals=tuple(options.portal),
        gateways=tuple(options.gateway),
        commit_s=options.commit_s,
        restart_s=options.restart_s,
        key_in_url=options.key_in_url,
        key_lifetime_minutes=options.key_lifetime_minutes,
        unconfirmed=Unconfirmed(**chosen),
    )


def _parse_setting(text: str, defaults: Unconfirmed) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if name not in Unconfirmed.__dataclass_fields__:
        raise ValueError(
            f"there is no unconfirmed point {name!r}; there are: {', '.join(Unconfirmed.__dataclass_fields__)}"
        )
    default = getattr(defaults, name)
    if isinstance(default, bool):
        return name, value in ("yes", "true", "1")
    return name, type(default)(value)


def _numbered(settings: Settings, number: int, count: int) -> Settings:
    if count == 1:
        return settings
    return replace(settings, hostname=f"{settings.hostname}-{number}", serial=f"0070510000{number:05}")


def _describe(device: PanosSimulator) -> dict[str, Any]:
    settings = device.settings
    return {
        "hostname": settings.hostname,
        "address": device.address,
        "port": device.port,
        "ports": dict(device.ports),
        "os_version": settings.os_version,
        "serial": settings.serial,
        "username": device.username,
        "fingerprint": device.served_fingerprint(),
    }


def _count_requests(device: PanosSimulator) -> dict[str, Any]:
    return {"hostname": device.settings.hostname, "requests": Counter(device.requests.operations())}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ottr.drivers.panos.simulator", description=__doc__)
    parser.add_argument("--host", action="append", help="address to listen on; several make several firewalls")
    parser.add_argument("--port", type=int, default=0, help="0: a free one for each")
    parser.add_argument("--os-version", default="10.2.4")
    parser.add_argument("--hostname", default="fw1")
    parser.add_argument("--username", default="ottr")
    parser.add_argument("--password", default="simulated", help="of the simulated device; anybody here can read it")
    parser.add_argument("--vsys", action="append", help="name of a virtual system; several make a multi-vsys firewall")
    parser.add_argument("--portal", action="append", default=[], help="GlobalProtect portal with a port of its own")
    parser.add_argument("--gateway", action="append", default=[], help="GlobalProtect gateway with a port of its own")
    parser.add_argument("--panorama", metavar="ADDRESS", help="also a Panorama there, which manages the firewalls")
    parser.add_argument("--commit-s", type=float, default=1.0, help="how long a commit job is active")
    parser.add_argument(
        "--restart-s", type=float, default=1.0, help="how long the web server is away after a new certificate"
    )
    parser.add_argument("--key-lifetime-minutes", type=int, default=0)
    parser.add_argument(
        "--key-in-url", action="store_true", help="take API keys and passwords in the URL, as devices do"
    )
    parser.add_argument(
        "--unconfirmed", action="append", default=[], metavar="NAME=VALUE", help="an unconfirmed point's other way"
    )
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE][*TIMES][+SKIP]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
