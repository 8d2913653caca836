# SPDX-License-Identifier: Apache-2.0
"""The private CA from a play: certificates, revocation, and roots on their way to trust stores."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.authority import Authority
from ottr.ca.opening import open_authority
from ottr.ca.rollover import retire_old, start_rollover
from ottr.lab import Lab
from tests.ca.conftest import PASSPHRASE, run_openssl
from tests.ca.requests import build_csr
from tests.collection.player import PLAYBOOKS, Player

HOST = "web1.lab.test"
ISSUE = "ottr.pki.ca_certificate: {csr_path: %s, path: %s, mode: '0640'%s}"


@pytest.fixture
def authority(authority_folder: Path) -> Iterator[Authority]:
    with open_authority(authority_folder, PASSPHRASE) as opened:
        yield opened


def play(player: Player, folder: Path, *tasks: str, check: bool = False) -> None:
    """Run tasks for one host, whose files are this machine's."""
    lines = "".join(f"    - {{name: task{number}, {task}}}\n" for number, task in enumerate(tasks))
    defaults = f"group/ottr.pki.ca: {{folder: {folder}, passphrase: '{{{{ secret }}}}'}}"
    text = f"- hosts: {HOST}\n  gather_facts: false\n  module_defaults: {{{defaults}}}\n  tasks:\n{lines}"
    # Modules are Ansible's: their coverage does not count.
    text += "  environment: {COVERAGE_PROCESS_CONFIG: ''}\n"
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_pipelining": True}
    variables = {**here, "secret": PASSPHRASE.reveal().decode()}
    options = ("--check", "--diff") if check else ("--diff",)
    player.play(text, "-e", json.dumps(variables), *options)


def result(player: Player, number: int) -> dict[str, Any]:
    return dict(player.results(f"task{number}")[HOST])


def changes(player: Player) -> list[bool]:
    return [bool(one.result["changed"]) for one in player.outcomes()]


def test_a_certificate_is_issued_when_it_is_needed_and_no_more(player: Player, authority_folder: Path) -> None:
    folder, player.counted = authority_folder, True
    csr, path = player.folder / "www.csr", player.folder / "www.pem"
    csr.write_bytes(build_csr("www.example.test", "example.test").public_bytes(Encoding.PEM))
    issue = ISSUE % (csr, path, "")
    held = "ottr.pki.ca_certificate: {names: [printer.example.test, 192.0.2.7]%s}"
    bundle = f"ottr.pki.ca_bundle: {{path: {player.folder}/roots.pem}}"
    play(player, folder, issue, held % "", bundle, check=True)
    assert changes(player) == [True, True, True]
    assert result(player, 0)["certificate"] is None
    assert "+names: example.test" not in result(player, 0)["diff"][0]["after"]
    assert "names: www.example.test, example.test" in result(player, 0)["diff"][0]["after"]
    assert not path.exists()

    play(player, folder, issue, issue, held % "", held % "", bundle, bundle)
    assert changes(player) == [True, False] * 3
    first = result(player, 1)
    assert (first["serial"], first["reason"]) == (result(player, 0)["serial"], "not_due")
    assert path.read_text() == first["full_chain"] == first["certificate"] + first["chain"]
    assert path.stat().st_mode & 0o777 == 0o640
    said = run_openssl("verify", "-CAfile", player.folder / "roots.pem", "-untrusted", path, path)
    assert "OK" in said
    printer = result(player, 3)
    assert printer["info"]["names"] == ["printer.example.test", "192.0.2.7"]
    assert printer["info"]["key_held"]
    assert "PRIVATE" not in json.dumps([one.result for one in player.outcomes()])

    path.unlink()  # a run that died between the CA and the file
    short = ", days: 0.001"
    play(player, folder, issue, ISSUE % (csr, path, ", force: true" + short), issue, held % (short + ", force: true"))
    assert changes(player) == [True, True, True, True]
    assert result(player, 0)["serial"] == first["serial"]
    assert [result(player, number)["reason"] for number in (1, 2)] == ["forced", "lifetime_fraction"]
    assert result(player, 3)["serial"] != printer["serial"]
    assert result(player, 2)["full_chain"] == path.read_text()


def test_what_is_revoked_stays_so_and_a_hold_can_be_lifted(
    player: Player, authority_folder: Path, authority: Authority
) -> None:
    folder, player.counted = authority_folder, True
    csr, path = player.folder / "www.csr", player.folder / "www.pem"
    csr.write_bytes(build_csr("www.example.test").public_bytes(Encoding.PEM))
    issue = ISSUE % (csr, path, "")
    of_file = f"ottr.pki.ca_revoke: {{certificate_path: {path}, reason: %s}}"
    play(
        player,
        folder,
        issue,
        of_file % "superseded" + ", check_mode: true",
        of_file % "certificate_hold",
        of_file % "certificate_hold",
        of_file % "remove_from_crl",
        of_file % "remove_from_crl",
        of_file % "superseded",
        of_file % "unspecified",
        issue,
    )
    assert changes(player) == [True, True, True, False, True, False, True, False, True]
    assert [result(player, number)["info"]["status"] for number in (1, 2, 4, 6)] == [
        "valid",
        "held",
        "valid",
        "revoked",
    ]
    assert result(player, 7)["info"]["reason"] == "superseded"
    old, new = result(player, 0)["serial"], result(player, 8)["serial"]
    assert [authority.find_serial(serial).status.value for serial in (old, new)] == ["revoked", "valid"]

    by_serial = "ottr.pki.ca_revoke: {serial: '%s', reason: remove_from_crl}"
    wrong = {
        by_serial % old: "is revoked",
        by_serial % "abc": "no certificate with the serial abc",
        f"ottr.pki.ca_revoke: {{certificate_path: {csr}}}": "no certificate in PEM",
        "ottr.pki.ca_revoke: {certificate_path: /nowhere.pem}": "/nowhere.pem cannot be read",
        "ottr.pki.ca_certificate: {names: [a b]}": "a b",
        "ottr.pki.ca_certificate: {}": "one of the following is required",
        "ottr.pki.ca_certificate: {names: [a.test], passphrase: another}": "the passphrase does not open",
        "ottr.pki.ca_bundle: {folder: /nowhere}": "/nowhere",
    }
    play(player, folder, *(f"{task}, ignore_errors: true" for task in wrong))
    for number, words in enumerate(wrong.values()):
        assert player.statuses(f"task{number}") == {HOST: "failed"}
        assert words in result(player, number)["msg"]


