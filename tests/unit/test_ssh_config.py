# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import getpass
import logging
from pathlib import Path

import pytest

from ottr.errors import DriverError, UnsupportedDevice
from ottr.transports.ssh_config import Hop, resolve_hops

ME = getpass.getuser()


def resolve(
    folder: Path, text: str = "", arguments: str = "", *, port: int | None = None, username: str = ""
) -> tuple[Hop, ...]:
    file = folder / "config"
    file.write_text(text)
    return resolve_hops("web1", port=port, username=username, arguments=arguments, files=[file])


def places(hops: tuple[Hop, ...]) -> list[str]:
    return [f"{hop.username}@{hop.host}:{hop.port}" for hop in hops]


def test_without_any_file_the_address_is_the_way(tmp_path: Path) -> None:
    hops = resolve_hops("192.0.2.7", port=None, username="", files=[tmp_path / "none"])
    assert places(hops) == [f"{ME}@192.0.2.7:22"]


def test_the_file_names_host_port_user_and_keys(tmp_path: Path) -> None:
    text = "Host web*\n  HostName 192.0.2.7\n  Port 2022\n  User deploy\n  IdentityFile /k1\n  IdentityFile /k2\n"
    text += "  HostKeyAlias alias\n  UserKnownHostsFile /a /b\n"
    (hop,) = resolve(tmp_path, text)
    assert places((hop,)) == ["deploy@192.0.2.7:2022"]
    assert hop.identity_files == ("/k1", "/k2")
    assert hop.known_as == "alias"
    assert hop.known_hosts == (Path("/a"), Path("/b"))


def test_inventory_wins_over_arguments_and_arguments_over_files(tmp_path: Path) -> None:
    text = "Host *\n Port 1\n User file\n"
    arguments = "-p 2 -o User=argument -i /key"
    assert places(resolve(tmp_path, text, arguments)) == ["argument@web1:2"]
    assert places(resolve(tmp_path, text, arguments, port=3, username="inventory")) == ["inventory@web1:3"]
    assert resolve(tmp_path, text, arguments)[0].identity_files == ("/key",)


@pytest.mark.parametrize(
    "arguments",
    [
        "-J ops@bastion:2200",
        "-Jops@bastion:2200",
        "-o ProxyJump=ops@bastion:2200",
        "-oProxyJump=ops@bastion:2200",
        "-o 'ProxyJump ops@bastion:2200'",
        "-o ProxyJump=ssh://ops@bastion:2200",
        '-o ProxyCommand="ssh -W %h:%p -q -p 2200 ops@bastion"',
        "-o ProxyCommand='ssh -l ops -p 2200 -W %h:%p bastion'",
    ],
)
def test_a_jump_host_of_the_arguments(tmp_path: Path, arguments: str) -> None:
    assert places(resolve(tmp_path, "", arguments)) == ["ops@bastion:2200", f"{ME}@web1:22"]


def test_jump_hosts_are_looked_up_in_the_file_too(tmp_path: Path) -> None:
    text = "Host web1\n ProxyJump inner\nHost inner\n HostName 192.0.2.1\n User i\n ProxyJump outer\n"
    text += "Host outer\n HostName 192.0.2.2\n User o\n Port 222\n"
    assert places(resolve(tmp_path, text)) == ["o@192.0.2.2:222", "i@192.0.2.1:22", f"{ME}@web1:22"]


def test_several_jump_hosts_are_passed_in_order(tmp_path: Path) -> None:
    text = "Host b\n ProxyJump never\n"
    assert places(resolve(tmp_path, text, "-J u@a,u@b,u@[2001:db8::1]:99")) == [
        "u@a:22",
        "u@b:22",
        "u@2001:db8::1:99",
        f"{ME}@web1:22",
    ]


def test_none_takes_a_jump_host_of_the_file_away(tmp_path: Path) -> None:
    text = "Host web1\n ProxyJump bastion\n"
    assert len(resolve(tmp_path, text)) == 2
    assert len(resolve(tmp_path, text, "-o ProxyJump=none")) == 1
    assert len(resolve(tmp_path, "Host web1\n ProxyCommand none\n")) == 1


def test_a_circle_of_jump_hosts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedDevice, match="more than 8 jump hosts"):
        resolve(tmp_path, "Host web1\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump a\n")


@pytest.mark.parametrize("command", ["nc %h %p", "ssh bastion nc %h %p", "ssh -W %h:%p", "ssh -W %h:%p a b"])
def test_another_proxy_command_is_refused(tmp_path: Path, command: str) -> None:
    with pytest.raises(UnsupportedDevice, match="ProxyCommand") as caught:
        resolve(tmp_path, f"Host *\n ProxyCommand {command}\n")
    assert "ProxyJump" in caught.value.hint


def test_another_file_can_be_named(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("Host *\n User other\n")
    assert places(resolve(tmp_path, "Host *\n User file\n", f"-F {other}")) == ["other@web1:22"]


def test_included_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a").write_text("Host web1\n User included\n")
    assert places(resolve(tmp_path, "Include conf.d/*\nHost *\n User file\n")) == ["included@web1:22"]
    assert places(resolve(tmp_path, f"Include {tmp_path}/conf.d/a\n")) == ["included@web1:22"]
    (tmp_path / "loop").write_text("Include loop\nUser loop\n")
    assert places(resolve(tmp_path, "Include loop\n")) == ["loop@web1:22"]


def test_what_is_ignored_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    arguments = "-C -o ControlMaster=auto -o StrictHostKeyChecking=no -o Tunnel=hunter2 --what=hunter2 -Zhunter2"
    for _ in range(2):
        resolve(tmp_path, "", arguments)
    text = caplog.text
    assert text.count("stricthostkeychecking") == 1
    assert "tunnel" in text
    assert "--what" in text
    assert "-Z" in text
    assert "hunter2" not in text  # a value may be a secret
    assert "controlmaster" not in text


@pytest.mark.parametrize("arguments", ["-o 'Port=abc'", "-p 0", "-p 70000", "-o 'unclosed"])
def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, arguments: str) -> None:
    with pytest.raises(DriverError):
        resolve(tmp_path, "", arguments)


def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="cannot be used"):
        resolve(tmp_path, "gibberish\n")
