# SPDX-License-Identifier: Apache-2.0
"""Apache, HAProxy and Postfix; and a host that asks for passwords and has no room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ottr.drivers.linux_ssh import connect
from ottr.drivers.linux_ssh.driver import LinuxHost
from ottr.drivers.linux_ssh.options import PRESETS, parse_options
from ottr.errors import AuthenticationFailed, DeviceRejected, DriverError, UnsupportedDevice
from ottr.lab.apache import Apache
from ottr.lab.haproxy import Haproxy
from ottr.lab.namespace import ASKED_USER, REFUSED_USER, SUDO_USER, NamespaceHost
from ottr.lab.network import Network
from ottr.lab.postfix import Postfix
from ottr.model import Credentials, Device, EndpointProtocol, IssuedCertificate, Secret
from tests.drivers.conftest import nginx_options
from tests.drivers.linux import NAMES, LocalShell, issue, request, serial, served_serial, wait_until


def rotate(host: LinuxHost, number: int = 1) -> IssuedCertificate:
    issued = issue(host.create_csr(request(number)))
    host.install(request(number), issued)
    return issued


def check_rotation_and_way_back(host: LinuxHost, served: Callable[[], int]) -> None:
    before, first = host.inspect(), served()
    assert serial(before.leaf_pem) == first
    assert host.check() == ()
    issued = rotate(host)
    wait_until(lambda: served() == serial(issued.leaf_pem))
    assert host.inspect().leaf_pem == issued.leaf_pem
    host.rollback(request(), before)
    wait_until(lambda: served() == first)


def commands_of(server: Apache | Haproxy | Postfix) -> dict[str, Any]:
    return {"test_command": list(server.test_command), "reload_command": list(server.reload_command)}


def test_apache(tmp_path: Path, network: Network) -> None:
    with Apache(tmp_path, network.address(231), 8443, NAMES[0]) as server:
        paths = {"service": "apache", "certificate": str(server.fullchain), "key": str(server.key)}
        host = LinuxHost(LocalShell(), parse_options({**paths, **commands_of(server)}))
        check_rotation_and_way_back(host, lambda: served_serial(server.address, server.port))


def test_haproxy_has_key_and_certificate_in_one_file(tmp_path: Path, network: Network) -> None:
    with Haproxy(tmp_path, network.address(232), 8443, NAMES[0]) as server:
        paths = {"service": "haproxy", "combined": str(server.combined)}
        shell = LocalShell()
        host = LinuxHost(shell, parse_options({**paths, **commands_of(server)}))
        check_rotation_and_way_back(host, lambda: served_serial(server.address, server.port))
        assert "PRIVATE" not in shell.received


def test_postfix(tmp_path: Path, network: Network) -> None:
    with Postfix(tmp_path, "127.0.0.1", network.port(5), NAMES[0]) as server:
        paths = {"service": "postfix", "fullchain": str(server.fullchain), "key": str(server.key)}
        host = LinuxHost(LocalShell(), parse_options({**paths, **commands_of(server)}))
        check_rotation_and_way_back(host, lambda: served_serial(server.address, server.port, EndpointProtocol.SMTP))


@pytest.mark.parametrize("service", [service for service in PRESETS if service != "files"])
def test_a_preset_needs_nothing_else(service: str) -> None:
    options = parse_options({"service": service})
    assert options.certificate_path.startswith("/etc/")
    assert options.folder.startswith("/etc/")
    assert options.test_command
    assert options.reload_command


class Guarded:
    """Logs in to the guarded host as one of its users."""

    def __init__(self, scene: NamespaceHost, key: Path, known_hosts: Path) -> None:
        self.scene = scene
        self._key = key
        known_hosts.write_text(scene.sshd.known_hosts)
        self.options = nginx_options(scene.nginx, known_hosts=str(known_hosts))
        self.device = Device("web1", "linux", scene.nginx.address, NAMES, variables={"ansible_port": scene.sshd.port})

    def connect(self, user: str, *, key: bool = True, **others: Any) -> Any:
        login = {"private_key_file": str(self._key)} if key else {}
        return connect(self.device, self.options, Credentials(username=user, **login, **others))

    def served(self) -> int:
        return served_serial(self.scene.nginx.address, self.scene.nginx.port)


@pytest.fixture
def gate(guarded: NamespaceHost, sshd_key: Path, tmp_path: Path) -> Guarded:
    return Guarded(guarded, sshd_key, tmp_path / "known_hosts")


PASSWORD = Secret("correct horse battery staple")


def test_a_password_logs_in_and_a_wrong_one_does_not(gate: Guarded) -> None:
    with gate.connect(ASKED_USER, key=False, password=PASSWORD) as host:
        assert host.inspect().os_version
    with (
        pytest.raises(
            AuthenticationFailed, match=f"refused the login of '{ASKED_USER}'; tried: the password"
        ) as caught,
        gate.connect(ASKED_USER, key=False, password=Secret("wr0ng")),
    ):
        pass
    assert "wr0ng" not in str(caught.value) + caught.value.hint


def test_sudo_without_a_password(gate: Guarded) -> None:
    with gate.connect(SUDO_USER, become=True) as host:
        issued = rotate(host, 1)
        wait_until(lambda: gate.served() == serial(issued.leaf_pem))


@pytest.mark.parametrize("user", [SUDO_USER, ASKED_USER])
def test_sudo_with_a_password_given(gate: Guarded, user: str) -> None:
    with gate.connect(user, become=True, become_password=PASSWORD) as host:
        issued = rotate(host, 2)
        wait_until(lambda: gate.served() == serial(issued.leaf_pem))
        assert host.alive()
        host.cleanup(frozenset({"ottr-test-1"}))


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        (ASKED_USER, None, "a password is required"),
        (ASKED_USER, Secret("wr0ng"), "the password is wrong"),
        (REFUSED_USER, PASSWORD, "is not in the sudoers file"),
        (REFUSED_USER, None, "no password was given"),
    ],
)
def test_sudo_that_is_refused_says_so(gate: Guarded, user: str, password: Secret | None, words: str) -> None:
    with (
        pytest.raises(AuthenticationFailed, match=words) as caught,
        gate.connect(user, become=True, become_password=password) as host,
    ):
        host.inspect()
    assert "ansible_become_password" in caught.value.hint
    assert "wr0ng" not in str(caught.value)


def test_another_way_to_become_root_is_not_supported(gate: Guarded) -> None:
    with pytest.raises(UnsupportedDevice, match="'su'"), gate.connect(SUDO_USER, become=True, become_method="su"):
        pass


def test_a_user_who_may_not_write_is_told_so(gate: Guarded) -> None:
    before = gate.served()
    with gate.connect(SUDO_USER) as host, pytest.raises(DeviceRejected, match="this login can see"):
        host.create_csr(request(3))
    gate.options["directory"] = "/etc/ottr-test"
    with gate.connect(SUDO_USER) as host:
        assert any("cannot be written" in problem for problem in host.check())
        with pytest.raises(DeviceRejected, match="not permitted") as caught:
            host.create_csr(request(3))
    assert "ansible_become" in caught.value.hint
    assert gate.served() == before


@pytest.fixture
def full_disk(gate: Guarded) -> Iterator[Callable[[], None]]:
    disk = gate.scene.nginx.key.parent
    fillers: list[Path] = []
    yield lambda: fillers.append(gate.scene.namespace.fill(disk))
    for filler in fillers:
        filler.unlink()


def test_a_full_disk_stops_before_anything_changes(gate: Guarded, full_disk: Callable[[], None]) -> None:
    before = gate.served()
    with gate.connect(SUDO_USER, become=True) as host:
        issued = issue(host.create_csr(request(4)))
        full_disk()
        assert any("no space left" in problem for problem in host.check())
        for act in (lambda: host.install(request(4), issued), lambda: host.create_csr(request(5))):
            with pytest.raises(DeviceRejected, match="no space left on device") as caught:
                act()
            assert "free some space" in caught.value.hint
        assert gate.served() == before
        host.cleanup(frozenset({"ottr-test-5"}))


def test_the_way_back_needs_no_room(gate: Guarded, full_disk: Callable[[], None]) -> None:
    with gate.connect(SUDO_USER, become=True) as host:
        before, first = host.inspect(), gate.served()
        issued = rotate(host, 6)
        wait_until(lambda: gate.served() == serial(issued.leaf_pem))
        full_disk()
        host.rollback(request(6), before)
        wait_until(lambda: gate.served() == first)


def test_an_account_without_a_shell_is_told_apart_from_a_lost_connection(gate: Guarded) -> None:
    passwd = gate.scene.namespace.seen(Path("/etc/passwd"))
    text = passwd.read_text()
    lines = [
        line.replace("/bin/bash", "/usr/sbin/nologin") if line.startswith(f"{REFUSED_USER}:") else line
        for line in text.splitlines()
    ]
    passwd.write_text("\n".join(lines) + "\n")
    try:
        with pytest.raises(DeviceRejected, match="gave no shell") as caught, gate.connect(REFUSED_USER) as host:
            host.inspect()
    finally:
        passwd.write_text(text)
    assert isinstance(caught.value, DriverError)
    assert not caught.value.retryable
