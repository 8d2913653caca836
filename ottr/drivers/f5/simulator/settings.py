# SPDX-License-Identifier: Apache-2.0
"""What kind of device is simulated, and every point no public source confirms, each with its alternatives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["admin", "resource-admin", "certificate-manager", "operator", "guest"]
Shell = Literal["bash", "tmsh", "none"]


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Behaviour that no public source settles. A driver must work with every value."""

    existing_key_status: Literal[409, 400] = 409
    """HTTP status when a key is made under a name that exists."""
    csr_overwrites: bool = False
    """Whether a CSR under a name that exists replaces the former one."""
    gen_csr_in_response: bool = False
    """Whether making key and CSR in one request gives the CSR's text back."""
    csr_download: bool = False
    """Whether ``shared/file-transfer/ssl-csr-transfers`` exists."""
    csr_other_partitions: bool = False
    """Whether a CSR can be made in a partition other than Common."""
    san_takes_email_and_uri: bool = True
    """Whether ``email:`` and ``URI:`` may stand in ``subjectAlternativeName``."""
    bash_takes_newlines: bool = False
    """Whether the command given to util/bash may have several lines."""
    bash_takes_double_quotes: bool = True
    """Whether the command given to util/bash may stand in double quotes, with backslashes inside."""
    bash_merges_errors: bool = True
    """Whether ``commandResult`` has what the command wrote to standard error."""
    missing_range_status: Literal[400, 500] = 400
    """HTTP status of an upload without a usable Content-Range."""
    new_certificate_attributes: bool = True
    """Whether file objects of certificates show ``fingerprint`` and ``subjectAlternativeName``."""
    serial_form: Literal["decimal", "colons"] = "colons"
    """How a serial number longer than 63 bits is written."""
    chain_entry_usage: bool = True
    """From 17.0 on: whether an entry of ``certKeyChain`` has ``usage``."""
    in_use_text: Literal["in use", "in use by"] = "in use"
    """How a refused deletion reads."""
    certificate_before_key: bool = True
    """Whether a key cannot be deleted while a certificate of its name is there."""
    bundle_sends_all: bool = False
    """Whether the issuers in a bundle given as certificate are sent without a ``chain``."""
    sni_from_certificate: bool = False
    """Whether a profile without ``serverName`` is chosen by the names in its certificate."""
    transaction_timeout_s: Literal[30, 120] = 120
    """When an idle transaction disappears."""
    transaction_prefix: bool = True
    """Whether a refused commit's message begins with ``transaction failed:``."""
    unsaved_objects_survive_reboot: bool = False
    """Whether keys and certificates that were not saved survive a reboot."""
    restarting_status: Literal[503, 404] = 503
    """HTTP status of the page that says httpd is restarting."""
    tokens_survive_httpd: bool = True
    """Whether a restart of httpd leaves tokens alone."""
    tokens_survive_reboot: bool = False
    """Whether a reboot does."""
    basic_makes_tokens: bool = False
    """Whether each request with a password counts as a token of its own, as seen on 17.1.2."""
    admin_has_token_limit: bool = False
    """Whether the limit of tokens holds for the user ``admin``."""
    unauthorized_status: Literal[401, 403] = 401
    """HTTP status when a role may not do something."""
    upload_needs_admin: bool = True
    """Whether a certificate manager cannot upload files."""
    httpd_sends_bundle: bool = True
    """Whether httpd sends issuers in the certificate's file without ``sslCertchainfile``."""
    httpd_pair_checked: bool = True
    """Whether ``sys httpd`` refuses files that are absent or do not belong together."""
    httpd_takes_filestore: bool = True
    """Whether ``sys httpd`` may name files in the file store."""
    httpd_test: bool = True
    """Whether ``httpd -t`` says that key and certificate do not belong together; False: it says OK."""
    save_takes_partitions: bool = True
    """Whether ``sys config`` takes ``options`` with partitions."""


@dataclass(frozen=True, slots=True)
class User:
    """An account. ``shell`` is what an SSH login gets."""

    password: str
    role: Role = "admin"
    shell: Shell = "tmsh"
    must_change_password: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """A client-ssl profile that the first configuration has."""

    name: str
    server_name: str = "none"
    sni_default: bool = False
    common_name: str = ""
    """Of its first certificate; empty: what the device has anyway."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual server; port 0 takes a free one."""

    name: str
    profiles: tuple[str, ...] = ("site",)
    port: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """The device: defaults are a standalone BIG-IP with one virtual server that nobody else works on."""

    os_version: str = "16.1.2"
    hostname: str = "bigip1.example.com"
    platform: str = "Z100"
    username: str = "admin"
    password: str = "simulated"  # noqa: S105 of a device that does not exist
    role: Role = "admin"
    shell: Shell = "tmsh"
    other_users: Mapping[str, User] = field(
        default_factory=lambda: {
            "root": User("root-simulated", "admin", "bash"),
            "alice": User("alice-simulated"),
            "certs": User("certs-simulated", "certificate-manager"),
            "guest": User("guest-simulated", "guest", "none"),
        }
    )
    partitions: tuple[str, ...] = ()
    """Besides Common."""
    profiles: tuple[Profile, ...] = (Profile("site"),)
    virtuals: tuple[Virtual, ...] = (Virtual("web"),)
    device_group: str = ""
    """The sync-failover group's name; empty: standalone."""
    auto_sync: bool = False
    bash: bool = True
    """Whether util/bash and a login shell exist: False as in Appliance mode."""
    restart_s: float = 0.2
    """How long httpd is away when it restarts."""
    reboot_s: float = 0.5
    restarting_answers: int = 1
    """How many requests are answered with 503 after httpd or the device has started."""
    sync_s: float = 0.05
    """How long a config-sync takes."""
    task_s: float = 0.05
    """How long an asynchronous task takes."""
    token_timeout_s: int = 1200
    token_limit: int = 100
    unconfirmed: Unconfirmed = field(default_factory=Unconfirmed)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version. Raises ValueError for what is no version from 14.1 on."""
        found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)*", self.os_version)
        if not found or (version := (int(found[1]), int(found[2]))) < (14, 1):
            raise ValueError(f"{self.os_version!r} is no BIG-IP version from 14.1 on")
        return version

    @property
    def users(self) -> Mapping[str, User]:
        """Every account."""
        return {**self.other_users, self.username: User(self.password, self.role, self.shell)}
