# SPDX-License-Identifier: Apache-2.0
"""The management certificate of the simulated BIG-IP: its files, its shell, httpd's restart, SSH."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
import pytest

from ottr.drivers.f5.simulator import F5Simulator, User
from ottr.simulation.server import wait_until
from tests.drivers.f5 import HTTPD_CERTIFICATE, HTTPD_KEY, Wire, fingerprint, issuer, run_f5, seen, sign

NEW_PAIR = (
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /config/httpd/conf/ssl.key/n.key"
)
CUT = (OSError, http.client.HTTPException)


@pytest.fixture
def device() -> Iterator[F5Simulator]:
    with run_f5() as running:
        yield running


@pytest.fixture
def wire(device: F5Simulator) -> Wire:
    return Wire(device).log_in()


def prepare_pair(wire: Wire, *, with_chain: bool = False) -> str:
    """A new key beside httpd's, and its certificate beside httpd's; returns the certificate."""
    csr = wire.bash(f"{NEW_PAIR} -subj /CN=lb.example.com 2>/dev/null")
    pem = sign(csr.encode())
    wire.upload("n.crt", (pem + (issuer() if with_chain else "")).encode())
    assert wire.bash("cp /var/config/rest/downloads/n.crt /config/httpd/conf/ssl.crt/n.crt") == ""
    return pem


def replace_pair(wire: Wire) -> None:
    assert (
        wire.bash(f"cd /config/httpd/conf && mv ssl.crt/n.crt {HTTPD_CERTIFICATE} && mv ssl.key/n.key {HTTPD_KEY}")
        == ""
    )


def accepts(device: F5Simulator) -> bool:
    try:
        seen(device)
    except OSError:
        return False
    return True


def test_new_files_are_served_after_a_restart(device: F5Simulator, wire: Wire) -> None:
    before = seen(device)
    pem = prepare_pair(wire, with_chain=True)
    replace_pair(wire)
    assert seen(device) == before == device.served_fingerprint()
    assert wire.bash("httpd -t") == "Syntax OK\n"
    with pytest.raises(CUT):
        wire.bash("tmsh restart sys service httpd")
    assert wire.comes_back()
    assert seen(device) == fingerprint(pem) == device.served_fingerprint()
    assert wire.get("tm/sys").status == 200  # the token is as good as before
    assert device.exported_keys == ()
    assert device.state.configuration.running == device.state.configuration.saved


def test_the_first_answers_after_a_restart_are_a_page() -> None:
    with run_f5(restarting_answers=2) as device:
        wire = Wire(device).log_in()
        wire.bash('nohup sh -c "sleep 0.1; bigstart restart httpd" >/dev/null 2>&1 &')
        answers = []

        def answered() -> bool:
            try:
                answers.append(wire.get("tm/sys"))
            except CUT:
                return False
            return answers[-1].status == 200 and len(device.requests) > 2 and device.state.not_ready == 0

        assert wait_until(lambda: device.state.not_ready > 0)
        assert wait_until(answered)
        pages = [answer for answer in answers if answer.status == 503]
        assert len(pages) == 2
        assert b"Configuration Utility restarting..." in pages[0].body


def test_an_unpaired_key_keeps_httpd_away_until_ssh_puts_it_right(device: F5Simulator, wire: Wire) -> None:
    before = seen(device)
    prepare_pair(wire)
    wire.bash(f"cp {HTTPD_KEY} /config/httpd/conf/ssl.key/old.key; cp /config/httpd/conf/ssl.key/n.key {HTTPD_KEY}")
    assert "no pair" in wire.bash("httpd -t")
    with pytest.raises(CUT):
        wire.bash("bigstart restart httpd")
    assert wait_until(lambda: not accepts(device))
    assert device.served_fingerprint() == ""
    with ssh(device, "root") as client:
        out, _, status = run(
            client, f"cp /config/httpd/conf/ssl.key/old.key {HTTPD_KEY} && tmsh start sys service httpd"
        )
        assert (out, status) == ("", 0)
    assert wait_until(lambda: accepts(device))
    assert seen(device) == before


def test_the_device_goes_back_by_itself(device: F5Simulator, wire: Wire) -> None:
    before = seen(device)
    pem = prepare_pair(wire)
    wire.bash("cd /config/httpd/conf; cp -p ssl.crt/server.crt ssl.crt/old; cp -p ssl.key/server.key ssl.key/old")
    back = "cp ssl.crt/old ssl.crt/server.crt; cp ssl.key/old ssl.key/server.key; bigstart restart httpd"
    wait = "cd /config/httpd/conf; while ! [ -e /var/tmp/go ]; do sleep 0.02; done"
    wire.bash(f'nohup sh -c "{wait}; {back}" >/dev/null 2>&1 &')
    replace_pair(wire)
    with pytest.raises(CUT):
        wire.bash("bigstart restart httpd")
    assert wire.comes_back()
    assert seen(device) == fingerprint(pem)
    wire.bash("touch /var/tmp/go")
    assert wait_until(lambda: device.served_fingerprint() == before)


def test_httpd_can_be_told_of_other_files(device: F5Simulator, wire: Wire) -> None:
    pem = prepare_pair(wire)
    place = "/config/httpd/conf/ssl.crt/n.crt"
    refused = wire.patch("tm/sys/httpd", sslCertfile=place)
    assert refused.status == 400
    both = {"sslCertfile": place, "sslCertkeyfile": "/config/httpd/conf/ssl.key/n.key"}
    with pytest.raises(CUT):
        wire.patch("tm/sys/httpd", **both)
    assert wire.comes_back()
    assert seen(device) == fingerprint(pem)
    assert wire.get("tm/sys/httpd")["sslCertfile"] == place
    assert wire.patch("tm/sys/httpd", **both).status == 200  # nothing to change, no restart
    words = "tmsh modify sys httpd ssl-certchainfile /config/httpd/conf/ssl.crt/n.crt"
    with pytest.raises(CUT):
        wire.bash(words)
    assert wire.comes_back()
    assert wire.get("tm/sys/httpd")["sslCertchainfile"] == place
    with pytest.raises(CUT):
        wire.patch("tm/sys/httpd", sslCertchainfile="none")
    assert wire.comes_back()
    assert "sslCertchainfile" not in wire.get("tm/sys/httpd").json


def test_a_key_of_the_key_store_can_be_copied_on_the_device(device: F5Simulator, wire: Wire) -> None:
    pem = wire.prepare("a")
    listed = wire.bash("tmsh list sys file ssl-key a.key -hidden")
    place = next(line.split()[1] for line in listed.splitlines() if "cache-path" in line)
    wire.bash(f"cp {place} {HTTPD_KEY}; cp /var/config/rest/downloads/a.crt.pem {HTTPD_CERTIFICATE}")
    with pytest.raises(CUT):
        wire.post("tm/sys/service", command="restart", name="httpd")
    assert wire.comes_back()
    assert seen(device) == fingerprint(pem)
    assert device.exported_keys == ()


def test_a_key_that_leaves_is_noticed(device: F5Simulator, wire: Wire) -> None:
    wire.bash(f"cat {HTTPD_KEY}")
    assert device.exported_keys == ("POST tm/util/bash",)
    with ssh(device, "root") as client:
        run(client, f"cat {HTTPD_KEY}")
    assert device.exported_keys == ("POST tm/util/bash", "ssh")


# The shell


def test_a_script_sees_the_device_and_not_this_machine(wire: Wire) -> None:
    names = set(wire.bash("ls /").split())
    assert {"config", "shared", "var", "tmp"} <= names
    assert names.isdisjoint({"boot", "home", "mnt", "srv", "sys"})
    assert "Read-only" in wire.bash("touch /usr/x")
    assert wire.bash("readlink -f /etc/httpd/conf/ssl.key/server.key") == f"{HTTPD_KEY}\n"
    assert wire.bash("stat -c %a /config/httpd/conf/ssl.key/server.key") == "600\n"
    assert len(wire.bash("ps ax -o pid=").split()) <= 5


def test_what_a_command_writes_comes_back(wire: Wire) -> None:
    answer = wire.post("tm/util/bash", command="run", utilCmdArgs="-c 'echo out; echo bad >&2; echo rc=$?'")
    assert answer["commandResult"] == "out\nrc=0\nbad\n"
    assert "commandResult" not in wire.post("tm/util/bash", command="run", utilCmdArgs="-c 'true'").json
    double = wire.post("tm/util/bash", command="run", utilCmdArgs='-c "echo \\"a b\\""')
    assert double["commandResult"] == "a b\n"
    assert wire.post("tm/util/bash", command="run", utilCmdArgs="-c id")["commandResult"].startswith("uid=0(root)")


@pytest.mark.parametrize("arguments", ["id", "-c 'echo 'a' b'", "-c 'a\nb'", "-c echo a", "-c 'x"])
def test_quotes_are_not_forgiven(wire: Wire, arguments: str) -> None:
    refused = wire.post("tm/util/bash", command="run", utilCmdArgs=arguments)
    assert refused.status == 400
    assert refused.message.startswith("Syntax Error")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("show sys version", "Version     16.1.2"),
        ("show sys failover", "Failover active"),
        ("show cm sync-status", "Status   Standalone"),
        ("list /sys httpd ssl-certkeyfile", "ssl-certkeyfile /etc/httpd/conf/ssl.key/server.key"),
        ("list ltm virtual web", "context clientside"),
        ("list ltm profile client-ssl site", "cert /Common/default.crt"),
        ("list sys file ssl-cert", "sys file ssl-cert default.crt {"),
        ("list sys crypto cert default.crt", "subject CN=bigip1.example.com"),
        ("save /sys config partitions all", "Saving running configuration..."),
        ("load sys config", "Loading configuration..."),
        ("modify cli preference pager disabled; echo rc=$?", "rc=0"),
        ("nonsense", 'Syntax Error: unexpected argument "nonsense"'),
        ("list nonsense", 'Syntax Error: unexpected argument "nonsense"'),
        ("list sys service", "Syntax Error"),
        ("list sys file ssl-key nobody.key", "01020036:3: The requested"),
        ("list sys crypto csr nobody.csr", "was not found."),
        ("show sys config", "Syntax Error"),
        ("save sys httpd", "Syntax Error"),
        ("restart sys service", "Syntax Error"),
        ("restart sys service nonsense", "no such service"),
        ("create ltm virtual x", "Syntax Error"),
        ("install sys file ssl-cert x", "Syntax Error"),
        ("delete ltm virtual", "Syntax Error"),
        ("modify ltm virtual x", "Syntax Error"),
        ("modify ltm profile client-ssl site cert-key-chain { }", "Syntax Error"),
        ("modify ltm profile client-ssl site cert-key-chain replace-all-with x", "Syntax Error"),
        ("modify ltm profile client-ssl site {", "Syntax Error"),
        ("modify ltm profile client-ssl site cert {", "Syntax Error"),
        ("run cm config-sync to-group nobody", "Device group (nobody) not found"),
        ("run sys config", "Syntax Error"),
    ],
)
def test_tmsh(wire: Wire, line: str, said: str) -> None:
    assert said in wire.bash(f"tmsh {line}")


def test_a_rotation_with_tmsh_alone(device: F5Simulator, wire: Wire) -> None:
    wire.bash("tmsh create sys crypto key t.key key-type ec-private curve-name prime256v1")
    names = 'common-name t.example.com subject-alternative-name "DNS:t.example.com, IP:192.0.2.1"'
    wire.bash(f"tmsh create sys crypto csr t.csr key t.key {names}")
    pem = sign(wire.read_csr("t.csr"))
    wire.upload("t.pem", pem.encode())
    wire.bash("tmsh install sys crypto cert t.crt from-local-file /var/config/rest/downloads/t.pem")
    chain = "replace-all-with { t { cert t.crt key t.key } }"
    assert wire.bash(f"tmsh modify ltm profile client-ssl site cert-key-chain {chain}") == ""
    assert seen(device, "web") == fingerprint(pem)
    assert "in use" in wire.bash("tmsh delete sys file ssl-cert t.crt; echo rc=$?")
    assert wire.bash("tmsh delete sys crypto csr t.csr; echo rc=$?") == "rc=0\n"
    assert wire.bash('tmsh -c "list sys crypto key" | grep -c "sys crypto key"') == "2\n"
    assert wire.bash("bigstart status httpd") == "httpd run\n"


def test_without_bash_there_is_no_shell() -> None:
    with run_f5(bash=False) as device:
        wire = Wire(device).log_in()
        refused = wire.post("tm/util/bash", command="run", utilCmdArgs="-c 'id'")
        assert (refused.status, "not available" in refused.message) == (400, True)
        assert wire.post("tm/task/util/bash", command="run", utilCmdArgs="-c 'id'").status == 400
        with ssh(device, "root") as client:
            assert "Syntax Error" in run(client, "id")[1]
            assert "16.1.2" in run(client, "show sys version")[0]


# SSH


@contextmanager
def ssh(device: F5Simulator, user: str, password: str = "") -> Iterator[paramiko.SSHClient]:
    kind, text = device.ssh_host_key.split()
    with paramiko.SSHClient() as client:
        key = paramiko.PKey.from_type_string(kind, base64.b64decode(text))
        client.get_host_keys().add(f"[{device.address}]:{device.ssh_port}", kind, key)
        client.connect(
            device.address,
            device.ssh_port,
            user,
            password or (device.password if user == device.username else f"{user}-simulated"),
            look_for_keys=False,
            allow_agent=False,
            timeout=20,
        )
        yield client


def run(client: paramiko.SSHClient, command: str, given: str = "") -> tuple[str, str, int]:
    into, out, errors = client.exec_command(command, timeout=30)
    into.write(given)
    into.channel.shutdown_write()
    return out.read().decode(), errors.read().decode(), out.channel.recv_exit_status()


def test_ssh_gives_bash_or_tmsh(device: F5Simulator) -> None:
    with ssh(device, "root") as client:
        assert run(client, "cat; echo bad >&2; exit 3", "typed\n") == ("typed\n", "bad\n", 3)
        assert "Version     16.1.2" in run(client, "tmsh show sys version")[0]
    with ssh(device, "admin") as client:
        assert "Version     16.1.2" in run(client, "show sys version")[0]
        out, errors, status = run(client, "list nonsense")
        assert (out, errors, status) == ("", 'Syntax Error: unexpected argument "nonsense"\n', 1)
        assert run(client, 'run util bash -c "echo here"')[0] == "here\n"


@pytest.mark.parametrize(("user", "password"), [("root", "wrong"), ("nobody", "x"), ("guest", "guest-simulated")])
def test_ssh_refuses(device: F5Simulator, user: str, password: str) -> None:
    with pytest.raises(paramiko.AuthenticationException), ssh(device, user, password):
        pass


def test_a_reboot_ends_ssh_and_what_runs(device: F5Simulator) -> None:
    with ssh(device, "root") as client:
        run(client, "nohup sh -c 'sleep 1000; touch /shared/late' >/dev/null 2>&1 &")
        device.reboot()
        assert wait_until(lambda: not client.get_transport() or not client.get_transport().is_active())
    with ssh(device, "root") as client:
        assert "sleep" not in run(client, "ps ax")[0]


def test_a_user_may_have_bash(device: F5Simulator) -> None:
    with run_f5(other_users={"ops": User("ops-simulated", shell="bash")}) as other, ssh(other, "ops") as client:
        assert run(client, "pwd")[0] == "/\n"
