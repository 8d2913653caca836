# SPDX-License-Identifier: Apache-2.0
"""The lab for everybody, and the demo."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.app import App, Options
from ottr.lab.appliance import BARE, MIXED, Model
from ottr.lab.embedded.machines import EmbeddedHost
from ottr.lab.process import find_program
from tests.acceptance.cli.shell import Operator, interrupt, wait_until


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator.at(tmp_path / "somebody")
    yield operator
    operator.end_all()


def answers(address: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


def revoke(folder: Path, device: str) -> None:
    """Have a host's certificate revoked at the lab's CA, which then wants it renewed (RFC 9773) and says so."""
    app = App(Options(config=folder / "ottr.yaml"))
    try:
        certificates = app.stores.certificates
        issued = certificates.pem(device, certificates.current(device)[device].sha256)
        assert issued is not None
        app.authorities["lab"].issuer.revoke(issued.leaf_pem)
    finally:
        app.close()


def test_a_lab_is_held_open_until_a_signal(somebody: Operator) -> None:
    """Somebody takes its files over and rotates; what its CA wants renewed early is renewed by the next run."""
    folder = somebody.folder / "lab"
    process = somebody.start("lab", "--hosts", "1", "--folder", str(folder), "-o", "json")
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, "the lab ended"
        text += line
    host, *appliances = json.loads(text)["hosts"]
    assert [one["os_version"] for one in appliances] == [model.os_version for model in BARE]
    mine = somebody.folder / "mine"
    somebody.run("init", "--lab", str(folder), str(mine))
    assert somebody.run("plan", "--config", str(mine / "ottr.yaml"), "-o", "json").json["due"] == 1 + len(BARE)
    somebody.run("rotate", "--config", str(mine / "ottr.yaml"))
    revoke(mine, host["name"])
    again = somebody.run("rotate", "--config", str(mine / "ottr.yaml"), "-o", "json").json
    assert again["counts"]["not_due"] == len(BARE)
    [early] = [one for one in again["results"] if one["outcome"] == "rotated"]
    assert (early["device"], early["reason"]) == (host["name"], "ari_window")
    for device in (host, *appliances):
        assert answers(device["address"], device["port"])
    interrupt(process, signal.SIGTERM)
    somebody.wait(process)
    for device in (host, *appliances):
        wait_until(lambda at=device: not answers(at["address"], at["port"]), "the device is gone")


def test_a_lab_takes_no_folder_with_something_in_it(somebody: Operator) -> None:
    done = somebody.run("lab", "--folder", str(somebody.folder), status=1)
    assert "is not empty" in done.stderr


def read_rows(output: str, *words: str) -> list[list[str]]:
    """The rows of tables that have one of these words as a column, by the columns."""
    rows = [re.split(r" {2,}", line.strip()) for line in output.splitlines()]
    return [row for row in rows if set(words) & set(row)]


def test_the_demo_needs_no_more_than_python_sh_and_openssl_and_no_right_of_root(somebody: Operator) -> None:
    programs = somebody.folder / "programs"
    programs.mkdir()
    for name in ("sh", "openssl"):
        (programs / name).symlink_to(find_program(name))
    if os.geteuid() == 0:
        somebody.prefix = (find_program("setpriv"), "--bounding-set=-all", "--inh-caps=-all", "--")

    done = somebody.run("demo", "--hosts", "1", PATH=str(programs))

    count = 1 + len(BARE)
    assert f"{count} of {count} devices rotated, {count} serve another certificate than before." in done.stdout
    assert "bind" not in done.stdout.lower()
    after = read_rows(done.stdout, "after")
    assert [row[1] for row in after] == [f"linux {EmbeddedHost.os_version}", *(name_release(model) for model in BARE)]
    assert {row[-1] for row in after} == {"CN=Ottr lab Intermediate CA 1,O=Ottr lab"}

    former, current = read_rows(done.stdout, "former"), read_rows(done.stdout, "served now")
    asking = [row for row in former if row[3] == "revoke_superseded"]
    assert [row[0] for row in asking] == ["web1.lab.test", "lb1.lab.test", "lb2.lab.test", "lb3.lab.test"]
    assert {tuple(row[4:]) for row in asking} == {("revoked (superseded)", "revoked (superseded)")}
    assert [row[0] for row in former if row not in asking] == ["fw1.lab.test"]
    assert {tuple(row[-2:]) for row in (*current, *(row for row in former if row not in asking))} == {("good", "good")}
    serials = {row[0]: row[3] for row in after}
    assert [row[2] for row in former] == [serials[row[0]] for row in former]
    assert list((somebody.folder / "home").glob("ottr-*")) == []


def name_release(model: Model) -> str:
    return f"{model.product.platform} {model.os_version}"


def test_the_demo_with_real_servers(somebody: Operator) -> None:
    done = somebody.run("demo", "--hosts", "1", "--real")

    count = 1 + len(MIXED)
    assert done.stdout.endswith(f"{count} of {count} devices rotated, {count} serve another certificate than before.\n")
    before, after = read_rows(done.stdout, "before"), read_rows(done.stdout, "after")
    assert [row[:2] for row in before] == [row[:2] for row in after]
    assert [row[1] for row in after[1:]] == [name_release(model) for model in MIXED]
    for old, new in zip(before, after, strict=True):
        assert old[3] != new[3]
        assert new[-1].startswith("CN=Pebble")
    assert list((somebody.folder / "home").glob("ottr-*")) == []
