# SPDX-License-Identifier: Apache-2.0
"""Secrets given by vault show nowhere: not with -vvvv, not in a failed task, not in a difference, in no file."""

from __future__ import annotations

import pytest

from tests.acceptance.secrets_trail import forms_of_text
from tests.collection.player import PLAYBOOKS, Player

PASSWORD, TOKEN, VAULT = "Tr0ub4dor-and-3-of-them", "tok-7Zq9-never-to-be-seen", "the-vaults-own-password"
WRONG, RIGHT = "web1.lab.test", "web2.lab.test"


@pytest.fixture
def vaulted(player: Player) -> Player:
    """Two hosts whose secrets are vaulted; one has no other login than a password, which is wrong."""
    player.write("vault-password", VAULT + "\n").chmod(0o600)
    variables = {"ansible_password": PASSWORD, "ansible_become_password": PASSWORD, "ottr_api_token": TOKEN}
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
    player.operator.set_variable(WRONG, "ansible_ssh_private_key_file", "/nowhere/id_ed25519")
    return player


def test_nothing_of_a_vault_is_ever_shown(vaulted: Player) -> None:
    log = vaulted.folder / "ottr.log"
    arguments = ("--vault-password-file", "vault-password", "--diff", "-vvvv", "--limit", f"{WRONG},{RIGHT}")
    play = f"""
- hosts: all
  gather_facts: false
  tasks:
    - {{name: plan, ottr.pki.plan: {{log_file: {log}}}}}
    - {{name: rotate, ottr.pki.rotate: {{log_file: {log}}}}}
    - {{name: look, ottr.pki.verify: {{log_file: {log}}}}}
"""
    first = vaulted.play(play, *arguments, status=2)
    assert vaulted.statuses("rotate") == {WRONG: "failed", RIGHT: "changed"}
    assert vaulted.results("rotate")[WRONG]["rotation"]["error"]["kind"] == "AuthenticationFailed"
    second = vaulted.play(PLAYBOOKS / "rotate.yml", *arguments, "-e", "max_failed=100", "-e", "force=true", status=2)
    shown = [done.stdout + done.stderr for done in (first, second)]
    files = [path for path in vaulted.folder.rglob("*") if path.is_file() and path.name != "vault-password"]
    trail = [text.encode() for text in shown] + [path.read_bytes() for path in files]
    assert sum(b"web2.lab.test" in piece for piece in trail) > len(shown)
    for secret in (PASSWORD, TOKEN, VAULT):
        for form in forms_of_text(secret):
            assert not [piece for piece in trail if form in piece]
