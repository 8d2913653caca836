# SPDX-License-Identifier: Apache-2.0
"""Each building block alone: it serves, reloads what it is given, and goes away."""

from __future__ import annotations

import itertools
import signal
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import dns.query
import dns.tsigkeyring
import dns.update
import pytest
import sqlalchemy

from ottr.errors import LabError
from ottr.lab.apache import Apache
from ottr.lab.bind import Bind
from ottr.lab.haproxy import Haproxy
from ottr.lab.network import Network, claim_network
from ottr.lab.nginx import Nginx
from ottr.lab.pebble import Pebble
from ottr.lab.postfix import Postfix
from ottr.lab.postgresql import run_postgresql
from ottr.lab.process import Process
from ottr.lab.sshd import Sshd, write_key_pair
from ottr.lab.x509 import write_self_signed

NAME = "web.lab.test"


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)  # between two looks; the deadline above decides


def runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def fetch(address: str, port: int) -> str:
    return ssl.get_server_certificate((address, port), timeout=10)


def run(command: Iterable[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def update(bind: Bind, name: str, value: str) -> int:
    keyring = dns.tsigkeyring.from_text({bind.tsig_name: bind.tsig_secret})
    message = dns.update.UpdateMessage("lab.test", keyring=keyring, keyalgorithm=bind.tsig_algorithm)
    message.add(name, 5, "TXT", value)
    return dns.query.udp(message, bind.address, port=bind.port, timeout=10).rcode()


def test_networks_never_overlap() -> None:
    with ExitStack() as stack:
        networks = [stack.enter_context(claim_network()) for _ in range(40)]
        places = [network.address(n) for network in networks for n in (0, 249, 250, 3999)]
        ports = [network.port(n) for network in networks for n in range(4)]

    assert len(set(places)) == len(places)
    assert len(set(ports)) == len(ports)


def test_addresses_are_within_the_claim(network: Network) -> None:
    prefix, third = f"127.{network.second}.", network.third
    addresses = [network.address(n).removeprefix(prefix).split(".") for n in range(4000)]

    assert {int(one) for one, _ in addresses} == set(range(third, third + 16))
    assert {int(last) for _, last in addresses} == set(range(1, 251))
    with pytest.raises(LabError, match="0 to 3999"):
        network.address(4000)


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    process = Process(("sh", "-c", "echo the reason >&2; exit 3"), log=tmp_path / "log", listens=[("127.0.0.1", 1)])

    with pytest.raises(LabError, match="the reason"), process:
        pass


def test_a_server_that_never_answers_is_reported_and_ended(tmp_path: Path) -> None:
    process = Process(("sleep", "1000"), log=tmp_path / "log", ready=tmp_path / "never")
    process.start()
    pid = process.pid

    with pytest.raises(LabError, match="is not ready"):
        process.wait_ready(timeout_s=0.1)
    process.stop()

    assert not runs(pid)


def test_what_a_server_announced_before_its_restart_does_not_count(tmp_path: Path) -> None:
    """A server may listen while it still refuses its work, as PostgreSQL does: only its words say when it is ready."""
    says_it_once = "test -e again || { touch again; echo ready for work; }; exec sleep 1000"
    process = Process(
        ("sh", "-c", says_it_once), log=tmp_path / "log", folder=tmp_path, announces="ready for work", stop_timeout_s=2
    )
    with process:
        process.stop()
        process.start()
        with pytest.raises(LabError, match="is not ready"):
            process.wait_ready(timeout_s=0.1)


def test_a_server_that_will_not_end_is_killed(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; touch ready; while :; do sleep 1000; done"
    process = Process(
        ("sh", "-c", stubborn), log=tmp_path / "log", folder=tmp_path, ready=tmp_path / "ready", stop_timeout_s=0.1
    )
    with process:
        pid = process.pid

    assert not runs(pid)


def test_a_killed_server_can_start_again(network: Network, tmp_path: Path) -> None:
    with Nginx(tmp_path / "web", network.address(1001), 8443, NAME) as running:
        first = running.process.pid
        running.process.kill()
        assert not runs(first)
        with pytest.raises(LabError, match="is not running"):
            _ = running.process.pid
        running.process.restart()
        assert fetch(running.address, running.port) == running.fullchain.read_text()
        with pytest.raises(LabError, match="is running already"):
            running.process.start()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(LabError, match="no-such-server is not installed"),
        Process(("no-such-server",), log=tmp_path / "log"),
    ):
        pass


def test_servers_end_when_their_starter_is_killed(network: Network, tmp_path: Path) -> None:
    address = network.address(1000)
    starter = f"""
import sys, time
from pathlib import Path
from ottr.lab.nginx import Nginx
with Nginx(Path({str(tmp_path / "nginx")!r}), {address!r}, 8443, "web.lab.test") as nginx:
    print(nginx.process.pid, flush=True)
    time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        server = int(child.stdout.readline())
        assert fetch(address, 8443)
        child.send_signal(signal.SIGKILL)

    wait_for(lambda: not runs(server))


@pytest.mark.parametrize("server", [Nginx, Apache])
def test_web_servers_take_new_files_at_a_reload(
    server: type[Nginx] | type[Apache], network: Network, tmp_path: Path
) -> None:
    with server(tmp_path / "web", network.address(1001), 8443, NAME) as running:
        first = fetch(running.address, running.port)
        assert first == running.fullchain.read_text()
        write_self_signed(running.fullchain, running.key, NAME)
        run(running.test_command)
        run(running.reload_command)
        wait_for(lambda: fetch(running.address, running.port) == running.fullchain.read_text())

    assert running.fullchain.read_text() != first


def test_haproxy_takes_a_new_file_at_a_reload(network: Network, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    write_self_signed(certificate, key, NAME)
    with Haproxy(tmp_path / "proxy", network.address(1001), 8443, NAME) as running:
        assert fetch(running.address, running.port) in running.combined.read_text()
        running.combined.write_text(certificate.read_text() + key.read_text())
        run(running.test_command)
        run(running.reload_command)
        wait_for(lambda: fetch(running.address, running.port) == certificate.read_text())


def test_the_configuration_test_fails_for_a_key_that_does_not_match(network: Network, tmp_path: Path) -> None:
    with Nginx(tmp_path / "web", network.address(1001), 8443, NAME) as running:
        write_self_signed(tmp_path / "other.pem", running.key, NAME)

        assert subprocess.run(running.test_command, capture_output=True, check=False).returncode != 0


def test_postfix_takes_new_files_at_a_reload(network: Network, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def fetch_by_starttls() -> str:
        with smtplib.SMTP(running.address, running.port, timeout=10) as client:
            client.starttls(context=context)
            assert isinstance(client.sock, ssl.SSLSocket)
            return ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(binary_form=True) or b"")

    with Postfix(tmp_path / "postfix", network.address(1001), 2525, NAME) as running:
        assert fetch_by_starttls() == running.fullchain.read_text()
        write_self_signed(running.fullchain, running.key, NAME)
        run(running.test_command)
        run(running.reload_command)
        wait_for(lambda: fetch_by_starttls() == running.fullchain.read_text())


def test_a_secondary_follows_its_primary(network: Network, tmp_path: Path) -> None:
    names = itertools.count()
    local = "127.0.0.1"
    secondary = f"{local}:{network.port(3)}"
    with (
        Bind(tmp_path / "first", local, network.port(2), secondaries=[secondary]) as first,
        Bind(tmp_path / "second", local, network.port(3), primary=first.server) as second,
    ):
        name = f"_acme-challenge.{next(names)}"
        assert update(first, name, "value") == 0
        wait_for(lambda: second.txt(f"{name}.lab.test") == {"value"})


def test_bind_at_an_address_of_its_own_leaves_the_interface_as_it_was(network: Network, tmp_path: Path) -> None:
    address = network.address(1006)

    def is_assigned() -> bool:
        shown = subprocess.run(["ip", "address", "show", "dev", "lo"], capture_output=True, text=True, check=True)
        return f"{address}/32" in shown.stdout

    with Bind(tmp_path / "bind", address) as server:
        assert (server.server, is_assigned()) == (f"{address}:53", True)
        assert update(server, "here", "value") == 0

    assert not is_assigned()


def test_an_address_the_interface_does_not_take_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"does not take 999\.1\.1\.1"), Bind(tmp_path / "bind", "999.1.1.1"):
        pass


def test_bind_keeps_updates_over_a_restart_and_refuses_other_keys(network: Network, tmp_path: Path) -> None:
    with Bind(tmp_path / "bind", "127.0.0.1", network.port(2)) as server:
        assert update(server, "kept", "value") == 0
        server.restart()
        assert server.txt("kept.lab.test") == {"value"}
        server.tsig_secret = "AAAA"
        with pytest.raises(dns.tsig.PeerBadSignature):
            update(server, "kept", "another")


def test_static_records_go_to_the_longest_zone(network: Network, tmp_path: Path) -> None:
    zones = ("lab.test", "sub.lab.test")
    records = ['a.sub.lab.test. IN TXT "below"', 'b.lab.test. IN TXT "above"']
    with Bind(tmp_path / "bind", "127.0.0.1", network.port(2), zones=zones, records=records) as server:
        assert server.txt("a.sub.lab.test") == {"below"}
        assert server.txt("b.lab.test") == {"above"}


def test_static_records_outside_every_zone_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(LabError, match="elsewhere"),
        Bind(tmp_path / "bind", "127.0.0.1", 1, records=['a.elsewhere.test. IN TXT "x"']),
    ):
        pass


def test_pebble_has_as_many_roots_as_asked_and_new_ones_after_a_restart(
    network: Network, bind: Bind, tmp_path: Path
) -> None:
    with Pebble(tmp_path / "pebble", network.address(1002), bind.server, alternate_roots=1) as server:
        before = server.roots()
        server.restart()
        after = server.roots()
        assert len(server.intermediates()) == 2

    assert len({*before, *after}) == 4


def test_sshd_lets_the_key_in_and_ends_sessions_with_itself(network: Network, tmp_path: Path) -> None:
    key, known_hosts = tmp_path / "id", tmp_path / "known_hosts"
    authorized = write_key_pair(key)
    addresses = [network.address(n) for n in (1003, 1004)]
    with Sshd(tmp_path / "sshd", addresses, 2222, authorized) as server:
        known_hosts.write_text(server.known_hosts)
        login = ["ssh", "-F", "none", "-i", str(key), "-p", "2222", "-o", "BatchMode=yes"]
        login += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}"]
        client = subprocess.Popen(
            [*login, f"{server.user}@{addresses[1]}", "echo $$; exec sleep 1000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with client:
            assert client.stdout is not None
            command = int(client.stdout.readline())
            server.change_host_key()
            client.wait(20)

        refused = subprocess.run([*login, f"{server.user}@{addresses[0]}", "true"], capture_output=True, check=False)

    assert not runs(command)
    assert b"REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr


def test_what_a_login_left_behind_ends_with_the_host(network: Network, tmp_path: Path) -> None:
    authorized = write_key_pair(tmp_path / "id")
    address = network.address(1003)
    detached = "setsid sh -c 'echo $$; exec sleep 1000' </dev/null 2>/dev/null & wait; sleep 0"
    login = ["ssh", "-F", "none", "-i", str(tmp_path / "id"), "-p", "2222", "-o", "BatchMode=yes"]
    login += ["-o", f"UserKnownHostsFile={tmp_path}/known_hosts"]
    with Sshd(tmp_path / "sshd", [address], 2222, authorized) as server:
        (tmp_path / "known_hosts").write_text(server.known_hosts)
        command = [*login, f"{server.user}@{address}", detached]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
            assert client.stdout is not None
            left_behind = int(client.stdout.readline())
            client.kill()
        assert runs(left_behind)

    assert not runs(left_behind)


def test_one_sshd_takes_no_more_addresses_than_openssh_does(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="at most 16"):
        Sshd(tmp_path, ["127.0.0.1"] * 17, 2222, "")


def test_postgresql_keeps_databases_apart(network: Network) -> None:
    table = sqlalchemy.Table("t", sqlalchemy.MetaData(), sqlalchemy.Column("n", sqlalchemy.Integer))
    with run_postgresql(network.address(1005)) as server:
        pid = server.process.pid
        one, two = (sqlalchemy.create_engine(server.create_database(name)) for name in ("one", "two"))
        table.create(one)
        assert (sqlalchemy.inspect(one).get_table_names(), sqlalchemy.inspect(two).get_table_names()) == (["t"], [])
        one.dispose()
        two.dispose()

    assert not runs(pid)
