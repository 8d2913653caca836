# SPDX-License-Identifier: Apache-2.0
"""What a device's words and codes mean for the caller."""

from __future__ import annotations

import re

from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DeviceUnreachable, DriverError, KeyLost

LOGIN_HINT = "check ansible_user and ansible_password, and that the account may log in to the Configuration utility"
ROLE_HINT = "the account needs the role Administrator"
TOKEN_HINT = "tokens that nobody deletes run out after 20 minutes; give Ottr an account of its own"  # noqa: S105

_ABSENT = ("01020036:", "was not found")
_TAKEN = ("01020066:", "already exists")
_MISMATCH = ("01070317:", "do not match")
_IN_USE = re.compile(r"\bin use\b|\bis used by\b|\breferenced\b", re.IGNORECASE)
_BUSY = ("another transaction", "is busy", "too many", "try again", "in progress")
_LOW_SERVICE = frozenset({502, 503, 504})


class Away(DeviceUnreachable):
    """The web server answers that what is behind it does not answer."""

    default_hint = "wait until its Configuration utility is up; the next run goes on where this one stopped"


class NoSuchObject(DeviceRejected):
    """The device does not have what was asked for."""


class AlreadyThere(DeviceRejected):
    """The device has an object of this name."""


class InUse(DeviceRejected):
    """Something on the device uses the object."""


def build_error(name: str, status: int, words: str) -> DriverError:
    """Choose the error for a refusal: HTTP status and the message of the body, empty when there was none."""
    message = f"{name}: {words}" if words else f"{name} refused without a word (HTTP status {status})"
    if status in _LOW_SERVICE or (status == 404 and "restarting" in words.lower()):
        return Away(message)
    if "maximum active login tokens" in words:
        return DeviceBusy(message, hint=TOKEN_HINT)
    if status in (401, 403):
        return AuthenticationFailed(message, hint=ROLE_HINT)
    if any(sign in words for sign in _MISMATCH):
        return KeyLost(message)
    if _IN_USE.search(words):
        return InUse(message, hint="take it out of use on the device first")
    if status == 409 or any(sign in words for sign in _TAKEN):
        return AlreadyThere(message)
    if status == 404 or any(sign in words for sign in _ABSENT):
        return NoSuchObject(message)
    if any(sign in words.lower() for sign in _BUSY):
        return DeviceBusy(message, hint="try again when the other change is done")
    return DeviceRejected(message, hint="the device's own words say what it does not take")
