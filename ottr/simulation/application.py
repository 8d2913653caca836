# SPDX-License-Identifier: Apache-2.0
"""Between server and device: the log, and the faults that any device can have."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from ottr.simulation.faults import Faults
from ottr.simulation.requests import DropConnection, Request, RequestLog, Response


class Device(Protocol):
    """What a simulator must be able to do with a request."""

    def describe(self, request: Request) -> tuple[str, Mapping[str, str]]:
        """The operation's name, for log and faults, and its parameters. Never raises."""

    def answer(self, request: Request, operation: str) -> Response:
        """Do it."""


class Application:
    """Gives requests to a device, keeps the log and lets the wire's faults happen."""

    def __init__(self, device: Device, faults: Faults, log: RequestLog) -> None:
        self._device, self._faults, self._log = device, faults, log

    def __call__(self, request: Request) -> Response:
        """Answer a request. Raises DropConnection when a fault says so."""
        operation, parameters = self._device.describe(request)
        response = None
        try:
            if self._faults.take("drop_before", operation):
                raise DropConnection
            if delay_s := self._faults.take("slow"):
                time.sleep(float(delay_s))
            response = self._device.answer(request, operation)
            if self._faults.take("drop_after", operation):
                response = None
                raise DropConnection
        finally:
            self._log.add(request, operation, parameters, response.status if response else 0)
            self._log.watch(request, response.body if response else b"")
        return response
