# SPDX-License-Identifier: Apache-2.0
"""``util``: the shell and file commands that REST can run, and the asynchronous tasks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import Refusal
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.state import State, Task
from ottr.drivers.f5.simulator.system import run_config
from ottr.simulation.requests import DropConnection

Content = dict[str, Any]
_SINGLE = re.compile(r"-c\s+'([^']*)'", re.DOTALL)
_DOUBLE = re.compile(r'-c\s+"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r"-c\s+([^\s'\"\\]+)")
_FOLDERS = ("/var/config/rest/", "/config/ssl/", "/shared/", "/var/tmp/", "/tmp/")  # noqa: S108 on the device


def answer_utility(state: State, call: Call) -> Content:
    """Run a command. Raises Refusal."""
    if call.method != "POST" or call.rest:
        raise Refusal(405, f"Method {call.method} is not allowed")
    call.allow("command", "utilCmdArgs")
    if call.needed("command") != "run":
        raise Refusal(400, f'invalid command "{call.body["command"]}"')
    name = call.collection.removeprefix("util/")
    arguments = call.needed("utilCmdArgs")
    text = run_shell(state, arguments) if name == "bash" else _run_file_command(state, name, arguments)
    if name == "bash" and state.faults.take("bash_lost"):
        raise DropConnection
    shown = {"kind": f"tm:util:{name}:runstate", "command": "run", "utilCmdArgs": arguments}
    return {**shown, **({"commandResult": text} if text else {})}


def run_shell(state: State, arguments: str) -> str:
    """What the command of ``-c '...'`` writes. Raises Refusal when there is no shell, or no command in that."""
    if not state.settings.bash:
        raise Refusal(400, "01070734:3: Configuration error: bash is not available in Appliance mode.")
    script = parse_script(state, arguments)
    state.lent = state.configuration.editing
    try:
        out, errors = state.run_bash(script)
    finally:
        state.lent = False
    return out + errors if state.settings.unconfirmed.bash_merges_errors else out


def parse_script(state: State, arguments: str) -> str:
    """The command in ``-c '...'``, which the device takes apart before bash does. Raises Refusal."""
    text, unconfirmed = arguments.strip(), state.settings.unconfirmed
    if "\n" in text and not unconfirmed.bash_takes_newlines:
        raise Refusal(400, "Syntax Error: unexpected end of line in util bash")
    if found := _SINGLE.fullmatch(text) or _PLAIN.fullmatch(text):
        return found[1]
    if unconfirmed.bash_takes_double_quotes and (found := _DOUBLE.fullmatch(text)):
        return re.sub(r"\\(.)", r"\1", found[1])
    raise Refusal(400, f"Syntax Error: unexpected argument in util bash: {text.split()[0]}")


def _run_file_command(state: State, name: str, arguments: str) -> str:
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise Refusal(400, f"Syntax Error: {error}") from error
    paths = [word for word in words if not word.startswith("-")]
    for path in paths:
        if not path.startswith(_FOLDERS) or ".." in path:
            raise Refusal(400, f"{path} is not in a folder this command works in")
    return _FILE_COMMANDS[name](state, paths)


def _list(state: State, paths: list[str]) -> str:
    lines = []
    for path in paths:
        place = state.disk.place(path)
        if place.is_dir():
            lines += sorted(entry.name for entry in place.iterdir())
        else:
            lines.append(path if place.exists() else f"ls: cannot access {path}: No such file or directory")
    return "".join(f"{line}\n" for line in lines)


def _move(state: State, paths: list[str]) -> str:
    if len(paths) != 2:
        raise Refusal(400, "mv needs two paths")
    source, target = (state.disk.place(path) for path in paths)
    if not source.exists():
        return f"mv: cannot stat '{paths[0]}': No such file or directory\n"
    source.rename(target / source.name if target.is_dir() else target)
    return ""


def _remove(state: State, paths: list[str]) -> str:
    missing = [path for path in paths if state.disk.read(path) is None]
    for path in paths:
        state.disk.remove(path)
    return "".join(f"rm: cannot remove '{path}': No such file or directory\n" for path in missing)


_FILE_COMMANDS = {"unix-ls": _list, "unix-mv": _move, "unix-rm": _remove}


def answer_task(state: State, call: Call) -> Content | tuple[Content, int]:
    """Open, start, look at or delete an asynchronous task; with the status when that is not 200. Raises Refusal."""
    if not call.rest:
        return _tasks(state, call)
    task = state.tasks.get(int(call.rest[0])) if call.rest[0].isdigit() else None
    if task is None or call.rest[1:] not in ((), ("result",)):
        raise Refusal(404, f"The requested task ({call.rest[0]}) was not found.")
    if call.method == "DELETE":
        del state.tasks[task.id]
        return {}
    if call.method == "PUT":
        if call.body.get("_taskState") != "VALIDATING" or task.state != "STARTED":
            raise Refusal(400, "invalid _taskState")
        task.state = "VALIDATING"
        state.later(state.settings.task_s, lambda: _run(state, task))
        return {"code": 202, "message": "Task will execute asynchronously.", "errorStack": []}, 202
    if call.method != "GET":
        raise Refusal(405, f"Method {call.method} is not allowed")
    return _show_task(state, task, result=bool(call.rest[1:]))


def _tasks(state: State, call: Call) -> Content:
    if call.method == "GET":
        items = [_show_task(state, task) for task in state.tasks.values() if task.area == call.area]
        head = {"kind": f"{call.area.replace('/', ':')}:taskcollectionstate", "selfLink": state.link(call.area)}
        return {**head, **({"items": items} if items else {})}
    if call.method != "POST":
        raise Refusal(405, f"Method {call.method} is not allowed")
    call.needed("command")
    if call.area == "tm/task/util/bash" and not state.settings.bash:
        raise Refusal(400, "01070734:3: Configuration error: bash is not available in Appliance mode.")
    task = Task(state.next_number(), call.area, dict(call.body))
    state.tasks[task.id] = task
    return _show_task(state, task)


def _show_task(state: State, task: Task, *, result: bool = False) -> Content:
    link = state.link(f"{task.area}/{task.id}{'/result' if result else ''}")
    head = {"_taskId": task.id, "kind": f"{task.area.replace('/', ':')}:taskstate", "selfLink": link}
    more = task.result if result else {}
    return {**task.body, **head, "_taskState": task.state, "_taskTimeInStateMs": 0, **more}


def _run(state: State, task: Task) -> None:
    try:
        task.result = _carry_out(state, task)
        task.state = "COMPLETED"
    except Refusal as refusal:
        task.result = {"message": refusal.message}
        task.state = "FAILED"


def _carry_out(state: State, task: Task) -> Content:
    body: Mapping[str, Any] = task.body
    if task.area == "tm/task/util/bash":
        text = run_shell(state, str(body.get("utilCmdArgs", "")))
        return {"commandResult": text} if text else {}
    with state.lock:
        if task.area == "tm/task/sys/config":
            run_config(state, str(body["command"]))
            return {}
        if body["command"] != "save" or not body.get("name"):
            raise Refusal(400, f'invalid command "{body["command"]}"')
        name = str(body["name"]).removesuffix(".ucs").rpartition("/")[2]
        state.disk.write(f"/var/local/ucs/{name}.ucs", b"archive of the configuration\n", 0o600)
        return {}
