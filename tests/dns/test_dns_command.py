# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ottr.dns import Solver
from ottr.dns.solvers import load_solver
from ottr.errors import DnsError, SettingsError
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings

RECORD = TxtRecord("_acme-challenge.www.example.com", "a value; $(touch no) -x")


def build(command: object, **options: Any) -> Solver:
    return load_solver(SolverSettings("hook", "exec", ("example.com",), {"command": command, **options}))


def test_the_command_gets_action_name_and_value_without_a_shell(hook: Callable[[str], str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    solver = build([hook(f'printf "%s|" "$@" >>{log}; cat >>{log}; echo talk'), "--zone=x y"])
    solver.present(RECORD)
    solver.cleanup(RECORD)
    assert log.read_text() == (
        f"--zone=x y|present|{RECORD.name}|{RECORD.value}|--zone=x y|cleanup|{RECORD.name}|{RECORD.value}|"
    )


def test_the_command_finds_the_variables_of_certbot_and_ours(hook: Callable[[str], str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    solver = build([hook(f"env >{log}")], environment={"API_TOKEN": Secret("hidden"), "REGION": "eu"})
    solver.present(RECORD)
    variables = dict(line.split("=", 1) for line in log.read_text().splitlines())
    expected = {
        "CERTBOT_DOMAIN": "www.example.com",
        "CERTBOT_VALIDATION": RECORD.value,
        "OTTR_ACTION": "present",
        "OTTR_RECORD_NAME": RECORD.name,
        "OTTR_RECORD_VALUE": RECORD.value,
        "OTTR_ZONE": "example.com",
        "API_TOKEN": "hidden",
        "REGION": "eu",
        "PATH": os.environ["PATH"],
    }
    assert expected.items() <= variables.items()


def test_a_variable_that_secrets_come_from_is_there_only_when_it_is_handed_over(
    hook: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAB_KEY", "of the CA")
    monkeypatch.setenv("ZONE_KEY", "of the zone")
    options = {"command": [hook(f"env >{tmp_path}/seen")], "environment": {"ZONE_KEY": Secret("of the zone")}}
    withheld = frozenset({"EAB_KEY", "ZONE_KEY"})
    load_solver(SolverSettings("hook", "exec", ("example.com",), options, withheld=withheld)).present(RECORD)
    seen = (tmp_path / "seen").read_text()
    assert "ZONE_KEY=of the zone" in seen
    assert "of the CA" not in seen


def test_a_failure_tells_status_and_last_line_without_secrets(hook: Callable[[str], str]) -> None:
    program = hook('echo first >&2; printf "bad token $API_TOKEN\\033[1m\\n\\n" >&2; exit 3')
    solver = build([program], environment={"API_TOKEN": Secret("hid-den"), "EMPTY": Secret("")})
    with pytest.raises(DnsError) as caught:
        solver.present(RECORD)
    assert str(caught.value) == (
        f"the hook {program} present {RECORD.name} ended with status 3: bad token ********?[1m"
    )
    assert "by hand" in caught.value.hint


def test_a_silent_failure_and_a_signal_are_told(hook: Callable[[str], str]) -> None:
    program = hook('[ "$1" = present ] && exit 1; kill -9 $$')
    with pytest.raises(DnsError, match=r"ended with status 1$"):
        build([program]).present(RECORD)
    with pytest.raises(DnsError, match=r"was killed by signal 9$"):
        build([program]).cleanup(RECORD)


def test_a_hook_that_hangs_is_killed_with_its_children(hook: Callable[[str], str], tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = hook(f"sleep 1000 & echo $! $$ >{pids}; wait")
    with pytest.raises(DnsError, match=r"did not end within 0\.5 s") as caught:
        build([program], timeout_s=0.5).present(RECORD)
    assert "timeout_s" in caught.value.hint
    for pid in pids.read_text().split():
        state = subprocess.run(["ps", "-o", "state=", "-p", pid], capture_output=True, text=True, check=False).stdout
        assert state.strip() in ("", "Z")


def test_a_child_left_behind_does_not_hold_the_hook(hook: Callable[[str], str], tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    build([hook(f"sleep 1000 & echo $! >{pids}")], timeout_s=30).present(RECORD)
    os.kill(int(pids.read_text()), 9)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DnsError, match=r"the hook .*/missing present .* cannot be started: No such file") as caught:
        build([str(tmp_path / "missing")]).present(RECORD)
    assert "executable" in caught.value.hint


@pytest.mark.parametrize(("serialize", "name"), [("zone", "a{}.example.com"), ("name", "a.example.com")])
def test_hooks_run_one_at_a_time(hook: Callable[[str], str], tmp_path: Path, serialize: str, name: str) -> None:
    """mkdir is atomic: it fails while another hook is between its mkdir and its rmdir."""
    program = hook(f"mkdir {tmp_path}/busy || exit 1; sleep 0.02; rmdir {tmp_path}/busy")
    solver = build([program], serialize=serialize)
    records = [TxtRecord(name.format(number), f"{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(solver.present, records))


def test_hooks_of_different_names_run_together_when_told(hook: Callable[[str], str], tmp_path: Path) -> None:
    """Each of the two ends only when the other one has started."""
    program = hook(f"touch {tmp_path}/$2; until [ -e {tmp_path}/a.x ] && [ -e {tmp_path}/b.x ]; do sleep 0.01; done")
    solver = build([program], serialize="name", timeout_s=20)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(solver.present, [TxtRecord("a.x", "1"), TxtRecord("b.x", "1")]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "hook present"}, "option 'command' must be a list of strings, the program first"),
        ({"command": ["hook"], "serialize": "never"}, "option 'serialize' is 'never'; it must be one of name, zone"),
        ({"command": ["hook"], "shell": True}, "there is no option 'shell'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_solver(SolverSettings("hook", "exec", ("example.com",), options))
