# SPDX-License-Identifier: Apache-2.0
"""Terminals, pipes, logs, completion, and what a start costs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ottr.cli.logs import Redactor, set_up_logs
from ottr.cli.options import LogForm
from ottr.model import Secret
from ottr.settings import ExternalAccount
from tests.acceptance.cli.shell import Operator

ESCAPE = "\x1b["


def test_a_pipe_gets_no_escape_codes(rotated: Operator) -> None:
    assert ESCAPE not in rotated.run("plan").stdout


def test_a_terminal_gets_colours_unless_told_otherwise(rotated: Operator) -> None:
    assert ESCAPE in rotated.run_on_terminal("plan")
    assert ESCAPE not in rotated.run_on_terminal("plan", NO_COLOR="1")


def test_progress_on_a_terminal_leaves_the_recap(operator: Operator) -> None:
    written = operator.run_on_terminal("rotate")
    assert "\x1b[?25l" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert written.rstrip().endswith("2 rotated")
    assert "0/2" in written


def test_logs_go_to_stderr_and_results_to_stdout(operator: Operator) -> None:
    log = operator.folder / "ottr.log"
    done = operator.run("rotate", "web1.lab.test", "-vv", "--log-format", "json", "--log-file", str(log), "-o", "json")
    assert done.json["counts"]["rotated"] == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"at", "level", "logger", "message"} <= lines[0].keys()
    assert all(line["logger"].startswith("ottr") for line in lines)
    assert [json.loads(line)["message"] for line in log.read_text().splitlines()]


@pytest.fixture
def quiet_logging() -> object:
    root, own = logging.getLogger(), logging.getLogger("ottr")
    former = root.handlers[:], root.level, own.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level, own.level, logging.raiseExceptions = former


@pytest.mark.parametrize("form", list(LogForm))
def test_known_secrets_are_taken_out_of_log_lines(
    form: LogForm, quiet_logging: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redactor = Redactor()
    redactor.learn({"a": [ExternalAccount("kid", Secret("hunter22"))]})
    redactor.learn(Secret("postgresql://ottr:pass%2Fword@db/ottr"))
    set_up_logs(0, form, tmp_path / "log", redactor)
    try:
        raise ValueError("hunter22 again")
    except ValueError:
        logging.getLogger("ottr.x").exception("key %s, password %s", "hunter22", "pass/word")
    written = capsys.readouterr().err + (tmp_path / "log").read_text()
    assert written.count("key ********, password ********") == 2
    assert "hunter22" not in written
    assert "pass/word" not in written


def test_the_shell_completes_commands_and_options(rotated: Operator) -> None:
    words = {"_OTTR_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "ottr ro"}
    assert rotated.run(**words).stdout.split() == ["rotate", "rollback"]


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (("--version",), ("rich", "sqlalchemy", "acme", "paramiko", "requests", "dns")),
        (("rotate", "--help"), ("sqlalchemy", "acme", "paramiko", "requests", "dns")),
        (("plan",), ("rich", "acme", "requests", "dns")),
    ],
)
def test_a_command_imports_only_what_it_needs(
    rotated: Operator, arguments: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    done = rotated.run(*arguments, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint(forbidden)
