# SPDX-License-Identifier: Apache-2.0
"""The composition root: the only module that names concrete classes.

Parts are made, and their modules imported, when they are needed: the inventory's reader starts first, and what a
rotation takes is imported while it works.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ottr.errors import InventoryError, SettingsError
from ottr.files.search import find_inventory, find_settings
from ottr.files.settings import load_settings
from ottr.headstart import default_folder
from ottr.inventory.ansible import AnsibleInventory, Ask, InventoryOptions
from ottr.inventory.cache import InventoryCache
from ottr.settings import Settings

if TYPE_CHECKING:
    from ottr.dns.publisher import ZonePublisher
    from ottr.drivers import Driver
    from ottr.inventory import Inventory
    from ottr.logins import Logins
    from ottr.notify import Notifier
    from ottr.orchestrator.issuers import Authorities
    from ottr.orchestrator.target import Authority, Stores, Surroundings, Target
    from ottr.routing import Router
    from ottr.service import RotationService
    from ottr.state.database import Database
    from ottr.state.devices import SqlInventory


@dataclass(frozen=True, slots=True)
class Options:
    """What every command takes."""

    config: Path | None = None
    inventory: InventoryOptions = field(default_factory=InventoryOptions)
    staging: bool = False


def utc_now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)


Learn = Callable[[object], None]
"""Is told every secret that is looked up, to keep it out of log lines."""


class App:
    """One run's parts. Close it: a child process reads the inventory."""

    def __init__(
        self,
        options: Options,
        environment: Mapping[str, str] = os.environ,
        ask: Ask | None = None,
        learn: Learn | None = None,
    ) -> None:
        self._learn = learn
        self._options = options
        self._environment = environment
        self._ask = ask

    def close(self) -> None:
        """End the inventory's child and the database connections."""
        for name in ("inventory", "_database"):
            if name in self.__dict__:
                getattr(self, name).close()

    @cached_property
    def settings(self) -> Settings:
        """ottr.yaml. Raises SettingsError."""
        settings = load_settings(find_settings(self._options.config, self._environment), self._environment)
        return _staged(settings) if self._options.staging else settings

    @cached_property
    def inventory(self) -> AnsibleInventory | SqlInventory:
        """The inventory; its reader starts at once, while this process goes on importing."""
        options = self._options.inventory
        sources = find_inventory(self.settings, options.sources, self._environment)
        if "state:" in sources:
            if len(sources) > 1:
                raise InventoryError("the inventory of the state database stands alone: no other source beside state:")
            return self.devices
        inventory = AnsibleInventory(
            replace(options, sources=sources),
            cache=InventoryCache(default_folder(self._environment)),
            ask=self._ask,
        )
        inventory.start()
        return inventory

    @cached_property
    def devices(self) -> SqlInventory:
        """The inventory in the state database. Raises JournalError."""
        from ottr.state.devices import SqlInventory

        return SqlInventory(self._database)

    @cached_property
    def _database(self) -> Database:
        from ottr.state.database import Database

        return Database(self.settings.state_url)

    @cached_property
    def stores(self) -> Stores:
        """The state database. Raises JournalError."""
        from ottr.orchestrator.target import Stores
        from ottr.state.certificates import Certificates
        from ottr.state.journal import Journal
        from ottr.state.leases import Leases, current_owner
        from ottr.state.schedules import Schedules

        database = self._database
        leases = Leases(database, current_owner(), utc_now)
        return Stores(Journal(database, leases, utc_now), leases, Certificates(database), Schedules(database, utc_now))

    @cached_property
    def logins(self) -> Logins:
        """Credentials of the current batch."""
        from ottr.logins import Logins

        settings = self.settings
        return Logins(self.inventory, settings.credentials, settings.known_hosts, self._environment, self._learn)

    @cached_property
    def router(self) -> Router:
        """routing.yaml. Raises RoutingError."""
        from ottr.routing import load_routes

        return load_routes(self.settings.routing, self.settings)

    @cached_property
    def service(self) -> RotationService:
        """The one door."""
        return self._build_service(self.inventory, self.logins, self.notifier)

    def serve(self, inventory: Inventory, notifier: Notifier) -> RotationService:
        """The same for hosts that somebody else has read; threads may have one each, over the same parts."""
        settings = self.settings
        from ottr.logins import Logins

        logins = Logins(inventory, settings.credentials, settings.known_hosts, self._environment, self._learn)
        return self._build_service(inventory, logins, notifier)

    @cached_property
    def _for_commands(self) -> Mapping[str, str]:
        """The environment without what secrets of ottr.yaml come from."""
        withheld = self.settings.withheld
        return {name: value for name, value in self._environment.items() if name not in withheld}

    @cached_property
    def notifier(self) -> Notifier:
        """Who is told. Raises SettingsError."""
        from ottr.notify import build_notifier
        from ottr.report import describe_result

        return build_notifier(self.settings.notify, describe_result, self._for_commands)

    def _build_service(self, inventory: Inventory, logins: Logins, notifier: Notifier) -> RotationService:
        from ottr.selection import Selector
        from ottr.service import RotationService

        return RotationService(
            inventory=inventory,
            router=self.router,
            selector=Selector(self.router, self.settings.issuers, self.settings.rotation),
            stores=self.stores,
            surround=partial(self._surround, inventory, logins),
            notifier=notifier,
            logins=logins,
            clock=utc_now,
        )

    def surround(self) -> Surroundings:
        """Make what touches devices, zones and CAs."""
        return self._surround(self.inventory, self.logins)

    def _surround(self, inventory: Inventory, logins: Logins) -> Surroundings:
        from ottr.hooks import CommandHooks
        from ottr.orchestrator.target import Surroundings
        from ottr.recorder import InventoryRecorder

        return Surroundings(
            stores=self.stores,
            authorities=self.authorities,
            publisher=self.publisher,
            connect=partial(_connect, logins),
            recorder=InventoryRecorder(inventory),
            hooks=CommandHooks(self._for_commands),
            settings=self.settings.rotation,
            clock=utc_now,
            wait=time.sleep,
        )

    @cached_property
    def authorities(self) -> Authorities:
        """The CAs, each made when it is first asked for."""
        from ottr.orchestrator.issuers import Authorities

        return Authorities(self.settings.issuers, self._build_authority)

    @cached_property
    def publisher(self) -> ZonePublisher:
        """Every zone that ottr.yaml can write. Raises SettingsError."""
        from ottr.dns.publisher import ZonePublisher
        from ottr.dns.solvers import load_solver

        solvers = [(solver, load_solver(solver)) for solver in self.settings.solvers]
        return ZonePublisher(solvers, self.settings.resolvers)

    def _build_authority(self, name: str) -> Authority:
        from ottr.acme.issuer import AcmeIssuer
        from ottr.orchestrator.target import Authority
        from ottr.probe import Probe

        issuer = self.settings.issuers[name]
        return Authority(
            AcmeIssuer(issuer, self.publisher, self.settings.state_dir),
            Probe(issuer.trust, issuer.issuer_names),
            issuer.issuer_names,
        )


def _connect(logins: Logins, target: Target) -> AbstractContextManager[Driver]:
    from ottr import drivers

    module = drivers.load(target.route.driver)
    return module.connect(target.device, target.route.options, logins.of(target.device))


def _staged(settings: Settings) -> Settings:
    """Every issuer stood in for by its staging twin, whose certificates stay known as the twin's.

    Raises SettingsError for an issuer that has no twin and is none.
    """
    issuers = settings.issuers
    twins = {issuer.staging for issuer in issuers.values()}
    for name, issuer in issuers.items():
        if not issuer.staging and name not in twins:
            raise SettingsError(
                f"issuer {name!r} has no staging twin",
                hint=f"set issuers.{name}.staging to the name of another issuer in ottr.yaml",
            )
    return replace(settings, issuers={name: issuers.get(one.staging, one) for name, one in issuers.items()})
