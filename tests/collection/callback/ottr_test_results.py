# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the result of every task of a play as one JSON line into the file OTTR_TEST_RESULTS.

Processes that the play starts have the coverage settings of OTTR_TEST_COVERAGE; the play itself was started without.
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: ottr_test_results
type: notification
short_description: Results of tasks as JSON lines, for tests
description: [Results of tasks as JSON lines.]
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "ottr_test_results"

    def __init__(self):
        super().__init__()
        gc.freeze()  # or the process of each task would look through all of Ansible when it ends
        if "OTTR_TEST_COVERAGE" in os.environ:  # of what the play starts from now on
            os.environ["COVERAGE_PROCESS_CONFIG"] = os.environ.pop("OTTR_TEST_COVERAGE")

    def write(self, status, result):
        task, host = result._task, result._host
        line = {"status": status, "host": host.name, "task": task.name or task.action, "result": dict(result._result)}
        with Path(os.environ["OTTR_TEST_RESULTS"]).open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self.write("changed" if result._result.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.write("failed", result)

    def v2_runner_on_unreachable(self, result):
        self.write("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self.write("skipped", result)
