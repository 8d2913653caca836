# SPDX-License-Identifier: Apache-2.0
"""The CAs of ottr.yaml, each made when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from ottr.orchestrator.target import Authority


class Authorities(Mapping[str, Authority]):
    """By the keys of ``issuers``. Safe to share among threads."""

    def __init__(self, names: Mapping[str, object], build: Callable[[str], Authority]) -> None:
        self._names = tuple(names)
        self._build = build
        self._built: dict[str, Authority] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Authority:
        with self._lock:
            if name not in self._built:
                if name not in self._names:
                    raise KeyError(name)
                self._built[name] = self._build(name)
            return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
