# SPDX-License-Identifier: Apache-2.0
"""``python -m ottr.drivers.f5.simulator``: simulated BIG-IPs until a signal ends them.

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

from ottr.drivers.f5.simulator import F5Simulator, Profile, Settings, Unconfirmed, Virtual
from ottr.simulation.faults import parse_fault


def main(arguments: list[str] | None = None) -> int:
    """Start one BIG-IP for each ``--host``, say where each is as one line of JSON, and wait."""
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


def _start(stack: ExitStack, options: argparse.Namespace) -> list[F5Simulator]:
    hosts = options.host or ["127.0.0.1"]
    settings = _settings(options)
    devices: list[F5Simulator] = []
    for number, host in enumerate(hosts, 1):
        peer = devices[0] if devices and settings.device_group else None
        chosen = _numbered(settings, number, len(hosts))
        devices.append(
            stack.enter_context(F5Simulator(host, options.port, ssh_port=options.ssh_port, settings=chosen, peer=peer))
        )
    for device in devices:
        for fault in options.fault:
            name, value, times, skip = parse_fault(fault)
            device.faults.arm(name, value, times=times, skip=skip)
    return devices


def _settings(options: argparse.Namespace) -> Settings:
    chosen = dict(_parse_setting(text, Unconfirmed()) for text in options.unconfirmed)
    virtuals = tuple(map(_parse_virtual, options.virtual or ["web"]))
    names = dict.fromkeys(name for virtual in virtuals for name in virtual.profiles)
    several = {virtual.profiles[0] for virtual in virtuals if len(virtual.profiles) > 1}
    return Settings(
        os_version=options.os_version,
        hostname=options.hostname,
        username=options.username,
        password=options.password,
        profiles=tuple(Profile(name, sni_default=name in several) for name in names),
        virtuals=virtuals,
        device_group=options.device_group,
        bash=not options.no_bash,
        restart_s=options.restart_s,
        unconfirmed=Unconfirmed(**chosen),
    )


def _parse_virtual(text: str) -> Virtual:
    """``NAME[:PORT][=PROFILE,PROFILE]``. Raises ValueError."""
    name, _, profiles = text.partition("=")
    name, _, port = name.partition(":")
    return Virtual(name, tuple(profiles.split(",")) if profiles else ("site",), int(port or 0))


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
    first, dot, rest = settings.hostname.partition(".")
    return replace(settings, hostname=f"{first}-{number}{dot}{rest}")


def _describe(device: F5Simulator) -> dict[str, Any]:
    return {
        "hostname": device.settings.hostname,
        "address": device.address,
        "port": device.port,
        "ports": dict(device.ports),
        "ssh_port": device.ssh_port,
        "ssh_host_key": device.ssh_host_key,
        "os_version": device.settings.os_version,
        "username": device.username,
        "fingerprint": device.served_fingerprint(),
    }


def _count_requests(device: F5Simulator) -> dict[str, Any]:
    return {"hostname": device.settings.hostname, "requests": Counter(device.requests.operations())}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ottr.drivers.f5.simulator", description=__doc__)
    parser.add_argument("--host", action="append", help="address to listen on; several make several BIG-IPs")
    parser.add_argument("--port", type=int, default=0, help="of REST; 0: a free one for each")
    parser.add_argument("--ssh-port", type=int, default=0, help="of SSH; 0: a free one for each")
    parser.add_argument("--os-version", default="16.1.2")
    parser.add_argument("--hostname", default="bigip1.example.com")
    parser.add_argument("--username", default="admin")
    parser.add_argument("--password", default="simulated", help="of the simulated device; anybody here can read it")
    parser.add_argument(
        "--virtual",
        action="append",
        metavar="NAME[:PORT][=PROFILE,...]",
        help="a virtual server and its client-ssl profiles, the first of several being SNI's default",
    )
    parser.add_argument("--device-group", default="", help="the hosts are units of one group; the first is active")
    parser.add_argument("--no-bash", action="store_true", help="as in Appliance mode")
    parser.add_argument("--restart-s", type=float, default=1.0, help="how long httpd is away when it restarts")
    parser.add_argument(
        "--unconfirmed", action="append", default=[], metavar="NAME=VALUE", help="an unconfirmed point's other way"
    )
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE][*TIMES][+SKIP]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
