# SPDX-License-Identifier: Apache-2.0
"""Where certificates, service profiles and the web interface's setting stand in the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ottr.drivers.panos.options import Options
from ottr.errors import DeviceRejected

_DEVICE = "/devices/entry[@name='localhost.localdomain']"
_LABEL = re.compile(r"ottr-[a-z0-9-]{1,26}")


@dataclass(frozen=True, slots=True)
class Place:
    """XPaths of one route."""

    certificates: tuple[str, ...]
    """Where a certificate may stand, ours the first."""
    profiles: str
    system: str


def build_place(options: Options) -> Place:
    """Return the XPaths for a route's location.

    A profile of a virtual system refers to a shared certificate: keys are made in ``shared``.
    """
    root = f"/config{_DEVICE}/template/{entry(options.template)}/config" if options.template else "/config"
    shared = f"{root}/shared"
    system = f"{root}{_DEVICE}/deviceconfig/system"
    if options.location == "panorama":
        return Place(
            ("/config/panorama/certificate", "/config/shared/certificate"), _profiles("/config/panorama"), system
        )
    if options.location == "shared":
        return Place((f"{shared}/certificate",), _profiles(shared), system)
    vsys = f"{root}{_DEVICE}/vsys/{entry(options.location)}"
    return Place((f"{shared}/certificate", f"{vsys}/certificate"), _profiles(vsys), system)


def _profiles(root: str) -> str:
    return f"{root}/ssl-tls-service-profile"


def entry(name: str) -> str:
    """The step to an entry. Raises DeviceRejected for a name that would end its quotes."""
    if not name or set(name) & set("'\"<>&"):
        raise DeviceRejected(f"{name!r} cannot be used as a name", hint="give the object a plain name on the device")
    return f"entry[@name='{name}']"


def is_label(name: str) -> bool:
    """Tell whether a name has the form of ours."""
    return _LABEL.fullmatch(name) is not None


def check_label(label: str) -> str:
    """Return a label. Raises DeviceRejected for anything that is not of ours."""
    if not is_label(label):
        raise DeviceRejected(f"{label!r} is not a label of Ottr", hint="nothing was sent to the device")
    return label
