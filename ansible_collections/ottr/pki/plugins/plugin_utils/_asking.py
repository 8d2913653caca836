# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# Note that this module is private to this collection.

"""What the action plugins of the collection have in common: hand over the host, ask, and say how it came out."""

from __future__ import annotations

import json
import os
import re

from ansible import constants as C
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase

from ansible_collections.ottr.pki.plugins.module_utils import _service

COMMON = {
    "config": {"type": "path"},
    "staging": {"type": "bool", "default": False},
    "log_file": {"type": "path"},
}
FORCE = {"force": {"type": "bool", "default": False}}
PLAN = "ottr_plan"
WORD = re.compile(r"[A-Za-z_]\w*")
FAILED = ("failed", "rolled_back", "stranded", "interrupted")

# What Ansible takes from the play, the command line and ansible.cfg when no variable says it.
FROM_PLAY = (
    ("remote_user", "ansible_user", ("ansible_user", "ansible_ssh_user")),
    ("port", "ansible_port", ("ansible_port", "ansible_ssh_port")),
    (
        "private_key_file",
        "ansible_ssh_private_key_file",
        ("ansible_private_key_file", "ansible_ssh_private_key_file"),
    ),
    ("become", "ansible_become", ("ansible_become",)),
    ("become_method", "ansible_become_method", ("ansible_become_method",)),
    ("become_user", "ansible_become_user", ("ansible_become_user",)),
)
SECRETS_FROM_PLAY = (
    ("password", "ansible_password", ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")),
    ("become_pass", "ansible_become_password", ("ansible_become_password", "ansible_become_pass")),
)


class AskingAction(ActionBase):
    """Runs on the control node: nothing of it is sent to the host, and no connection of Ansible's is made."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def ask(self, verb, arguments, task_vars):
        """The answer of the service, or the result of a task that failed."""
        if _service.OTTR_IMPORT_ERROR is not None:
            return refuse_to_ask()
        request = {
            "verb": verb,
            "host": self.describe_host(task_vars),
            "check": bool(self._task.check_mode),
            "force": bool(arguments.get("force", False)),
        }
        return ask_service(request, arguments["config"], arguments["staging"], arguments["log_file"])

    def describe_host(self, task_vars):
        """The host as this task sees it: variables that Ottr reads, rendered, secrets apart from them."""
        found, secrets, problems, secret_problems = {}, {}, {}, {}
        for name in [str(name) for name in task_vars if name != PLAN and _service.is_wanted(str(name))]:
            secret = _service.is_secret(name) or (
                name not in _service.variables.NAMES and reaches_vault(task_vars[name], task_vars, {name})
            )
            try:
                value = plain(self._templar.template(task_vars[name]))
            except Exception as error:  # one variable must not take the host with it
                if secret:
                    secret_problems[name] = "cannot be read (%s)" % type(error).__name__
                else:
                    problems[name] = " ".join(str(error).split())[:400]
                continue
            if secret:
                secrets[name] = value if isinstance(value, str) else json.dumps(value)
            else:
                found[name] = value
        self.add_from_play(found, FROM_PLAY)
        self.add_from_play(secrets, SECRETS_FROM_PLAY)
        return {
            "name": str(task_vars["inventory_hostname"]),
            "groups": [str(name) for name in task_vars["group_names"]],
            "variables": found,
            "problems": problems,
            "secrets": secrets,
            "secret_problems": secret_problems,
            "file": str(task_vars.get("inventory_file") or ""),
            "sources": [str(source) for source in task_vars.get("ansible_inventory_sources") or []],
            "folder": str(task_vars.get("playbook_dir") or os.getcwd()),
        }

    def add_from_play(self, values, settings):
        for attribute, variable, names in settings:
            value = getattr(self._play_context, attribute, None)
            if value not in (None, "", False) and not any(name in values for name in names):
                values[variable] = plain(value)

    def conclude(self, result, answer):
        """The result of a task about one rotation."""
        result.update(answer)
        rotation = answer.get("rotation")
        if not rotation:
            return result
        outcome = rotation["outcome"]
        if self._task.check_mode and outcome == "planned":
            result["changed"] = True
        if outcome in FAILED:
            result["failed"] = True
        elif outcome == "unreachable":
            result["unreachable"] = True
        elif outcome == "skipped":
            result["skipped"] = True
        result["msg"] = say(rotation)
        if rotation["error"]:
            result.update(explain(rotation["error"], result["msg"]))
        if rotation["warnings"]:
            result["warnings"] = ["%s: %s" % (rotation["device"], text) for text in rotation["warnings"]]
        if self._task.diff:
            result["diff"] = compare(rotation)
        return result


def ask_service(request, config=None, staging=False, log_file=None):
    """The answer of this play's process of Ottr, or the result of a task that failed."""
    if _service.OTTR_IMPORT_ERROR is not None:
        return refuse_to_ask()
    try:
        answer = _service.Service(C.DEFAULT_LOCAL_TMP, find_play(), config, staging, log_file).ask(request)
    except _service.ServiceError as error:
        return {"failed": True, "msg": str(error)}
    if "error" in answer:
        return dict(explain(answer["error"]), failed=True)
    return answer


def find_play():
    """The process that runs the play. It has made the temporary folder, C(ansible-local-PID) and eight characters."""
    play = os.path.basename(C.DEFAULT_LOCAL_TMP)[len("ansible-local-"):-8]
    if not play.isdigit():
        return os.getppid()
    try:
        os.kill(int(play), 0)
    except ProcessLookupError as error:  # the parent of this process is somebody else now, who never ends
        raise _service.ServiceError("the play has ended") from error
    return int(play)


def refuse_to_ask():
    """The result of a task where Ottr is not installed."""
    return {"failed": True, "msg": missing_required_lib("ottr"), "exception": _service.OTTR_IMPORT_ERROR}


def judge(result):
    """The result of a task that has looked at what is served."""
    bad = [one for one in result.get("endpoints") or [] if one["status"] in ("drift", "unreachable")]
    if bad:
        result["failed"] = True
        result["msg"] = "; ".join("%s: %s: %s" % (one["endpoint"], one["status"], one["problem"]) for one in bad)
    return result


def explain(error, msg=None):
    """An error of Ottr's in a task's words."""
    return {"msg": "%s: %s" % (msg, error["message"]) if msg else error["message"], "hint": error["hint"]}


def say(rotation):
    words = rotation["outcome"].replace("_", " ")
    return "%s (%s)" % (words, rotation["reason"]) if rotation["reason"] else words


def compare(rotation):
    """What changes about the certificate, as Ansible shows differences."""
    rows = [(row["what"], row["before"], row["after"]) for row in rotation["diff"]]
    if not rows and rotation["changed"]:
        rows = [
            ("sha256", rotation["old_sha256"], rotation["new_sha256"]),
            ("serial", "", rotation["serial"]),
            ("not_after", "", rotation["not_after"] or ""),
        ]
    return show_difference("certificate of %s" % rotation["device"], rows)


def show_difference(header, rows):
    """Rows of what, before and after, as Ansible shows differences."""
    return {
        "before_header": header,
        "after_header": header,
        "before": "".join("%s: %s\n" % (what, before) for what, before, after in rows if before),
        "after": "".join("%s: %s\n" % (what, after) for what, before, after in rows if after),
    }


def is_vaulted(value):
    """Whether the value, or one inside it, was encrypted in its file."""
    if isinstance(value, dict):
        return any(is_vaulted(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_vaulted(item) for item in value)
    return type(value).__name__ in ("EncryptedString", "AnsibleVaultEncryptedUnicode")


def reaches_vault(value, variables, seen):
    """Whether the value is vaulted, or a template that names a variable which is."""
    if is_vaulted(value):
        return True
    for text in strings(value):
        for name in set(WORD.findall(text)) - seen if "{" in text else ():
            seen.add(name)
            if name in variables and reaches_vault(variables[name], variables, seen):
                return True
    return False


def strings(value):
    """Every string in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def plain(value):
    """The value in JSON's own types: Ansible's strings are subclasses, and YAML knows dates."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)
