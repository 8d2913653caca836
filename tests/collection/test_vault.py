# SPDX-License-Identifier: Apache-2.0
"""Secrets given by vault show nowhere: not with -vvvv, not in a failed task, not in a difference, in no file, and in no
program's arguments or environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.secrets_trail import forms_of_text
from tests.ca.conftest import PASSPHRASE
from tests.collection.player import PLAYBOOKS, Player

PASSWORD, TOKEN, VAULT = "Tr0ub4dor-and-3-of-them", "tok-7Zq9-never-to-be-seen", "the-vaults-own-password"
OF_CA = PASSPHRASE.reveal().decode()
OF_JUMP = "9th-Gate.of_the-jump"
WRONG, RIGHT = "web1.lab.test", "web2.lab.test"


@pytest.fixture
def vaulted(player: Player) -> Player:
    """Two hosts whose secrets are vaulted; one has no other login than a password, which is wrong."""
    player.write("vault-password", VAULT + "\n").chmod(0o600)
    variables = {
        "ansible_password": PASSWORD,
        "ansible_become_password": PASSWORD,
        "ottr_api_token": TOKEN,
        "ca_secret": OF_CA,
        "jump_secret": OF_JUMP,
    }
    lines = []
    for name, value in variables.items():
        process = player.command(
            "ansible-vault", "encrypt_string", "--vault-password-file", "vault-password", "--name", name, value
        )
        lines.append(player.wait(process).stdout)
    for host in (WRONG, RIGHT):
        folder = player.folder / "inventory" / "host_vars" / host
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vault.yml").write_text("\n".join(lines))
    for host in (WRONG, RIGHT):
        player.operator.set_variable(host, "ansible_ssh_common_args", "-o SetEnv=JUMP={{ jump_secret }}")
    player.operator.set_variable(WRONG, "ansible_ssh_private_key_file", "/nowhere/id_ed25519")
    return player


def test_nothing_of_a_vault_is_ever_shown(vaulted: Player, authority_folder: Path) -> None:
    """By any module: in what is said, in files, in arguments and environments of programs."""
    log = vaulted.folder / "ottr.log"
    steps = ("plan", "csr", "order", "install", "verify", "rotate", "rollback", "certificate_info")
    tasks = "".join(
        f"    - {{name: {step}, ottr.pki.{step}: {{log_file: {log}}}, ignore_errors: true}}\n" for step in steps
    )
    play = f"""
- hosts: all
  gather_facts: false
  module_defaults: {{group/ottr.pki.ca: {{folder: ca, log_file: {log}, passphrase: "{{{{ ca_secret }}}}"}}}}
  tasks:
{tasks}
    - {{name: issue, ottr.pki.ca_certificate: {{names: ["{{{{ inventory_hostname }}}}"]}}, register: issued}}
    - {{name: bundle, ottr.pki.ca_bundle: }}
    - {{name: revoke, ottr.pki.ca_revoke: {{serial: "{{{{ issued.serial }}}}"}}}}
    - name: cannot open
      ottr.pki.ca_certificate: {{names: [a.test], passphrase: "{{{{ ca_secret }}}}-", passphrase_file: /nowhere}}
      ignore_errors: true
    - {{name: no such option, ottr.pki.ca_revoke: {{serial: a, colour: "{{{{ 1 }}}}"}}, ignore_errors: true}}
    - {{name: no such certificate, ottr.pki.ca_revoke: {{serial: abc}}, ignore_errors: true}}
"""
    arguments = ("--vault-password-file", "vault-password", "--diff", "-vvvv", "--limit", f"{WRONG},{RIGHT}")
    programs = vaulted.folder / "programs"
    vaulted.under = ("strace", "-f", "--seccomp-bpf", "-qq", "-v", "-s", "100000", "-e", "execve", "-o", str(programs))
    first = vaulted.play(play, *arguments)
    vaulted.under = ()
    assert vaulted.statuses("csr") == {WRONG: "failed", RIGHT: "changed"}
    assert vaulted.results("csr")[WRONG]["rotation"]["error"]["kind"] == "AuthenticationFailed"
    assert vaulted.statuses("revoke") == {WRONG: "changed", RIGHT: "changed"}
    for task in ("cannot open", "no such option", "no such certificate"):
        assert vaulted.statuses(task) == {WRONG: "failed", RIGHT: "failed"}
    explained = vaulted.operator.run("explain", RIGHT, "--vault-password-file", "vault-password").stdout
    assert "ansible_ssh_common_args: set, and secret" in explained
    second = vaulted.play(PLAYBOOKS / "rotate.yml", *arguments, "-e", "max_failed=100", "-e", "force=true", status=2)
    assert b"ottr.play" in programs.read_bytes()
    vaulted.operator.run("inventory", "import", "-i", "inventory", "--vault-password-file", "vault-password")
    shown = [explained] + [done.stdout + done.stderr for done in (first, second)]
    files = [path for path in vaulted.folder.rglob("*") if path.is_file() and path.name != "vault-password"]
    trail = [text.encode() for text in shown] + [path.read_bytes() for path in files]
    assert sum(b"web2.lab.test" in piece for piece in trail) > len(shown)
    for secret in (PASSWORD, TOKEN, VAULT, OF_CA, OF_JUMP):
        for form in forms_of_text(secret):
            assert not [piece for piece in trail if form in piece]
