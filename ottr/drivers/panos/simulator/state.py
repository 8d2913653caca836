# SPDX-License-Identifier: Apache-2.0
"""Everything one simulated device holds, and how its first configuration looks."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from xml.etree.ElementTree import SubElement

from cryptography.hazmat.primitives import hashes

from ottr.drivers.panos.simulator.accounts import Accounts
from ottr.drivers.panos.simulator.answers import Element, Refusal, write_xml
from ottr.drivers.panos.simulator.certificates import KeyStore, describe, pair_of
from ottr.drivers.panos.simulator.configuration import Configuration
from ottr.drivers.panos.simulator.jobs import Jobs
from ottr.drivers.panos.simulator.locks import Locks
from ottr.drivers.panos.simulator.places import (
    CERTIFICATE,
    PANORAMA,
    PROFILE,
    SHARED,
    SYSTEM,
    Reference,
    entry_path,
    resolve,
    template_place,
    vsys_place,
)
from ottr.drivers.panos.simulator.settings import Settings
from ottr.drivers.panos.simulator.tree import Path, Step, ensure, find, merge
from ottr.simulation.faults import Faults
from ottr.simulation.pair import Pair, make_self_signed

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "busy": "so many commits are refused because another one is in progress (VALUE times, or times=)",
        "commit_refused": "a commit is refused; VALUE is what the device says",
        "job_fails": "a commit or push job ends with FAIL",
        "job_never_ends": "a commit or push job stays active",
        "push_fails": "the push job is OK, but the firewall with serial VALUE (or any) fails",
        "lock_held_by": "the administrator VALUE holds the commit lock when a commit comes",
        "config_lock_held_by": "the administrator VALUE holds the configuration lock when an edit comes",
        "token_expires": "every API key ends before the operation VALUE",
        "reject": "the operation VALUE is refused",
        "import_fails": "an import finds no certificate in the file",
        "serve_old_after_install": "the services keep what they serve although the commit changed it",
        "web_server_stays_down": "the web server does not come back after its restart",
        "revert_candidate": "another administrator reverts all changes before the operation VALUE",
        "foreign_commit": "another administrator commits everything before the operation VALUE",
        "foreign_change": "another administrator changes something before the operation VALUE and leaves it pending",
        "reboot_before": "the device reboots instead of answering the operation VALUE",
        "reboot_after": "the device reboots when it has done the operation VALUE, without an answer",
    }
)


@dataclass(slots=True)
class State:
    """One device."""

    settings: Settings
    faults: Faults
    keys: KeyStore = field(default_factory=KeyStore)
    chains: dict[str, str] = field(default_factory=dict)
    """Issuers that came with a certificate: by its fingerprint the whole PEM, leaf first."""
    pushed: Element = field(default_factory=lambda: Element("config"))
    """What Panorama has pushed."""
    managed: dict[str, State] = field(default_factory=dict)
    """The firewalls of a Panorama by serial."""
    refresh_services: Callable[[], None] = lambda: None
    reboot: Callable[[], None] = lambda: None
    exported_keys: list[str] = field(default_factory=list)
    """Names of certificates whose private key somebody asked for."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    configuration: Configuration = field(init=False)
    jobs: Jobs = field(init=False)
    accounts: Accounts = field(init=False)
    commit_locks: Locks = field(default_factory=lambda: Locks("commit"))
    config_locks: Locks = field(default_factory=lambda: Locks("config"))

    def __post_init__(self) -> None:
        self.configuration = Configuration(first_configuration(self))
        self.jobs = Jobs(self.settings.finished_progress)
        self.accounts = Accounts(self.settings)

    @property
    def foreigner(self) -> str:
        """Another administrator."""
        return next(iter(self.settings.other_admins), "admin")

    def effective(self, root: Element) -> Element:
        """What a configuration means together with what Panorama pushed; local settings win."""
        if len(self.pushed) == 0:
            return root
        merged = copy.deepcopy(self.pushed)
        merge(merged, root)
        return merged

    def pair_for(self, leaf: Path) -> tuple[Pair | None, Element | None]:
        """What the running configuration says a TLS service shows: pair and profile, by the leaf that names it."""
        root = self.effective(self.configuration.running)
        node = find(root, leaf)
        path = resolve(root, Reference(leaf, PROFILE, node.text or "")) if node is not None else None
        profile = find(root, path) if path else None
        name = profile.findtext(CERTIFICATE, "") if profile is not None else ""
        if profile is None or path is None or not name:
            return None, profile
        target = resolve(root, Reference((*path, Step(CERTIFICATE)), CERTIFICATE, name))
        entry = find(root, target) if target else None
        return (pair_of(entry, self.keys, self.chains) if entry is not None else None), profile

    def need_no_config_lock(self, user: str) -> None:
        """Raises Refusal when somebody else has locked the configuration."""
        if owner := self.faults.take("config_lock_held_by"):
            self.config_locks.held.clear()
            self.config_locks.add(owner, "shared", "")
        if held := self.config_locks.other(user):
            raise Refusal(15, f"Config for scope {held.scope} is currently locked by {held.owner}")

    def hash(self) -> str:
        """SHA-256 over everything that an operation could have changed; sessions do not count."""
        parts = [f"{name}:{write_xml(tree)}" for name, tree in self.configuration.each().items()]
        parts += [repr(change) for change in self.configuration.of(None)]
        parts += [repr(self.commit_locks.held), repr(self.config_locks.held), write_xml(self.pushed)]
        parts += [f"{job.id} {job.status} {job.result}" for job in self.jobs.all()]
        parts += [f"{serial} {state.hash()}" for serial, state in self.managed.items()]
        return sha256("\0".join(parts).encode()).hexdigest()


