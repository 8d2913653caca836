# SPDX-License-Identifier: Apache-2.0
"""The device's shell: real bash in mount and process namespaces of its own, whose root is the device's disk.

Programs are this machine's, read-only; all else a script sees or writes is the device's. Processes that a script
leaves behind live until the device reboots, stops, or this process dies. Needs root, or user namespaces.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

from ottr.drivers.f5.simulator.stub import PROGRAM
from ottr.simulation.server import wait_until

_PROGRAMS = "/opt/simulated"
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_READ_ONLY = ("usr", "etc/ssl", "etc/alternatives", "etc/terminfo", "etc/ld.so.cache", "etc/localtime")
_STUBS = ("tmsh", "bigstart", "httpd", "apachectl")
_START = """\
set -eu
cd "$1"; shift
mount --bind . .
cd "$PWD"
mount -t proc proc proc
mount --rbind /dev dev
for place in "$@"; do
    mount -o bind,ro "/$place" "$place" 2>/dev/null || mount --rbind "/$place" "$place"
done
exec chroot . /bin/bash -c ': >/var/run/ready; while read -r _; do :; done'
"""
_FULL = "trap '' XFSZ; ulimit -f 0; "
"""Lets no file grow, which is what a full disk does."""


class SandboxError(Exception):
    """The namespaces cannot be made."""


class Sandbox:
    """Starts when it is first needed. ``root`` is the device's disk, ``environment`` what its shells have."""

    def __init__(self, root: Path, hostname: str) -> None:
        self.root = root
        self.environment: dict[str, str] = {
            "PATH": f"{_PROGRAMS}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/root",
            "LANG": "C",
            "HOSTNAME": hostname,
            "USER": "root",
        }
        self._holder: subprocess.Popen[bytes] | None = None
        self._inside = 0
        self._lock = threading.Lock()
        self._closed = False

    def command(self, *argv: str, terminal: str = "") -> list[str]:
        """The command line that runs a program inside. Raises SandboxError."""
        given = {**self.environment, **({"TERM": terminal} if terminal else {})}
        return [*self._enter(), "/usr/bin/env", "-i", *(f"{name}={value}" for name, value in given.items()), *argv]

    def run(self, script: str, *, disk_full: bool = False) -> tuple[str, str]:
        """Run a script; what it wrote to standard output and to standard error. Raises SandboxError."""
        done = subprocess.run(
            [*self._enter(), "/bin/bash", "-c", f"{_FULL if disk_full else ''}{script}"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return done.stdout, done.stderr

    def _enter(self) -> list[str]:
        """What a command line begins with that runs inside."""
        with self._lock:
            if self._holder is None:
                self._start()
        return ["nsenter", f"--target={self._inside}", *_user_options(), "--mount", "--pid", "--root", "--wd", "--"]

    def end_processes(self) -> None:
        """End everything that runs inside; the next command begins anew."""
        with self._lock:
            holder, self._holder = self._holder, None
            if holder is None:
                return
            if holder.stdin:
                holder.stdin.close()
            try:
                holder.wait(10)
            except subprocess.TimeoutExpired:
                holder.kill()
                holder.wait()

    def close(self) -> None:
        """End everything, for good."""
        self._closed = True
        self.end_processes()

    def _start(self) -> None:
        if self._closed:
            raise SandboxError("the device is off")
        places = self._prepare()
        ready = self.root / "var/run/ready"
        ready.unlink(missing_ok=True)
        namespaces = ["--mount", "--pid", "--fork", "--kill-child"]
        if os.geteuid() != 0:
            namespaces += ["--user", "--map-root-user"]
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, "/bin/bash", "-c", _START, "start", str(self.root), *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        holder = self._holder
        wait_until(lambda: ready.exists() or holder.poll() is not None, 20.0, 0.002)
        if not ready.exists():
            said = holder.stderr.read().decode(errors="replace") if holder.poll() is not None and holder.stderr else ""
            holder.kill()
            holder.wait()
            self._holder = None
            raise SandboxError(f"no namespaces for the device's shell: {said.strip()}; root or user namespaces needed")
        ready.unlink()
        if holder.stderr:
            holder.stderr.close()
        self._inside = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])

    def _prepare(self) -> list[str]:
        """Make the places to mount on, and the programs of the device; returns what is mounted read-only."""
        root = self.root
        for name in _SYSTEM:
            if (machine := Path("/", name)).is_symlink() and not (root / name).is_symlink():
                (root / name).symlink_to(machine.readlink())
        places = [*_READ_ONLY, *(name for name in _SYSTEM if not (root / name).is_symlink())]
        there = [place for place in places if Path("/", place).exists()]
        for place in [*there, "proc", "dev"]:
            _make_place(Path("/", place), root / place)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        (root / "etc/group").write_text("root:x:0:\n")
        programs = root / _PROGRAMS.lstrip("/")
        programs.mkdir(parents=True, exist_ok=True)
        for name in _STUBS:
            (programs / name).write_text(PROGRAM)
            (programs / name).chmod(0o755)
        return there


def _make_place(like: Path, place: Path) -> None:
    if like.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _user_options() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
