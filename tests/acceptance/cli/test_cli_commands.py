# SPDX-License-Identifier: Apache-2.0
"""What every command says when all is well, in words and as JSON."""

from __future__ import annotations

import shutil

import pytest
import yaml

from ottr.lab import Lab
from ottr.x509 import parse_certificate
from tests.acceptance.cli.shell import Operator, wait_until

WEB1, WEB2 = "web1.lab.test", "web2.lab.test"


def seen(operator: Operator) -> dict[str, str]:
    """Fingerprints of what is served."""
    return {name: parse_certificate(pem).sha256 for name, pem in operator.served().items()}


def test_a_rotation_from_the_first_plan_to_the_next(operator: Operator, fleet: Lab) -> None:
    plan = operator.run("plan", "-o", "json").json
    assert [(one["device"], one["due"], one["reason"]) for one in plan["hosts"]] == [
        (WEB1, True, "never_issued"),
        (WEB2, True, "never_issued"),
    ]
    run = operator.run("rotate", "-o", "json").json
    issued = {result["device"]: result["new_sha256"] for result in run["results"]}
    # nginx's former workers take connections for a moment after a reload
    wait_until(lambda: seen(operator) == issued, "every host serves what was issued")
    assert run["counts"]["rotated"] == 2
    assert run["exit_status"] == 0
    plan = operator.run("plan", "-o", "json").json
    assert plan["reasons"] == {"not_due": 2}
    assert {one["device"]: one["sha256"] for one in plan["hosts"]} == issued


def test_rotate_ends_with_a_line_for_each_device(operator: Operator) -> None:
    lines = operator.run("rotate", "-f", "1").stdout.splitlines()
    for host in (WEB1, WEB2):
        assert any(line.startswith(f"{host}: rotated (never_issued), valid until 20") for line in lines)
        assert any(line.startswith(host) and line.split()[1:3] == ["rotated", "never_issued"] for line in lines)
    assert lines[-1] == "2 rotated"


def test_patterns_and_limits_are_ansibles(operator: Operator) -> None:
    def planned(*arguments: str) -> list[str]:
        return [one["device"] for one in operator.run("plan", "-o", "json", *arguments).json["hosts"]]

    assert planned("linux:!web1*") == [WEB2]
    assert planned("all", "-l", "web1*") == [WEB1]
    assert planned("-i", f"{WEB2},", "-e", "host_platform=linux") == [WEB2]


def test_plan_says_why_in_words(rotated: Operator) -> None:
    text = rotated.run("plan").stdout
    assert text.splitlines()[0].split() == ["DEVICE", "DUE", "REASON", "DRIVER", "ISSUER", "NOT", "AFTER", "NEXT"]
    assert "0 due, 2 not due, 0 that cannot be rotated" in text


def test_a_host_that_cannot_be_rotated_is_named_with_its_reason(operator: Operator) -> None:
    operator.set_variable(WEB2, "host_platform", "toaster")
    done = operator.run("plan")
    assert f"{WEB2}: no_route: " in done.stdout
    assert "1 due, 0 not due, 1 that cannot be rotated" in done.stdout


def test_explain_traces_the_selection(rotated: Operator) -> None:
    text = rotated.run("explain", WEB1).stdout
    assert text.startswith(f"{WEB1} is not due: not_due, next at 20")
    for part in ("host_platform: linux", "line 2: linux_ssh: taken", "windows: always", "issued by CN=Pebble"):
        assert part in text
    told = rotated.run("explain", WEB1, "-o", "json").json
    assert told["host"]["reason"] == "not_due"
    assert told["groups"] == ["linux"]
    assert [route["taken"] for route in told["routes"]] == [True]
    assert [record["state"] for record in told["rotations"]] == ["rotated"]


def test_history_shows_every_step(rotated: Operator) -> None:
    [rotation] = rotated.run("history", WEB1, "-o", "json").json["rotations"]
    assert [step["step"] for step in rotation["steps"] if step["status"] == "done"] == [
        "preflight",
        "csr",
        "order",
        "install",
        "verify",
        "record",
    ]
    text = rotated.run("history").stdout
    assert f"{WEB1}  rotation {rotation['rotation_id']}  rotated (forced)" in text
    assert WEB2 in text
    assert "CERTIFICATE" not in text


def test_verify_finds_what_was_issued(operator: Operator) -> None:
    operator.run("rotate", WEB1)
    done = operator.run("verify", "-o", "json", status=2).json
    statuses = {one["device"]: one["status"] for one in done["results"]}
    assert statuses == {WEB1: "ok", WEB2: "drift"}
    assert all(one["served_at"] for one in done["results"] if one["status"] == "ok")
    text = operator.run("verify", WEB1).stdout
    assert text.splitlines()[-1] == "1 ok"