def first_configuration(state: State) -> Element:
    """A device as its administrators left it: profiles bound to a self-signed certificate."""
    settings, root = state.settings, Element("config")
    ensure(root, SYSTEM)
    _leaf(root, (*SYSTEM, Step("hostname")), settings.hostname)
    own = PANORAMA if settings.panorama else SHARED
    if settings.management_profile:
        _add_profile(state, root, own, settings.management_profile)
        _leaf(root, (*SYSTEM, Step(PROFILE)), settings.management_profile)
    if settings.panorama:
        _add_templates(state, root)
        return root
    for name in settings.vsys:
        ensure(root, vsys_place(name))
    if settings.portals or settings.gateways:
        _add_profile(state, root, SHARED, settings.service_profile)
    for leaf in [*map(portal_leaf, _with_vsys(settings, settings.portals))]:
        _leaf(root, leaf, settings.service_profile)
    for leaf in [*map(gateway_leaf, _with_vsys(settings, settings.gateways))]:
        _leaf(root, leaf, settings.service_profile)
    return root


def _with_vsys(settings: Settings, names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(settings.vsys[0], name) for name in names]


def portal_leaf(place: tuple[str, str]) -> Path:
    """Where a portal, given by virtual system and name, names its service profile."""
    vsys, name = place
    steps = (Step("global-protect"), Step("global-protect-portal"), Step("entry", name), Step("portal-config"))
    return (*vsys_place(vsys), *steps, Step(PROFILE))


def gateway_leaf(place: tuple[str, str]) -> Path:
    """Where a gateway names its service profile."""
    vsys, name = place
    steps = (Step("global-protect"), Step("global-protect-gateway"), Step("entry", name))
    return (*vsys_place(vsys), *steps, Step(PROFILE))


def _add_templates(state: State, root: Element) -> None:
    for name in state.settings.templates:
        inside = template_place("template", name)
        profile = state.settings.management_profile or "management"
        _add_profile(state, root, (*inside, *SHARED), profile)
        _leaf(root, (*inside, *SYSTEM, Step(PROFILE)), profile)
    for name, templates in state.settings.template_stacks.items():
        stack = ensure(root, template_place("template-stack", name)[:-1])
        listed = SubElement(stack, "templates")
        for template in templates:
            SubElement(listed, "member").text = template


def _add_profile(state: State, root: Element, place: Path, name: str) -> None:
    pair = make_self_signed(state.settings.hostname)
    entry = ensure(root, entry_path(place, CERTIFICATE, f"{name}-first"))
    describe(entry, [pair.leaf], whole_chain=False)
    SubElement(entry, "common-name").text = state.settings.hostname
    SubElement(entry, "algorithm").text = "EC"
    SubElement(entry, "private-key").text = state.keys.keep(pair.key)
    state.chains[pair.leaf.fingerprint(hashes.SHA256()).hex()] = pair.chain_pem
    profile = ensure(root, entry_path(place, PROFILE, name))
    SubElement(profile, "certificate").text = f"{name}-first"
    protocol = SubElement(profile, "protocol-settings")
    SubElement(protocol, "min-version").text = "tls1-2"
    SubElement(protocol, "max-version").text = "max"


def _leaf(root: Element, path: Path, text: str) -> None:
    ensure(root, path).text = text
