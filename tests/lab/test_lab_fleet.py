# SPDX-License-Identifier: Apache-2.0
"""The lab as a whole: its hosts are reachable, and nothing of it is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from ottr.errors import LabError
from ottr.lab import Lab
from ottr.lab.bind import Bind
from ottr.lab.pebble import Pebble


def list_pids(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(entry.name)
    return found


def test_each_host_serves_its_own_certificate_and_lets_the_key_in(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", 18) as lab:
        leaves = [x509.load_pem_x509_certificate(host.fetch_served_pem().encode()) for host in lab.hosts]
        names = [leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for leaf in leaves]
        login = ["ssh", "-F", "none", "-i", str(lab.ssh_key), "-p", "2222", "-o", "BatchMode=yes"]
        login += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={lab.known_hosts}"]
        for host in (lab.hosts[0], lab.hosts[-1]):
            command = [*login, f"{host.sshd.user}@{host.address}", *host.nginx.test_command]
            subprocess.run(command, check=True, capture_output=True)
        assert list_pids(lab.folder)
        assert len(lab.sshds) == 2

    assert [name.get_values_for_type(x509.DNSName) for name in names] == [[f"web{n}.lab.test"] for n in range(1, 19)]
    assert list_pids(lab.folder) == []


def test_a_lab_that_cannot_start_leaves_nothing_running(tmp_path: Path) -> None:
    class Broken(Pebble):
        def prepare(self) -> None:
            super().prepare()
            (self.folder / "pebble.json").write_text("{")

    with pytest.raises(LabError, match="pebble"), Lab(tmp_path / "lab", 2, build_pebble=Broken):
        pass

    assert list_pids(tmp_path / "lab") == []


def test_trust_follows_pebble_over_a_restart(lab: Lab) -> None:
    before = lab.trust.read_text()
    lab.pebble.restart()
    lab.write_trust()

    assert lab.trust.read_text() == "".join(lab.pebble.roots()) != before


def test_the_zone_answers_and_holds_no_challenge(lab: Lab) -> None:
    assert isinstance(lab.bind, Bind)
    assert lab.bind.txt(f"_acme-challenge.{lab.hosts[0].name}") == set()
