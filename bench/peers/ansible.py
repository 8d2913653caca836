# SPDX-License-Identifier: Apache-2.0
"""ansible-playbook with community.crypto and community.general."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench.fleet import ZONE, Fleet
from bench.peers import Command, find_environment
from bench.peers.shell import run_quietly

_PLAYBOOKS = Path(__file__).parents[1] / "playbook"


class Peer:
    """50 forks, pipelining, ControlPersist, no facts gathered. The account is registered before."""

    about = "forks 50, pipelining, ControlPersist, no facts"

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        lab, bind = fleet.lab, fleet.lab.bind
        self._inventory = lab.inventory
        self._program = find_environment("ansible") / "bin" / "ansible-playbook"
        self._variables = folder / "variables.json"
        self._environment = {
            "ANSIBLE_CONFIG": str(_write_configuration(folder, lab.known_hosts)),
            "ANSIBLE_HOME": str(folder / "home"),
            "SSL_CERT_FILE": str(lab.pebble.ca_bundle),
        }
        variables = {
            "ansible_python_interpreter": str(self._program.with_name("python")),
            "bench_account_key": str(folder / "account.pem"),
            "bench_directory": lab.pebble.directory,
            "bench_zone": ZONE,
            "bench_dns_server": bind.address,
            "bench_dns_port": bind.port,
            "bench_tsig_name": bind.tsig_name,
            "bench_tsig_secret": bind.tsig_secret,
            "bench_tsig_algorithm": bind.tsig_algorithm,
            "bench_tls_port": fleet.hosts[0].nginx.port,
        }
        self._variables.touch(mode=0o600)
        self._variables.write_text(json.dumps(variables))

    def build_command(self, _number: int, /) -> Command:
        """See Peer."""
        run_quietly(self._build_argv("account.yml"), {**os.environ, **self._environment})
        return Command(self._build_argv("rotate.yml"), self._environment)

    def _build_argv(self, playbook: str) -> tuple[str, ...]:
        given = ("-i", str(self._inventory), "-e", f"@{self._variables}")
        return (str(self._program), *given, "--forks", "50", str(_PLAYBOOKS / playbook))


def _write_configuration(folder: Path, known_hosts: Path) -> Path:
    path = folder / "ansible.cfg"
    options = f"-F none -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known_hosts}"
    path.write_text(
        "[defaults]\n"
        f"local_tmp = {folder / 'local'}\n"
        f"remote_tmp = {folder / 'remote'}\n"
        "gathering = explicit\n"
        "[ssh_connection]\n"
        "pipelining = true\n"
        f"control_path_dir = {folder / 'cp'}\n"
        f"ssh_args = {options} -o KexAlgorithms=curve25519-sha256\n"
    )
    return path
