# SPDX-License-Identifier: Apache-2.0
"""The driver through a real sshd, for a real nginx."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from ottr.drivers import DeadMan, Labelled, Noticing, Preflight, Reusable
from ottr.drivers.linux_ssh.driver import LinuxHost
from ottr.errors import DeviceRejected, KeyLost
from ottr.model import CertificateRequest, Facts, IssuedCertificate, KeyType
from ottr.x509 import parse_request
from tests.drivers.conftest import Machine
from tests.drivers.linux import NAMES, is_pair, issue, request, serial, wait_until

LogIn = Callable[..., LinuxHost]


def folder_of(machine: Machine) -> Path:
    return Path(f"{machine.nginx.key}.ottr")


def rotate(host: LinuxHost, number: int) -> IssuedCertificate:
    issued = issue(host.create_csr(request(number)))
    host.install(request(number), issued)
    return issued


def wait_served(machine: Machine, issued: IssuedCertificate) -> None:
    wait_until(lambda: machine.served() == serial(issued.leaf_pem))


def test_it_has_every_optional_ability(host: LinuxHost) -> None:
    assert isinstance(host, DeadMan)
    assert isinstance(host, Reusable)
    assert isinstance(host, Labelled)
    assert isinstance(host, Preflight)
    assert isinstance(host, Noticing)
    assert host.alive()


def test_a_host_that_was_never_touched_shows_what_its_service_reads(machine: Machine, host: LinuxHost) -> None:
    facts = host.inspect()
    assert facts.bound == ""
    assert serial(facts.leaf_pem) == machine.served()
    assert facts.os_version == "12"
    assert not folder_of(machine).exists()
    assert host.labels() == frozenset()


def test_the_csr_carries_every_name_and_the_key_stays_private(machine: Machine, host: LinuxHost) -> None:
    csr = parse_request(host.create_csr(request()).pem)
    assert csr.dns_names == NAMES
    assert csr.key_type is KeyType.EC256
    key = folder_of(machine) / "ottr-test-1" / "privkey.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not machine.nginx.key.is_symlink()


@pytest.mark.parametrize("key_type", [KeyType.EC384, KeyType.RSA2048, KeyType.RSA3072, KeyType.RSA4096])
def test_every_kind_of_key_can_be_made(host: LinuxHost, key_type: KeyType) -> None:
    csr = host.create_csr(replace(request(), key_type=key_type))
    assert parse_request(csr.pem).key_type is key_type


def test_the_common_name_is_the_first_name_or_nothing(host: LinuxHost) -> None:
    long_name = f"{'a' * 60}.lab.test"
    for number, (names, expected) in enumerate([(("*.lab.test", "lab.test"), "CN=*.lab.test"), ((long_name,), "")]):
        csr = host.create_csr(request(number, names))
        assert x509.load_pem_x509_csr(csr.pem.encode()).subject.rfc4514_string() == expected
        assert parse_request(csr.pem).dns_names == names


def test_asked_again_it_returns_the_same_csr(log_in: LogIn, machine: Machine) -> None:
    first = log_in().create_csr(request())
    assert log_in().create_csr(request()) == first
    (folder_of(machine) / "ottr-test-1" / "csr.pem").unlink()
    again = log_in().create_csr(request())
    assert parse_request(again.pem).spki_der == parse_request(first.pem).spki_der


def test_a_csr_of_another_key_or_other_names_is_made_anew(host: LinuxHost, machine: Machine) -> None:
    first = host.create_csr(request(1))
    second = host.create_csr(request(2))
    (folder_of(machine) / "ottr-test-1" / "csr.pem").write_text(second.pem)
    assert parse_request(host.create_csr(request(1)).pem).spki_der == parse_request(first.pem).spki_der
    other = host.create_csr(request(1, ("other.lab.test",)))
    assert parse_request(other.pem).dns_names == ("other.lab.test",)
    assert parse_request(other.pem).spki_der == parse_request(first.pem).spki_der


def test_install_serves_the_new_certificate_and_keeps_the_old_files(machine: Machine, host: LinuxHost) -> None:
    old_certificate, old_key = machine.nginx.fullchain.read_bytes(), machine.nginx.key.read_bytes()
    issued = rotate(host, 1)
    wait_served(machine, issued)
    assert machine.nginx.fullchain.read_text() == issued.fullchain_pem
    assert is_pair(machine.nginx.fullchain, machine.nginx.key)
    original = folder_of(machine) / "original"
    assert (original / "fullchain.pem").read_bytes() == old_certificate
    assert (original / "privkey.pem").read_bytes() == old_key
    facts = host.inspect()
    assert (facts.bound, facts.leaf_pem) == ("ottr-test-1", issued.leaf_pem)


def test_rollback_is_harmless_when_nothing_was_installed(machine: Machine, host: LinuxHost, log_in: LogIn) -> None:
    before, first = host.inspect(), machine.served()
    host.rollback(request(1), before)
    assert not folder_of(machine).exists()
    host.create_csr(request(1))
    log_in({"reload_command": "false"}).rollback(request(1), before)
    assert machine.served() == first
    assert not machine.nginx.key.is_symlink()


def test_a_rollback_of_an_older_rotation_leaves_the_newer_one_alone(machine: Machine, host: LinuxHost) -> None:
    before = host.inspect()
    rotate(host, 1)
    second = rotate(host, 2)
    host.rollback(request(1), before)
    wait_served(machine, second)
    assert host.inspect().bound == "ottr-test-2"


def test_rollback_without_the_former_files_is_refused(machine: Machine, host: LinuxHost) -> None:
    rotate(host, 1)
    before = host.inspect()
    second = rotate(host, 2)
    host.cleanup(frozenset({"ottr-test-1"}))
    with pytest.raises(DeviceRejected, match=r"former files .*ottr-test-1 are gone"):
        host.rollback(request(2), before)
    wait_served(machine, second)


def test_a_config_test_that_fails_leaves_the_host_as_it_was(machine: Machine, host: LinuxHost, log_in: LogIn) -> None:
    before, first = host.inspect(), machine.served()
    issued = issue(host.create_csr(request()))
    refusing = log_in({"test_command": ["sh", "-c", "echo broken at line 7 >&2; exit 1"]})
    with pytest.raises(DeviceRejected, match="own test refuses the new certificate: broken at line 7") as caught:
        refusing.install(request(), issued)
    assert "run the service's test" in caught.value.hint
    assert is_pair(machine.nginx.fullchain, machine.nginx.key)
    assert host.inspect().leaf_pem == before.leaf_pem
    refusing.rollback(request(), before)  # nothing was loaded, so there is nothing to load again
    assert machine.served() == first
    host.install(request(), issued)
    wait_served(machine, issued)


def test_a_reload_that_fails_puts_the_former_certificate_back(machine: Machine, host: LinuxHost, log_in: LogIn) -> None:
    before, first = host.inspect(), machine.served()
    issued = issue(host.create_csr(request()))
    with pytest.raises(DeviceRejected, match="could not be reloaded: no such process"):
        log_in({"reload_command": ["sh", "-c", "echo no such process; exit 1"]}).install(request(), issued)
    assert host.inspect().leaf_pem == before.leaf_pem
    host.rollback(request(), before)
    assert machine.served() == first


def test_a_certificate_of_another_key_is_refused(machine: Machine, host: LinuxHost) -> None:
    first = machine.served()
    host.create_csr(request(1))
    other = issue(host.create_csr(request(2)))
    with pytest.raises(DeviceRejected, match="does not belong to the key"):
        host.install(request(1), other)
    assert machine.served() == first
    assert not machine.nginx.key.is_symlink()


@pytest.mark.parametrize("key_type", [KeyType.EC256, KeyType.EC384, KeyType.RSA2048, KeyType.RSA3072])
@pytest.mark.parametrize("form", [["pkey"], ["pkey", "-traditional"], ["pkcs8", "-topk8", "-nocrypt"]])
def test_a_pair_is_known_in_every_form_of_the_key(
    machine: Machine, log_in: LogIn, key_type: KeyType, form: list[str]
) -> None:
    host = log_in({"service": "files", "test_command": [], "reload_command": []})
    wanted = replace(request(), key_type=key_type)
    issued = issue(host.create_csr(wanted))
    key = folder_of(machine) / "ottr-test-1" / "privkey.pem"
    text = subprocess.run(["openssl", *form, "-in", str(key)], capture_output=True, text=True, check=True).stdout
    key.write_text(f"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{text}")
    host.install(wanted, issued)
    assert is_pair(machine.nginx.fullchain, machine.nginx.key)


def test_a_key_that_is_cut_off_or_not_private_makes_no_pair(machine: Machine, host: LinuxHost) -> None:
    issued = issue(host.create_csr(request()))
    key = folder_of(machine) / "ottr-test-1" / "privkey.pem"
    whole = key.read_text()
    public = subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout"], capture_output=True, text=True, check=True)
    for broken in (whole.rpartition("-----END")[0], whole.partition("\n")[2], public.stdout, issued.leaf_pem):
        key.write_text(broken)
        with pytest.raises(KeyLost):
            host.install(request(), issued)
    assert not machine.nginx.key.is_symlink()


def test_a_key_that_was_cut_off_while_it_was_made_is_made_anew(machine: Machine, host: LinuxHost) -> None:
    host.create_csr(request())
    folder = folder_of(machine) / "ottr-test-1"
    (folder / "csr.pem").unlink()
    (folder / "privkey.pem").write_text((folder / "privkey.pem").read_text()[:100])
    host.install(request(), issue(host.create_csr(request())))
    assert is_pair(machine.nginx.fullchain, machine.nginx.key)


def test_text_that_is_no_certificate_is_refused(host: LinuxHost) -> None:
    host.create_csr(request())
    with pytest.raises(DeviceRejected, match="cannot be parsed"):
        host.install(request(), IssuedCertificate("nonsense", ""))


@pytest.mark.parametrize("loss", ["folder", "file", "content"])
def test_a_lost_key_is_reported_as_such(machine: Machine, host: LinuxHost, loss: str) -> None:
    first = machine.served()
    issued = issue(host.create_csr(request()))
    key = folder_of(machine) / "ottr-test-1" / "privkey.pem"
    if loss == "folder":
        key.parent.rename(machine.nginx.folder / "elsewhere")
    elif loss == "file":
        key.unlink()
    else:
        key.write_text("garbage")
    host.arm(request(), Facts(), 60)
    with pytest.raises(KeyLost):
        host.install(request(), issued)
    host.disarm(request())
    assert machine.served() == first


def test_cleanup_removes_exactly_the_labels_it_is_given(machine: Machine, host: LinuxHost) -> None:
    rotate(host, 1)
    rotate(host, 2)
    third = rotate(host, 3)
    host.cleanup(frozenset())
    host.cleanup(frozenset({"ottr-test-1", "ottr-test-3", "ottr-never-there"}))
    assert host.labels() == {"ottr-test-2", "ottr-test-3"}, "the live generation stays whatever is asked"
    assert (folder_of(machine) / "original" / "privkey.pem").exists()
    wait_served(machine, third)


def test_owner_and_mode_are_kept(machine: Machine, host: LinuxHost) -> None:
    machine.nginx.key.chmod(0o640)
    os.chown(machine.nginx.key, 0, 33)
    machine.nginx.fullchain.chmod(0o604)
    rotate(host, 1)
    for path, mode, group in ((machine.nginx.key, 0o640, 33), (machine.nginx.fullchain, 0o604, 0)):
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, group)
    original = (folder_of(machine) / "original" / "privkey.pem").stat()
    assert (stat.S_IMODE(original.st_mode), original.st_gid) == (0o640, 33)


def test_owner_and_mode_of_the_route_win(machine: Machine, log_in: LogIn) -> None:
    rotate(log_in({"owner": "root", "group": "www-data", "mode": "0440"}), 1)
    status = machine.nginx.key.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o440, 33)


def test_a_first_certificate_is_installed_where_there_was_none(machine: Machine, log_in: LogIn) -> None:
    folder = machine.nginx.folder / "fresh"
    folder.mkdir()
    paths = {"fullchain": f"{folder}/a file.pem", "key": f"{folder}/it's key.pem"}
    host = log_in({"service": "files", **paths, "test_command": [], "reload_command": []})
    before = host.inspect()
    issued = rotate(host, 1)
    assert is_pair(Path(paths["fullchain"]), Path(paths["key"]))
    assert not (folder / "it's key.pem.ottr" / "original").exists()
    host.rollback(request(1), before)
    assert not Path(paths["key"]).exists()
    host.install(request(1), issued)
    assert is_pair(Path(paths["fullchain"]), Path(paths["key"]))


def test_without_a_former_certificate_the_new_one_stays_where_the_service_needs_it(
    machine: Machine, log_in: LogIn
) -> None:
    machine.nginx.fullchain.unlink()
    machine.nginx.key.unlink()
    host = log_in()
    issued = rotate(host, 1)
    host.rollback(request(1), Facts())
    wait_served(machine, issued)
    assert host.inspect().bound == "ottr-test-1"


def test_certificate_chain_and_combined_files(machine: Machine, log_in: LogIn) -> None:
    folder = machine.nginx.folder / "many"
    folder.mkdir()
    names = ("certificate", "chain", "key", "combined")
    options = {name: f"{folder}/{name}.pem" for name in names}
    del machine.options["fullchain"]
    issued = rotate(log_in({"service": "files", **options, "test_command": [], "reload_command": []}), 1)
    assert Path(options["certificate"]).read_text() == issued.leaf_pem
    assert Path(options["chain"]).read_text() == issued.chain_pem
    assert Path(options["combined"]).read_text() == issued.fullchain_pem + Path(options["key"]).read_text()
    assert stat.S_IMODE(Path(options["combined"]).stat().st_mode) == 0o600


def test_paths_added_later_are_taken_in_without_a_mixed_pair(machine: Machine, host: LinuxHost, log_in: LogIn) -> None:
    rotate(host, 1)
    added = machine.nginx.folder / "combined.pem"
    added.write_text("what another service reads\n")
    widened = log_in({"combined": str(added)})
    before = widened.inspect()
    second = rotate(widened, 2)
    wait_served(machine, second)
    assert second.leaf_pem in added.read_text()
    widened.rollback(request(2), before)
    assert added.read_text() == "what another service reads\n"
    assert is_pair(machine.nginx.fullchain, machine.nginx.key)


@pytest.mark.parametrize("way", ["a link of the operator's", "another file system"])
def test_former_files_that_cannot_be_linked_are_copied(
    machine: Machine, log_in: LogIn, tmp_path: Path, way: str
) -> None:
    elsewhere = tmp_path / "elsewhere.pem"
    old_key = machine.nginx.key.read_bytes()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        folder = folder_of(machine) if way.startswith("a link") else Path(memory, "ours")
        if way.startswith("a link"):
            machine.nginx.key.rename(elsewhere)
            machine.nginx.key.symlink_to(elsewhere)
        host = log_in({"directory": str(folder)})
        before = host.inspect()
        wait_served(machine, rotate(host, 1))
        kept = folder / "original" / "privkey.pem"
        assert not kept.is_symlink()
        assert kept.read_bytes() == old_key
        if way.startswith("a link"):
            elsewhere.write_text("somebody goes on writing there\n")
            assert kept.read_bytes() == old_key
        host.rollback(request(1), before)
        assert is_pair(machine.nginx.fullchain, machine.nginx.key)


def test_files_the_operator_put_in_place_of_the_links_are_kept_too(machine: Machine, host: LinuxHost) -> None:
    rotate(host, 1)
    for path in (machine.nginx.fullchain, machine.nginx.key):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content + b"\n")
    rotate(host, 2)
    assert (folder_of(machine) / "original-ottr-test-2" / "privkey.pem").read_bytes().endswith(b"\n\n")
    assert is_pair(machine.nginx.fullchain, machine.nginx.key)


def test_the_dead_man_takes_the_host_back(machine: Machine, host: LinuxHost) -> None:
    before, first = host.inspect(), machine.served()
    issued = issue(host.create_csr(request()))
    host.arm(request(), before, 600)
    host.install(request(), issued)
    host.arm(request(), before, 1)
    host.install(request(), issued)
    wait_until(lambda: (folder_of(machine) / "ottr-test-1" / "fired").exists())
    wait_until(lambda: machine.served() == first)
    with pytest.raises(DeviceRejected, match="dead-man timer has gone off"):
        host.disarm(request())
    host.arm(request(), before, 600)
    host.install(request(), issued)
    host.disarm(request())
    wait_served(machine, issued)
    assert timers(machine) == []


def test_the_timer_is_there_before_anything_is_bound(machine: Machine, log_in: LogIn) -> None:
    witness = f"{folder_of(machine)}/ottr-test-1/armed"
    host = log_in({"test_command": ["test", "-s", witness]})
    issued = issue(host.create_csr(request()))
    with pytest.raises(DeviceRejected, match="own test"):
        host.install(request(), issued)
    (folder_of(machine) / "ottr-test-1" / "deadman.sh").mkdir()
    host.arm(request(), Facts(), 600)
    with pytest.raises(DeviceRejected, match="cannot write to"):
        host.install(request(), issued)
    assert host.inspect().bound == "original"
    (folder_of(machine) / "ottr-test-1" / "deadman.sh").rmdir()
    host.install(request(), issued)  # after a failure the timer is still owed
    host.disarm(request())
    wait_served(machine, issued)


def test_a_timer_without_its_licence_does_nothing(machine: Machine, host: LinuxHost) -> None:
    issued = rotate(host, 1)
    host.arm(request(), Facts(), 600)
    host.install(request(), issued)
    program = str(folder_of(machine) / "ottr-test-1" / "deadman.sh")
    subprocess.run(["sh", program, "0", "another nonce"], check=True)
    host.disarm(request())
    wait_served(machine, issued)
    assert host.inspect().bound == "ottr-test-1"


def test_disarmed_in_time_the_host_stays(machine: Machine, host: LinuxHost) -> None:
    host.disarm(request())
    issued = issue(host.create_csr(request()))
    host.arm(request(), Facts(), 600)
    host.install(request(), issued)
    wait_until(lambda: len(timers(machine)) > 0)
    host.disarm(request())
    host.disarm(request())
    wait_until(lambda: timers(machine) == [])
    wait_served(machine, issued)


def test_cleanup_takes_an_armed_timer_along(machine: Machine, host: LinuxHost) -> None:
    host.arm(request(), Facts(), 600)
    rotate(host, 1)
    wait_until(lambda: len(timers(machine)) > 0)
    host.rollback(request(), Facts())
    host.cleanup(frozenset({"ottr-test-1"}))
    wait_until(lambda: timers(machine) == [])
    assert host.labels() == frozenset()


def timers(machine: Machine) -> list[str]:
    listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder_of(machine)}/" in line]


def test_a_ready_host_has_no_problems_and_is_not_changed(machine: Machine, host: LinuxHost) -> None:
    assert host.check() == ()
    assert not folder_of(machine).exists()


def test_problems_are_found_beforehand(machine: Machine, log_in: LogIn, tmp_path: Path) -> None:
    options = {"test_command": ["sh", "-c", "echo a typo; exit 1"], "directory": f"{tmp_path}/no/where"}
    assert log_in(options).check() == (
        f"there is no folder {tmp_path}/no that this login can see",
        "the service does not pass its own test now: a typo",
    )


def test_a_folder_that_is_not_there_is_refused(log_in: LogIn, tmp_path: Path) -> None:
    with pytest.raises(DeviceRejected, match="there is no folder") as caught:
        log_in({"directory": f"{tmp_path}/no/where"}).create_csr(request())
    assert caught.value.hint


@pytest.mark.parametrize(
    "label", ["current", "original", "ottr-a/../b", "ottr-$(id)", "ottr-A", "-rf", "ottr-" + "a" * 27]
)
def test_labels_that_are_none_never_reach_the_host(host: LinuxHost, machine: Machine, label: str) -> None:
    wrong = CertificateRequest(label, NAMES)
    for act in (
        lambda: host.create_csr(wrong),
        lambda: host.rollback(wrong, Facts()),
        lambda: host.arm(wrong, Facts(), 60),
        lambda: host.cleanup(frozenset({label})),
        lambda: host.rollback(request(), Facts(bound="../../etc")),
    ):
        with pytest.raises(DeviceRejected):
            act()
    assert not folder_of(machine).exists()


@pytest.mark.parametrize(
    "name", ["a; rm -rf /", "a\nb", "a'b", '"', "-a.test", "", "$(id).test", "A.test", "a..b", "ä.test"]
)
def test_hostile_names_are_refused_before_any_connection(
    machine: Machine, log_in: LogIn, host: LinuxHost, name: str
) -> None:
    with pytest.raises(DeviceRejected, match="is not a DNS name"):
        host.create_csr(request(1, ("ok.lab.test", name)))
    from ottr.drivers.linux_ssh import connect

    nowhere = replace(machine.device, dns_names=(name,), address="192.0.2.1")
    with (
        pytest.raises(DeviceRejected, match="is not a DNS name"),
        connect(nowhere, machine.options, machine.credentials),
    ):
        pass


def test_hostile_commands_of_the_route_are_only_words(machine: Machine, log_in: LogIn) -> None:
    witness = machine.nginx.folder / "witness"
    hostile = {
        "reload_command": ["printf", "%s", f"; touch {witness}", f"$(touch {witness})", f"'; touch {witness}; '"]
    }
    rotate(log_in(hostile), 1)
    assert not witness.exists()
