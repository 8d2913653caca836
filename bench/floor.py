# SPDX-License-Identifier: Apache-2.0
"""The floor: the least Python that rotates a fleet with threads. ``python -m bench.floor JOB.json``.

For each host one SSH connection: key and CSR by one ``openssl req``, later the chain over standard input, two
renames and the reload. Between them an ACME order (dns-01 by RFC 2136), signed here, over connections that stay
open; at the end a handshake that must show the issued leaf. No journal, no inventory, no retry, nothing to go back to.
Status 1 when a host was not done.
"""

from __future__ import annotations

import base64
import json
import shlex
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update
import paramiko

from bench.floor_acme import Account

_DNS_TIMEOUT_S = 20.0
_SSH_TIMEOUT_S = 60.0


class Zone:
    """Dynamic updates and queries, over UDP to one server."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._zone, self._where = options["zone"], options["address"]
        self._port = int(options["port"])
        self._keys = dns.tsigkeyring.from_text({options["key_name"]: options["key_secret"]})

    def present(self, name: str, value: str) -> None:
        """Add the challenge of a host and see that the server has it."""
        update = self._begin()
        update.replace(self._relative(name), 5, "TXT", value)
        self._send(update)
        query = dns.message.make_query(f"_acme-challenge.{name}", "TXT")
        answer = dns.query.udp(query, self._where, timeout=_DNS_TIMEOUT_S, port=self._port)
        if not any(value in item.to_text() for rrset in answer.answer for item in rrset):
            raise RuntimeError(f"{name}: the server does not answer with the challenge")

    def clean_up(self, name: str) -> None:
        """Remove it."""
        update = self._begin()
        update.delete(self._relative(name), "TXT")
        self._send(update)

    def _begin(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(self._zone, keyring=self._keys, keyalgorithm=dns.tsig.HMAC_SHA256)

    def _relative(self, name: str) -> str:
        return f"_acme-challenge.{name.removesuffix(f'.{self._zone}')}"

    def _send(self, update: dns.update.UpdateMessage) -> None:
        answer = dns.query.udp(update, self._where, timeout=_DNS_TIMEOUT_S, port=self._port)
        if answer.rcode() != dns.rcode.NOERROR:
            raise RuntimeError(f"the update was refused: {dns.rcode.to_text(answer.rcode())}")


class Pin(paramiko.MissingHostKeyPolicy):
    """Accepts the one known key."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob

    def missing_host_key(self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raise for any other."""
        if key.asbytes() != self._blob:
            raise RuntimeError(f"{hostname}: another host key")


def connect(host: dict[str, Any], key: paramiko.PKey, blob: bytes) -> paramiko.SSHClient:
    """Log in, over a socket that sends at once."""
    where = (host["address"], host["ssh_port"])
    stream = socket.create_connection(where, _SSH_TIMEOUT_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(Pin(blob))
    client.connect(
        *where,
        username=host["user"],
        pkey=key,
        sock=stream,
        look_for_keys=False,
        allow_agent=False,
        timeout=_SSH_TIMEOUT_S,
        banner_timeout=_SSH_TIMEOUT_S,
        auth_timeout=_SSH_TIMEOUT_S,
    )
    return client


def run(client: paramiko.SSHClient, command: str, text: str = "") -> str:
    """Run a command to its end and return its output."""
    stdin, stdout, _ = client.exec_command(command)
    if text:
        stdin.write(text)
    stdin.channel.shutdown_write()
    output: bytes = stdout.read()
    if status := stdout.channel.recv_exit_status():
        raise RuntimeError(f"status {status}: {command}")
    return output.decode()


def create_csr(client: paramiko.SSHClient, host: dict[str, Any]) -> str:
    """Make a P-256 key on the host; the CSR comes back."""
    name = shlex.quote(host["name"])
    return run(
        client,
        "umask 077; openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        f" -keyout {shlex.quote(host['key'])}.new -subj /CN={name} -addext subjectAltName=DNS:{name} 2>/dev/null",
    )


def install(client: paramiko.SSHClient, host: dict[str, Any], fullchain_pem: str) -> None:
    """Put both files in place and reload."""
    key, fullchain = shlex.quote(host["key"]), shlex.quote(host["fullchain"])
    command = f"cat >{fullchain}.new && mv {key}.new {key} && mv {fullchain}.new {fullchain} && {host['reload']}"
    run(client, f"{command} 2>/dev/null", fullchain_pem)


def verify(host: dict[str, Any], context: ssl.SSLContext, fullchain_pem: str) -> None:
    """Handshake until the issued leaf is served."""
    end = "-----END CERTIFICATE-----"
    wanted = ssl.PEM_cert_to_DER_cert(fullchain_pem.partition(end)[0] + end)
    wait_s, deadline = 0.01, time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            with (
                socket.create_connection((host["address"], host["tls_port"]), 5) as stream,
                context.wrap_socket(stream, server_hostname=host["name"]) as connection,
            ):
                if connection.getpeercert(binary_form=True) == wanted:
                    return
        except OSError:
            pass  # the old, self-signed one
        time.sleep(wait_s)
        wait_s = min(wait_s * 1.5, 0.3)
    raise RuntimeError(f"{host['name']} does not serve what was issued")


def load_host_keys(path: Path) -> dict[str, bytes]:
    """Host key by ``[address]:port``."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {where: base64.b64decode(blob) for where, _, blob, *_ in lines}


class Floor:
    """What all threads share."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._zone = Zone(job["dns"])
        self._account = Account(job["directory"], job["ca_bundle"], job["threads"])
        self._context = ssl.create_default_context(cafile=job["trust"])
        self._key = paramiko.Ed25519Key.from_private_key_file(job["ssh_key"])
        self._host_keys = load_host_keys(Path(job["known_hosts"]))

    def rotate(self, host: dict[str, Any]) -> bool:
        """Do one host; say on standard output why it was not done."""
        try:
            blob = self._host_keys[f"[{host['address']}]:{host['ssh_port']}"]
            with connect(host, self._key, blob) as client:
                csr = create_csr(client, host)
                fullchain_pem = self._account.issue(host["name"], csr, self._zone)
                install(client, host, fullchain_pem)
                verify(host, self._context, fullchain_pem)
        except Exception as error:
            print(f"{host['name']}: {error!r}", flush=True)
            return False
        return True


def main() -> int:
    """Rotate every host of the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    floor = Floor(job)
    with ThreadPoolExecutor(job["threads"]) as pool:
        done = list(pool.map(floor.rotate, job["hosts"]))
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
