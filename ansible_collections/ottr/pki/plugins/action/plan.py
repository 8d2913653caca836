# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.ottr.pki.plugins.plugin_utils._asking import COMMON, FORCE, PLAN, AskingAction


class ActionModule(AskingAction):
    """See the module of the same name."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=dict(COMMON, **FORCE))[1]
        result.update(self.ask("plan", arguments, task_vars))
        if "plan" in result:
            result["changed"] = False
            result["ansible_facts"] = {PLAN: result["plan"]}
        return result
