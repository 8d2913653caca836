# SPDX-License-Identifier: Apache-2.0
"""Is everything there that a rotation needs? Looks at files, state, DNS and CAs; connects to no device."""

from __future__ import annotations

import json
import pkgutil
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial

from ottr import drivers
from ottr.acme.account_files import AccountFiles
from ottr.acme.directory import Directory, parse_directory
from ottr.app import App, utc_now
from ottr.errors import AcmeProblem, ConfigurationError, DnsError, IssuanceError, IssuerUnavailable, OttrError
from ottr.model import Clock
from ottr.selection import Candidate
from ottr.service import Selection
from ottr.settings import IssuerSettings, Settings
from ottr.state import schema
from ottr.state.database import Database
from ottr.transports.http import HttpClient, HttpError, HttpResponse

MAX_SKEW_S = 60.0
"""Further apart, and a fresh certificate may not be valid yet on one side."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    ok: bool
    message: str
    hint: str = ""


def examine(app: App, *, write_dns: bool, clock: Clock = utc_now) -> Iterator[Check]:
    """Look at everything that ottr.yaml names. ``write_dns``: also write and remove a TXT value in every zone."""
    found = _check("settings", lambda: str(app.settings.path or "no ottr.yaml found; defaults are used"))
    yield found
    for name in driver_names():
        yield _check(f"driver {name}", partial(_load_driver, name))
    if not found.ok:
        return
    settings = app.settings
    yield _check("routing", lambda: _read_routing(app))
    yield _check("state", lambda: _write_state(settings))
    yield _check("inventory", lambda: _read_inventory(app))
    for solver in settings.solvers:
        for zone in solver.zones:
            yield _check(f"zone {zone}", partial(_probe_zone if write_dns else _look_up_zone, app, zone))
    for issuer in settings.issuers.values():
        yield _check(f"issuer {issuer.name}", partial(_ask_issuer, settings, issuer, clock))


def driver_names() -> list[str]:
    """Every driver there is: those of ours, and those other packages bring."""
    from importlib import metadata

    own = {module.name for module in pkgutil.iter_modules(drivers.__path__) if module.ispkg}
    return sorted(own | {entry.name for entry in metadata.entry_points(group="ottr.drivers")})


def _check(what: str, look: Callable[[], str]) -> Check:
    try:
        return Check(what, True, look())
    except OttrError as error:
        report = error.report
        return Check(what, False, report.message, report.hint)


def _load_driver(name: str) -> str:
    try:
        drivers.load(name)
    except ImportError as error:
        raise ConfigurationError(f"it cannot be imported: {error}", hint="install what it needs") from error
    return "can be loaded"


def _read_routing(app: App) -> str:
    return f"{app.settings.routing}: {len(app.router.rules)} routes"


def _write_state(settings: Settings) -> str:
    database = Database(settings.state_url)
    try:
        with database.write():
            return f"can be written, revision {schema.HEAD}"
    finally:
        database.close()


def _read_inventory(app: App) -> str:
    candidates = app.service.plan(Selection())
    refused = [one for one in candidates if one.decision is None]
    if refused and len(refused) == len(candidates):
        raise _nothing_usable(refused[0])
    more = f", {len(refused)} of them cannot be rotated (`ottr plan` says why)" if refused else ""
    return f"{len(candidates)} hosts{more}"


def _nothing_usable(example: Candidate) -> ConfigurationError:
    name = example.host.name
    return ConfigurationError(
        f"no host can be rotated; {name}: {example.reason}: {example.message}", hint=f"`ottr explain {name}`"
    )


def _look_up_zone(app: App, zone: str) -> str:
    records = app.publisher.resolver.fetch(zone, "NS")
    if not records:
        raise DnsError(f"{zone} has no NS records", hint="name the apex of a zone that exists; see `resolvers` too")
    return f"name servers: {', '.join(sorted(str(record.target) for record in records))}"


def _probe_zone(app: App, zone: str) -> str:
    report = app.publisher.probe(f"ottr-doctor-{secrets.token_hex(4)}.{zone}")
    return f"a TXT value was written through solver {report.solver}, seen on every name server, and removed"


def _ask_issuer(settings: Settings, issuer: IssuerSettings, clock: Clock) -> str:
    http = HttpClient(ca_bundle=issuer.ca_bundle, timeout_s=issuer.timeout_s)
    try:
        response = http.request("GET", issuer.directory)
    except HttpError as error:
        hint = "set ca_bundle of the issuer to the roots that sign the directory's own TLS certificate"
        raise IssuerUnavailable(str(error), hint=hint if error.untrusted else "") from error
    finally:
        http.close()
    directory = _parse(response, issuer.directory)
    skew = _check_clock(response, clock)
    return f"{issuer.directory} answers, {_check_account(settings, issuer, directory)}, {skew}"


def _parse(response: HttpResponse, url: str) -> Directory:
    try:
        content = json.loads(response.body) if response.status == 200 else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AcmeProblem(f"{url} is not an ACME directory (status {response.status})", hint="check the issuer's URL")
    return parse_directory(content, url)


def _check_account(settings: Settings, issuer: IssuerSettings, directory: Directory) -> str:
    files = AccountFiles(settings.state_dir, issuer.name)
    registration = files.load_registration()
    if registration is not None:
        files.load_key(files.key_path)
        if registration.directory != issuer.directory:
            raise IssuanceError(
                f"{files.folder} holds an account of another CA: {registration.directory}",
                hint="give the other CA an issuer name of its own in ottr.yaml",
            )
        return f"account {registration.url}"
    if directory.terms_of_service and not issuer.terms_of_service_agreed:
        raise IssuanceError(
            f"no account yet, and the terms of service are not agreed to: {directory.terms_of_service}",
            hint=f"read them, then set terms_of_service_agreed: true for {issuer.name} in ottr.yaml",
        )
    if directory.external_account_required and issuer.external_account is None:
        raise IssuanceError(
            "no account yet, and the CA binds accounts to customers",
            hint=f"set external_account of {issuer.name} in ottr.yaml to what the CA gave you",
        )
    return "no account yet (the first rotation registers one)"


def _check_clock(response: HttpResponse, clock: Clock) -> str:
    try:
        theirs = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return "clock not compared: no Date in the answer"
    skew_s = (clock() - theirs).total_seconds()
    if abs(skew_s) > MAX_SKEW_S:
        raise IssuanceError(
            f"this machine's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the CA's",
            hint="keep the clock with NTP: certificates and signatures depend on it",
        )
    return "clock agrees"
