# SPDX-License-Identifier: Apache-2.0
"""The scripts themselves, run by several shells, and cut off before and after every program they start."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ottr.drivers.linux_ssh.driver import LinuxHost
from ottr.drivers.linux_ssh.options import Options, parse_options
from ottr.drivers.linux_ssh.scripts import build_call
from ottr.errors import DeviceRejected, DriverError, UnsupportedDevice
from ottr.lab.nginx import Nginx
from ottr.model import Facts, IssuedCertificate
from tests.drivers.conftest import Machine, nginx_options
from tests.drivers.linux import Crashes, LocalShell, is_pair, issue, request, serial, served_serial, wait_until

_ACTS = (
    "create_csr",
    "first install",
    "second install",
    "rollback",
    "rollback to the original",
    "armed install",
    "cleanup",
)


@pytest.fixture
def options(machine: Machine) -> Options:
    return parse_options(nginx_options(machine.nginx))


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix"), ("busybox", "sh")])
def test_every_shell_can_do_everything(machine: Machine, options: Options, shell: tuple[str, ...]) -> None:
    first = machine.served()
    host = LinuxHost(LocalShell(shell), options)
    before = host.inspect()
    assert serial(before.leaf_pem) == first
    assert host.check() == ()
    csr = host.create_csr(request())
    assert host.create_csr(request()) == csr
    issued = issue(csr)
    host.arm(request(), before, 600)
    host.install(request(), issued)
    host.install(request(), issued)
    host.disarm(request())
    wait_until(lambda: machine.served() == serial(issued.leaf_pem))
    host.rollback(request(), before)
    wait_until(lambda: machine.served() == first)
    host.cleanup(host.labels())
    assert host.labels() == frozenset()


def test_busyboxs_own_programs_are_enough(machine: Machine, options: Options, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        (programs / name).symlink_to(shutil.which("busybox") or "")
    for name in ("busybox", "openssl", "nginx"):
        (programs / name).symlink_to(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or "")
    host = LinuxHost(LocalShell((f"{programs}/busybox", "sh"), {"PATH": str(programs)}), options)
    before = host.inspect()
    issued = issue(host.create_csr(request()))
    host.install(request(), issued)
    wait_until(lambda: machine.served() == serial(issued.leaf_pem))
    host.rollback(request(), before)
    assert host.inspect().leaf_pem == before.leaf_pem


def test_no_byte_of_a_key_comes_back(machine: Machine, options: Options) -> None:
    shell = LocalShell()
    host = LinuxHost(shell, options)
    rotate(host, 1)
    host.inspect()
    generation = Path(options.folder) / "ottr-test-1"
    secret = (generation / "privkey.pem").read_text().splitlines()[1]
    assert "BEGIN CERTIFICATE" in shell.received
    assert secret not in shell.received
    assert "PRIVATE" not in shell.received
    # A file that holds certificate and key, in any order, broken or not, gives away its certificate alone.
    key, certificate = (generation / "privkey.pem").read_text(), (generation / "cert.pem").read_text()
    for content in (key + certificate, certificate + key, certificate[:200] + "\n" + key, key):
        machine.nginx.fullchain.write_text(content)
        host.inspect()
        assert secret not in shell.received
        assert "PRIVATE" not in shell.received


@pytest.mark.parametrize(
    ("program", "words"),
    [("cat privkey.pem", "sent a private key"), ("echo hello", "something else than a CSR")],
)
def test_a_host_that_returns_something_else_is_refused(
    options: Options, tmp_path: Path, program: str, words: str
) -> None:
    (tmp_path / "openssl").write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin; openssl "$@" >/dev/null; {program}\n')
    (tmp_path / "openssl").chmod(0o755)
    host = LinuxHost(LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}), options)
    with pytest.raises(DeviceRejected, match=words) as caught:
        host.create_csr(request())
    assert "BEGIN" not in str(caught.value)


def test_a_host_without_openssl_cannot_be_worked_with(options: Options, tmp_path: Path) -> None:
    for name in ("dash", "mkdir", "flock", "df"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    shell = LocalShell((str(tmp_path / "dash"), "-c", 'PATH=/none; eval "$(/usr/bin/sed s/^PATH=.*//)"'), {})
    host = LinuxHost(shell, options)
    with pytest.raises(UnsupportedDevice, match="no openssl") as caught:
        host.create_csr(request())
    assert "install" in caught.value.hint


def test_a_host_whose_clock_is_wrong_is_found_beforehand(options: Options, tmp_path: Path) -> None:
    (tmp_path / "date").write_text("#!/bin/sh\necho clock=1000000000\n")
    (tmp_path / "date").chmod(0o755)
    host = LinuxHost(LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}), options)
    (problem,) = host.check()
    assert problem.startswith("the clock of the host is ")
    assert problem.endswith(" s behind")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as that of a service may be."""
    with tempfile.TemporaryDirectory(prefix="ottr-", dir="/tmp") as name:  # TMPDIR may be in a closed one
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize(
    ("mode", "folder_mode", "said", "options"),
    [
        (0o644, 0o755, True, {}),
        (0o640, 0o755, False, {}),
        (0o644, 0o710, False, {}),
        (0o644, 0o755, False, {"mode": "0600"}),
    ],
    ids=["everybody", "a group", "a closed folder", "a mode in the route"],
)
def test_a_key_that_every_user_may_read_is_left_so_and_told_of(
    open_folder: Path, mode: int, folder_mode: int, said: bool, options: dict[str, str]
) -> None:
    certificate, key = open_folder / "site.pem", open_folder / "site key"
    certificate.touch()
    key.touch()
    key.chmod(mode)
    open_folder.chmod(folder_mode)
    host = LinuxHost(LocalShell(), parse_options({"fullchain": str(certificate), "key": str(key), **options}))
    assert host.check() == ()
    foreseen = host.notices()
    rotate(host, 1)
    assert host.notices() == foreseen
    assert [f"can read the key {key} (mode 644" in one for one in foreseen] == [True] * said
    assert stat.S_IMODE(key.stat().st_mode) == int(options.get("mode", oct(mode)), 8)
    rotate(host, 2)
    assert host.notices() == foreseen


