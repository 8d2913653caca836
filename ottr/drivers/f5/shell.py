# SPDX-License-Identifier: Apache-2.0
"""Commands for the device's bash: over iControl REST, or over SSH where that is away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from ottr.drivers.f5.rest import Rest
from ottr.errors import DeviceRejected, UnsupportedDevice

_STATUS = re.compile(r"^ottr-rc=(\d+)$\n?", re.MULTILINE)
_KEY = "PRIVATE KEY-----"


class ShellRefused(UnsupportedDevice):
    """The device lets nobody into its shell."""

    default_hint = "util/bash is switched off (Appliance mode), or the account is no Administrator"


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended, and what it wrote."""

    status: int
    output: str


class Shell(Protocol):
    """Runs a line of bash on one device."""

    @property
    def name(self) -> str:
        """Of the device, for messages."""

    def run(self, line: str) -> Completed:
        """Run it to its end. Raises DriverError, ShellRefused where there is no shell."""


class RestShell:
    """``util/bash``. It tells no exit status, so the line writes it down itself."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    @property
    def name(self) -> str:
        """See Shell."""
        return self._rest.name

    def run(self, line: str) -> Completed:
        """See Shell."""
        body = {"command": "run", "utilCmdArgs": f"-c '{finish_line(line)}'"}
        try:
            answer = self._rest.post("tm/util/bash", body)
        except DeviceRejected as error:
            raise ShellRefused(f"{self.name} runs no commands: {error}") from error
        return read_output(self.name, str(answer.get("commandResult") or ""))


def finish_line(line: str) -> str:
    """A line that ends by writing its status. Raises DeviceRejected for what could not be quoted."""
    if any(sign in line for sign in "'\n\\"):
        raise DeviceRejected(f"{line!r} cannot be sent to a shell", hint="nothing was sent to the device")
    return f"{line} echo ottr-rc=$?" if line.endswith("&") else f"{line}; echo ottr-rc=$?"


def read_output(name: str, text: str) -> Completed:
    """Take the status out. Raises DeviceRejected when there is none, or when a private key comes along.

    It may have errors behind it: nobody says where the device puts what a command writes there.
    """
    if _KEY in text:
        raise DeviceRejected(f"{name} sent a private key: nothing of it is used or kept")
    text = text.replace("\r", "")
    found = _STATUS.findall(text)
    if not found:
        raise DeviceRejected(f"{name} did not say how a command ended", hint="look at /var/log/ltm on the device")
    return Completed(int(found[-1]), _STATUS.sub("", text))


def print_certificate(path: str) -> str:
    """The command that prints the first certificate of a file; else openssl 3 would read all the device's roots."""
    return f"SSL_CERT_FILE=/dev/null openssl x509 -in {path}"


def run_checked(shell: Shell, line: str, doing: str) -> str:
    """Run a line that must end well, and return its output. Raises DriverError."""
    done = shell.run(line)
    if done.status:
        words = " ".join("".join(c if c.isprintable() else " " for c in done.output).split())[-400:]
        raise DeviceRejected(
            f"{shell.name} could not {doing}: {words or f'status {done.status}'}",
            hint="the device's own words say why; is its disk full?",
        )
    return done.output
