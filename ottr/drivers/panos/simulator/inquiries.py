# SPDX-License-Identifier: Apache-2.0
"""Operational commands that only look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from ottr.drivers.panos.simulator.accounts import Session
from ottr.drivers.panos.simulator.answers import (
    Element,
    Refusal,
    result,
    success,
    write_xml,
)
from ottr.drivers.panos.simulator.configuration import write_journal
from ottr.drivers.panos.simulator.locks import Locks
from ottr.drivers.panos.simulator.state import State
from ottr.simulation.requests import Response


@dataclass(frozen=True, slots=True)
class Call:
    """One operational command: who gives it, and where in the command its arguments stand."""

    state: State
    session: Session
    form: Mapping[str, str]
    node: Element

    @property
    def user(self) -> str:
        """Whose key it is."""
        return self.session.username


Operation = Callable[[Call], Response]


def show_system_info(call: Call) -> Response:
    """``show system info``: name, model, serial number and version."""
    settings = call.state.settings
    fields = {
        "hostname": settings.hostname,
        "ip-address": "192.0.2.1",
        "time": f"{datetime.now(UTC):%a %b %d %H:%M:%S %Y}",
        "family": settings.model.removeprefix("PA-"),
        "model": "Panorama" if settings.panorama else settings.model,
        "serial": settings.serial,
        "sw-version": settings.os_version,
        "app-version": "8800-8500",
        "multi-vsys": "on" if len(settings.vsys) > 1 else "off",
        "operational-mode": "normal",
        "system-mode": "panorama" if settings.panorama else "normal",
    }
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return success(f"<result><system>{inside}</system></result>")


def show_clock(_call: Call) -> Response:
    """``show clock``."""
    return success(f"<result>{datetime.now(UTC):%a %b %d %H:%M:%S UTC %Y}</result>")


def show_job(call: Call) -> Response:
    """``show jobs id``. Raises Refusal for a job nobody knows."""
    return success(f"<result>{call.state.jobs.write(call.state.jobs.get((call.node.text or '').strip()))}</result>")


def show_jobs(call: Call) -> Response:
    """``show jobs all``, the newest first."""
    jobs = call.state.jobs
    return success(f"<result>{''.join(jobs.write(job) for job in jobs.all())}</result>")


def show_pending(call: Call) -> Response:
    """``check pending-changes``: yes or no, whoever made them."""
    return result("yes" if call.state.configuration.of(None) else "no")


def list_changes(call: Call) -> Response:
    """``show config list changes``."""
    return _journal(call, None)


def list_changes_of(call: Call) -> Response:
    """The same for some administrators. Raises Refusal where it does not exist."""
    if not call.state.settings.unconfirmed.partial_changes_list:
        raise Refusal(17, "show -> config -> list -> changes -> partial unexpected here")
    return _journal(call, parse_members(call.node))


def _journal(call: Call, admins: list[str] | None) -> Response:
    changes = call.state.configuration.of(admins)
    return success(f"<result><journal>{write_journal(changes, escape)}</journal></result>" if changes else "<result/>")


def parse_members(node: Element) -> list[str]:
    """The administrators below ``partial``, however deep the command's one way goes."""
    return [member.text or "" for member in node.iter("member")]


def show_running(call: Call) -> Response:
    """``show config running``."""
    return success(f"<result>{write_xml(call.state.configuration.running)}</result>")


def show_candidate(call: Call) -> Response:
    """``show config candidate``."""
    return success(f"<result>{write_xml(call.state.configuration.candidate)}</result>")


def build_lock_list(name: str, locks: Callable[[State], Locks]) -> Operation:
    """The command that shows the locks of one kind."""
    return lambda call: success(f"<result><{name}>{locks(call.state).write()}</{name}></result>")


def show_high_availability(call: Call) -> Response:
    """``show high-availability state``."""
    mode = call.state.settings.high_availability
    if not mode:
        return success("<result><enabled>no</enabled></result>")
    return success(
        "<result><enabled>yes</enabled><group><mode>Active-Passive</mode>"
        f"<local-info><state>{mode}</state></local-info>"
        "<running-sync>synchronized</running-sync><running-sync-enabled>yes</running-sync-enabled></group></result>"
    )


def show_devices(call: Call) -> Response:
    """``show devices all`` of a Panorama. Raises Refusal on a firewall."""
    if not call.state.settings.panorama:
        raise Refusal(17, "show -> devices unexpected here")
    entries = "".join(
        f"<entry name='{serial}'><serial>{serial}</serial><connected>yes</connected>"
        f"<hostname>{escape(state.settings.hostname)}</hostname><sw-version>{state.settings.os_version}</sw-version></entry>"
        for serial, state in call.state.managed.items()
    )
    return success(f"<result><devices>{entries}</devices></result>")


def commit_locks_of(state: State) -> Locks:
    """A device's commit locks."""
    return state.commit_locks


def config_locks_of(state: State) -> Locks:
    """A device's configuration locks."""
    return state.config_locks
