# SPDX-License-Identifier: Apache-2.0
"""Logging in over SSH, and everything that may be in the way."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ottr.errors import (
    AuthenticationFailed,
    DeviceRejected,
    DeviceUnreachable,
    DriverError,
    HostKeyRefused,
    UnsupportedDevice,
)
from ottr.lab.namespace import ASKED_USER, NamespaceHost
from ottr.lab.network import Network
from ottr.lab.sshd import Sshd, write_key_pair
from ottr.model import Credentials, Device, Secret
from ottr.transports.shell import open_shell
from ottr.transports.ssh import SshSession, open_session
from tests.drivers.linux import wait_until

PASSWORD = Secret("correct horse battery staple")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own: nothing of the real ~/.ssh takes part."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


class Client:
    """Opens sessions with one sshd."""

    def __init__(self, sshd: Sshd, key: Path, known_hosts: Path) -> None:
        self.sshd = sshd
        self.known_hosts = known_hosts
        known_hosts.write_text(sshd.known_hosts)
        self.variables: dict[str, Any] = {"ansible_port": sshd.port}
        self.credentials = Credentials(username=sshd.user, private_key_file=str(key))

    def connect(self, credentials: Credentials | None = None, *, address: str = "", timeout_s: float = 15.0) -> Any:
        device = Device("web1", "linux", address or self.sshd.addresses[0], ("a.test",), variables=self.variables)
        return open_session(
            device, credentials or self.credentials, known_hosts=[self.known_hosts], timeout_s=timeout_s
        )


@pytest.fixture
def client(sshd: Sshd, sshd_key: Path, tmp_path: Path) -> Client:
    return Client(sshd, sshd_key, tmp_path / "known_hosts")


@pytest.fixture
def build_sshd(network: Network, sshd_key: Path, tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    public = sshd_key.with_name(f"{sshd_key.name}.pub").read_text()
    with ExitStack() as stack:

        def build(number: int, **others: Any) -> Sshd:
            folder = tmp_path / f"sshd{number}"
            return stack.enter_context(Sshd(folder, [network.address(240 + number)], 2222, public, **others))

        yield build


def refuse(client: Client, kind: type[DriverError], words: str, **others: Any) -> DriverError:
    with pytest.raises(kind, match=words) as caught, client.connect(**others):
        pass
    return caught.value


def test_arguments_and_input_arrive_as_they_are(client: Client) -> None:
    words = ["a b", "it's", '"', "$HOME", "; exit 3", "*", "\\", "ü", "-n", ""]
    with client.connect() as session:
        assert session.alive()
        done = session.run(["printf", "<%s>", *words])
        assert (done.status, done.stdout) == (0, "".join(f"<{word}>" for word in words))
        done = session.run(["sh", "-c", "cat; echo no >&2; exit 3"], b"yes")
        assert (done.status, done.stdout, done.stderr) == (3, "yes", "no\n")
    assert not session.alive()


def test_small_packets_are_sent_at_once(client: Client) -> None:
    with client.connect() as session:
        assert session._transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_unknown_host_is_refused_with_its_fingerprint(client: Client, sshd: Sshd) -> None:
    client.known_hosts.write_text("")
    error = refuse(client, HostKeyRefused, "is not known")
    fingerprint = fingerprint_of(sshd)
    assert fingerprint in str(error)
    assert f"ottr_host_key: {fingerprint}" in error.hint
    client.variables["ottr_host_key"] = fingerprint
    with client.connect() as session:
        assert session.alive()


def fingerprint_of(sshd: Sshd) -> str:
    done = subprocess.run(["ssh-keygen", "-lf", f"{sshd.host_key}.pub"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    build_sshd: Callable[..., Sshd], sshd_key: Path, tmp_path: Path
) -> None:
    sshd = build_sshd(1)
    client = Client(sshd, sshd_key, tmp_path / "known_hosts")
    old = fingerprint_of(sshd)
    sshd.change_host_key()
    error = refuse(client, HostKeyRefused, "but the known one is")
    assert old in str(error)
    assert fingerprint_of(sshd) in str(error)
    client.variables["ottr_host_key"] = [old]
    assert fingerprint_of(sshd) in str(refuse(client, HostKeyRefused, re.escape(old)))


def test_a_host_with_several_keys_is_known_by_any_of_them(
    build_sshd: Callable[..., Sshd], sshd_key: Path, tmp_path: Path
) -> None:
    rsa = tmp_path / "rsa_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(rsa)], check=True)
    sshd = build_sshd(1, extra=f"HostKey {rsa}")
    client = Client(sshd, sshd_key, tmp_path / "known_hosts")
    kind, blob, *_ = Path(f"{rsa}.pub").read_text().split()
    client.known_hosts.write_text(f"[{sshd.addresses[0]}]:2222 {kind} {blob}\n")
    with client.connect() as session:
        assert session.alive()
    client.known_hosts.write_text("")
    printed = subprocess.run(["ssh-keygen", "-lf", f"{rsa}.pub"], capture_output=True, text=True, check=True)
    client.variables["ottr_host_key"] = ["SHA256:" + "A" * 43, printed.stdout.split()[1]]
    with client.connect() as session:
        assert session.alive()


def test_a_host_that_lost_the_known_kind_of_key_counts_as_changed(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "k")], check=True)
    kind, blob, *_ = (tmp_path / "k.pub").read_text().split()
    client.known_hosts.write_text(f"[{sshd.addresses[0]}]:2222 {kind} {blob}\n")
    assert fingerprint_of(sshd) in str(refuse(client, HostKeyRefused, "but the known one is ecdsa"))


def test_a_pin_that_is_none_is_refused_before_any_connection(client: Client) -> None:
    client.variables["ottr_host_key"] = "aa:bb"
    refuse(client, HostKeyRefused, "not a SHA-256 fingerprint", address="192.0.2.1")


def test_a_port_that_is_none_is_refused(client: Client) -> None:
    client.variables["ansible_port"] = "ssh"
    refuse(client, DriverError, "ansible_port of web1 is not a number")


def test_a_jump_host_is_passed_and_checked_like_any_other(
    client: Client, build_sshd: Callable[..., Sshd], sshd_key: Path, home: Path
) -> None:
    jump = build_sshd(1)
    (home / ".ssh" / "config").write_text(
        f"Host bastion\n HostName {jump.addresses[0]}\n Port 2222\n User {jump.user}\n IdentityFile {sshd_key}\n"
    )
    client.variables["ansible_ssh_common_args"] = "-o ProxyJump=bastion"
    refuse(client, HostKeyRefused, "host key of .* is not known")
    with client.known_hosts.open("a") as file:
        file.write(jump.known_hosts)
    with client.connect() as session:
        assert session.run(["echo", "through"]).stdout == "through\n"
    assert "Accepted publickey" in jump.process.log.read_text()
    jump.process.stop()
    refuse(client, DeviceUnreachable, "jump host")


def test_a_jump_host_that_does_not_reach_the_device_is_told_apart(
    client: Client, build_sshd: Callable[..., Sshd], sshd_key: Path, home: Path
) -> None:
    jump = build_sshd(1)
    client.known_hosts.write_text(jump.known_hosts)
    (home / ".ssh" / "id_ed25519").symlink_to(sshd_key)
    client.variables["ansible_ssh_extra_args"] = f"-J {jump.user}@{jump.addresses[0]}:2222"
    client.variables["ansible_port"] = 1
    refuse(client, DeviceUnreachable, "web1")


def test_nobody_listens(client: Client) -> None:
    client.variables["ansible_port"] = 1
    error = refuse(client, DeviceUnreachable, "Connection refused")
    assert error.retryable
    assert error.hint


def test_the_name_has_no_address(client: Client) -> None:
    refuse(client, DeviceUnreachable, "address of web1 cannot be found", address="no.such.host.invalid")


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that answers in its own way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                connection, _ = server.accept()
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [lambda connection: None, lambda connection: connection.sendall(b"HTTP/1.0 400 no\r\n\r\n"), lambda c: c.recv(100)],
)
def test_something_else_listens(client: Client, answer: Callable[[socket.socket], None]) -> None:
    with listening(answer) as port:
        client.variables["ansible_port"] = port
        refuse(client, DeviceUnreachable, "web1 cannot be reached", address="127.0.0.1")


def test_a_host_that_says_nothing_is_not_waited_for(client: Client) -> None:
    released = threading.Event()
    with listening(lambda connection: released.wait(20) and None) as port:
        client.variables["ansible_port"] = port
        error = refuse(client, DeviceUnreachable, "web1", address="127.0.0.1", timeout_s=0.3)
        released.set()
    assert error.retryable


def test_no_algorithm_in_common(build_sshd: Callable[..., Sshd], sshd_key: Path, tmp_path: Path) -> None:
    sshd = build_sshd(1, extra="KexAlgorithms sntrup761x25519-sha512@openssh.com")
    refuse(Client(sshd, sshd_key, tmp_path / "known_hosts"), UnsupportedDevice, "no SSH algorithm in common")


def test_a_wrong_key_is_refused(client: Client, tmp_path: Path) -> None:
    write_key_pair(tmp_path / "wrong")
    wrong = replace(client.credentials, private_key_file=str(tmp_path / "wrong"))
    error = refuse(client, AuthenticationFailed, f"tried: key {tmp_path}/wrong", credentials=wrong)
    assert "ansible_ssh_private_key_file" in error.hint


def test_a_server_that_hangs_up_after_too_many_tries(
    build_sshd: Callable[..., Sshd], sshd_key: Path, tmp_path: Path, home: Path
) -> None:
    client = Client(build_sshd(1, extra="MaxAuthTries 2"), sshd_key, tmp_path / "known_hosts")
    for name in ("id_ed25519", "id_ecdsa", "id_rsa"):
        write_key_pair(home / ".ssh" / name)
    error = refuse(client, AuthenticationFailed, "tried", credentials=Credentials(username=client.sshd.user))
    assert "id_ed25519" in str(error)
    assert "id_ecdsa" in str(error)


def test_a_server_that_hangs_up_at_the_first_try(
    build_sshd: Callable[..., Sshd], sshd_key: Path, tmp_path: Path
) -> None:
    client = Client(build_sshd(1, extra="MaxAuthTries 1"), sshd_key, tmp_path / "known_hosts")
    write_key_pair(tmp_path / "wrong")
    wrong = replace(client.credentials, private_key_file=str(tmp_path / "wrong"))
    refuse(client, DeviceUnreachable, "ended the connection while logging in", credentials=wrong)


def test_a_key_with_a_certificate_of_ssh(build_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    for name in ("ca", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    sshd = build_sshd(1, extra=f"TrustedUserCAKeys {tmp_path}/ca.pub")
    (sshd.folder / "authorized_keys").write_text("")
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "x", "-n", sshd.user, str(tmp_path / "key.pub")]
    subprocess.run(sign, check=True)
    with Client(sshd, tmp_path / "key", tmp_path / "known_hosts").connect() as session:
        assert session.alive()


def test_no_login_at_all(client: Client) -> None:
    refuse(client, AuthenticationFailed, "there is no login", credentials=Credentials(username=client.sshd.user))


_FORMS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa": ("-t", "ecdsa"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "pem": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
    "pkcs8": ("-t", "ecdsa", "-m", "PKCS8"),
}


@pytest.mark.parametrize("passphrase", ["", "a secret phrase"])
@pytest.mark.parametrize("form", _FORMS)
def test_every_form_of_key_file(build_sshd: Callable[..., Sshd], tmp_path: Path, form: str, passphrase: str) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", *_FORMS[form], "-N", passphrase, "-f", str(key)], check=True)
    sshd = build_sshd(1)
    (sshd.folder / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
    client = Client(sshd, key, tmp_path / "known_hosts")
    phrase = Secret(passphrase) if passphrase else None
    with client.connect(replace(client.credentials, private_key_passphrase=phrase)) as session:
        assert session.alive()
    wrong = (Secret("wr0ng"), None) if passphrase else (Secret("wr0ng"),)
    for other in wrong:
        credentials = replace(client.credentials, private_key_passphrase=other)
        error = refuse(client, AuthenticationFailed, f"the private key {key}", credentials=credentials)
        assert "wr0ng" not in str(error)


def test_a_key_file_that_is_not_there_or_none(client: Client, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED448", "-out", str(tmp_path / "ed448")], check=True)
    cases = (("none", "cannot be read: No such file"), ("text", "cannot be used"), ("ed448", "not an Ed25519"))
    for name, words in cases:
        credentials = replace(client.credentials, private_key_file=str(tmp_path / name))
        refuse(client, AuthenticationFailed, words, credentials=credentials)


def test_the_agent_logs_in(client: Client, sshd_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as agent:
        try:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            wait_until(path.exists)
            subprocess.run(["ssh-add", "-q", str(sshd_key)], check=True)
            with client.connect(Credentials(username=client.sshd.user)) as session:
                assert session.alive()
        finally:
            agent.send_signal(signal.SIGTERM)


def test_keys_at_their_usual_places_are_tried(client: Client, sshd_key: Path, home: Path) -> None:
    write_key_pair(home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "id_ecdsa").write_text("unusable\n")
    (home / ".ssh" / "id_rsa").symlink_to(sshd_key)
    with client.connect(Credentials(username=client.sshd.user)) as session:
        assert session.alive()


def build_guarded(build_sshd: Callable[..., Sshd], guarded: NamespaceHost, *lines: str) -> Sshd:
    """Another sshd in the namespace where users have passwords."""
    common = ("UsePAM yes", "AuthorizedKeysFile /run/home/%u/.ssh/authorized_keys")
    return build_sshd(3, extra="\n".join((*common, *lines)), within=guarded.namespace.within)


def test_a_password_is_given_by_questions_where_the_server_asks_so(
    build_sshd: Callable[..., Sshd], guarded: NamespaceHost, sshd_key: Path, tmp_path: Path
) -> None:
    sshd = build_guarded(build_sshd, guarded, "KbdInteractiveAuthentication yes")
    client = Client(sshd, sshd_key, tmp_path / "known_hosts")
    with client.connect(Credentials(username=ASKED_USER, password=PASSWORD)) as session:
        assert session.run(["id", "-un"]).stdout == f"{ASKED_USER}\n"
    refuse(
        client,
        AuthenticationFailed,
        "the password",
        credentials=Credentials(username=ASKED_USER, password=Secret("wr0ng")),
    )


def test_key_and_password_together_where_the_server_wants_both(
    build_sshd: Callable[..., Sshd], guarded: NamespaceHost, sshd_key: Path, tmp_path: Path
) -> None:
    sshd = build_guarded(build_sshd, guarded, "PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    client = Client(sshd, sshd_key, tmp_path / "known_hosts")
    both = Credentials(username=ASKED_USER, private_key_file=str(sshd_key), password=PASSWORD)
    with client.connect(both) as session:
        assert session.run(["id", "-un"]).stdout == f"{ASKED_USER}\n"
    refuse(client, AuthenticationFailed, "tried: key", credentials=replace(both, password=None))


@pytest.fixture
def session(client: Client) -> Iterator[SshSession]:
    with client.connect() as opened:
        yield opened


def test_scripts_run_one_after_another_in_one_shell(session: SshSession) -> None:
    with open_shell(session, Credentials(), "greet() { echo hello $1; }") as shell:
        assert shell.run("greet you").stdout == "hello you\n"
        done = shell.run("greet again; echo why >&2; exit 7")
        assert (done.status, done.stdout, done.stderr) == (7, "hello again\n", "why\n")
        assert shell.run("cat").stdout == "", "a script has nothing on its standard input"
        assert shell.run("x=1; printf 'no newline'").stdout == "no newline"
        assert shell.run('echo "<$x>"').stdout == "<>\n", "and leaves nothing behind"
        assert shell.alive()
    assert not shell.alive()


def test_what_a_login_prints_is_no_part_of_the_answer(
    build_sshd: Callable[..., Sshd], sshd_key: Path, tmp_path: Path
) -> None:
    noise = tmp_path / "noise.sh"
    noise.write_text('#!/bin/sh\necho Welcome; echo warning >&2\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    noise.chmod(0o755)
    sshd = build_sshd(1, extra=f"ForceCommand {noise}")
    with Client(sshd, sshd_key, tmp_path / "kh").connect() as session, open_shell(session, Credentials()) as shell:
        assert shell.run("echo answer").stdout == "answer\n"


def test_a_script_that_takes_too_long_is_given_up(session: SshSession) -> None:
    with open_shell(session, Credentials()) as shell:
        with pytest.raises(DeviceUnreachable, match="did not answer in time"):
            shell.run("sleep 5", timeout_s=0.3)
        assert not shell.alive()
    with pytest.raises(DeviceUnreachable, match="did not answer in time"):
        session.run(["sleep", "5"], timeout_s=0.3)


def test_endless_output_is_not_kept(session: SshSession) -> None:
    with open_shell(session, Credentials()) as shell, pytest.raises(DeviceRejected, match="more than"):
        shell.run("yes")
    with pytest.raises(DeviceRejected, match="more than"):
        session.run(["yes"])


def test_a_connection_that_breaks_meanwhile(client: Client) -> None:
    with client.connect() as session, open_shell(session, Credentials()) as shell:
        assert shell.run("true").status == 0
        with pytest.raises(DeviceUnreachable):
            shell.run("kill -9 $PPID")
        assert not shell.alive()
    with client.connect() as session, pytest.raises(DeviceUnreachable):
        session.run(["sh", "-c", "kill -9 $PPID"])


def test_a_shell_that_dies_meanwhile(session: SshSession) -> None:
    with open_shell(session, Credentials()) as shell:
        assert shell.run("true").status == 0
        with pytest.raises(DeviceUnreachable, match="ended before its script was done"):
            shell.run("kill -9 $$")
        with pytest.raises(DeviceUnreachable):
            shell.run("true")


def test_a_script_goes_on_when_the_connection_is_lost(client: Client, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    ignoring = "trap '' HUP PIPE"
    with (
        client.connect() as session,
        open_shell(session, Credentials(), ignoring) as shell,
        pytest.raises(DeviceUnreachable),
    ):
        shell.run(f"read -r _ <{gate}; echo lost; touch {witness}", timeout_s=0.3)
    gate.write_text("go\n")
    wait_until(witness.exists)
