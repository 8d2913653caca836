# SPDX-License-Identifier: Apache-2.0
"""SIGKILL around every journal write and every request that changes a BIG-IP or the order; then `ottr resume`.

Always the same end state: one certificate at most, nothing of ours unsaved or left over on the device, no token, and a
watcher that handshakes all the while never meets another certificate than the former one and the new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ottr.drivers.f5.simulator import F5Simulator
from ottr.lab import Lab
from tests.acceptance import f5
from tests.acceptance.appliances import API_PORT, Sweep, give
from tests.acceptance.faults import Site
from tests.acceptance.remote import Remote

SHARDS = 2
VERSIONS = {"client_ssl": ("14.1.4", "16.1.2"), "management": ("15.1.8", "17.1.1")}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("sweep") / "lab", 0) as lab:
        yield lab


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("place", list(VERSIONS))
def test_killed_at_any_act_a_resume_ends_in_the_same_state(lab: Lab, tmp_path: Path, place: str, shard: int) -> None:
    number = 100 + shard + SHARDS * list(VERSIONS).index(place)
    settings = replace(f5.QUICK, hostname=f"lb{number}", os_version=VERSIONS[place][shard])
    address = lab.network.address(number)
    with Remote(partial(F5Simulator, address, API_PORT, settings=settings)) as balancer:
        site, appliance = Site(lab, tmp_path / "site"), f5.describe(address, settings, place)
        give(site, f5.OPTIONS[place], appliance)
        Sweep(site, appliance, partial(balancer.ask, f5.look), most_sessions=0).run(shard, SHARDS)
