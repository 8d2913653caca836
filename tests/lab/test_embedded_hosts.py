# SPDX-License-Identifier: Apache-2.0
"""The embedded lab's Linux hosts: OpenSSH's client logs in, and the site serves what its files say."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ottr.lab.embedded.machines import EmbeddedHost, Machines, build_dns, build_host
from ottr.lab.network import Network
from ottr.lab.process import stop_all
from ottr.lab.sessions import end_sessions
from ottr.lab.sshd import write_key_pair
from ottr.lab.x509 import write_self_signed
from tests.measuring import measured


@dataclass(frozen=True)
class Site:
    """Two hosts and the way in."""

    folder: Path
    hosts: tuple[EmbeddedHost, ...]
    machines: Machines
    key: Path

    def log_in(self, command: str, number: int = 0, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        host = self.hosts[number]
        options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]
        options += ["-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"]
        return subprocess.run(
            [
                "ssh",
                "-F",
                "none",
                "-i",
                key or self.key,
                "-p",
                str(host.ssh_port),
                *options,
                f"me@{host.address}",
                command,
            ],
            input="what is typed\n",
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def site(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("embedded")
    public = write_key_pair(folder / "id")
    hosts = tuple(
        build_host(folder / name, network.address(number), f"{name}.lab.test", ssh_port=2222, tls_port=8443)
        for number, name in enumerate(("web1", "web2"), start=1160)
    )
    machines = Machines(
        folder / "machines", build_dns(network.address(1162), 5353, ("lab.test",)), hosts, public, str(folder)
    )
    machines.prepare()
    (folder / "known_hosts").write_text("".join(host.known_hosts for host in hosts))
    try:
        machines.process.__enter__()
        yield Site(folder, hosts, machines, folder / "id")
    finally:
        stop_all([machines.process])
        end_sessions(str(folder))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def serves(host: EmbeddedHost) -> bool:
    """What its file has."""
    return host.fetch_served_pem().strip() == host.fullchain.read_text().strip()


def test_a_command_is_run_by_sh_in_the_folder_of_the_host(site: Site) -> None:
    for number, host in enumerate(site.hosts):
        done = site.log_in('read -r line; pwd; echo "$HOME $line"; echo complaint >&2; exit 7', number)

        assert done.stdout == f"{host.site.folder}\n{host.site.folder} what is typed\n"
        assert (done.stderr.strip(), done.returncode) == ("complaint", 7)


def test_a_command_that_a_signal_ends_has_the_status_a_shell_gives_it(site: Site) -> None:
    assert site.log_in("kill -KILL $$").returncode == 128 + 9


def test_much_output_comes_whole(site: Site) -> None:
    done = site.log_in("i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678; i=$((i + 1)); done")

    assert len(done.stdout) == 400_000


def test_another_key_is_not_let_in(site: Site, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "other")

    done = site.log_in("id", key=tmp_path / "other")
    assert "Permission denied (publickey)" in done.stderr


def test_every_host_has_a_key_of_its_own(site: Site) -> None:
    first, second = ((host.folder / "host_key.pub").read_text() for host in (one.site for one in site.hosts))

    assert first != second


def test_a_site_takes_new_files_at_a_reload_and_keeps_the_former_where_they_do_not_fit(
    site: Site, tmp_path: Path
) -> None:
    host = site.hosts[0]
    assert serves(host)
    write_self_signed(host.fullchain, host.key, host.name)
    assert not serves(host)
    assert subprocess.run(host.test_command, check=False).returncode == 0
    subprocess.run(host.reload_command, check=True)
    wait_for(lambda: serves(host))

    served = host.fetch_served_pem()
    shutil.copy(host.key, tmp_path / "key")
    write_self_signed(tmp_path / "unused", host.key, host.name)
    test = subprocess.run(host.test_command, capture_output=True, text=True, check=False)
    assert (test.returncode, test.stderr) == (1, "the key is not that of the certificate\n")
    subprocess.run(host.reload_command, check=True)
    log = site.machines.process.log
    wait_for(lambda: f"{host.name}: the former certificate stays" in log.read_text())
    assert host.fetch_served_pem() == served

    shutil.copy(tmp_path / "key", host.key)
    assert subprocess.run(host.test_command, check=False).returncode == 0


def test_a_site_answers_who_asks(site: Site) -> None:
    host = site.hosts[1]
    context = ssl.create_default_context(cafile=str(host.fullchain))
    with (
        socket.create_connection((host.address, host.port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname=host.name) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: web2.lab.test\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"web2.lab.test\n")


STARTER = """
import sys, time
from pathlib import Path
from ottr.lab.embedded.machines import Machines, build_dns, build_host
folder, address = Path(sys.argv[1]), sys.argv[2]
host = build_host(folder / "web1", address, "web1.lab.test", ssh_port=2222, tls_port=8443)
machines = Machines(folder / "machines", build_dns(address, 5353, ("lab.test",)), [host], "ssh-ed25519 AAAA", "mark")
machines.prepare()
with machines.process:
    print(machines.process.pid, (folder / "web1" / "site.pid").read_text(), sep="\\n", end="", flush=True)
    time.sleep(1000)
"""


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_without_setpriv_too_all_ends_with_who_started_it(network: Network, tmp_path: Path) -> None:
    address = network.address(1163)
    environment = {**measured(), "PATH": "/nonexistent"}
    command = [sys.executable, "-c", STARTER, str(tmp_path), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as starter:
        assert starter.stdout is not None
        pids = [int(starter.stdout.readline()) for _ in range(2)]
        assert all(map(exists, pids))
        starter.kill()

    try:
        wait_for(lambda: not any(map(exists, pids)))
    finally:
        for pid in filter(exists, pids):
            os.kill(pid, signal.SIGKILL)
