# SPDX-License-Identifier: Apache-2.0
"""DNS services of cloud providers, through the library dns-lexicon.

Options: ``provider`` (lexicon's name of it), ``ttl`` (seconds, at most and by default 60; some providers have a
lowest one of their own), ``serialize`` (``name``: one change at a time at a name; ``zone``: in a zone; the default
is what the provider needs), and the provider's own, with underscores (``auth_token``).
"""

from __future__ import annotations

import importlib
import logging
import re
import urllib.parse
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import util
from types import ModuleType
from typing import Any

from ottr.dns.options import SolverOptions
from ottr.dns.serialization import KeyedLocks
from ottr.dns.zones import longest_zone
from ottr.errors import DnsError
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings

# lexicon.client.Client guesses the zone from a list it downloads; providers are told the zone, so they are used
# without it. Lexicon calls this package private, but every version since 3.12 has it.
_PROVIDERS = "lexicon._private.providers"
_NAME = re.compile(r"[a-z0-9]{1,40}")
_OWN_OPTIONS = ("provider", "ttl", "serialize")
_REPLACES_ZONE = frozenset({"godaddy", "joker", "localzone", "namecheap", "online", "sakuracloud", "valuedomain"})
"""Providers that read everything and write it back to change one value."""
_TALKATIVE = ("lexicon", "urllib3", "botocore", "boto3", "zeep", "suds")
"""Loggers whose debug messages hold requests, and so credentials."""
_LONGEST_WORDS = 300


@dataclass(frozen=True, slots=True)
class _Change:
    """One of the two things that are done to a value."""

    verb: str
    apply: Callable[[Any, TxtRecord], Any]
    listed_after: bool


@dataclass(frozen=True, slots=True)
class LexiconSolver:
    """Writes through one account at one provider. A new provider object for each call: they are not thread-safe."""

    zones: tuple[str, ...]
    provider: str
    credentials: Mapping[str, Any] = field(repr=False, hash=False)
    ttl_s: int = 60
    serialize: str = "name"
    _locks: KeyedLocks = field(default_factory=KeyedLocks, repr=False, compare=False)

    def present(self, record: TxtRecord) -> None:
        """Add this value; no error when it is there already. Raises DnsError."""
        self._change(record, _Change("add", _add, listed_after=True))

    def cleanup(self, record: TxtRecord) -> None:
        """Remove this value and no other; no error when it is gone already. Raises DnsError."""
        self._change(record, _Change("remove", _remove, listed_after=False))

    def _change(self, record: TxtRecord, change: _Change) -> None:
        zone = longest_zone(record.name, self.zones)
        if zone is None:
            raise DnsError(f"{record.name} is in none of the zones {', '.join(self.zones)}")
        with self._locks.find(zone if self.serialize == "zone" else record.name):
            failure = self._attempt(zone, record, change)
        # Raised here, not from the library's error: that one may hold a URL with the credentials in it.
        if failure:
            raise DnsError(
                f"the DNS provider {self.provider} did not {change.verb} the value at {record.name} "
                f"(zone {zone}): {failure}",
                hint=f"check the credentials of the solver, their rights, and that the account has the zone {zone}",
            )

    def _attempt(self, zone: str, record: TxtRecord, change: _Change) -> str:
        """Return what went wrong, without credentials; empty when all went well."""
        try:
            provider = _open_provider(self.provider, zone, self.ttl_s, self.credentials)
            try:
                provider.authenticate()
                done = change.apply(provider, record)
                # False means a failure to some providers, and to others that there was nothing to do.
                if done is False and _is_listed(provider, record) != change.listed_after:
                    return "it answered that it did nothing"
            finally:
                provider.cleanup()
        except Exception as error:  # providers raise whatever their libraries raise
            return describe_failure(error, self.credentials)
        return ""


def _add(provider: Any, record: TxtRecord) -> Any:
    return provider.create_record("TXT", record.name, record.value)


def _remove(provider: Any, record: TxtRecord) -> Any:
    return provider.delete_record(rtype="TXT", name=record.name, content=record.value)


