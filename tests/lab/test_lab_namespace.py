# SPDX-License-Identifier: Apache-2.0
"""Users, sudo and a small disk of a host of their own, and the real machine as it was."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.lab.namespace import ASKED_USER, REFUSED_USER, SUDO_USER, NamespaceHost, run_namespace_host
from ottr.lab.network import Network
from ottr.lab.sshd import write_key_pair


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    write_key_pair(path)
    return path


@pytest.fixture(scope="module")
def host(network: Network, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceHost]:
    folder = tmp_path_factory.mktemp("host")
    public = key.with_name("id.pub").read_text().strip()
    with run_namespace_host(folder, network.address(1100), "web.lab.test", public) as running:
        yield running


def login(host: NamespaceHost, key: Path, user: str, command: str) -> subprocess.CompletedProcess[str]:
    known_hosts = key.with_name("known_hosts")
    known_hosts.write_text(host.sshd.known_hosts)
    options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}"]
    return subprocess.run(
        ["ssh", "-F", "none", "-i", str(key), "-p", "2222", *options, f"{user}@{host.nginx.address}", command],
        input=f"{host.namespace.password}\n",
        capture_output=True,
        text=True,
        check=False,
    )


def read_command(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@pytest.mark.parametrize(
    ("user", "command", "allowed"),
    [
        (SUDO_USER, "sudo -n id -u", True),
        (ASKED_USER, "sudo -n id -u", False),
        (ASKED_USER, "sudo -S -p '' id -u", True),
        (REFUSED_USER, "sudo -S -p '' id -u", False),
    ],
)
def test_who_may_use_sudo(host: NamespaceHost, key: Path, user: str, command: str, allowed: bool) -> None:
    done = login(host, key, user, command)

    assert (done.returncode == 0, done.stdout) == (allowed, "0\n" if allowed else "")


def test_what_root_started_by_sudo_ends_with_the_host(network: Network, key: Path, tmp_path: Path) -> None:
    public = key.with_name("id.pub").read_text().strip()
    command = "sudo -n sh -c 'setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!'"
    with run_namespace_host(tmp_path, network.address(1101), "web.lab.test", public) as host:
        pid = login(host, key, SUDO_USER, command).stdout.strip()
        assert read_command(pid)

    assert not read_command(pid)


def test_the_small_disk_can_be_filled_and_emptied(host: NamespaceHost, key: Path) -> None:
    write = f"sudo -n cp /etc/passwd {host.nginx.fullchain.parent}/more"

    assert login(host, key, SUDO_USER, write).returncode == 0
    filler = host.namespace.fill(host.nginx.fullchain.parent)
    full = login(host, key, SUDO_USER, f"{write}2")
    filler.unlink()

    assert "No space left on device" in full.stderr
    assert login(host, key, SUDO_USER, f"{write}2").returncode == 0


def test_the_real_machine_has_none_of_it(host: NamespaceHost) -> None:
    assert host.namespace.seen(Path(f"/run/home/{SUDO_USER}/.ssh/authorized_keys")).exists()
    assert f"\n{SUDO_USER}:" in host.namespace.seen(Path("/etc/passwd")).read_text()

    assert f"\n{SUDO_USER}:" not in Path("/etc/passwd").read_text()
    assert not Path(f"/run/home/{SUDO_USER}").exists()
    assert str(host.nginx.fullchain.parent) not in Path("/proc/self/mounts").read_text()
