# SPDX-License-Identifier: Apache-2.0
"""The lab as the benchmark needs it: put back to a known state before a run, and looked at from outside after it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from ottr.lab import Lab
from ottr.lab.appliance import Appliance
from ottr.lab.host import Host
from ottr.lab.pebble import Pebble

ZONE = "lab.test"
_THREADS = 8
_TIMEOUT_S = 30.0
_SETTLE_S = 2.0


def open_lab(folder: Path, count: int, *, sleeps: bool) -> Lab:
    """Build a lab; with ``sleeps`` its Pebble sleeps, rejects nonces and reuses authorizations, as by default.

    The gate before Pebble costs every peer the same millisecond a host; without it Pebble stands still for good.
    """
    fast: Callable[[Path, str, str], Pebble] = partial(Pebble, gated=True)
    slow: Callable[[Path, str, str], Pebble] = partial(
        Pebble, gated=True, nosleep=False, nonce_reject=5, authz_reuse=50
    )
    return Lab(folder, count, build_pebble=slow if sleeps else fast)


@dataclass(frozen=True, slots=True)
class Served:
    """What one host serves: the DER of its leaf, and why that is not good (empty: it is)."""

    name: str
    leaf_der: bytes
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """A process: its parent, and the user and system time of itself and of the children it has waited for."""

    parent: int
    over: bool
    """A zombie."""
    cpu_s: float


class Attic:
    """Where files of former runs go. Nothing is deleted while there are runs to come: ext4 does not take the inodes of
    files deleted in the last minute, and looks at each of them for every file that somebody makes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._numbers = count()

    def take(self, path: Path) -> None:
        """Move a file or folder here, if there is one."""
        with suppress(FileNotFoundError):
            path.rename(self._folder / str(next(self._numbers)))


class Fleet:
    """The hosts of a running lab."""

    def __init__(self, lab: Lab, *, sleeps: bool) -> None:
        self.lab = lab
        self.sleeps = sleeps
        self._inventory = lab.folder / "inventory.first"
        shutil.copytree(lab.inventory, self._inventory)
        self._attic = Attic(lab.folder / "former")
        self._seen: set[bytes] = set()
        self._ended_cpu_s = 0.0

    @property
    def hosts(self) -> Sequence[Host]:
        """All of them."""
        return self.lab.hosts

    def reset(self) -> None:
        """Every host serves a self-signed certificate again and has nothing of any peer; the inventory is as at first.

        Ottr's state folder goes, and with it the account and what it knows of certificates: every host is due. The CA
        starts anew, without accounts: some clients make Pebble 2.4 hang for good now and then (its issue 554), and the
        next run must not pay for that.
        """
        self.lab.pebble.restart()
        self.lab.write_trust()
        self._attic.take(self.lab.inventory)
        shutil.copytree(self._inventory, self.lab.inventory)
        self._attic.take(self.lab.folder / "state")
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(partial(_reset_host, self._attic), self.hosts))

    def read_cpu_s(self) -> float:
        """User and system time so far of the hosts (sshd, what logins ran, nginx), Pebble and BIND.

        That is everything below this process, which must be where orphans go (``meter.adopt_orphans``): a login shell
        whose connection is cut outlives its sshd. Nothing else may run below it meanwhile.
        """
        found = _read_processes()
        members = {os.getpid()}
        for pid in sorted(found):  # a child has a larger number than its parent
            if found[pid].parent in members:
                members.add(pid)
                if found[pid].parent == os.getpid() and found[pid].over:
                    os.waitpid(pid, 0)
                    self._ended_cpu_s += found[pid].cpu_s
                    members.remove(pid)
        return self._ended_cpu_s + sum(found[pid].cpu_s for pid in members - {os.getpid()})

    def find_failures(self) -> list[str]:
        """Why the last run has not done its work, a line for each host that serves no new certificate of Pebble's."""
        found = look(self.hosts, self.lab.trust)
        problems = [f"{one.name}: {one.problem}" for one in found if one.problem]
        problems += [
            f"{one.name}: serves a certificate of an earlier run" for one in found if one.leaf_der in self._seen
        ]
        self._seen.update(one.leaf_der for one in found if one.leaf_der)
        return problems


def look(devices: Sequence[Host | Appliance], trust: Path) -> list[Served]:
    """What each device serves, as a client sees it that trusts these roots."""
    context = ssl.create_default_context(cafile=str(trust))
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(partial(_look, context), devices))


def _reset_host(attic: Attic, host: Host) -> None:
    nginx = host.nginx
    attic.take(nginx.fullchain.parent)
    nginx.prepare()
    wanted = ssl.PEM_cert_to_DER_cert(nginx.fullchain.read_text())
    os.kill(nginx.process.pid, signal.SIGHUP)
    deadline = time.monotonic() + _TIMEOUT_S
    while _fetch(host, _trust_anything()) != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{host.name} does not serve its first certificate again")
        time.sleep(0.01)


def _look(context: ssl.SSLContext, host: Host | Appliance) -> Served:
    """For a moment after a reload a worker of the former configuration may still answer: looks again until then."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        try:
            return Served(host.name, _fetch(host, context))
        except OSError as error:
            if time.monotonic() > deadline:
                return Served(host.name, b"", str(error))
        time.sleep(0.05)


def _fetch(host: Host | Appliance, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection((host.address, host.port), timeout=10) as stream,
        context.wrap_socket(stream, server_hostname=host.name) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def _read_processes() -> dict[int, Usage]:
    found: dict[int, Usage] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = Usage(int(fields[1]), fields[0] == "Z", sum(map(int, fields[11:15])) / ticks)
    return found


def _trust_anything() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