def _is_listed(provider: Any, record: TxtRecord) -> bool:
    records = provider.list_records("TXT", record.name, record.value)
    return any(str(listed.get("content", "")).strip('"') == record.value for listed in records)


def describe_failure(error: Exception, credentials: Mapping[str, Any]) -> str:
    """Return the words of a provider's error without its URLs and without any of the credentials."""
    text = re.sub(r"[a-z][a-z0-9+.-]*://\S+", "(URL)", str(error), flags=re.IGNORECASE)
    # Longest first: one secret may hold another.
    for value in sorted((str(v) for v in credentials.values() if isinstance(v, str) and v), key=len, reverse=True):
        for form in {value, urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)}:
            text = text.replace(form, "********")
    words = " ".join(text.split())[:_LONGEST_WORDS]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _open_provider(name: str, zone: str, ttl_s: int, credentials: Mapping[str, Any]) -> Any:
    config: Any = importlib.import_module("lexicon.config")
    settings = {"provider_name": name, "domain": zone, "ttl": ttl_s, name: dict(credentials)}
    return _import_provider(name).Provider(config.ConfigResolver().with_dict(settings))


def _import_provider(name: str) -> ModuleType:
    """Import a provider (slow, so only now), and keep it quiet and off the network but for its own service."""
    for logger in _TALKATIVE:
        logging.getLogger(logger).setLevel(logging.CRITICAL if logger == "lexicon" else logging.WARNING)
    module = importlib.import_module(f"{_PROVIDERS}.{name}")
    vars(module)["print"] = _say_nothing  # some print requests, into our own output
    extractor = vars(module).get("tldextract")
    if extractor is not None:  # downloads the public suffix list otherwise
        extractor.tldextract.TLD_EXTRACTOR = extractor.TLDExtract(cache_dir=None, suffix_list_urls=())
    return module


def _say_nothing(*_words: object, **_options: object) -> None:
    """Stand in for ``print`` in a provider."""


def build_solver(settings: SolverSettings) -> LexiconSolver:
    """Build the solver from its settings. Raises SettingsError."""
    name = str(settings.options.get("provider", ""))
    options = SolverOptions(settings, (*_OWN_OPTIONS, *_provider_options(settings, name)))
    credentials = {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in settings.options.items()
        if key not in _OWN_OPTIONS
    }
    solver = LexiconSolver(
        zones=settings.zones,
        provider=name,
        credentials=credentials,
        ttl_s=int(options.number("ttl", 60, 0, 3600)),
        serialize=options.choice("serialize", ("name", "zone"), "zone" if name in _REPLACES_ZONE else "name"),
    )
    _check_complete(solver, options)
    return solver


def _provider_options(settings: SolverSettings, name: str) -> tuple[str, ...]:
    """Return the options a provider takes. Raises SettingsError for a provider that cannot be used."""
    problem = _find_problem(name)
    if problem:
        raise SolverOptions(settings, settings.options).wrong(problem)
    parser = ArgumentParser(add_help=False)
    _import_provider(name).Provider.configure_parser(parser)
    return tuple(action.dest for action in parser._actions)


def _find_problem(name: str) -> str:
    if not name:
        return "option 'provider' is missing (names as `lexicon --help` lists them)"
    if name == "auto" or not _NAME.fullmatch(name) or util.find_spec(f"{_PROVIDERS}.{name}") is None:
        return f"lexicon has no provider {name!r} that can be used here"
    try:
        _import_provider(name)
    except ImportError as error:
        return f"the provider {name!r} needs more packages ({error}): pip install 'dns-lexicon[{name}]'"
    return ""


def _check_complete(solver: LexiconSolver, options: SolverOptions) -> None:
    """Let the provider itself say what is missing; it connects to nothing yet."""
    zone = solver.zones[0] if solver.zones else "invalid"
    failure = ""
    try:
        _open_provider(solver.provider, zone, solver.ttl_s, solver.credentials)
    except Exception as error:  # as above: its own words, not its error
        failure = describe_failure(error, solver.credentials)
    if failure:
        raise options.wrong(f"the provider {solver.provider} does not take these options: {failure}")
