# SPDX-License-Identifier: Apache-2.0
"""A simulator in a process of its own that does what it is told: a test that forks must not have its threads."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

_START_S = 60.0


class Remote(Generic[S]):
    """The process, for the time of a block. ``build`` and what is asked must be picklable."""

    def __init__(self, build: Callable[[], AbstractContextManager[S]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, build), daemon=True)
        self._far = far

    def __enter__(self) -> Remote[S]:
        self._process.start()
        self._far.close()
        assert self._pipe.poll(_START_S), "the simulator does not start"
        assert self._pipe.recv() == (True, None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def ask(self, question: Callable[[S], T]) -> T:
        """Call something with the simulator over there; ``attrgetter`` and ``methodcaller`` are enough for most."""
        self._pipe.send(question)
        good, answer = self._pipe.recv()
        assert good, answer
        result: T = answer
        return result


def _serve(pipe: Connection, build: Callable[[], AbstractContextManager[Any]]) -> None:
    with build() as simulator:
        pipe.send((True, None))
        while True:
            try:
                question = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                answer = (True, question(simulator))
            except Exception as error:
                answer = (False, repr(error))
            pipe.send(answer)
