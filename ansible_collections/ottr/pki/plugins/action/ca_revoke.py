# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.ottr.pki.plugins.plugin_utils._authority import PLACE, AuthorityAction

REASONS = [
    "unspecified",
    "key_compromise",
    "ca_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "certificate_hold",
    "remove_from_crl",
    "privilege_withdrawn",
    "aa_compromise",
]
SPEC = dict(
    PLACE,
    serial={"type": "str"},
    issuer={"type": "str", "default": ""},
    certificate_path={"type": "path"},
    certificate_content={"type": "str"},
    reason={"type": "str", "default": "unspecified", "choices": REASONS},
)
WAYS = ["serial", "certificate_path", "certificate_content"]


class ActionModule(AuthorityAction):
    """See the module of the same name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            argument_spec=SPEC, mutually_exclusive=[WAYS], required_one_of=[WAYS]
        )[1]
        certificate = arguments["certificate_content"]
        if arguments["certificate_path"]:
            certificate = self.read(arguments["certificate_path"], task_vars)
        asked = {name: arguments[name] for name in ("serial", "issuer", "reason")}
        answer = self.ask("ca_revoke", arguments, dict(asked, certificate=certificate))
        if answer.get("failed"):
            return answer
        return self.conclude(answer, "certificate %s" % answer["info"]["serial"])