def test_rollback_brings_back_the_certificate_before(operator: Operator) -> None:
    before = operator.served()[WEB1]
    operator.run("rotate", WEB1)
    wait_until(lambda: operator.served()[WEB1] != before, "the new certificate is served")
    [result] = operator.run("rollback", WEB1, "-o", "json").json["results"]
    assert result["outcome"] == "rolled_back"
    wait_until(lambda: operator.served()[WEB1] == before, "the former certificate is served")


def test_resume_with_nothing_open(rotated: Operator) -> None:
    assert rotated.run("resume", "-o", "json").json["results"] == []
    assert "nothing to do" in rotated.run("resume").stdout


def test_release_of_a_host_that_nothing_holds_back(rotated: Operator) -> None:
    assert rotated.run("release", WEB1).stdout == f"{WEB1}: nothing held it back\n"
    assert rotated.run("release", WEB1, "-o", "json").json["released"] == []


def test_cleanup_finds_and_removes_what_a_lost_database_knew(operator: Operator) -> None:
    operator.run("rotate", WEB1)
    assert operator.run("cleanup", WEB1).stdout == f"{WEB1}: nothing is left over\n"
    shutil.rmtree(operator.folder / "state")
    operator.run("rotate", WEB1, "--force")
    assert operator.run("cleanup", WEB1).stdout == f"{WEB1}: nothing is left over\n"
    [label] = operator.run("cleanup", WEB1, "--foreign", "-o", "json").json["labels"]
    assert operator.run("cleanup", WEB1, "--foreign", "--remove").stdout == f"{WEB1}: removed: {label}\n"
    assert operator.run("cleanup", WEB1, "-o", "json").json == {
        "device": WEB1,
        "labels": [],
        "removed": False,
        "version": 1,
    }


def test_drivers_are_listed_with_their_routes(rotated: Operator) -> None:
    listed = rotated.run("drivers", "list", "-o", "json").json["drivers"]
    assert [one["routes"] for one in listed if one["name"] == "linux_ssh"] == [[2]]
    assert "linux_ssh" in rotated.run("drivers").stdout


@pytest.mark.parametrize("arguments", [(), ("--write-dns",)])
def test_doctor_finds_all_well(rotated: Operator, arguments: tuple[str, ...]) -> None:
    found = rotated.run("doctor", *arguments, "-o", "json").json
    assert [one["what"] for one in found["checks"] if not one["ok"]] == []
    assert {"settings", "routing", "state", "inventory", "zone lab.test", "issuer lab"} <= {
        one["what"] for one in found["checks"]
    }


def test_doctor_says_what_is_wrong_and_what_to_do(operator: Operator) -> None:
    path = operator.folder / "ottr.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["issuers"]["lab"]["directory"] = "https://127.0.0.1:1/dir"
    settings["solvers"]["lab"]["zones"] = ["absent.test"]
    path.write_text(yaml.safe_dump(settings))
    done = operator.run("doctor", status=2)
    assert "FAILED  issuer lab: " in done.stdout
    assert "FAILED  zone absent.test: " in done.stdout
    assert "hint: " in done.stdout
    path.write_text("issuers: 7\n")
    done = operator.run("doctor", status=2)
    assert "FAILED  settings: " in done.stdout


def test_check_and_diff_change_nothing(operator: Operator) -> None:
    before, served = operator.snapshot(), operator.served()
    done = operator.run("rotate", "--check", "--diff")
    assert "2 planned" in done.stdout
    assert f"- issuer: CN={WEB1}\n+ issuer: lab\n" in done.stdout
    assert operator.snapshot() == before
    assert operator.served() == served
    assert operator.run("history", "-o", "json").json["rotations"] == []


def test_init_writes_a_start_once(operator: Operator) -> None:
    fresh = operator.folder / "fresh"
    done = operator.run("init", str(fresh))
    assert (fresh / "ottr.yaml").exists()
    assert f"wrote {fresh / 'routing.yaml'}" in done.stdout
    refused = operator.run("init", str(fresh), status=1)
    assert "nothing is overwritten" in refused.stderr


def test_an_account_gets_a_new_key_and_the_next_rotation_uses_it(operator: Operator) -> None:
    url = operator.run("account", "lab", "-o", "json").json["account"]
    assert operator.run("account", "lab", "--new-key", "-o", "json").json == {
        "version": 1,
        "issuer": "lab",
        "account": url,
        "changed": True,
    }
    assert operator.run("rotate", "-o", "json").json["counts"]["rotated"] == 2
    refused = operator.run("account", "nosuch", status=1)
    assert "there is no issuer 'nosuch'; issuers of ottr.yaml: lab" in refused.stderr
