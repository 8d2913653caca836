# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote work against the simulator: f5-sdk, bigrest, netmiko."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from netmiko import ConnectHandler

from tests.drivers.f5 import VERSIONS, fingerprint, handshake, run_f5, seen, sign
from tests.measuring import measured

REPOSITORY = Path(__file__).parents[2]
CLIENTS = Path(__file__).with_name("f5_clients")


@pytest.fixture(scope="session")
def pythons() -> tuple[str, str]:
    """The Pythons of f5-sdk and of bigrest."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        [REPOSITORY / "scripts/setup-f5-clients"], capture_output=True, text=True, check=True, env=environment
    )
    sdk, bigrest = done.stdout.splitlines()
    return sdk, bigrest


class Program:
    """A client that prints lines of JSON and reads lines."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def hear(self) -> dict[str, Any]:
        assert self._child.stdout
        line = self._child.stdout.readline()
        assert line, self.complaint()
        return json.loads(line)

    def tell(self, line: str) -> None:
        assert self._child.stdin
        self._child.stdin.write(f"{line}\n")
        self._child.stdin.flush()

    def complaint(self) -> str:
        assert self._child.stderr
        return self._child.stderr.read()


@contextmanager
def run_program(*command: str) -> Iterator[Program]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"LANG": "C"}
    ) as child:
        try:
            yield Program(child)
            child.communicate(timeout=60)
            assert child.returncode == 0
        finally:
            child.kill()


def write_signed(csr: str, folder: Path) -> tuple[str, str]:
    pem = sign(csr.encode())
    path = folder / "signed.pem"
    path.write_text(pem)
    return pem, str(path)


@pytest.mark.parametrize(("version", "way"), [*((version, "token") for version in VERSIONS), (VERSIONS[0], "basic")])
def test_f5_sdk_rotates_a_profile(pythons: tuple[str, str], version: str, way: str, tmp_path: Path) -> None:
    with run_f5(version) as device:
        client = (pythons[0], str(CLIENTS / "rotate_with_sdk.py"), device.address, str(device.port), way)
        with run_program(*client) as program:
            made = program.hear()
            assert made["version"] == version
            pem, path = write_signed(made["csr"], tmp_path)
            before = seen(device, "web")
            program.tell(path)
            told = program.hear()
        assert before != seen(device, "web") == fingerprint(pem)
    assert told["bound"] == "/Common/sdk.crt"
    assert told["subject"] == "CN=site.example.com"
    assert "key(/Common/default.key) and certificate(/Common/sdk.crt) do not match." in told["refused"]
    assert "in use" in told["undeleted"]
    assert told["profiles"] == ["tcp", "site"]
    assert told["certificates"] == ["default.crt", "sdk.crt"]
    assert told["keys"] == ["/Common/default.key", "/Common/sdk.key"]
    assert (told["devices"], told["groups"]) == (["active"], ["device_trust_group"])
    assert told["folders"] == ["Common"]
    assert told["httpd"] == "/etc/httpd/conf/ssl.crt/server.crt"


@pytest.mark.parametrize(("version", "way"), [*((version, "token") for version in VERSIONS), (VERSIONS[0], "basic")])
def test_bigrest_rotates_a_profile(pythons: tuple[str, str], version: str, way: str, tmp_path: Path) -> None:
    with run_f5(version) as device:
        place = f"{device.address}:{device.port}"
        with run_program(pythons[1], str(CLIENTS / "rotate_with_bigrest.py"), place, way, str(tmp_path)) as program:
            made = program.hear()
            pem, path = write_signed(made["csr"], tmp_path)
            program.tell(path)
            told = program.hear()
        assert seen(device, "web", "site.example.com") == fingerprint(pem)
    assert made["silent"] == ""
    assert (told["bound"], told["server_name"]) == ("/Common/bigrest.crt", "site.example.com")
    assert version in told["version"]
    assert "in use" in told["refused"]
    assert told["absent"] is False
    assert told["sync"] == "Standalone"


@pytest.mark.parametrize(("kind", "user"), [("f5_tmsh", "root"), ("f5_linux", "root")])
def test_netmiko_logs_in_while_httpd_is_away(kind: str, user: str) -> None:
    with run_f5() as device:
        device.state.stop_httpd()
        with ConnectHandler(
            device_type=kind,
            host=device.address,
            port=device.ssh_port,
            username=user,
            password=f"{user}-simulated",
        ) as session:
            tmsh = "" if kind == "f5_tmsh" else "tmsh "
            assert "Version     16.1.2" in session.send_command(f"{tmsh}show sys version")
            assert device.served_fingerprint() == ""
            session.send_command(f"{tmsh}start sys service httpd")
            assert device.wait_until_idle()
        assert seen(device) == device.served_fingerprint()


def test_it_is_a_program() -> None:
    command = [sys.executable, "-m", "ottr.drivers.f5.simulator", "--os-version", "17.1.1", "--device-group", "pair"]
    command += ["--host", "127.0.0.1", "--host", "127.0.0.1", "--virtual", "shop=site,other", "--virtual", "blog"]
    command += ["--fault", "busy*2+1", "--unconfirmed", "in_use_text=in use by", "--unconfirmed", "httpd_test=no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=measured()) as program:
        try:
            assert program.stdout is not None
            first, second = (json.loads(program.stdout.readline()) for _ in range(2))
            assert (first["hostname"], second["hostname"]) == ("bigip1-1.example.com", "bigip1-2.example.com")
            assert first["os_version"] == "17.1.1"
            assert handshake(first["address"], first["port"]) == first["fingerprint"]
            assert handshake(second["address"], second["port"]) == second["fingerprint"] != first["fingerprint"]
            assert handshake(first["address"], first["ports"]["shop"])
            assert first["ports"]["blog"] == second["ports"]["blog"]
            assert first["ssh_host_key"].startswith("ecdsa-sha2-nistp256 ")
        finally:
            program.terminate()
        counted = [json.loads(line) for line in program.stdout]
        assert [line["hostname"] for line in counted] == [first["hostname"], second["hostname"]]
        assert program.wait(20) == 0


@pytest.mark.parametrize("wrong", ["--os-version=13.1.0", "--unconfirmed=nonsense=1", "--fault=nonsense"])
def test_a_wrong_option_is_said(wrong: str) -> None:
    command = [sys.executable, "-m", "ottr.drivers.f5.simulator", wrong]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("simulator: ")
