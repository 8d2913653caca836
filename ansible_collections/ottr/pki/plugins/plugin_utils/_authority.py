# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# Note that this module is private to this collection.

"""What the action plugins of the private CA have in common: ask it here, read and write files on the host."""

from __future__ import annotations

import base64
import os

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS
from ansible.plugins.action import ActionBase

from ansible_collections.ottr.pki.plugins.plugin_utils._asking import ask_service, plain, show_difference

PLACE = {
    "folder": {"type": "path"},
    "passphrase": {"type": "str", "no_log": True},
    "passphrase_file": {"type": "path"},
    "log_file": {"type": "path"},
}
FILE = dict(FILE_COMMON_ARGUMENTS, path={"type": "path"}, backup={"type": "bool", "default": False})


class AuthorityAction(ActionBase):
    """The CA is asked on the control node; a connection to the host is made only for files that are there."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def ask(self, verb, place, asked):
        """The answer about the CA at C(place), or the result of a task that failed."""
        folder = place["folder"] or os.environ.get("OTTR_CA")
        if not folder:
            raise AnsibleActionFail("where is the CA? Give its folder, or set OTTR_CA")
        request = {
            "verb": verb,
            "ca": {
                "folder": os.path.abspath(folder),
                "passphrase": place["passphrase"] and str(place["passphrase"]),
                "passphrase_file": place["passphrase_file"] and os.path.abspath(place["passphrase_file"]),
            },
            "asked": plain(asked),
            "check": bool(self._task.check_mode),
        }
        return ask_service(request, log_file=place["log_file"])

    def read(self, path, task_vars):
        """The text of a file on the host."""
        found = self._execute_module("ansible.legacy.slurp", module_args={"path": path}, task_vars=task_vars)
        if found.get("failed"):
            raise AnsibleActionFail("%s cannot be read: %s" % (path, found.get("msg", "no reason was given")))
        return base64.b64decode(found["content"]).decode("ascii", "replace")

    def write(self, content, arguments, task_vars):
        """Put a text in its place on the host; the result of M(ansible.builtin.copy)."""
        task = self._task.copy()
        task.args = {name: arguments[name] for name in FILE if name != "path" and arguments.get(name) is not None}
        task.args.update(content=content, dest=arguments["path"])
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return copy.run(task_vars=task_vars)

    def conclude(self, answer, header, written=None):
        """The result of a task from what the CA has answered, and from what became of the file if there is one."""
        rows = [(row["what"], row["before"], row["after"]) for row in answer.pop("diff", [])]
        result = dict(answer)
        diffs = [show_difference(header, rows)] if rows else []
        if written is not None:
            result["changed"] = bool(result["changed"] or written.get("changed"))
            for name in ("failed", "unreachable", "msg", "backup_file"):
                if name in written:
                    result[name] = written[name]
            found = written.get("diff") or []
            diffs += found if isinstance(found, list) else [found]
        if self._task.diff:
            result["diff"] = diffs
        return result