def test_roots_get_into_trust_stores_and_out_of_them(
    player: Player, fleet: Lab, authority_folder: Path, authority: Authority
) -> None:
    """By SSH, with Debian's own program and a store that is not this machine's."""
    store = player.folder / "store"
    for name in ("local", "etc", "hooks"):
        (store / name).mkdir(parents=True)
    (store / "conf").touch()
    places = {"localcertsdir": "local", "etccertsdir": "etc", "certsconf": "conf", "hooksdir": "hooks"}
    update = [
        "update-ca-certificates",
        *(word for key, one in places.items() for word in (f"--{key}", f"{store}/{one}")),
    ]
    bundle = store / "etc" / "ca-certificates.crt"
    variables = {
        "ca": str(authority_folder),
        "target": HOST,
        "trust_store": {"folder": f"{store}/local", "bundle": str(bundle), "command": update},
        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={fleet.known_hosts}",
        "ansible_ssh_args": "-o ControlMaster=no",
        "ansible_pipelining": True,
        "ansible_python_interpreter": sys.executable,
    }

    def carry(*options: str, status: int = 0) -> str:
        return player.play(PLAYBOOKS / "trust_bundle.yml", "-e", json.dumps(variables), *options, status=status).stdout

    assert "+-----BEGIN CERTIFICATE-----" in carry("--check", "--diff")
    assert not bundle.exists()
    carry()
    [old] = authority.trust_bundle()
    assert bundle.read_bytes() == old.public_bytes(Encoding.PEM)
    assert "changed=0" in carry()

    start_rollover(authority)
    carry()
    new, _ = authority.trust_bundle()
    for root in (old, new):
        assert root.public_bytes(Encoding.PEM) in bundle.read_bytes()
    retire_old(authority)
    (store / "local" / "ottr-ca-root-1.crt").unlink()  # a run that died before it updated the store
    carry()
    assert bundle.read_bytes() == new.public_bytes(Encoding.PEM)

    variables["trust_store"]["command"] = ["true"]  # type: ignore[index]
    bundle.write_text("")
    carry(status=2)
    assert "lacks 1 roots" in player.results("See that the store is as it should be")[HOST]["msg"]


# A namespace with an /etc of its own, whose release is Fedora's; what is left of its trust store is copied out.
_FEDORA = """\
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
rm /etc/os-release
printf 'NAME="Fedora Linux"\\nID=fedora\\nVERSION_ID=40\\n' >/etc/os-release
echo 'Fedora release 40 (Forty)' >/etc/redhat-release
mkdir -p /etc/pki/ca-trust/source/anchors /etc/pki/ca-trust/extracted/pem
to=$2
shift 2
"$@"
cp -r /etc/pki/ca-trust "$to"
"""
# Stands in for the program of p11-kit, which Debian does not have: anchors with their names before them.
_UPDATE_CA_TRUST = """\
#!/bin/sh
cd /etc/pki/ca-trust || exit
[ "$*" = extract ] || exit 2
for root in source/anchors/*.crt; do
    echo "# $root"
    cat "$root"
    echo
done >extracted/pem/tls-ca-bundle.pem
"""


def test_red_hats_trust_store_is_found_by_its_facts(
    player: Player, authority_folder: Path, authority: Authority
) -> None:
    (mounted := player.folder / "mounted").mkdir()
    (programs := player.folder / "programs").mkdir()
    (programs / "update-ca-trust").write_text(_UPDATE_CA_TRUST)
    (programs / "update-ca-trust").chmod(0o755)
    store = player.folder / "store"
    player.under = ("unshare", "--mount", "sh", "-ec", _FEDORA, "fedora", str(mounted), str(store))
    variables = {
        "ca": str(authority_folder),
        "target": HOST,
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_pipelining": True,
        "ansible_python_interpreter": sys.executable,
    }
    path = f"{programs}:{player.environment['PATH']}"
    player.play(PLAYBOOKS / "trust_bundle.yml", "-e", json.dumps(variables), PATH=path)
    [root] = authority.trust_bundle()
    pem = root.public_bytes(Encoding.PEM)
    assert (store / "source" / "anchors" / "ottr-ca-root-1.crt").read_bytes() == pem
    assert pem in (store / "extracted" / "pem" / "tls-ca-bundle.pem").read_bytes()