def test_a_change_that_is_going_on_is_waited_for(machine: Machine, options: Options) -> None:
    host = LinuxHost(LocalShell(), options)
    issued = issue(host.create_csr(request()))
    lock = Path(options.folder) / "lock"
    with subprocess.Popen(["flock", str(lock), "sh", "-c", "read -r _"], stdin=subprocess.PIPE) as other:
        with pytest.raises(subprocess.TimeoutExpired):
            host._shell.run(build_call(options, "ottr-test-1", "disarm"), 0.5)
        other.communicate(b"\n")
    host.install(request(), issued)
    wait_until(lambda: machine.served() == serial(issued.leaf_pem))


def test_a_timer_that_has_claimed_the_last_word_is_waited_for(machine: Machine, options: Options) -> None:
    host = LinuxHost(LocalShell(), options)
    before = host.inspect()
    issued = issue(host.create_csr(request()))
    host.arm(request(), before, 600)
    host.install(request(), issued)
    generation = Path(options.folder) / "ottr-test-1"
    nonce = (generation / "armed").read_text().strip()
    (generation / f"claim-{nonce}").touch()
    with subprocess.Popen(["flock", f"{options.folder}/lock", "sh", "-c", "read -r _"], stdin=subprocess.PIPE) as timer:
        with pytest.raises(subprocess.TimeoutExpired):
            host._shell.run(build_call(options, "ottr-test-1", "disarm"), 0.5)
        timer.communicate(b"\n")
    host.disarm(request())  # it has died before it did anything
    assert not (generation / "armed").exists()
    assert host.inspect().bound == "ottr-test-1"


def test_on_a_disk_where_nobody_can_claim_the_licence_decides(machine: Machine, options: Options) -> None:
    host = LinuxHost(LocalShell(), options)
    before, first = host.inspect(), machine.served()
    issued = issue(host.create_csr(request()))
    host.arm(request(), before, 600)
    host.install(request(), issued)
    generation = Path(options.folder) / "ottr-test-1"
    nonce = (generation / "armed").read_text().strip()
    program = (generation / "deadman.sh").read_text().replace("/claim-", "/no/such/folder/claim-")
    subprocess.run(["sh", "-c", program, generation / "deadman.sh", "0", nonce], check=True)
    wait_until(lambda: machine.served() == first)
    assert (generation / "fired").exists()


@pytest.mark.parametrize("command", ["test_command", "reload_command"])
def test_cut_off_in_the_services_own_command_it_is_run_again(machine: Machine, options: Options, command: str) -> None:
    host = LinuxHost(LocalShell(), options)
    deadly = ("sh", "-c", "kill -s KILL 0")
    tested = command == "test_command"
    dying = replace(options, test_command=deadly) if tested else replace(options, reload_command=deadly)
    cut_off = LinuxHost(LocalShell(), dying)
    before, first = host.inspect(), machine.served()
    issued = issue(host.create_csr(request()))
    with pytest.raises(DriverError):
        cut_off.install(request(), issued)
    host.install(request(), issued)
    wait_until(lambda: machine.served() == serial(issued.leaf_pem))
    with pytest.raises(DriverError):
        cut_off.rollback(request(), before)
    host.rollback(request(), before)
    wait_until(lambda: machine.served() == first)


def rotate(host: LinuxHost, number: int) -> IssuedCertificate:
    issued = issue(host.create_csr(request(number)))
    host.install(request(number), issued)
    return issued


