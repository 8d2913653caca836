# SPDX-License-Identifier: Apache-2.0
"""Drivers of kettles that connect in a wrong way."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace

from ottr.transports.http import HttpClient, fetch_fingerprint
from tests.drivers.mutants.sessions import Broken


class Around:
    """A driver's package around another one."""

    def __init__(self, driver) -> None:
        self._driver = driver
        self.check_options = driver.check_options


class Talkative(Around):
    @contextmanager
    def connect(self, device, options, credentials):
        logging.getLogger("kettle").debug("token %s", credentials.password.reveal())
        with self._driver.connect(device, options, credentials) as session:
            yield session


class Careless(Around):
    @contextmanager
    def connect(self, device, options, credentials):
        with self._driver.connect(device, options, credentials) as session:
            session._send("GET", f"/status?token={credentials.password.reveal()}")
            yield session


class Trusting(Around):
    @contextmanager
    def connect(self, device, options, credentials):
        port = device.variables["ansible_port"]
        pin = fetch_fingerprint(f"https://{device.address}:{port}")
        trusted = replace(device, variables={"ansible_port": port, "ottr_tls_fingerprint": pin})
        with self._driver.connect(trusted, options, credentials) as session:
            yield session


class Hasty(Around):
    """Asks who is there over a connection that is not checked, before it opens the one that is."""

    @contextmanager
    def connect(self, device, options, credentials):
        url = f"https://{device.address}:{device.variables['ansible_port']}"
        http = HttpClient(fingerprint=fetch_fingerprint(url))
        try:
            if device.variables["ottr_tls_fingerprint"].endswith("00"):
                http.request("GET", f"{url}/status")
        finally:
            http.close()
        with self._driver.connect(device, options, credentials) as session:
            yield session


class Shared(Around):
    """As a driver with its session in a variable of the module."""

    @contextmanager
    def connect(self, device, options, credentials):
        with self._driver.connect(device, options, credentials) as session:
            self.last = session
            yield _Last(self)


class _Last(Broken):
    def __init__(self, driver) -> None:
        self._driver = driver

    def __getattr__(self, name):
        return getattr(self._driver.last, name)
