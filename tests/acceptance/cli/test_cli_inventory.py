# SPDX-License-Identifier: Apache-2.0
"""``ottr inventory``: devices in the state database instead of files."""

from __future__ import annotations

import re

from ottr import x509
from tests.acceptance.cli.shell import Operator


def test_a_fleet_without_files(operator: Operator) -> None:
    """Imported, listed, changed, planned and rotated by the same patterns, and given back."""
    assert operator.run("inventory", "import", "-i", "inventory").stdout == "imported 2 hosts\n"
    files = operator.run("plan", "-o", "json").json
    (operator.folder / "inventory").rename(operator.folder / "gone")
    settings = operator.folder / "ottr.yaml"
    settings.write_text(re.sub(r"(?m)^inventory:\n(- .*\n)+", "inventory: ['state:']\n", settings.read_text()))
    assert operator.run("plan", "-o", "json").json == files
    assert "web2.lab.test" not in operator.run("inventory", "list", "linux:!web2*").stdout
    done = operator.run("rotate", "web1*:&linux", "-o", "json").json
    assert [(one["device"], one["outcome"], one["warnings"]) for one in done["results"]] == [
        ("web1.lab.test", "rotated", [])
    ]
    [listed] = operator.run("inventory", "list", "web1.lab.test", "-o", "json").json["hosts"]
    served = x509.parse_certificate(operator.served()["web1.lab.test"])
    assert listed["variables"]["certificate_sha256"] == served.sha256
    operator.run("inventory", "export", "--file", "exported.yml")
    assert operator.run("plan", "-i", "exported.yml", "-o", "json").json["due"] == 1
    assert "is there already" in operator.run("inventory", "export", "--file", "exported.yml", status=1).stderr.replace(
        "File exists", "is there already"
    )
    assert operator.run("inventory", "export").stdout == (operator.folder / "exported.yml").read_text()


def test_hosts_are_added_changed_and_removed(operator: Operator) -> None:
    add = ("inventory", "add", "new", "-s", "host_platform=linux", "-s", 'os_version="12"', "-g", "dmz")
    assert operator.run(*add, "-s", "common_name=new.lab.test").stdout == "added 1 host\n"
    assert "is there already" in operator.run(*add, status=1).stderr
    operator.run("inventory", "update", "dmz", "-s", 'subject_alternative_name=["a.lab.test"]', "--unset", "os_version")
    [host] = operator.run("inventory", "list", "-o", "json").json["hosts"]
    assert host == {
        "name": "new",
        "groups": ["dmz"],
        "variables": {
            "common_name": "new.lab.test",
            "host_platform": "linux",
            "subject_alternative_name": ["a.lab.test"],
        },
    }
    operator.run("inventory", "update", "new", "-g", "web")
    assert operator.run("inventory", "list", "web").stdout.splitlines()[1].split() == [
        "new",
        "linux",
        "a.lab.test",
        "web",
    ]
    assert operator.run("inventory", "remove", "web", "-o", "json").json == {"version": 1, "removed": ["new"]}
    assert operator.run("inventory", "list").stdout == ""


def test_mistakes_are_refused(operator: Operator) -> None:
    assert "-i PATH" in operator.run("inventory", "import", status=5).stderr
    assert "-i PATH" in operator.run("inventory", "import", "-i", "state:", status=5).stderr
    assert "not NAME=VALUE" in operator.run("inventory", "add", "x", "-s", "nothing", status=5).stderr
    assert "no JSON" in operator.run("inventory", "export", "-o", "json", status=5).stderr
    assert "stands alone" in operator.run("plan", "-i", "state:", "-i", "inventory", status=1).stderr
    operator.set_variable("web1.lab.test", "ansible_password", "hunter2")
    operator.set_variable("web2.lab.test", "os_version", "{{ nowhere }}")
    done = operator.run("inventory", "import", "-i", "inventory")
    assert "secrets are left out: ansible_password" in done.stderr
    assert "os_version is left out" in done.stderr
    assert "hunter2" not in done.stderr + operator.run("inventory", "export").stdout
