# SPDX-License-Identifier: Apache-2.0
"""Running and saved configuration: objects by collection and full path. Names with ``_`` in front are not shown."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from ottr.drivers.f5.simulator.answers import absent, exists, name_of, partition_of

Object = dict[str, Any]
Tree = dict[str, dict[str, Object]]

CERTIFICATE = "sys/file/ssl-cert"
KEY = "sys/file/ssl-key"
CLIENT_SSL = "ltm/profile/client-ssl"
VIRTUAL = "ltm/virtual"
PARTITION = "auth/partition"
FOLDER = "sys/folder"
HTTPD = "sys/httpd"
CLI = "cli/preference"
SYNCED = (CERTIFICATE, KEY, CLIENT_SSL, VIRTUAL, PARTITION, FOLDER)
"""What a device group shares; httpd is each device's own."""

LABELS = {
    CERTIFICATE: "certificate file",
    KEY: "certificate key file",
    CLIENT_SSL: "ClientSSL Profile",
    VIRTUAL: "Virtual Server",
    PARTITION: "partition",
    FOLDER: "folder",
}


class Configuration:
    """What the device is told to do (running) and what it will do after a reboot (saved)."""

    def __init__(self, check: Callable[[Tree, Tree], None], changed: Callable[[], None]) -> None:
        self.running: Tree = {}
        self.saved: Tree = {}
        self.generation = 1
        self._check, self._changed = check, changed
        self._depth = 0

    @property
    def editing(self) -> bool:
        """Whether an edit is going on."""
        return self._depth > 0

    def of(self, collection: str) -> dict[str, Object]:
        """The objects of a collection by full path."""
        return self.running.setdefault(collection, {})

    def get(self, collection: str, path: str) -> Object:
        """One object. Raises Refusal (404)."""
        found = self.of(collection).get(path)
        if found is None:
            raise absent(LABELS.get(collection, "object"), path)
        return found

    def add(self, collection: str, path: str, content: Object, *, status: int = 409) -> Object:
        """Add an object. Raises Refusal when the name is taken."""
        if path in self.of(collection):
            raise exists(LABELS.get(collection, "object"), path, status)
        return self.put(collection, path, content)

    def put(self, collection: str, path: str, content: Object) -> Object:
        """Write an object, its generation with it."""
        self.generation += 1
        named = {"name": name_of(path), "partition": partition_of(path), "fullPath": path}
        self.of(collection)[path] = {**named, **content, "generation": self.generation}
        return self.of(collection)[path]

    def remove(self, collection: str, path: str) -> None:
        """Remove an object. Raises Refusal (404)."""
        self.get(collection, path)
        self.generation += 1
        del self.of(collection)[path]

    @contextmanager
    def edit(self, *, keep: bool = True) -> Iterator[None]:
        """All of what is done inside, or nothing: the whole is checked at the end. Raises what the check raises.

        Without ``keep`` it is only checked.
        """
        before = _copy(self.running)
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                self._check(self.running, before)
        except BaseException:
            self.running = before
            raise
        finally:
            self._depth -= 1
        if not keep:
            self.running = before
        if self._depth == 0 and self.running != before:
            self._changed()

    def save(self) -> None:
        """Let the running configuration be what a reboot loads."""
        self.saved = _copy(self.running)

    def load(self) -> None:
        """Go back to the saved configuration."""
        self.running = _copy(self.saved)
        self._changed()

    def synced(self) -> Tree:
        """A copy of what a device group shares."""
        return _copy({name: self.of(name) for name in SYNCED})

    def receive(self, shared: Tree) -> None:
        """Take what another unit of the group has."""
        self.running.update(_copy(shared))
        self._changed()

    def hash(self) -> str:
        """SHA-256 over running and saved configuration."""
        return sha256(json.dumps([self.running, self.saved], sort_keys=True).encode()).hexdigest()

    def shared_hash(self) -> str:
        """SHA-256 over what a device group shares, without generations."""
        shared = {name: {path: {**found, "generation": 0} for path, found in self.of(name).items()} for name in SYNCED}
        return sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


def _copy(tree: Tree) -> Tree:
    """A copy down to the leaves, which ``copy.deepcopy`` takes five times as long for."""
    copied: Tree = pickle.loads(pickle.dumps(tree, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - written a moment ago
    return copied
