# SPDX-License-Identifier: Apache-2.0
"""Everything one simulated device holds, and how its first configuration looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ottr.drivers.f5.simulator.accounts import Accounts
from ottr.drivers.f5.simulator.answers import COMMON, full_path
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.configuration import (
    CERTIFICATE,
    CLIENT_SSL,
    FOLDER,
    HTTPD,
    KEY,
    PARTITION,
    VIRTUAL,
    Configuration,
)
from ottr.drivers.f5.simulator.disk import Disk
from ottr.drivers.f5.simulator.material import write_key
from ottr.drivers.f5.simulator.settings import Profile, Settings
from ottr.drivers.f5.simulator.store import new_file, write_store
from ottr.drivers.f5.simulator.validation import check
from ottr.simulation.faults import Faults
from ottr.simulation.pair import make_self_signed

_KEY_MARK = b"PRIVATE KEY-----"
FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "token_expires": "every token ends before the operation VALUE",
        "reject": "the operation VALUE is refused",
        "busy": "the operation VALUE is answered with 503",
        "restarting_page": "the operation VALUE is answered with the page that says httpd is restarting",
        "upload_broken": "an upload is answered with its own bytes, and nothing is kept",
        "disk_full": "no file can be written: uploads, key and certificate files, what the shell does",
        "save_fails": "the configuration is not saved",
        "sync_fails": "a config-sync ends without the other unit having the configuration",
        "foreign_sync_change": "the other unit is changed before the operation VALUE",
        "foreign_change": "another administrator changes the first profile before the operation VALUE",
        "transaction_refused": "a transaction's commit is refused; VALUE is what the device says",
        "transaction_lost": "every open transaction disappears before the operation VALUE",
        "bash_lost": "util/bash runs the command and ends the connection",
        "serve_old_after_install": "virtual servers and httpd keep the certificates they serve",
        "httpd_stays_down": "httpd does not come back after its restart",
        "reboot_before": "the device reboots instead of answering the operation VALUE",
        "reboot_after": "the device reboots when it has done the operation VALUE, without an answer",
    }
)


@dataclass(slots=True)
class Transaction:
    """Commands that wait for their commit."""

    id: int
    user: str
    touched: float
    calls: list[Call] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Task:
    """An asynchronous command."""

    id: int
    area: str
    body: dict[str, Any]
    state: str = "STARTED"
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """One device."""

    settings: Settings
    faults: Faults
    disk: Disk
    refresh_traffic: Callable[[], None] = lambda: None
    restart_httpd: Callable[[], None] = lambda: None
    stop_httpd: Callable[[], None] = lambda: None
    test_httpd: Callable[[], str] = lambda: ""
    reboot: Callable[[], None] = lambda: None
    share: Callable[[], None] = lambda: None
    """Gives a change to the other units, where that happens by itself."""
    run_bash: Callable[[str], tuple[str, str]] = lambda _script: ("", "")
    """Runs a script; what it wrote to standard output and to standard error."""
    transactions: dict[int, Transaction] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Chunks of uploads that are not complete, by file name and first byte."""
    exported_keys: list[str] = field(default_factory=list)
    """Operations whose answer held a private key; ``ssh`` for what a session showed."""
    peers: list[State] = field(default_factory=list)
    address: str = "127.0.0.1"
    """Of the management port."""
    active: bool = True
    synced_hash: str = ""
    """What was shared when the device group was last in sync."""
    not_ready: int = 0
    """So many requests are still answered with the page of a web server that restarts."""
    clock_offset_s: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    configuration: Configuration = field(init=False)
    accounts: Accounts = field(init=False)
    lent: bool = False
    """Whether a commit holds the lock while it waits for a script that may ask the device something."""
    number: int = 1_000_000
    timers: list[threading.Timer] = field(default_factory=list)

    def __post_init__(self) -> None:
        unconfirmed = self.settings.unconfirmed
        self.configuration = Configuration(lambda after, before: check(after, before, unconfirmed), self.changed)
        self.accounts = Accounts(self.settings, self.clock)
        fill(self)

    def clock(self) -> float:
        """The device's time, seconds since the epoch."""
        return time.time() + self.clock_offset_s

    def next_number(self) -> int:
        """A number that nothing else has."""
        self.number += 1
        return self.number

    def note_key(self, operation: str, sent: bytes) -> None:
        """Remember an operation whose answer holds a private key."""
        if _KEY_MARK in sent:
            self.exported_keys.append(operation)

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something in a while, in a thread of its own."""
        timer = threading.Timer(delay_s, act)
        timer.daemon = True
        self.timers = [former for former in self.timers if former.is_alive()]
        self.timers.append(timer)
        timer.start()

    def end_timers(self) -> None:
        """Let nothing that was to come still come."""
        for timer in self.timers:
            timer.cancel()
        for timer in self.timers:
            timer.join()
        self.timers.clear()

    def changed(self) -> None:
        """Let a change of the running configuration have its effects."""
        write_store(self.disk, self.configuration)
        self.refresh_traffic()
        self.share()

    def link(self, path: str) -> str:
        """A selfLink."""
        return f"https://localhost/mgmt/{path}?ver={self.settings.os_version}"


def fill(state: State) -> None:
    """A device as its administrators left it: profiles with self-signed certificates, saved."""
    settings, configuration = state.settings, state.configuration
    for name in (COMMON, *settings.partitions):
        configuration.put(PARTITION, f"/{name}", {"defaultRouteDomain": 0})
        configuration.put(FOLDER, f"/{name}", {"deviceGroup": "none", "inheritedDevicegroup": "true"})
    _add_pair(state, "default", settings.hostname)
    configuration.put(CLIENT_SSL, "/Common/clientssl", _profile(Profile("clientssl"), "default"))
    for profile in settings.profiles:
        if profile.common_name:
            _add_pair(state, profile.name, profile.common_name)
        configuration.put(
            CLIENT_SSL,
            full_path(profile.name),
            _profile(profile, profile.name if profile.common_name else "default"),
        )
    for virtual in settings.virtuals:
        used = {full_path(name): "clientside" for name in virtual.profiles}
        inside = {"destination": "", "ipProtocol": "tcp", "mask": "255.255.255.255", "source": "0.0.0.0/0"}
        configuration.put(
            VIRTUAL,
            full_path(virtual.name),
            {**inside, "enabled": True, "_port": virtual.port, "_profiles": {"/Common/tcp": "all", **used}},
        )
    configuration.put(
        HTTPD,
        "/Common/httpd",
        {
            "sslCertfile": "/etc/httpd/conf/ssl.crt/server.crt",
            "sslCertkeyfile": "/etc/httpd/conf/ssl.key/server.key",
            "sslPort": 443,
        },
    )


def _add_pair(state: State, name: str, common_name: str) -> None:
    pair = make_self_signed(common_name)
    for collection, suffix, text in ((CERTIFICATE, "crt", pair.chain_pem), (KEY, "key", write_key(pair.key))):
        source = f"/config/ssl/ssl.{suffix}/{name}.{suffix}"
        content = new_file(text, source, "root", state.clock(), state.next_number())
        state.configuration.put(collection, f"/{COMMON}/{name}.{suffix}", content)


def _profile(profile: Profile, pair: str) -> dict[str, Any]:
    entry = {
        "name": "default" if pair == "default" else f"{pair}_0",
        "cert": f"/{COMMON}/{pair}.crt",
        "key": f"/{COMMON}/{pair}.key",
        "chain": "none",
        "usage": "SERVER",
    }
    base = "none" if profile.name == "clientssl" else "/Common/clientssl"
    return {
        "defaultsFrom": base,
        "serverName": profile.server_name,
        "sniDefault": "true" if profile.sni_default else "false",
        "sniRequire": "false",
        "ciphers": "DEFAULT",
        "inheritCertkeychain": "true" if pair == "default" and base != "none" else "false",
        "certKeyChain": [entry],
    }
