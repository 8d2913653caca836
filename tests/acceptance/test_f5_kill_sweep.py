# SPDX-License-Identifier: Apache-2.0
"""SIGKILL around every journal write and every request that changes a BIG-IP or the order; then `ottr resume`.

Always the same end state: one certificate at most, nothing of ours unsaved or left over on the device, no token, and a
watcher that handshakes all the while never meets another certificate than the former one and the new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ottr.drivers.f5.simulator import F5Simulator
from ottr.lab import Lab
from tests.acceptance import f5, killing
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


def test_a_sample_has_every_journal_write_and_every_kind_of_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ["write", "look lb GET /a", "write", "change lb POST /a", "look lb GET /b", "look lb GET /a", "write"]
    kinds += ["change lb POST /a", "look lb GET /b", "handshake", "change lb POST /c", "look lb GET /a", "handshake"]
    both = [f"{when} {kind}" for kind in kinds for when in ("before", "after")]
    log = tmp_path / "log"
    log.write_text(f"--- a run\nkinds {json.dumps(both)}\nacts {len(both)}\n")
    monkeypatch.delenv("OTTR_SWEEP", raising=False)
    parts = [{(number - 1) // 2 for number in killing.choose_acts(log, shard, 2)} for shard in range(2)]
    assert parts[0] | parts[1] == {0, 1, 2, 3, 4, 6, 9, 10, 11}
    assert parts[0].isdisjoint(parts[1])
    monkeypatch.setenv("OTTR_SWEEP", "all")
    assert [killing.choose_acts(log, shard, 2) for shard in range(2)] == [list(range(1, len(both) + 1))] * 2
