# SPDX-License-Identifier: Apache-2.0
"""Modules that libraries import and this program hardly ever uses: imported when something of them is asked for."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

UNUSED = ("invoke", "dns.asyncquery")
"""What paramiko runs the commands in ssh_config with, and dnspython's coroutines, which bring asyncio along."""

_lock = threading.RLock()


class _Late(ModuleType):
    """Stands in the place of a module until an attribute is wanted, and leads to the real one ever after."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec

    def __getattr__(self, name: str) -> Any:
        with _lock:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
            return getattr(import_module(self.__name__), name)


def put_off(names: tuple[str, ...] = UNUSED) -> None:
    """Let the first ``import`` of these cost nothing; what is imported already, or is not there, is left alone."""
    for name in names:
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            module = sys.modules[name] = _Late(spec)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
