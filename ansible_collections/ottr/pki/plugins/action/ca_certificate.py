# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.ottr.pki.plugins.plugin_utils._authority import FILE, PLACE, AuthorityAction

KEY_TYPES = ["ec256", "ec384", "ec521", "rsa2048", "rsa3072", "rsa4096", "ed25519"]
SPEC = dict(
    PLACE,
    csr_path={"type": "path"},
    csr_content={"type": "str"},
    names={"type": "list", "elements": "str"},
    subject={"type": "str", "default": ""},
    profile={"type": "str", "default": "server"},
    days={"type": "float"},
    key_type={"type": "str", "default": "ec256", "choices": KEY_TYPES},
    force={"type": "bool", "default": False},
    **FILE,
)
WAYS = ["csr_path", "csr_content", "names"]


class ActionModule(AuthorityAction):
    """See the module of the same name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            argument_spec=SPEC, mutually_exclusive=[WAYS], required_one_of=[WAYS]
        )[1]
        csr = arguments["csr_content"]
        if arguments["csr_path"]:
            csr = self.read(arguments["csr_path"], task_vars)
        asked = {name: arguments[name] for name in ("subject", "profile", "days", "key_type", "force")}
        answer = self.ask("ca_certificate", arguments, dict(asked, csr=csr, names=arguments["names"] or []))
        if answer.get("failed"):
            return answer
        written = None
        if arguments["path"] and answer["full_chain"]:
            written = self.write(answer["full_chain"], arguments, task_vars)
        return self.conclude(answer, "certificate", written)
