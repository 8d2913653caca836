# SPDX-License-Identifier: Apache-2.0
"""Commands around a device, run for real."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ottr.commands import CommandError, run_command
from ottr.errors import HookFailed
from ottr.hooks import CommandHooks
from ottr.model import Device, Outcome, RotationResult, Route

DEVICE = Device("web1", "linux", "127.0.10.1", ("web1.example.com", "*.example.net"))
ROTATED = RotationResult(
    "web1", Outcome.ROTATED, rotation_id="r1", serial="0a", not_after=datetime(2027, 1, 1, tzinfo=UTC)
)


@dataclass(frozen=True)
class Target:
    device: Device
    route: Route


def target(*, before: tuple[tuple[str, ...], ...] = (), after: tuple[tuple[str, ...], ...] = ()) -> Target:
    return Target(DEVICE, Route("linux_ssh", "ca", before=before, after=after, line=7))


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def environment_written_to(path: Path) -> tuple[str, ...]:
    return python("import os, sys; open(sys.argv[1], 'w').write(repr(dict(os.environ)))", str(path))


def read_environment(path: Path) -> dict[str, str]:
    written = eval(path.read_text())  # our own repr of a dict of strings
    return {key: value for key, value in written.items() if key.startswith(("OTTR_", "RENEWED_", "FAILED_"))}


def test_what_a_command_before_a_device_finds(tmp_path: Path) -> None:
    hooks = CommandHooks({**os.environ, "RENEWED_LINEAGE": "/etc/x", "RENEWED_DOMAINS": "old", "FAILED_DOMAINS": "old"})
    hooks.before(target(before=(environment_written_to(tmp_path / "seen"),)))
    assert read_environment(tmp_path / "seen") == {
        "OTTR_HOOK": "before",
        "OTTR_DEVICE": "web1",
        "OTTR_ADDRESS": "127.0.10.1",
        "OTTR_NAMES": "web1.example.com *.example.net",
        "OTTR_OUTCOME": "",
        "OTTR_ROTATION_ID": "",
        "OTTR_SERIAL": "",
        "OTTR_NOT_AFTER": "",
    }


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            ROTATED,
            {
                "OTTR_OUTCOME": "rotated",
                "OTTR_ROTATION_ID": "r1",
                "OTTR_SERIAL": "0a",
                "OTTR_NOT_AFTER": "2027-01-01T00:00:00Z",
                "RENEWED_DOMAINS": "web1.example.com *.example.net",
            },
        ),
        (
            RotationResult("web1", Outcome.ROLLED_BACK),
            {
                "OTTR_OUTCOME": "rolled_back",
                "OTTR_ROTATION_ID": "",
                "OTTR_SERIAL": "",
                "OTTR_NOT_AFTER": "",
                "FAILED_DOMAINS": "web1.example.com *.example.net",
            },
        ),
        (
            RotationResult("web1", Outcome.NOT_DUE),
            {"OTTR_OUTCOME": "not_due", "OTTR_ROTATION_ID": "", "OTTR_SERIAL": "", "OTTR_NOT_AFTER": ""},
        ),
    ],
)
def test_what_a_command_after_a_device_finds(tmp_path: Path, result: RotationResult, expected: dict[str, str]) -> None:
    hooks = CommandHooks(os.environ)
    assert hooks.after(target(after=(environment_written_to(tmp_path / "seen"),)), result) == ""
    same = {
        "OTTR_HOOK": "after",
        "OTTR_DEVICE": "web1",
        "OTTR_ADDRESS": "127.0.10.1",
        "OTTR_NAMES": "web1.example.com *.example.net",
    }
    assert read_environment(tmp_path / "seen") == {**same, **expected}


def test_the_first_failure_before_a_device_ends_it(tmp_path: Path) -> None:
    fails = python("import sys; sys.stderr.write('first\\nno way\\n\\n'); sys.exit(3)")
    with pytest.raises(HookFailed, match=r"hook before web1: .* ended with status 3: no way$") as caught:
        CommandHooks(os.environ).before(target(before=(fails, environment_written_to(tmp_path / "seen"))))
    assert caught.value.hint == "run it by hand, or take it out of the route in line 7 of routing.yaml"
    assert not (tmp_path / "seen").exists()


def test_after_a_device_all_commands_run_and_failures_are_a_warning(tmp_path: Path) -> None:
    commands = (("/nowhere/at-all",), python("raise SystemExit(4)"), environment_written_to(tmp_path / "seen"))
    warning = CommandHooks(os.environ).after(target(after=commands), ROTATED)
    assert warning.startswith("hook after web1: /nowhere/at-all cannot be started: No such file or directory; hook")
    assert warning.endswith("ended with status 4")
    assert (tmp_path / "seen").exists()


def test_arguments_never_see_a_shell(tmp_path: Path) -> None:
    wild = f"$(touch {tmp_path}/pwned); `id` 'x' *"
    writes = python("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(tmp_path / "seen"), wild)
    run_command(writes, os.environ, timeout_s=30)
    assert (tmp_path / "seen").read_text() == wild
    assert not (tmp_path / "pwned").exists()


def test_a_command_reads_what_it_is_given(tmp_path: Path) -> None:
    copies = python("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())", str(tmp_path / "seen"))
    run_command(copies, os.environ, timeout_s=30, stdin="grüß".encode())
    assert (tmp_path / "seen").read_text() == "grüß"


@pytest.mark.parametrize(
    "code",
    ["sleep 600 & echo $$ > $0; wait", "trap '' TERM; sleep 600 & echo $$ > $0; wait"],
    ids=["obedient", "stubborn"],
)
def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path, code: str) -> None:
    with pytest.raises(CommandError, match=r"did not end within 2 s$"):
        run_command(["sh", "-c", code, str(tmp_path / "group")], os.environ, timeout_s=2)
    group = int((tmp_path / "group").read_text())
    # Whoever is left of the group is dead, and init has not buried it yet.
    states = [_state_of(stat) for stat in Path("/proc").glob("[0-9]*/stat") if _group_of(stat) == group]
    assert set(states) <= {"Z", "X"}


def _fields(stat: Path) -> list[str]:
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0", "0"]


def _group_of(stat: Path) -> int:
    return int(_fields(stat)[2])


def _state_of(stat: Path) -> str:
    return _fields(stat)[0]


def test_a_command_killed_by_a_signal_and_one_that_cannot_be_one() -> None:
    with pytest.raises(CommandError, match=r"was killed by signal 9$"):
        run_command(python("import os; os.kill(os.getpid(), 9)"), os.environ, timeout_s=30)
    with pytest.raises(CommandError, match=r"a\?b' cannot be started: embedded null byte$"):
        run_command(["a\0b"], os.environ, timeout_s=30)


def test_what_a_command_says_is_cut_and_made_printable() -> None:
    code = "import sys; sys.stderr.write('x' * 100000 + '\\n\\x1b[31m' + 'y' * 1000); sys.exit(1)"
    with pytest.raises(CommandError) as caught:
        run_command(python(code), os.environ, timeout_s=30)
    assert str(caught.value).endswith("?[31m" + "y" * 295)
