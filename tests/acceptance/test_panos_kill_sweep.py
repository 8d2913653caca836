# SPDX-License-Identifier: Apache-2.0
"""SIGKILL around every journal write and every request that changes a firewall or the order; then `ottr resume`.

Always the same end state: one certificate at most, nothing of ours pending or left over on the firewall, and a watcher
that handshakes all the while never meets another certificate than the former one and the new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ottr.drivers.panos.simulator import PanosSimulator
from ottr.lab import Lab
from tests.acceptance import panos
from tests.acceptance.appliances import API_PORT, Sweep, give
from tests.acceptance.faults import Site
from tests.acceptance.remote import Remote

SHARDS = 2
VERSIONS = ("10.2.4", "8.1.26")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("sweep") / "lab", 0) as lab:
        yield lab


@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_at_any_act_a_resume_ends_in_the_same_state(lab: Lab, tmp_path: Path, shard: int) -> None:
    settings = replace(panos.QUICK, hostname=f"fw{shard}", os_version=VERSIONS[shard])
    address = lab.network.address(100 + shard)
    with Remote(partial(PanosSimulator, address, API_PORT, settings=settings)) as firewall:
        site, appliance = Site(lab, tmp_path / "site"), panos.describe(address, settings)
        give(site, panos.OPTIONS, appliance)
        Sweep(site, appliance, partial(firewall.ask, panos.look), most_sessions=1).run(shard, SHARDS)
