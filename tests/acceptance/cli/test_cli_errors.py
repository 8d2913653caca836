# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: one line, one hint, and the exit status of its kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.acceptance.cli.shell import Operator

WEB1, WEB2 = "web1.lab.test", "web2.lab.test"


def test_an_error_is_one_line_and_a_hint(rotated: Operator) -> None:
    done = rotated.run("plan", "nosuch", status=1)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "ottr: no host matches 'nosuch'",
        "hint: `ansible-inventory --graph` shows the groups and hosts there are",
    ]


def test_an_error_as_json_is_an_object_on_stdout(rotated: Operator) -> None:
    done = rotated.run("plan", "nosuch", "--output", "json", status=1)
    assert done.json["error"]["kind"] == "InventoryError"
    assert done.json["exit_status"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("rotate", "--nosuch"),
        ("rotate", "--forks", "none"),
        ("nosuch",),
        ("plan", "-o", "xml"),
        ("explain",),
        ("rotate", "--force"),
        ("rotate", "all", "--force", "--check"),
        ("resume", "-l", "web1*"),
    ],
)
def test_bad_options_end_with_5(rotated: Operator, arguments: tuple[str, ...]) -> None:
    done = rotated.run(*arguments, status=5)
    assert done.stderr.startswith("ottr: ")
    assert "hint: " in done.stderr


def test_settings_that_are_not_there(rotated: Operator) -> None:
    done = rotated.run("plan", "--config", "/nonexistent/ottr.yaml", status=1)
    assert "/nonexistent/ottr.yaml" in done.stderr
    assert "hint: `ottr init`" in done.stderr


def test_an_error_in_routing_names_file_and_line(operator: Operator) -> None:
    path = operator.folder / "routing.yaml"
    path.write_text("routes:\n- match: {host_platform: linux}\n  driver: toaster\n")
    done = operator.run("plan", status=1)
    assert f"{path}" in done.stderr
    assert "line 3" in done.stderr or ":3" in done.stderr


def test_forcing_many_needs_yes(operator: Operator) -> None:
    inventory = operator.read_inventory()
    one = inventory["linux"]["hosts"][WEB1]
    names = [f"web{number}.lab.test" for number in range(1, 12)]
    inventory["linux"]["hosts"] = {name: {**one, "common_name": name} for name in names}
    operator.write_inventory(inventory)
    done = operator.run("rotate", "all", "--force", status=5)
    assert "--force would rotate 11 devices; say --yes" in done.stderr
    assert operator.run("history", "-o", "json").json["rotations"] == []


def test_force_rotates_what_is_not_due(operator: Operator) -> None:
    operator.run("rotate", WEB1)
    [first] = operator.run("rotate", WEB1, "-o", "json").json["results"]
    assert first["outcome"] == "not_due"
    [second] = operator.run("rotate", WEB1, "--force", "-o", "json").json["results"]
    assert (second["outcome"], second["reason"]) == ("rotated", "forced")


def test_only_unreachable_devices_end_with_4(operator: Operator) -> None:
    operator.set_variable(WEB1, "ansible_port", 1)
    done = operator.run("rotate", "-o", "json", status=4)
    results = {one["device"]: one for one in done.json["results"]}
    assert {name: one["outcome"] for name, one in results.items()} == {WEB1: "unreachable", WEB2: "rotated"}
    assert results[WEB1]["error"]["hint"]
    assert "`ottr resume` goes on" in operator.run("rotate", WEB1, "--force", status=4).stdout


def test_a_failed_device_ends_with_2_and_keeps_its_certificate(operator: Operator) -> None:
    operator.set_option(WEB1, "test_command", ["/bin/false"])
    before = operator.served()[WEB1]
    done = operator.run("rotate", WEB1, status=2)
    assert operator.served()[WEB1] == before
    assert f"{WEB1}: rolled back at " in done.stdout or f"{WEB1}: failed at " in done.stdout
    assert "  hint: " in done.stdout
    abandoned = operator.run("abandon", WEB1, "-o", "json").json["results"][0]
    assert (abandoned["device"], abandoned["reason"]) == (WEB1, "abandoned")


def test_no_further_batch_when_too_many_failed(operator: Operator) -> None:
    operator.set_option(WEB1, "test_command", ["/bin/false"])
    operator.set_option(WEB2, "test_command", ["/bin/false"])
    done = operator.run("rotate", "--serial", "1", "--max-fail-percentage", "0", "-o", "json", status=2)
    outcomes = [one["outcome"] for one in done.json["results"]]
    assert outcomes.count("interrupted") == 1


def test_skipped_devices_count_with_strict(operator: Operator) -> None:
    operator.set_variable(WEB1, "host_platform", "toaster")
    operator.set_variable(WEB2, "host_platform", "toaster")
    assert "2 skipped" in operator.run("rotate").stdout
    assert "2 skipped" in operator.run("rotate", "--strict", status=2).stdout


def test_doing_something_to_one_host_that_cannot_be_done(rotated: Operator) -> None:
    done = rotated.run("abandon", WEB1, status=2)
    assert f"ottr: {WEB1} has no open rotation" in done.stderr
    assert rotated.run("rollback", "linux", status=1).stderr.startswith("ottr: linux means 2 hosts")


def test_a_mistake_of_ours_ends_with_250_and_shows_its_traceback_with_v(operator: Operator) -> None:
    outside = operator.folder / "outside"
    (outside / "broken-1.0.dist-info").mkdir(parents=True)
    (outside / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (outside / "broken-1.0.dist-info" / "entry_points.txt").write_text("[ottr.drivers]\nbroken = broken\n")
    (outside / "broken.py").write_text("raise RuntimeError('hunter2')\n")
    routing = operator.folder / "routing.yaml"
    rules = yaml.safe_load(routing.read_text())
    rules["routes"][0]["driver"] = "broken"
    routing.write_text(yaml.safe_dump(rules))
    done = operator.run("plan", status=250, PYTHONPATH=str(outside))
    assert done.stderr.splitlines()[0] == "ottr: unexpected RuntimeError"
    assert "report" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" in operator.run("plan", "-v", status=250, PYTHONPATH=str(outside)).stderr


def test_a_lab_without_its_programs_names_the_packages(tmp_path: Path) -> None:
    somebody = Operator.at(tmp_path / "somebody")
    done = somebody.run("lab", status=1, PATH="/nonexistent")
    assert "not installed: openssl" in done.stderr
    done = somebody.run("lab", "--real", status=1, PATH="/nonexistent")
    assert "pebble" in done.stderr
    assert "hint: on Debian: apt-get install" in done.stderr
    somebody.end_all()


def test_a_log_file_that_cannot_be_written(rotated: Operator) -> None:
    assert "--log-file /nonexistent/log" in rotated.run("plan", "--log-file", "/nonexistent/log", status=1).stderr
