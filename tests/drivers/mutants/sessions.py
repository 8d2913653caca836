# SPDX-License-Identifier: Apache-2.0
"""Sessions with a kettle that do one thing wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ottr.errors import DeviceBusy, DeviceRejected, DriverError


class Broken:
    """A session around another one; what is not changed here goes there."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


class AsksForBackup(Broken):
    def create_csr(self, request):
        csr = self.session.create_csr(request)
        self.session._send("GET", f"/keys/{request.label}/backup")
        return csr


class ForgetsNames(Broken):
    def create_csr(self, request):
        return self.session.create_csr(replace(request, dns_names=request.dns_names[:1]))


class MakesNewKeys(Broken):
    def create_csr(self, request):
        self.session.cleanup(frozenset({request.label}))
        return self.session.create_csr(request)


class BindsAgain(Broken):
    def install(self, request, issued):
        self.session.install(request, issued)
        self.session._send("PUT", "/bound", {"name": request.label})


def remembering():
    """Sessions with a memory that does not outlive the process, or is not put right when the session ends early."""
    begun = set()

    class Remembers(Broken):
        def install(self, request, issued):
            if request.label in begun:
                raise DeviceRejected("this is under way already", hint="wait")
            begun.add(request.label)
            self.session.install(request, issued)
            begun.remove(request.label)

    return Remembers


class UnbindsFirst(Broken):
    """For a moment the factory's certificate is served, and whoever dies then leaves it so."""

    def install(self, request, issued):
        if self.session.inspect().bound != request.label:
            self.session._send("PUT", f"/keys/{request.label}/certificate", {"pem": issued.fullchain_pem})
            self.session._send("PUT", "/bound", {"name": "factory"})
        self.session.install(request, issued)


class StaysWhereItIs(Broken):
    def rollback(self, request, before):
        pass


class GoesBackAnyway(Broken):
    def rollback(self, request, before):
        self.session._send("PUT", "/bound", {"name": before.bound})


class Sweeps(Broken):
    def cleanup(self, labels):
        self.session.cleanup(labels and self.session.labels())


class NeverSweeps(Broken):
    def cleanup(self, labels):
        self.session.inspect()


class TakesBusyForNo(Broken):
    def install(self, request, issued):
        try:
            self.session.install(request, issued)
        except DeviceBusy as error:
            raise DeviceRejected(str(error), hint=error.hint) from error


class GivesNoHints(Broken):
    def install(self, request, issued):
        try:
            self.session.install(request, issued)
        except DriverError as error:
            error.hint = ""
            raise


class LetsErrorsThrough(Broken):
    def install(self, request, issued):
        try:
            self.session.install(request, issued)
        except DeviceRejected as error:
            raise OSError(str(error)) from error


class Touches(Broken):
    def inspect(self):
        facts = self.session.inspect()
        self.session._send("PUT", "/bound", {"name": facts.bound})
        return facts
