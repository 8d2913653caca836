# SPDX-License-Identifier: Apache-2.0
"""Every error of Ottr, grouped by what the caller can do about it.

::

    OttrError
    ├─ ConfigurationError            the operator's files are wrong; nothing was touched
    │  ├─ SettingsError  ├─ InventoryError  ├─ RoutingError  └─ CredentialsError
    ├─ RotationError                 this device, this time; becomes a RotationResult
    │  ├─ DriverError
    │  │  ├─ DeviceUnreachable       retryable
    │  │  ├─ AuthenticationFailed
    │  │  ├─ HostKeyRefused
    │  │  ├─ DeviceBusy              retryable
    │  │  ├─ NotActive               the other one of an HA pair has it now; skipped
    │  │  ├─ DeviceRejected          the device said no, in its own words
    │  │  ├─ UnsupportedDevice
    │  │  └─ KeyLost                 the device no longer has the key of this rotation
    │  ├─ IssuanceError
    │  │  ├─ AcmeProblem             type, detail, subproblems (RFC 8555 section 6.7)
    │  │  ├─ RateLimited             not before .retry_at
    │  │  ├─ IssuerUnavailable       retryable
    │  │  ├─ ChallengeFailed
    │  │  ├─ WrongCertificate        the CSR or the issued leaf is not what was asked for
    │  │  └─ DnsError                retryable
    │  │     └─ DnsRefused           not retryable: refused, or no solver has the zone
    │  ├─ VerificationError          an endpoint serves something else
    │  ├─ HookFailed
    │  ├─ DeviceLeased               another orchestrator works on the device
    │  │  └─ LeaseLost               it took the device over from this one
    │  └─ RollbackFailed             needs a human
    ├─ JournalError                  state cannot be trusted; the whole run stops
    ├─ AuthorityError                the private CA could not do what was asked
    │  ├─ RequestRefused             the CSR, its key or its profile is not what the CA signs
    │  │  └─ NameRefused             a name is not one the requester may have
    │  ├─ UnknownCertificate         no such certificate or issuer
    │  ├─ StatusConflict             revoked already, or not on hold
    │  ├─ KeyUnavailable             a key of the CA cannot be opened: passphrase, mode, token
    │  └─ StoreError                 the CA's database cannot be trusted
    └─ LabError                      a part of the lab did not start; its log says why

Messages say what happened, hints what to do next; neither ever holds a secret. Drivers raise only
``DriverError`` and always ``from`` the library's error. Only ``retry`` decides to try again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from ottr.model import ErrorReport


class OttrError(Exception):
    """Something went wrong."""

    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.hint = hint or self.default_hint

    @property
    def report(self) -> ErrorReport:
        """The error as a value for results and the journal, without a device's control characters.

        Its kind is a class of this module: what a driver derives from one is its own affair.
        """
        kind = next(one.__name__ for one in type(self).__mro__ if one.__module__ == __name__)
        return ErrorReport(kind, _printable(str(self)), _printable(self.hint))


class ConfigurationError(OttrError):
    """The operator's files are wrong; nothing was touched."""


class SettingsError(ConfigurationError):
    """ottr.yaml is wrong."""


class InventoryError(ConfigurationError):
    """The inventory cannot be read."""


class RoutingError(ConfigurationError):
    """routing.yaml is wrong."""


class CredentialsError(ConfigurationError):
    """A credential cannot be looked up."""


class RotationError(OttrError):
    """The rotation of a device failed."""


class DriverError(RotationError):
    """The device could not be worked on."""


class DeviceUnreachable(DriverError):
    """The device does not answer."""

    retryable = True
    default_hint = "check the address, the port and the way to it; the next run goes on where this one stopped"


class AuthenticationFailed(DriverError):
    """The device refused the login."""

    default_hint = "check the login: ansible_user, ansible_ssh_private_key_file, ansible_password"


class HostKeyRefused(DriverError):
    """The device showed another host key than the known one."""


class DeviceBusy(DriverError):
    """The device is busy with somebody else's change."""

    retryable = True


class DeviceRejected(DriverError):
    """The device refused the request."""


class UnsupportedDevice(DriverError):
    """The driver cannot work with this device."""


class NotActive(DriverError):
    """The device is the standby of an HA pair; the active one is rotated."""

    default_hint = "give both the same `ha_group` in the inventory: whichever is active is rotated"


class KeyLost(DriverError):
    """The device no longer has the private key of this rotation."""

    default_hint = "nothing to do: the rotation is abandoned and the next run begins a new one"


class IssuanceError(RotationError):
    """The CA did not issue the certificate."""


class AcmeProblem(IssuanceError):
    """The CA answered with a problem document (RFC 8555 section 6.7)."""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        type: str = "",
        status: int = 0,
        subproblems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.type = type
        self.status = status
        self.subproblems = subproblems


class RateLimited(IssuanceError):
    """The CA asks to come back later."""

    default_hint = "nothing to do: no run asks this CA for this again before the time it named"

    def __init__(self, message: str = "", *, hint: str = "", retry_at: datetime | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_at = retry_at


class IssuerUnavailable(IssuanceError):
    """The CA does not answer, or answers that it cannot serve now."""

    retryable = True
    default_hint = "check the directory URL and the way to the CA; the next run goes on with the same key and CSR"


class ChallengeFailed(IssuanceError):
    """The CA could not validate a name."""


class WrongCertificate(IssuanceError):
    """A CSR or an issued certificate is not what was asked for."""


class DnsError(IssuanceError):
    """A challenge record could not be published."""

    retryable = True


class DnsRefused(DnsError):
    """A name server or the settings refuse a challenge record; asking again does not help."""

    retryable = False


class VerificationError(RotationError):
    """An endpoint does not serve the issued certificate."""


class HookFailed(RotationError):
    """A hook command failed."""


class DeviceLeased(RotationError):
    """Another orchestrator works on the device."""

    default_hint = "wait for it to end, or `ottr release HOST` when it is known to be dead"


class LeaseLost(DeviceLeased):
    """Another orchestrator has taken the device over: whatever is left to be done is its business."""


class RollbackFailed(RotationError):
    """The device could not be brought back to its former certificate; a human is needed."""


class JournalError(OttrError):
    """The state database cannot be trusted; the run stops."""


class AuthorityError(OttrError):
    """The private CA could not do what was asked."""


class RequestRefused(AuthorityError):
    """The CA does not sign this request."""


class NameRefused(RequestRefused):
    """A name is not one the requester may have."""


class UnknownCertificate(AuthorityError):
    """The CA has no such certificate."""


class StatusConflict(AuthorityError):
    """The status of the certificate does not allow it: revoked already, or not on hold."""


class KeyUnavailable(AuthorityError):
    """A key of the CA cannot be opened."""


class StoreError(AuthorityError):
    """The database of the CA cannot be trusted."""


class LabError(OttrError):
    """A part of the lab did not start."""


def _printable(text: str) -> str:
    """Terminals obey control characters, PostgreSQL refuses NUL, and no database takes a lone surrogate."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def is_retryable(kind: str) -> bool:
    """Whether a failure of a kind (``ErrorReport.kind``) may be gone at the next try without anybody's doing."""
    return any(one.__name__ == kind and one.retryable for one in _descend(OttrError))


def _descend(root: type[OttrError]) -> Iterator[type[OttrError]]:
    for one in root.__subclasses__():
        yield one
        yield from _descend(one)
