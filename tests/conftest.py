# SPDX-License-Identifier: Apache-2.0
"""The lab's parts as fixtures. Under pytest-xdist each worker has its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ottr.lab import Lab
from ottr.lab.bind import Bind
from ottr.lab.network import Network, claim_network
from ottr.lab.pebble import Pebble

_MANY_FILES = 200

# A machine that is busy is no reason to fail.
settings.register_profile("ottr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ottr")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage counts no examples that Hypothesis makes up: it must not hang on chance, and doubles their time."""
    pure = Path(__file__).parent / "unit"
    for item in items:
        if item.path.parent == pure and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """What there is when all tests are known stays: to look through it again and again is a tenth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_runtest_teardown() -> None:
    """The collector, which comes seldom, closes files that a test has left; there may be 1024 of them."""
    if sum(1 for _ in Path("/proc/self/fd").iterdir()) > _MANY_FILES:
        gc.collect()


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Loopback addresses nobody else uses."""
    with claim_network() as claimed:
        yield claimed


@pytest.fixture(scope="session")
def bind(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    """A BIND that is primary for ``lab.test``."""
    with Bind(tmp_path_factory.mktemp("bind"), "127.0.0.1", network.port(0)) as server:
        yield server


@pytest.fixture(scope="session")
def pebble(network: Network, bind: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A Pebble that neither sleeps nor rejects nonces, and validates through ``bind``."""
    with Pebble(tmp_path_factory.mktemp("pebble"), network.address(0), bind.server) as server:
        yield server


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Three hosts with everything that rotates them."""
    with Lab(tmp_path / "lab") as running:
        yield running
