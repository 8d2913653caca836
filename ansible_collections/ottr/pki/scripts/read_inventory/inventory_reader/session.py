# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of one parent, a JSON object a line."""

from __future__ import annotations

import atexit
import gc
import json
import os
import time

from inventory_reader.failures import PasswordNeeded, Unparsed, make_error, one_line
from inventory_reader.reader import Reader


class Session:
    """The requests of one parent."""

    def __init__(self):
        self.reader = None
        self.warnings = []
        self.started = time.time_ns()  # before Ansible reads its settings

    def answer(self, request):
        """One request in, one answer out; nothing is raised."""
        try:
            answer = self.act(request)
        except PasswordNeeded as error:
            answer = make_error(error)
            answer["error"].update(code="vault_password_needed", vault_id=error.vault_id)
        except Unparsed as error:
            answer = make_error(error, error.source)
            answer["error"]["code"] = "unparsed"
        except (Exception, SystemExit) as error:  # the parent reports it
            answer = make_error(error, self.reader.broken if self.reader else "")
        answer["warnings"], self.warnings[:] = list(self.warnings), []
        return answer

    def act(self, request):
        operation = request["operation"]
        if operation == "open":
            self.reader = Reader(request, self.warnings)
            return {"started_ns": self.started, **self.reader.describe()}
        if operation == "variables":
            return self.reader.read(request)
        if operation == "files":
            return {"files": self.reader.files()}
        if operation == "match":
            return self.reader.match(request)
        return self.reader.secrets(request)


def collect_display(warnings):
    """Make Ansible's display write into a list."""
    from ansible.utils.display import Display

    def display(msg, *args, **kwargs):
        text = one_line(str(msg))
        if text and text not in warnings:
            warnings.append(text)

    Display().display = display


def main():
    """Answer requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    # What is read stays until the end: looking through it again and again would only cost time.
    gc.disable()
    session = Session()
    # Sets up the state of the process that everything else expects.
    import ansible.cli  # noqa: F401

    collect_display(session.warnings)
    for line in requests:
        answer = session.answer(json.loads(line))
        json.dump(answer, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")
        out.flush()
    # Taking a large inventory apart object by object takes a second; only temporary files are worth tidying.
    atexit._run_exitfuncs()
    os._exit(0)
