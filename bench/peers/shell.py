# SPDX-License-Identifier: Apache-2.0
"""What lego and certbot have in common: ``bench/rotate-host`` for each host, so many at once by xargs."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.fleet import Fleet
from bench.peers import Command

_ROTATE_HOST = Path(__file__).parents[1] / "rotate-host"


def write_hosts(path: Path, fleet: Fleet) -> None:
    """Write a line for each host, as ``rotate-host`` takes it."""
    path.write_text(
        "".join(
            "\t".join(
                (
                    host.name,
                    host.address,
                    str(host.sshd.port),
                    host.sshd.user,
                    str(host.nginx.key),
                    str(host.nginx.fullchain),
                    str(host.nginx.port),
                    shlex.join(host.nginx.reload_command),
                )
            )
            + "\n"
            for host in fleet.hosts
        )
    )


def build_environment(fleet: Fleet) -> dict[str, str]:
    """The variables that every client needs."""
    lab = fleet.lab
    return {
        "BENCH_DIRECTORY": lab.pebble.directory,
        "BENCH_TRUST": str(lab.trust),
        "BENCH_SSH_KEY": str(lab.ssh_key),
        "BENCH_KNOWN_HOSTS": str(lab.known_hosts),
    }


def build_xargs(client: str, hosts: Path, parallel: int, environment: Mapping[str, str]) -> Command:
    """Run ``rotate-host`` for all lines of a file."""
    argv = ("xargs", "-P", str(parallel), "-d", "\n", "-n", "1", "-a", str(hosts), str(_ROTATE_HOST), client)
    return Command(argv, environment)


def run_quietly(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command of the preparation. Raises RuntimeError with the end of what it wrote."""
    done = subprocess.run(argv, env={**environment}, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(argv)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
