# SPDX-License-Identifier: Apache-2.0
"""The F5 driver's way in by SSH, while the web server that REST needs is away."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from netmiko.exceptions import NetmikoTimeoutException, ReadTimeout

from ottr.drivers.f5.tmsh import SshShell, open_tmsh
from ottr.errors import AuthenticationFailed, DeviceUnreachable, HostKeyRefused
from ottr.model import Credentials, Secret
from tests.drivers.f5_site import make_request, run_site


def pin(site):
    blob = base64.b64decode(site.simulator.ssh_host_key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@pytest.fixture
def site():
    with run_site(place="management") as found:
        found.options |= {"ssh_port": found.simulator.ssh_port, "restart_timeout": 0.5}
        found.variables["ottr_host_key"] = pin(found)
        yield found


def break_httpd(site, request):
    """Install; httpd does not come back from its restart. Returns what was there before."""
    issued = site.issue(request)
    with site.open() as driver:
        before = driver.inspect()
    site.simulator.faults.arm("httpd_stays_down")
    with pytest.raises(DeviceUnreachable), site.open() as driver:
        driver.install(request, issued)
    assert site.simulator.served_fingerprint() == ""
    return before, issued


def test_httpd_that_does_not_come_back_is_rolled_back_by_ssh(site, caplog):
    caplog.set_level(1)
    request = make_request()
    first = site.served()
    before, issued = break_httpd(site, request)
    with site.open() as driver:
        assert not driver.alive()
        assert driver.inspect().bound == request.label
        driver.rollback(request, before)
    assert not [secret for secret in site.simulator.secrets if secret in caplog.text]
    assert site.served() == first
    site.options["restart_timeout"] = 5
    with site.open() as driver:
        assert driver.inspect() == before
        driver.install(request, issued)
    assert site.serves(issued)
    assert site.simulator.sessions == 0
    assert site.simulator.exported_keys == ()


def test_what_needs_rest_is_refused_while_it_is_away(site):
    request = make_request()
    before, issued = break_httpd(site, request)
    with site.open() as driver:
        driver.arm(request, before, 600)
        driver.disarm(request)
        for action in (
            lambda: driver.create_csr(request),
            lambda: driver.install(request, issued),
            lambda: driver.cleanup(frozenset({request.label})),
            driver.labels,
        ):
            with pytest.raises(DeviceUnreachable, match="only SSH answers") as caught:
                action()
            assert "ottr rollback" in caught.value.hint


def test_a_wrong_host_key_is_refused(site):
    break_httpd(site, make_request())
    site.variables["ottr_host_key"] = "SHA256:" + "A" * 43
    with pytest.raises(DeviceUnreachable, match=r"by SSH: .* host key") as caught, site.open():
        pass
    assert caught.value.hint


def test_host_keys_are_known_by_file_too(site, tmp_path):
    del site.variables["ottr_host_key"]
    known = tmp_path / "known_hosts"
    known.write_text("")
    credentials = replace(site.credentials(), known_hosts=(known,))
    port = site.simulator.ssh_port
    with pytest.raises(HostKeyRefused), open_tmsh(site.device(), credentials, port, 10.0):
        pass
    known.write_text(f"[{site.simulator.address}]:{port} {site.simulator.ssh_host_key}\n")
    with open_tmsh(site.device(), credentials, port, 10.0) as shell:
        assert shell.run("echo there").output.strip().endswith("there")


@pytest.mark.parametrize("user", ["admin", "root"])
def test_login_shells_are_tmsh_or_bash(site, user):
    password = {"admin": site.simulator.password, "root": "root-simulated"}[user]
    credentials = Credentials(username=user, password=Secret(password))
    with open_tmsh(site.device(), credentials, site.simulator.ssh_port, 10.0) as shell:
        assert shell.run("test -f /config/httpd/conf/ssl.crt/server.crt").status == 0
        assert shell.run("test -f /nowhere").status == 1
        long = shell.run("openssl x509 -in /config/httpd/conf/ssl.crt/server.crt").output
        assert "-----END CERTIFICATE-----" in long


def test_a_wrong_password(site):
    credentials = Credentials(username="admin", password=Secret("wr0ng"))
    with (
        pytest.raises(AuthenticationFailed) as caught,
        open_tmsh(site.device(), credentials, site.simulator.ssh_port, 10.0),
    ):
        pass
    assert "wr0ng" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("error", [NetmikoTimeoutException("lost"), ReadTimeout("late"), OSError("gone"), EOFError()])
def test_a_connection_that_is_lost(error):
    class Lost:
        def send_command(self, *words, **more):
            raise error

    with pytest.raises(DeviceUnreachable, match="over SSH"):
        SshShell("lb1", Lost(), 1.0).run("true")


def test_nobody_listens(site):
    port = site.simulator.ssh_port
    site.simulator.stop()
    with pytest.raises(DeviceUnreachable), open_tmsh(site.device(), site.credentials(), port, 3.0):
        pass
    site.options["ssh_port"] = port
    with pytest.raises(DeviceUnreachable, match="by SSH"), site.open():
        pass
