# SPDX-License-Identifier: Apache-2.0
"""What kind of device is simulated, and every point no public source confirms, each with its alternatives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SUPERUSER = frozenset({"config", "op", "commit", "import", "export"})
"""The XML API rights of a superuser."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Behaviour that no public source settles. A driver must work with every value."""

    bad_request_status: Literal[200, 400] = 200
    """HTTP status of answers with XML code 400."""
    version_quotes: Literal["spaced", "double"] = "double"
    """How ``type=version`` quotes its attributes."""
    generate_answer: Literal["result", "msg"] = "result"
    """Where the text of a successful generate stands."""
    regenerate: Literal["overwrite", "refuse"] = "overwrite"
    """Generating under a name that exists."""
    generate_honours_location: bool = False
    """Whether generate follows ``vsys`` and ``target-tpl`` in the request; the session's target always counts."""
    export_honours_location: bool = True
    """The same for the export of a certificate."""
    generate_takes_block_private_key: bool = True
    """From 10.0 on, whether ``block-private-key`` may be given to generate."""
    generate_takes_wildcards: bool = True
    """Whether ``*.`` may stand in ``hostname``."""
    absent_export_code: Literal[7, 13] = 7
    """XML code for the export of a certificate that is not there."""
    csr_file_name: str = "cert_{name}.csr"
    """Name of the exported file."""
    csr_kept: bool = True
    """Whether the entry keeps its ``csr`` when the certificate is imported."""
    public_key_holds_chain: bool = False
    """Whether ``public-key`` of the entry holds the issuers too, or the leaf only."""
    mismatch_refused: bool = True
    """Whether the import refuses a certificate whose key, of the same kind, is not the one under its name."""
    keyless_import: bool = False
    """From 10.1 on: whether a certificate may be imported under a name that has no key; before, it may."""
    child_predicates: bool = True
    """Whether an XPath may ask for entries that have a certain child: ``entry[@name='X'][private-key]``."""
    csr_only_reference: Literal["refused", "commit_fails"] = "refused"
    """When a service profile names a certificate that is still a CSR: the set, or the commit, says no."""
    lock_released_by_commit: bool = True
    """Whether the owner's commit ends the owner's commit lock."""
    partial_revert: bool = True
    """Whether ``revert config partial admin`` exists; False as on the releases before 8.0."""
    partial_changes_list: bool = True
    """Whether ``show config list changes partial admin`` exists."""
    partial_validate: bool = True
    """Whether ``validate partial admin`` exists."""
    candidate_survives_reboot: bool = False
    """Whether a reboot keeps changes that were not committed."""
    override_needed: bool = True
    """Whether a node that Panorama pushed refuses a local ``set`` and wants ``override``."""
    parameters_match_case: bool = False
    """Whether parameter names other than ``key`` must be lower case."""
    new_key_ends_others: bool = True
    """With a key lifetime set: whether a new key ends the user's other keys."""


@dataclass(frozen=True, slots=True)
class Admin:
    """An account with its password and its XML API rights."""

    password: str
    rights: frozenset[str] = SUPERUSER
    custom_role: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The device: defaults are a firewall with one virtual system that nobody else works on."""

    os_version: str = "10.2.4"
    hostname: str = "fw1"
    serial: str = "007051000012345"
    model: str = "PA-850"
    panorama: bool = False
    vsys: tuple[str, ...] = ("vsys1",)
    username: str = "ottr"
    password: str = "simulated"  # noqa: S105 of a device that does not exist
    other_admins: Mapping[str, Admin] = field(default_factory=lambda: {"alice": Admin("alice-simulated")})
    management_profile: str = "management"
    """SSL/TLS service profile of the web server; empty: it serves the certificate it made at its first start."""
    portals: tuple[str, ...] = ()
    """GlobalProtect portals of the first virtual system; each has a TLS port of its own."""
    gateways: tuple[str, ...] = ()
    service_profile: str = "globalprotect"
    """SSL/TLS service profile of all portals and gateways."""
    templates: tuple[str, ...] = ("branch",)
    """Of a Panorama."""
    template_stacks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"branch-stack": ("branch",)})
    """Of a Panorama: stack and its templates, the strongest first."""
    commit_s: float = 0.1
    """How long a commit job is active."""
    device_lag_s: float = 0.0
    """How long a push job has finished before its devices have."""
    restart_s: float = 0.2
    """How long the web server is away after a commit that changes its certificate."""
    reboot_s: float = 0.5
    commit_queue: bool = True
    """Whether a commit during another one waits, or is refused."""
    finished_progress: Literal["100", "time"] = "100"
    """What ``progress`` says of a finished job: some releases give a time."""
    key_lifetime_minutes: int = 0
    """0: API keys do not expire."""
    key_in_url: bool = False
    """Whether a key or a password may come in the URL; real devices take it, and write it into their logs."""
    keys_exportable: bool = False
    """Whether the export gives a private key away, as without ``block-private-key``."""
    high_availability: Literal["", "active", "passive"] = ""
    certificate_name_limit: int | None = None
    """Longest certificate name; None: 31 on Panorama and before 9.0, else 63."""
    unconfirmed: Unconfirmed = field(default_factory=Unconfirmed)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        found = re.match(r"(\d+)\.(\d+)", self.os_version)
        if not found:
            raise ValueError(f"{self.os_version!r} is no PAN-OS version")
        return int(found[1]), int(found[2])

    @property
    def name_limit(self) -> int:
        """Longest certificate name."""
        return self.certificate_name_limit or (31 if self.panorama or self.version < (9, 0) else 63)

    @property
    def admins(self) -> Mapping[str, Admin]:
        """Every account."""
        return {self.username: Admin(self.password), **self.other_admins}
