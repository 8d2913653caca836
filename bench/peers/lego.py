# SPDX-License-Identifier: Apache-2.0
"""lego, a process for each host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench.fleet import ZONE, Fleet
from bench.peers import Command
from bench.peers.shell import build_environment, build_xargs, run_quietly, write_hosts


class Peer:
    """As many at once as there are hosts, up to 100: it sleeps much. One account for all, registered before."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        bind = fleet.lab.bind
        self._folder = folder
        self._hosts = folder / "hosts.tsv"
        self._parallel = 100 if len(fleet.hosts) > 50 else 50
        self.about = f"-P {self._parallel}, 2 ssh connections a host, --csr, --dns.disable-cp"
        self._environment = {
            **build_environment(fleet),
            "LEGO_CA_CERTIFICATES": str(fleet.lab.pebble.ca_bundle),
            "RFC2136_NAMESERVER": bind.server,
            "RFC2136_TSIG_ALGORITHM": f"{bind.tsig_algorithm}.",
            "RFC2136_TSIG_KEY": bind.tsig_name,
            "RFC2136_TSIG_SECRET": bind.tsig_secret,
            "RFC2136_POLLING_INTERVAL": "1",
        }
        write_hosts(self._hosts, fleet)

    def build_command(self, number: int, /) -> Command:
        """See Peer."""
        work = self._folder / f"work{number}"
        work.mkdir()
        environment = {**self._environment, "BENCH_WORK": str(work), "BENCH_ACCOUNT": str(work / "lego")}
        _register({**os.environ, **environment})
        return build_xargs("lego", self._hosts, self._parallel, environment)


def _register(environment: Mapping[str, str]) -> None:
    """lego registers with its first certificate."""
    words = ["lego", "--server", environment["BENCH_DIRECTORY"], "--email", f"bench@{ZONE}", "--accept-tos"]
    words += ["--path", environment["BENCH_ACCOUNT"], "--domains", f"first.{ZONE}", "--dns", "rfc2136"]
    words += ["--dns.disable-cp", "--dns.resolvers", environment["RFC2136_NAMESERVER"], "run"]
    run_quietly(words, environment)
