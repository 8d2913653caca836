# SPDX-License-Identifier: Apache-2.0
"""What a device's words and codes mean for the caller."""

from __future__ import annotations

from ottr.errors import AuthenticationFailed, DeviceBusy, DeviceRejected, DriverError, KeyLost

ROLE_HINT = "the account needs the XML API rights Configuration, Operational Requests, Commit, Import and Export"
LOGIN_HINT = "check ansible_user and ansible_password, and that the account may use the XML API"

_OWN_WORDS = "these are the device's own words; nothing is bound that it refused, and the next run tries again"
_NOTHING_TO_COMMIT = ("there are no changes to commit", "the result of this commit would be the same")
_BUSY = (
    "another commit",
    "commit is in progress",
    "install is in progress",
    "is locked by",
    "currently locked",
    "lock is already held",
    "holding device wide commit locks",
    "commits are pending",
)
_HINTS = (
    ("certificate-name", "the device does not take the name of the certificate"),
    ("is not a valid reference", "the certificate or the profile is not where the route says; see location"),
    ("pushed", "it comes from Panorama: the route needs the options panorama and template"),
    ("override", "it comes from Panorama: the route needs the options panorama and template"),
)


class NoSuchObject(DeviceRejected):
    """The device does not have what was asked for."""


def build_error(name: str, code: str, words: str) -> DriverError:
    """Choose the error for a refusal. ``code`` is the XML code, empty when there was none."""
    text = words.lower()
    message = f"{name}: {words}" if words else f"{name} refused without a word (code {code or 'none'})"
    if any(sign in text for sign in _BUSY):
        return DeviceBusy(message, hint="try again when the other administrator is done")
    if code == "16" or "unauthori" in text:
        return AuthenticationFailed(message, hint=ROLE_HINT)
    if "private key doesn't exist" in text:
        return KeyLost(message)
    if code == "7" or "no such node" in text:
        return NoSuchObject(message)
    return DeviceRejected(message, hint=next((hint for sign, hint in _HINTS if sign in text), _OWN_WORDS))


def is_nothing_to_commit(words: str) -> bool:
    """Tell whether a commit was refused because there is nothing to do."""
    return words.lower().startswith(_NOTHING_TO_COMMIT)
