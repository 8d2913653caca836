# SPDX-License-Identifier: Apache-2.0
"""SIGKILL before and after every journal write and every request of a rotation; then `ottr resume`.

Always the same end state, one certificate at most, nothing left in the zone or on the host, and a watcher that
handshakes all the while never meets a host that serves nothing or something it has no key for.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.lab import Lab
from tests.acceptance import killing
from tests.acceptance.watcher import Watcher

SHARDS = 4


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("sweep") / "lab", 1) as lab:
        yield lab


@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_at_any_act_a_resume_ends_in_the_same_state(lab: Lab, tmp_path: Path, shard: int) -> None:
    [host] = lab.hosts
    log = tmp_path / "log"
    assert killing.run(lab.settings, killing.rotate, log) == 0, log.read_text()
    acts = killing.count_acts(log)
    assert acts > 60
    with Watcher(host.address, host.nginx.port, host.name) as watcher:
        for at in range(1 + shard, acts + 1, SHARDS):
            before = current(lab)
            issued = count_issued(lab)
            log.write_text(f"--- killed at {at}\n")
            # threads do the same in another order now and then: the last acts may not be reached
            assert killing.run(lab.settings, killing.rotate, log, at) in (-9, 0), log.read_text()
            assert killing.run(lab.settings, killing.resume, log) == 0, log.read_text()
            check_end_state(lab, at, before, watcher, count_issued(lab) - issued)
    assert watcher.failures == []
    assert watcher.handshakes > 100


def check_end_state(lab: Lab, at: int, before: tuple[str, bytes], watcher: Watcher, issued: int) -> None:
    [host] = lab.hosts
    with sqlite3.connect(lab.folder / "state" / "state.db") as state:
        rotations = dict(state.execute("SELECT label, state FROM rotation ORDER BY started_at"))
    label, after = current(lab)
    watcher.await_served(after)
    assert issued <= 1, at
    assert (before != (label, after)) == (issued == 1), at
    assert set(rotations.values()) == {"rotated"}, at
    assert lab.bind.txt(f"_acme-challenge.{host.name}") == set(), at
    kept = {label, *list(rotations)[-2:]}
    on_host = {path.name for path in host.nginx.key.parent.glob("*.ottr/*") if path.name.startswith("ottr-")}
    assert on_host <= kept, at
    assert len(on_host) <= 2, at
    assert f'certificate_sha256: "{sha256(after)}"' in recorded(lab, host.name), at


def current(lab: Lab) -> tuple[str, bytes]:
    """Label and certificate that the state database says are served."""
    with sqlite3.connect(lab.folder / "state" / "state.db") as state:
        [(label, leaf_pem)] = state.execute(
            "SELECT rotation.label, certificate.leaf_pem FROM certificate JOIN rotation"
            " ON rotation.id = certificate.rotation_id"
            " WHERE served_at IS NOT NULL AND superseded_at IS NULL"
        )
    return label, ssl.PEM_cert_to_DER_cert(leaf_pem)


def sha256(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def recorded(lab: Lab, host: str) -> str:
    return (lab.inventory / "host_vars" / host / "certificate.yml").read_text()


def count_issued(lab: Lab) -> int:
    return len(re.findall(r"Issued certificate serial", lab.pebble.process.log.read_text()))