class Scene:
    """One host in the state an act begins with, and what must be true whenever the act is cut off."""

    def __init__(self, nginx: Nginx, options: Options, crashes: Crashes) -> None:
        self.nginx = nginx
        self.options = options
        self.crashes = crashes
        self.saved = nginx.folder / "saved"

    def host(self, *, before: int = 0, after: int = 0) -> LinuxHost:
        return LinuxHost(self.crashes.shell(before=before, after=after), self.options)

    def served(self) -> int:
        return served_serial(self.nginx.address, self.nginx.port)

    def save(self) -> None:
        shutil.copytree(self.nginx.key.parent, self.saved, symlinks=True)

    def restore(self) -> None:
        shutil.rmtree(self.nginx.key.parent)
        shutil.copytree(self.saved, self.nginx.key.parent, symlinks=True)
        subprocess.run(self.nginx.reload_command, check=True, capture_output=True)
        configured = serial(self.nginx.fullchain.read_text())
        wait_until(lambda: self.served() == configured)

    def check_whole(self) -> None:
        assert is_pair(self.nginx.fullchain, self.nginx.key)
        assert self.served() != 0

    def check_armed(self) -> None:
        """What is bound has its timer."""
        folder = Path(self.options.folder)
        label = (folder / "current").readlink().name
        assert label == "ottr-test-1" or (folder / label / "armed").read_text()


@pytest.fixture
def scene(machine: Machine, options: Options, tmp_path: Path) -> Scene:
    return Scene(machine.nginx, options, Crashes(tmp_path))


@pytest.mark.parametrize("act", _ACTS)
def test_cut_off_anywhere_and_called_again_it_comes_to_the_same_end(scene: Scene, act: str) -> None:
    begin, perform, done = _script(scene, act)
    begin(scene.host())
    scene.save()
    perform(scene.host())
    programs, renames = scene.crashes.counts
    assert programs >= 2
    done(scene.host())
    for when in (*({"before": n + 1} for n in range(programs)), *({"after": n + 1} for n in range(renames))):
        scene.restore()
        with pytest.raises(DriverError):
            perform(scene.host(**when))
        scene.check_whole()
        if act == "armed install":
            scene.check_armed()
        perform(scene.host())
        scene.check_whole()
        done(scene.host())


Act = Callable[[LinuxHost], object]


class Steps:
    """What tests do and look at, each as a function of the host."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.first = scene.served()
        self.issued: list[IssuedCertificate] = []

    def install(self, number: int) -> Act:
        return lambda host: host.install(request(number), self.issued[number - 1])

    def prepare(self, *installed: int) -> Act:
        def begin(host: LinuxHost) -> None:
            self.issued.extend(issue(host.create_csr(request(number))) for number in (1, 2))
            for number in installed:
                self.install(number)(host)

        return begin

    def serves(self, bound: str, number: int = 0) -> Act:
        def check(host: LinuxHost) -> None:
            wanted = serial(self.issued[number - 1].leaf_pem) if number else self.first
            facts = host.inspect()
            assert (facts.bound, serial(facts.leaf_pem)) == (bound, wanted)
            wait_until(lambda: self.scene.served() == wanted)

        return check

    def installed(self, number: int, back: Act) -> Act:
        def check(host: LinuxHost) -> None:
            self.serves(f"ottr-test-{number}", number)(host)
            host.rollback(request(number), Facts())  # the host itself knows where it came from
            back(host)

        return check

    def one_key(self, host: LinuxHost) -> None:
        assert host.create_csr(request(1)) == host.create_csr(request(1))
        assert host.labels() == {"ottr-test-1"}

    def armed_install(self, host: LinuxHost) -> None:
        host.arm(request(2), Facts(bound="ottr-test-1"), 600)
        self.install(2)(host)

    def unarmed(self, host: LinuxHost) -> None:
        host.disarm(request(2))
        self.serves("ottr-test-2", 2)(host)
        generation = Path(self.scene.options.folder) / "ottr-test-2"
        nonce = (generation / "armed").read_text().strip()
        subprocess.run(
            ["sh", generation / "deadman.sh", "0", nonce], check=True
        )  # if it is still there, it does nothing
        self.serves("ottr-test-2", 2)(host)


def _script(scene: Scene, act: str) -> tuple[Act, Act, Act]:
    """What comes before an act, the act, and what is true after it."""
    steps = Steps(scene)
    acts: dict[str, tuple[Act, Act, Act]] = {
        "create_csr": (lambda host: None, lambda host: host.create_csr(request(1)), steps.one_key),
        "first install": (steps.prepare(), steps.install(1), steps.installed(1, steps.serves("original"))),
        "second install": (steps.prepare(1), steps.install(2), steps.installed(2, steps.serves("ottr-test-1", 1))),
        "rollback": (
            steps.prepare(1, 2),
            lambda host: host.rollback(request(2), Facts(bound="ottr-test-1")),
            steps.serves("ottr-test-1", 1),
        ),
        "rollback to the original": (
            steps.prepare(1),
            lambda host: host.rollback(request(1), Facts()),
            steps.serves("original"),
        ),
        "armed install": (steps.prepare(1), steps.armed_install, steps.unarmed),
        "cleanup": (
            steps.prepare(1, 2),
            lambda host: host.cleanup(frozenset({"ottr-test-1"})),
            steps.serves("ottr-test-2", 2),
        ),
    }
    return acts[act]
