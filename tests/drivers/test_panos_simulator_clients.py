# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote work against the simulator: panxapi.py of pan-python, and pan-os-python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from panos.device import SystemSettings
from panos.firewall import Firewall
from panos.panorama import Panorama

from ottr.drivers.panos.simulator import PanosSimulator, Settings
from tests.drivers.panos_wire import PROFILE, fingerprint, seen, sign
from tests.measuring import measured

REPOSITORY = Path(__file__).parents[2]
FAST = Settings(commit_s=0.02, restart_s=0.05)
GENERATE = (
    "<request><certificate><generate><certificate-name>ottr-1</certificate-name><name>fw1.example.com</name>"
    "<algorithm><RSA><rsa-nbits>2048</rsa-nbits></RSA></algorithm><digest>sha256</digest>"
    "<hostname><member>fw1.example.com</member></hostname><signed-by>external</signed-by>"
    "</generate></certificate></request>"
)


@pytest.fixture(scope="session")
def panxapi() -> str:
    """The path of panxapi.py in its own virtual environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        [REPOSITORY / "scripts/setup-panxapi"], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


class Panxapi:
    """Runs panxapi.py as a person would."""

    def __init__(self, program: str, device: PanosSimulator, home: Path) -> None:
        self.program, self.device, self.home = program, device, home
        (home / ".panrc").write_text(
            f"hostname={device.address}\nport={device.port}\napi_username=ottr\napi_password=simulated\n"
        )

    def __call__(self, *arguments: str) -> tuple[str, str]:
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"]},
        )
        return done.stdout, done.stderr


@pytest.fixture(params=["8.1.19", "9.1.3", "10.2.4", "11.1.0"])
def run(panxapi: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Panxapi]:
    # panxapi.py puts the key of an import into the URL, which devices take.
    settings = Settings(commit_s=0.02, restart_s=0.05, os_version=request.param, key_in_url=True)
    with PanosSimulator(settings=settings) as device:
        yield Panxapi(panxapi, device, tmp_path)


def test_panxapi_rotates_the_management_certificate(run: Panxapi) -> None:
    assert "keygen: success" in run("-k")[1]
    assert run("-o", GENERATE)[1] == "op: success\n"
    extra = "certificate-name=ottr-1&format=pkcs10&include-key=no"
    assert "export: success" in run("--export", "certificate", "--ad-hoc", extra, "--dst", "ottr-1.csr")[1]
    leaf = sign((run.home / "ottr-1.csr").read_bytes())
    (run.home / "ottr-1.pem").write_text(leaf)
    extra = "certificate-name=ottr-1&format=pem"
    out, said = run("-r", "--import", "certificate", "--file", "ottr-1.pem", "--ad-hoc", extra)
    assert (out.strip(), said) == ("Successfully imported ottr-1 into candidate configuration", "import: success\n")
    assert (
        run("-S", "<certificate>ottr-1</certificate>", PROFILE)[1] == 'set: success [code="20"]: "command succeeded"\n'
    )
    assert ">ottr-1</certificate>" in run("-rg", PROFILE)[0]
    assert "<certificate>management-first</certificate>" in run("-rs", PROFILE)[0]
    said = run("--sync", "-C", "", "--interval", "0.2")[1]
    assert "Configuration committed successfully" in said or "URLError" in said  # the web server restarts meanwhile
    assert run.device.wait_until_idle()
    assert seen(run.device) == fingerprint(leaf)
    assert "<certificate>ottr-1</certificate>" in run("-rs", PROFILE)[0]


def test_panxapi_shows_refusals(run: Panxapi) -> None:
    entry = "/config/shared/certificate/entry[@name='management-first']"
    assert 'delete: error [code="10"]' in run("-d", entry)[1]
    assert run("-C", "")[1] == 'commit: success [code="19"]: "There are no changes to commit."\n'
    assert 'show: error [code="7"]: "No such node"' in run("-s", "/config/shared/address")[1]
    (run.home / ".panrc").write_text(f"hostname={run.device.address}\nport={run.device.port}\napi_key=wrong\n")
    assert "code: 403 reason: Forbidden" in run("-o", "<show><clock/></show>")[1]


def test_pan_os_python_logs_in_looks_edits_and_commits() -> None:
    with PanosSimulator(settings=FAST) as device:
        firewall = Firewall(device.address, device.username, device.password, port=device.port)
        assert firewall.refresh_system_info().version == "10.2.4"
        assert firewall.pending_changes() is False
        system = SystemSettings.refreshall(firewall)[0]
        assert system.hostname == "fw1"
        system.login_banner = "authorised use only"
        system.apply()
        assert firewall.pending_changes() is True
        assert firewall.add_commit_lock(comment="rotation")
        outcome = firewall.commit(sync=True, exception=True, admins=["ottr"])
        assert (outcome["success"], outcome["messages"]) == (True, ["Configuration committed successfully"])
        assert firewall.pending_changes() is False
        system.login_banner = "x"
        system.apply()
        firewall.revert_to_running_configuration()
        assert firewall.pending_changes() is False


def test_pan_os_python_pushes_a_template() -> None:
    settings = Settings(commit_s=0.02, restart_s=0.05, serial="0001", management_profile="")
    with PanosSimulator(settings=settings) as device:
        above = Settings(commit_s=0.02, restart_s=0.05, panorama=True, device_lag_s=0.1)
        with PanosSimulator(settings=above, managed=[device]) as simulated:
            panorama = Panorama(simulated.address, simulated.username, simulated.password, port=simulated.port)
            cmd = "<commit-all><template-stack><name>branch-stack</name></template-stack></commit-all>"
            outcome = panorama._commit(cmd=cmd, commit_all=True, sync=True, sync_all=True, exception=True)
            assert outcome["devices"]["0001"]["success"] is True


def test_it_is_a_program() -> None:
    command = [sys.executable, "-m", "ottr.drivers.panos.simulator", "--os-version", "9.1.3", "--portal", "portal"]
    command += ["--host", "127.0.0.1", "--host", "127.0.0.1", "--panorama", "127.0.0.1", "--fault", "busy*2+1"]
    command += ["--unconfirmed", "regenerate=refuse", "--unconfirmed", "csr_kept=no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=measured()) as program:
        try:
            assert program.stdout is not None
            told = [json.loads(program.stdout.readline()) for _ in range(3)]
            assert [device["hostname"] for device in told] == ["fw1-1", "fw1-2", "panorama"]
            assert {device["os_version"] for device in told} == {"9.1.3"}
            for device in told:
                panos = Firewall(device["address"], device["username"], "simulated", port=device["port"])
                assert panos.refresh_system_info().version == "9.1.3"
        finally:
            program.terminate()
            assert program.wait(20) == 0


@pytest.mark.parametrize(
    "arguments", [["--fault", "earthquake"], ["--unconfirmed", "weather=fine"], ["--host", "192.0.2.1"]]
)
def test_the_program_says_what_it_does_not_take(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ottr.drivers.panos.simulator", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("simulator: ")
