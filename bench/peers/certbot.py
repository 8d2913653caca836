# SPDX-License-Identifier: Apache-2.0
"""certbot with certbot-dns-rfc2136, a process for each host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.fleet import ZONE, Fleet
from bench.peers import Command, find_environment
from bench.peers.shell import build_environment, build_xargs, run_quietly, write_hosts


class Peer:
    """8 at once, 16 where the CA sleeps. Each has a folder of its own, since certbot locks it; one account in all."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        bind = fleet.lab.bind
        self._fleet = fleet
        self._folder = folder
        self._hosts = folder / "hosts.tsv"
        self._parallel = 16 if fleet.sleeps else 8
        self.about = f"-P {self._parallel}, 2 ssh connections a host, --csr, propagation 0 s"
        self._certbot = find_environment("certbot") / "bin" / "certbot"
        credentials = folder / "credentials.ini"
        credentials.touch(mode=0o600)
        credentials.write_text(
            f"dns_rfc2136_server = {bind.address}\n"
            f"dns_rfc2136_port = {bind.port}\n"
            f"dns_rfc2136_name = {bind.tsig_name}\n"
            f"dns_rfc2136_secret = {bind.tsig_secret}\n"
            f"dns_rfc2136_algorithm = {bind.tsig_algorithm.upper()}\n"
        )
        self._environment = {
            **build_environment(fleet),
            "BENCH_CERTBOT": str(self._certbot),
            "BENCH_CREDENTIALS": str(credentials),
            "REQUESTS_CA_BUNDLE": str(fleet.lab.pebble.ca_bundle),
        }
        write_hosts(self._hosts, fleet)

    def build_command(self, number: int, /) -> Command:
        """See Peer. Every host gets a copy of the account."""
        work = self._folder / f"work{number}"
        account = self._register(work)
        for host in self._fleet.hosts:
            shutil.copytree(account, work / host.name / "config", symlinks=True)
        return build_xargs("certbot", self._hosts, self._parallel, {**self._environment, "BENCH_WORK": str(work)})

    def _register(self, work: Path) -> Path:
        account = work / "account"
        words = [str(self._certbot), "register", "--non-interactive", "--agree-tos", "--email", f"bench@{ZONE}"]
        words += ["--server", self._environment["BENCH_DIRECTORY"], "--config-dir", str(account)]
        words += ["--work-dir", str(work / "register"), "--logs-dir", str(work / "logs")]
        run_quietly(words, {**os.environ, **self._environment})
        return account
