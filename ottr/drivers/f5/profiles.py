# SPDX-License-Identifier: Apache-2.0
"""The pairs of client-ssl profiles, and which of them a new one takes the place of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.options import Options
from ottr.drivers.f5.places import DEFAULT_CERTIFICATE, certificate_name, chain_name, common, find_label, key_name
from ottr.drivers.f5.rest import Answer
from ottr.errors import DeviceRejected, UnsupportedDevice

Entry = dict[str, Any]
"""One pair of a profile's certKeyChain, as it is written: no references to resources."""

_NONE = ("", "none", None)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What one profile has: the whole answer, and its pairs."""

    answer: Answer
    entries: tuple[Entry, ...]


class Profiles:
    """The profiles of one route. They change together or not at all."""

    def __init__(self, client: Client, options: Options) -> None:
        self._client = client
        self._options = options

    def read(self) -> dict[str, Pairs]:
        """Every profile of the route. Raises UnsupportedDevice for one that is not there."""
        found = {path: self._client.find_profile(path) for path in self._options.profiles}
        missing = [path for path, answer in found.items() if answer is None]
        if missing:
            raise UnsupportedDevice(
                f"{self._client.name} has no client-ssl profile {', '.join(missing)}",
                hint="client_ssl of the route names profiles that are there, as /PARTITION/NAME",
            )
        return {path: Pairs(answer, _read_entries(answer)) for path, answer in found.items() if answer is not None}

    def bind(self, label: str) -> None:
        """Put the pair of a label into every profile. Raises DriverError."""
        kind, new = self._kind(key_name(label)), self.build(label)
        found = self.read()
        chains = {
            path: _replace(pairs.entries, self._choose(pairs.entries, kind), new)
            for path, pairs in found.items()
            if not holds(pairs.entries, label)
        }
        self._write(chains, found)

    def unbind(self, label: str, bound: str) -> bool:
        """Take the pair of a label out and put back what it took the place of; False when nothing had it."""
        found = self.read()
        chains: dict[str, list[Entry]] = {}
        for path, pairs in found.items():
            own = next((entry for entry in pairs.entries if entry["cert"] == common(certificate_name(label))), None)
            if own is not None:
                former = self._parse(bound, path)
                chains[path] = _replace(pairs.entries, own, self._find_displaced(former, pairs.entries, label))
        self._write(chains, found)
        return bool(chains)

    def build(self, label: str) -> Entry:
        """The entry of a label's pair."""
        entry = {"name": label, "cert": common(certificate_name(label)), "key": common(key_name(label))}
        chain = common(chain_name(label))
        return {**entry, "chain": chain} if self._client.find_certificate(chain) is not None else entry

    def find_obstacle(self) -> str:
        """Why Ottr could not go back to what the profiles have; empty when it could."""
        for path, pairs in self.read().items():
            if any(entry.get("passphrase") not in _NONE for entry in pairs.entries):
                return f"a key of {path} has a passphrase, which cannot be given back to it"
        return ""

    def _write(self, chains: Mapping[str, Sequence[Entry]], found: Mapping[str, Pairs]) -> None:
        empty = [path for path, chain in chains.items() if not chain]
        if empty:
            raise DeviceRejected(f"{self._client.name}: {', '.join(empty)} would be left without a certificate")
        if chains:
            self._client.change_profiles(chains, {path: found[path].answer for path in chains})

    def _choose(self, entries: Sequence[Entry], kind: str) -> Entry | None:
        """The entry that a pair of this kind takes the place of; None: it is put beside the others."""
        own = [entry for entry in entries if _is_server(entry)]
        same = [entry for entry in own if self._kind(entry["key"]) == kind]
        default = [entry for entry in own if entry["cert"] == DEFAULT_CERTIFICATE]
        others = [] if self._options.keep_other_key_types else own
        return next(iter((*same, *default, *others)), None)

    def _find_displaced(self, former: Sequence[Entry], entries: Sequence[Entry], label: str) -> Entry | None:
        """What the label's entry took the place of, unless it is there again."""
        there = [(entry["cert"], entry["key"]) for entry in entries]
        gone = [entry for entry in former if (entry["cert"], entry["key"]) not in there]
        return self._choose(gone, self._kind(key_name(label)))

    def _kind(self, key: str) -> str:
        """``rsa``, ``ec``, ...: the family of a key's type."""
        return self._client.fetch_key_type(key if key.startswith("/") else common(key)).partition("-")[0]

    def _parse(self, bound: str, path: str) -> list[Entry]:
        """Read what ``write_bound`` has written. Raises DeviceRejected."""
        if find_label(certificate_name(bound)):
            return [self.build(bound)]
        try:
            return [{**entry, "name": entry["name"]} for entry in json.loads(bound)[path]]
        except (ValueError, KeyError, TypeError) as error:
            raise DeviceRejected(
                f"{bound!r} is nothing that was bound", hint="nothing was sent to the device"
            ) from error


def holds(entries: Sequence[Entry], label: str) -> bool:
    """Whether one of the entries is the pair of a label."""
    pair = (common(certificate_name(label)), common(key_name(label)))
    return any((entry["cert"], entry["key"]) == pair for entry in entries)


def write_bound(found: Mapping[str, Pairs]) -> str:
    """The label, where all profiles have the pair of one label; else JSON with the names of all pairs."""
    labels = [
        [label for entry in pairs.entries if (label := find_label(entry["cert"])) and holds(pairs.entries, label)]
        for pairs in found.values()
    ]
    if labels and labels[0] and all(each == labels[0][:1] for each in labels):
        return labels[0][0]
    names = ("name", "cert", "key", "chain", "usage")
    chains = {
        path: [{name: entry[name] for name in names if name in entry} for entry in pairs.entries]
        for path, pairs in found.items()
    }
    return json.dumps(chains, sort_keys=True)


def find_leaf_name(found: Mapping[str, Pairs]) -> str:
    """Full path of the certificate that stands for the route: one of ours if there is one, else the first."""
    certificates = [entry["cert"] for pairs in found.values() for entry in pairs.entries if _is_server(entry)]
    ours = [path for path in certificates if find_label(path)]
    return next(iter((*ours, *certificates)), "")


def _read_entries(answer: Answer) -> tuple[Entry, ...]:
    """Pairs without what only a reader is told, and without the word for nothing."""
    entries = answer.get("certKeyChain") or []
    return tuple(
        {
            "name": "",
            "cert": "",
            "key": "",
            **{name: value for name, value in entry.items() if not name.endswith("Reference") and value not in _NONE},
        }
        for entry in entries
    )


def _replace(entries: Sequence[Entry], old: Entry | None, new: Entry | None) -> list[Entry]:
    added = [new] if new is not None else []
    if old is None:
        return [*entries, *added]
    return [each for entry in entries for each in (added if entry is old else [entry])]


def _is_server(entry: Entry) -> bool:
    """From 17.x on an entry may hold a CA's pair instead, which no client is shown."""
    return str(entry.get("usage", "SERVER")).upper() == "SERVER"
