# SPDX-License-Identifier: Apache-2.0
"""The floor (``bench.floor``) as a peer."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from bench.fleet import ZONE, Fleet
from bench.peers import Command


class Peer:
    """16 threads; 64 where the CA sleeps."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        lab = fleet.lab
        threads = 64 if fleet.sleeps else 16
        self.about = f"{threads} threads, no journal, no inventory"
        self._job = folder / "job.json"
        hosts = [
            {
                "name": host.name,
                "address": host.address,
                "ssh_port": host.sshd.port,
                "user": host.sshd.user,
                "tls_port": host.nginx.port,
                "fullchain": str(host.nginx.fullchain),
                "key": str(host.nginx.key),
                "reload": shlex.join(host.nginx.reload_command),
            }
            for host in fleet.hosts
        ]
        job = {
            "threads": threads,
            "hosts": hosts,
            "ssh_key": str(lab.ssh_key),
            "known_hosts": str(lab.known_hosts),
            "directory": lab.pebble.directory,
            "ca_bundle": str(lab.pebble.ca_bundle),
            "trust": str(lab.trust),
            "dns": {
                "address": lab.bind.address,
                "port": lab.bind.port,
                "zone": ZONE,
                "key_name": lab.bind.tsig_name,
                "key_secret": lab.bind.tsig_secret,
            },
        }
        self._job.touch(mode=0o600)
        self._job.write_text(json.dumps(job))

    def build_command(self, _number: int, /) -> Command:
        """See Peer."""
        return Command((sys.executable, "-m", "bench.floor", str(self._job)))
