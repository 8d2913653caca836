# SPDX-License-Identifier: Apache-2.0
"""The playbooks at the top level, as the README shows them."""

from __future__ import annotations

from ottr import x509
from tests.collection.player import PLAYBOOKS, Player

HOSTS = {"web1.lab.test", "web2.lab.test", "web3.lab.test"}
ROTATE, LOOK = "Rotate the certificate", "Look at what it serves"


def test_check_shows_what_would_change_and_changes_nothing(player: Player) -> None:
    before = player.operator.snapshot()
    done = player.play(PLAYBOOKS / "rotate.yml", "--check", "--diff")
    assert player.statuses(ROTATE) == dict.fromkeys(HOSTS, "changed")
    assert "-issuer: CN=web1.lab.test" in done.stdout
    assert "+issuer: lab" in done.stdout
    assert player.operator.snapshot() == before
    assert not player.rotations("web1.lab.test")


def test_a_fleet_is_rotated_and_a_second_run_changes_nothing(player: Player) -> None:
    done = player.play(PLAYBOOKS / "rotate.yml", "--diff")
    assert player.statuses(ROTATE) == dict.fromkeys(HOSTS, "changed")
    for host, pem in player.operator.served().items():
        rotation = player.results(ROTATE)[host]["rotation"]
        assert x509.parse_certificate(pem).sha256 == rotation["new_sha256"]
        assert f"+sha256: {rotation['new_sha256']}" in done.stdout
        written = player.folder / "inventory" / "host_vars" / host / "certificate.yml"
        assert rotation["new_sha256"] in written.read_text()
    again = player.play(PLAYBOOKS / "rotate.yml")
    assert player.statuses(ROTATE) == dict.fromkeys(HOSTS, "ok")
    assert "changed=1" not in again.stdout


def test_one_host_is_rotated_when_it_is_asked_for(player: Player) -> None:
    player.play(PLAYBOOKS / "rotate_one.yml", "-e", "host=web2.lab.test")
    assert player.statuses(ROTATE) == {"web2.lab.test": "changed"}
    assert player.statuses(LOOK) == {"web2.lab.test": "ok"}
    player.play(PLAYBOOKS / "rotate_one.yml", "-e", "host=web2.lab.test")
    assert player.statuses(ROTATE) == {"web2.lab.test": "ok"}
    player.play(PLAYBOOKS / "rotate_one.yml", "-e", "host=web2.lab.test", "-e", "force=true")
    assert player.statuses(ROTATE) == {"web2.lab.test": "changed"}
    refused = player.play(PLAYBOOKS / "rotate_one.yml", status=2)
    assert "name the host" in refused.stderr + refused.stdout


def test_the_plan_is_a_table_and_a_page(player: Player) -> None:
    page = player.folder / "plan.html"
    done = player.play(PLAYBOOKS / "plan.yml", "-e", f"report={page}")
    assert "3 due of 3" in done.stdout
    assert "web3.lab.test" in page.read_text()
    assert "never_issued" in page.read_text()


def test_verify_fails_for_a_host_that_serves_something_else(player: Player) -> None:
    player.play(PLAYBOOKS / "rotate.yml", "--limit", "web1.lab.test,web2.lab.test")
    player.play(PLAYBOOKS / "verify.yml", "--limit", "web1.lab.test,web2.lab.test")
    _serve_something_else(player, "web2.lab.test")
    player.play(PLAYBOOKS / "verify.yml", "--limit", "web1.lab.test,web2.lab.test", status=2)
    assert player.statuses("Look at what is served") == {"web1.lab.test": "ok", "web2.lab.test": "failed"}
    assert "drift: self-signed" in player.results("Look at what is served")["web2.lab.test"]["msg"]


def test_a_failure_rolls_back_tells_somebody_and_stops_the_next_batch(player: Player) -> None:
    before = player.operator.served()
    player.operator.set_option("web1.lab.test", "test_command", ["/bin/false"])
    told = player.folder / "told"
    script = player.write("tell", f'#!/bin/sh\necho "$@" >>{told}\n')
    script.chmod(0o755)
    player.play(PLAYBOOKS / "rotate.yml", "-e", f'{{"notify_command": ["{script}"], "batches": [1, "100%"]}}', status=2)
    assert player.statuses(ROTATE) == {"web1.lab.test": "failed"}
    assert player.results(ROTATE)["web1.lab.test"]["rotation"]["outcome"] == "rolled_back"
    assert told.read_text().startswith("web1.lab.test rolled back (never_issued)")
    assert player.operator.served() == before


def test_hosts_behind_a_load_balancer_are_out_only_while_they_are_changed(player: Player) -> None:
    log = player.folder / "balancer"
    script = player.write("balance", f'#!/bin/sh\necho "$@" >>{log}\n')
    script.chmod(0o755)
    commands = f'{{"drain": ["{script}", "out"], "undrain": ["{script}", "in"]}}'
    player.play(PLAYBOOKS / "drain_rotate_undrain.yml", "-e", commands)
    assert log.read_text().split() == [word for host in sorted(HOSTS) for word in ("out", host, "in", host)]
    log.unlink()
    player.play(PLAYBOOKS / "drain_rotate_undrain.yml", "-e", commands)
    assert not log.exists()


def _serve_something_else(player: Player, name: str) -> None:
    assert player.operator.lab is not None
    from tests.acceptance.cli.shell import begin_anew

    begin_anew(next(host for host in player.operator.lab.hosts if host.name == name))
