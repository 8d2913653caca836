# SPDX-License-Identifier: Apache-2.0
"""An Ansible inventory, read by Ansible in a child process, remembered while nothing changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ottr import headstart
from ottr.errors import InventoryError
from ottr.inventory import CertificateFacts, HostSecrets, InventoryHost, RecordResult, variables
from ottr.inventory.cache import InventoryCache, build_key, configuration_files
from ottr.inventory.child import ReaderChild
from ottr.inventory.options import InventoryOptions
from ottr.inventory.pattern import Ambiguous, HostIndex, select
from ottr.model import Secret

__all__ = ["AnsibleInventory", "Ask", "InventoryOptions"]

Ask = Callable[[str], Secret]
"""Asks somebody at the terminal for a password; gets the vault id."""

_WANTED: Final = {
    "names": variables.NAMES,
    "prefixes": variables.PREFIXES,
    "secrets": variables.SECRETS,
    "secret_suffixes": variables.SECRET_SUFFIXES,
}

# Of the answer to `open`, what is kept.
_KEPT: Final = ("hosts", "groups", "defaults", "dynamic", "sources", "origins", "mismatch", "config")


@dataclass(slots=True)
class _Contents:
    """What is known of the inventory."""

    described: Mapping[str, Any]
    rows: dict[str, list[Any]] = field(default_factory=dict)
    """By host: name, variables, names of secrets, problems, whether they may be kept."""

    @property
    def static(self) -> bool:
        return not self.described["dynamic"]


class AnsibleInventory:
    """Implements ``Inventory``. Usable from several threads; ``close`` ends the child."""

    def __init__(
        self, options: InventoryOptions, *, cache: InventoryCache | None = None, ask: Ask | None = None
    ) -> None:
        self._options = options
        self._cache = cache
        self._ask = ask
        self._passwords: dict[str, str] = {}
        self._child: ReaderChild | None = None
        self._opened = False
        self._contents: _Contents | None = None
        self._warnings: list[str] = []
        self._recorded: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> AnsibleInventory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What Ansible warned of so far, and terms of patterns that mean nothing."""
        return tuple(self._warnings)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources as Ansible resolved them. Waits for the reader."""
        with self._lock:
            return tuple(self._load().described["sources"])

    def start(self) -> None:
        """Begin to read, without waiting: from the cache when it holds, else in the child."""
        with self._lock:
            if self._contents is None and self._child is None and not self._recall():
                self._launch()

    def hosts(self, pattern: str = "all", limit: str = "") -> tuple[InventoryHost, ...]:
        """Return the hosts that a pattern and a limit mean, in Ansible's order.

        Raises InventoryError when the inventory cannot be read, and when nothing matches.
        """
        with self._lock:
            contents = self._load()
            names = self._select(contents, pattern, limit)
            self._read_rows(contents, names)
            groups = self._groups
            return tuple(_host(contents, contents.rows[name], groups) for name in names if name in contents.rows)

    def secrets(self, hosts: Sequence[InventoryHost]) -> dict[str, HostSecrets]:
        """Look up the secret variables of these hosts. Nothing is kept."""
        wanted = {host.name: host.secret_names for host in hosts if host.secret_names}
        found = {host.name: HostSecrets() for host in hosts}
        if not wanted:
            self._dismiss()
        else:
            with self._lock:
                answer = self._ask_child({"operation": "secrets", "hosts": wanted})
            for name, values, problems in answer["rows"]:
                found[name] = HostSecrets({key: Secret(value) for key, value in values.items()}, problems)
        return found

    def record(self, host: str, facts: CertificateFacts) -> RecordResult:
        """Write the facts of a verified certificate into the host's own variables; see ``writeback``."""
        # A YAML parser is wanted here only, long after the start.
        from ottr.inventory import hostvars, writeback

        with self._lock:
            contents = self._load()
            number = self._index.numbers.get(host)
            origin = -1 if number is None else contents.described["origins"][number]
            sources, folders = contents.described["sources"], self._variable_folders
        if origin < 0:
            return RecordResult(warning=f"{host} comes from no file that could be written to")
        home = hostvars.variable_folder(sources[origin])
        result = writeback.record(host, facts, folders=folders, home=home)
        with self._lock:
            self._recorded[host] = (writeback.variables_of(facts), result.files)
        return result

    def _dismiss(self) -> None:
        """End a child that nobody waits for: it holds some 50 MiB. It is started anew if it is asked again."""
        with self._lock:
            child, self._child, self._opened = self._child, None, False
        if child is not None:
            threading.Thread(target=child.close, name="ottr-inventory", daemon=True).start()

    def close(self) -> None:
        """End the child; what was recorded meanwhile goes into the cache, so that it holds for the next run."""
        with self._lock:
            recorded, self._recorded = self._recorded, {}
            steady = self._contents is not None and self._contents.described.get("steady")
            if recorded and steady and self._cache is not None:
                self._cache.amend(self._key, recorded)
            if self._child is not None:
                self._child.close()
            self._child, self._opened = None, False

    @cached_property
    def _key(self) -> str:
        return build_key({**self._options.request(), **_WANTED}, os.environ)

    @cached_property
    def _variable_folders(self) -> tuple[Path, ...]:
        from ottr.inventory import hostvars

        return hostvars.variable_folders(self._load().described["sources"], working_folder=Path.cwd())

    @cached_property
    def _index(self) -> HostIndex:
        described = self._load().described
        return HostIndex.of(described["hosts"], dict(described["groups"]))

    @cached_property
    def _groups(self) -> Mapping[str, frozenset[str]]:
        """Groups of each host; hosts of the same groups share the set."""
        found: list[list[str]] = [[] for _ in self._index.hosts]
        for group, numbers in self._index.groups.items():
            if group != "all":
                for number in numbers:
                    found[number].append(group)
        shared: dict[tuple[str, ...], frozenset[str]] = {}
        keys = [tuple(groups) for groups in found]
        return {name: shared.setdefault(key, frozenset(key)) for name, key in zip(self._index.hosts, keys, strict=True)}

    def _recall(self) -> bool:
        kept = self._cache.load(self._key) if self._cache is not None else None
        if kept is None:
            return False
        self._contents = _Contents(kept["described"], {row[0]: row for row in kept["rows"]})
        self._warn(kept["warnings"])
        return True

    def _launch(self) -> ReaderChild:
        for vault_id in self._options.prompted():
            self._ask_password(vault_id)
        self._child = ReaderChild(begun=headstart.take(), timeout_s=self._options.timeout_s)
        self._opened = False
        request = {"operation": "open", "vault_passwords": self._passwords, **self._options.request()}
        self._child.send(request)
        return self._child

    def _open(self) -> dict[str, Any]:
        """Wait until the child has parsed the sources; a password it lacks is asked for, once for each vault id."""
        child = self._child or self._launch()
        answer = child.receive()
        error = answer.get("error", {})
        if error.get("code") == "vault_password_needed" and error["vault_id"] not in self._passwords:
            self._ask_password(error["vault_id"])
            self.close()
            return self._open()
        self._opened = True
        return self._check(answer)

    def _ask_password(self, vault_id: str) -> None:
        if vault_id in self._passwords:
            return
        if self._ask is None:
            raise InventoryError(f"the vault password of {vault_id!r} is needed, and nobody can be asked")
        self._passwords[vault_id] = self._ask(vault_id).reveal()

    def _ask_child(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not self._opened:
            self._open()
        if self._child is None:
            raise InventoryError("the inventory reader is closed")
        return self._check(self._child.ask(request))

    def _check(self, answer: dict[str, Any]) -> dict[str, Any]:
        self._warn(answer.get("warnings", ()))
        if "error" in answer:
            self.close()
            raise _error(answer["error"])
        return answer

    def _warn(self, warnings: Sequence[str]) -> None:
        for text in warnings:
            if text not in self._warnings:
                self._warnings.append(text)

    def _load(self) -> _Contents:
        if self._contents is None and (self._child is not None or not self._recall()):
            answer = self._open()
            described = {name: answer[name] for name in _KEPT}
            contents = _Contents(described)
            if contents.static:
                used = self._read(contents, None)
                facts = any(name.startswith("certificate_") for name in used["used"])
                # Whether facts written later change nothing but themselves.
                described["steady"] = not (facts or used["indirect"] or self._options.extra_vars)
                self._keep(contents, answer["started_ns"])
            self._contents = contents
        if self._contents is None:
            raise InventoryError("the inventory could not be read")
        return self._contents

    def _read(self, contents: _Contents, names: Sequence[str] | None) -> dict[str, Any]:
        answer = self._ask_child({"operation": "variables", "hosts": names, **_WANTED})
        contents.rows.update((row[0], row) for row in answer["rows"])
        return answer

    def _read_rows(self, contents: _Contents, names: Sequence[str]) -> None:
        missing = [name for name in names if name not in contents.rows]
        if missing:
            self._read(contents, missing)

    def _keep(self, contents: _Contents, started_ns: int) -> None:
        if self._cache is None:
            return
        files = [*self._ask_child({"operation": "files"})["files"]]
        files += [*configuration_files(os.environ), *self._options.files()]
        rows = [row for row in contents.rows.values() if row[4]]
        content = {"described": contents.described, "rows": rows, "warnings": self._warnings}
        self._cache.store(self._key, files, content, started_ns=started_ns)

    def _select(self, contents: _Contents, pattern: str, limit: str) -> Sequence[str]:
        try:
            selection = select(self._index, pattern, limit)
        except Ambiguous:
            names: list[str] = self._ask_child({"operation": "match", "pattern": pattern, "limit": limit})["hosts"]
        else:
            names = list(selection.names)
            self._report_unmatched(contents, selection.unmatched)
        if not names and (contents.described["hosts"] or pattern != "all"):
            raise InventoryError(
                f"no host matches {pattern!r}" + (f" with the limit {limit!r}" if limit else ""),
                hint="`ansible-inventory --graph` shows the groups and hosts there are",
            )
        return names

    def _report_unmatched(self, contents: _Contents, terms: Sequence[str]) -> None:
        for term in terms:
            message = f"no host matches {term!r}"
            if contents.described["mismatch"] == "error":
                raise InventoryError(message)
            self._warn([message])


def _host(contents: _Contents, row: Sequence[Any], groups: Mapping[str, frozenset[str]]) -> InventoryHost:
    name, found, secret_names, problems, _ = row
    defaults = contents.described["defaults"]
    return InventoryHost(
        name, groups.get(name, frozenset()), {**defaults, **found} if defaults else found, tuple(secret_names), problems
    )


def _error(answer: Mapping[str, Any]) -> InventoryError:
    file = answer["file"] + (f", line {answer['line']}" if answer["line"] else "")
    message = str(answer["message"]).replace("[WARNING]: ", "")
    if answer["file"] and answer["file"] not in message:
        message = f"{file}: {message}"
    elif answer["line"]:
        message = message.replace(answer["file"], file, 1)
    hints = {
        "vault": "give the vault password: --vault-id, --vault-password-file or --ask-vault-pass",
        "unparsed": "Ansible would leave this source out with a warning; repair it, remove it, or list it under "
        "ignore_patterns in the section [inventory] of ansible.cfg",
    }
    return InventoryError(message, hint=hints.get(answer["code"], ""))
