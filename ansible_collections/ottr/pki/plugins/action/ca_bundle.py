# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.ottr.pki.plugins.plugin_utils._authority import FILE, PLACE, AuthorityAction

PHASES = ["prepared", "active", "retiring", "retired"]
SPEC = dict(
    PLACE,
    phases={"type": "list", "elements": "str", "choices": PHASES, "default": PHASES[:3]},
    **FILE,
)


class ActionModule(AuthorityAction):
    """See the module of the same name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=SPEC)[1]
        answer = self.ask("ca_bundle", arguments, {"phases": arguments["phases"]})
        if answer.get("failed") or not arguments["path"]:
            return answer
        return self.conclude(answer, "trust bundle", self.write(answer["bundle"], arguments, task_vars))
