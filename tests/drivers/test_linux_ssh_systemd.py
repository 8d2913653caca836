# SPDX-License-Identifier: Apache-2.0
"""A host with systemd: units are reloaded, and the dead-man timer is a transient unit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ottr.drivers.linux_ssh.driver import LinuxHost
from ottr.drivers.linux_ssh.options import parse_options
from ottr.errors import DeviceRejected
from ottr.lab.network import Network
from ottr.lab.nginx import Nginx
from ottr.lab.systemd import Systemd, is_possible
from tests.drivers.linux import NAMES, LocalShell, is_pair, issue, request, serial, served_serial, wait_until


@dataclass
class Booted:
    """An nginx that is a unit of a systemd."""

    systemd: Systemd
    nginx: Nginx

    def served(self) -> int:
        return served_serial(self.nginx.address, self.nginx.port)

    def log_in(self) -> LinuxHost:
        # The preset's own reload command would look for an nginx of /run: only its unit can be reloaded.
        options = {"service": "nginx", "test_command": list(self.nginx.test_command)}
        paths = {"fullchain": str(self.nginx.fullchain), "key": str(self.nginx.key)}
        return LinuxHost(LocalShell((*self.systemd.within, "sh")), parse_options(options | paths))

    def systemctl(self, *arguments: str) -> str:
        command = (*self.systemd.within, "systemctl", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def booted(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    if not is_possible():
        pytest.skip("a container without control groups of its own: no systemd can be started in it")
    folder = tmp_path_factory.mktemp("booted")
    nginx = Nginx(folder / "nginx", network.address(233), 8443, NAMES[0])
    nginx.prepare()
    reload = 'sh -c "test ! -e %s && kill -HUP $MAINPID"' % (folder / "stuck")
    service = f"[Service]\nExecStart={' '.join(nginx.process.argv)}\nExecReload={reload}\n"
    with Systemd(folder / "systemd", {"nginx.service": service}) as systemd:
        running = Booted(systemd, nginx)
        wait_until(lambda: running.served() != 0)
        yield running


def test_the_active_unit_is_reloaded(booted: Booted) -> None:
    host = booted.log_in()
    before = host.inspect()
    issued = issue(host.create_csr(request(1)))
    host.install(request(1), issued)
    wait_until(lambda: booted.served() == serial(issued.leaf_pem))
    host.rollback(request(1), before)
    wait_until(lambda: booted.served() == serial(before.leaf_pem))


def test_a_unit_that_does_not_reload_is_rolled_back(booted: Booted) -> None:
    host = booted.log_in()
    before = host.inspect()
    stuck = booted.nginx.folder.parent / "stuck"
    stuck.touch()
    try:
        with pytest.raises(DeviceRejected, match="could not be reloaded"):
            host.install(request(2), issue(host.create_csr(request(2))))
    finally:
        stuck.unlink()
    assert host.inspect().leaf_pem == before.leaf_pem
    wait_until(lambda: booted.served() == serial(before.leaf_pem))
    assert is_pair(booted.nginx.fullchain, booted.nginx.key)


def test_the_timer_is_a_transient_unit_that_takes_the_certificate_back(booted: Booted) -> None:
    host = booted.log_in()
    before = host.inspect()
    issued = issue(host.create_csr(request(3)))
    host.arm(request(3), before, 300)
    host.install(request(3), issued)
    assert booted.systemctl("is-active", "ottr-test-3.timer") == "active"
    assert not list(Path(f"{booted.nginx.key}.ottr").glob("*/timer"))
    host.disarm(request(3))
    assert booted.systemctl("is-active", "ottr-test-3.timer") == "inactive"
    wait_until(lambda: booted.served() == serial(issued.leaf_pem))
    host.rollback(request(3), before)

    issued = issue(host.create_csr(request(4)))
    host.arm(request(4), before, 1)
    host.install(request(4), issued)
    wait_until(lambda: host.inspect().bound == "original")
    wait_until(lambda: booted.served() == serial(before.leaf_pem))
    with pytest.raises(DeviceRejected, match="has gone off"):
        host.disarm(request(4))
