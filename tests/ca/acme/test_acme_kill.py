# SPDX-License-Identifier: Apache-2.0
"""`ottr ca serve` killed at work, again and again: what a client got is in the table, and the work goes on."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.acme.exchange import Reply
from ottr.ca.acme.schema import order as orders
from ottr.ca.acme.server import AcmeServer
from ottr.ca.model import Status
from ottr.ca.opening import open_authority
from ottr.ca.schema import certificate
from ottr.lab.bind import Bind
from ottr.lab.network import Network
from ottr.lab.process import Process
from tests.ca.acme.client import Client, b64, make_csr
from tests.ca.acme.conftest import Prove
from tests.ca.acme.wire import Wire
from tests.ca.conftest import PASSPHRASE, SETTINGS
from tests.measuring import measured

NAME = "kept.lab.test"
CLIENTS, ROUNDS, CERTIFICATES_A_ROUND = 4, 3, 8
PATIENCE_S = 60.0


@dataclass
class Seen:
    """What the clients of all rounds were told."""

    leaves: list[x509.Certificate] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    crl_numbers: list[list[int]] = field(default_factory=list)
    wrong: list[BaseException] = field(default_factory=list)


class Worker(threading.Thread):
    """Orders, downloads and revokes; where the server dies, it goes on with the same order."""

    def __init__(self, port: int, account: Client, seen: Seen) -> None:
        super().__init__()
        self._wire = Wire(port)
        self._client = Client(cast("AcmeServer", self._wire), key=account.key, kid=account.kid)
        self._seen = seen
        self._numbers: list[int] = []
        self._order: Reply | None = None
        self.stopped = threading.Event()
        seen.crl_numbers.append(self._numbers)

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._work()
            except (OSError, http.client.HTTPException):  # it was killed
                self._wire.connection.close()
                self.stopped.wait(0.02)
            except BaseException as error:
                self._seen.wrong.append(error)
                return
        self._wire.connection.close()

    def _work(self) -> None:
        self._order = self._order or self._client.order(NAME)
        state = self._client.post(self._order.headers["Location"])
        if state.document["status"] == "ready":
            state = self._client.finalize(self._order, make_csr(NAME))
        assert state.status == 200, state.document
        chain = self._client.post(state.document["certificate"])
        assert chain.status == 200, chain.document
        leaf = x509.load_pem_x509_certificate(chain.body)
        self._seen.leaves.append(leaf)
        self._order = None
        if leaf.serial_number % 2:
            self._revoke(leaf)

    def _revoke(self, leaf: x509.Certificate) -> None:
        reply = self._client.post("/revoke-cert", {"certificate": b64(leaf.public_bytes(Encoding.DER))})
        assert reply.status == 200, reply.document
        self._seen.revoked.append(format(leaf.serial_number, "x"))
        self._wire.connection.request("GET", "/crl/intermediate-1.crl")
        crl = x509.load_der_x509_crl(self._wire.connection.getresponse().read())
        self._numbers.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
        assert crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_table(folder: Path, seen: Seen) -> int:
    """What the table says while nobody serves; returns the number of the newest CRL."""
    with open_authority(folder, PASSPHRASE) as authority, authority.database.read() as connection:
        ders = set(connection.execute(sa.select(certificate.c.der)).scalars())
        revoked = set(
            connection.execute(
                sa.select(certificate.c.serial).where(certificate.c.status == Status.REVOKED.value)
            ).scalars()
        )
        issued = connection.execute(
            sa.select(sa.func.count()).where(certificate.c.requester.startswith("acme:"))
        ).scalar_one()
        done = connection.execute(sa.select(sa.func.count()).where(orders.c.certificate != "")).scalar_one()
        number = authority.active_issuer().crl_number
    assert {leaf.public_bytes(Encoding.DER) for leaf in seen.leaves} <= ders
    assert set(seen.revoked) <= revoked
    assert issued == done
    return number


def test_what_a_client_was_given_survives_kill_9(
    tmp_path: Path, fresh_folder: Path, network: Network, bind: Bind, prove: Prove
) -> None:
    folder, port, seen = Path(shutil.copytree(fresh_folder, tmp_path / "ca")), network.port(2), Seen()
    acme = {
        "url": "https://ca.example.test/acme",
        "validation": {"resolvers": [bind.server]},
        "reuse_authorizations": True,
    }
    server = {"listen": f"127.0.0.1:{port}", "plain": True}
    (folder / "ca.yaml").write_text(f"{SETTINGS}acme: {json.dumps(acme)}\nserver: {json.dumps(server)}\n")
    process = Process(
        (sys.executable, "-m", "ottr", "ca", "serve", "--dir", str(folder), "--output", "json"),
        log=tmp_path / "serve.log",
        listens=[("127.0.0.1", port)],
        environment={**measured(), "OTTR_CA_PASSPHRASE": PASSPHRASE.reveal().decode()},
    )
    with process:
        with closing((first := Wire(port)).connection):
            account = Client(cast("AcmeServer", first)).register()
            prove(account, account.order(NAME))
        workers = [Worker(port, account, seen) for _ in range(CLIENTS)]
        for worker in workers:
            worker.start()
        try:
            numbers = [0]
            for _ in range(ROUNDS):
                enough = len(seen.leaves) + CERTIFICATES_A_ROUND
                wait_for(lambda: len(seen.leaves) >= enough or bool(seen.wrong))  # noqa: B023
                process.kill()
                numbers.append(check_table(folder, seen))
                process.start()
            enough = len(seen.leaves) + CERTIFICATES_A_ROUND
            wait_for(lambda: len(seen.leaves) >= enough or bool(seen.wrong))
        finally:
            for worker in workers:
                worker.stopped.set()
            for worker in workers:
                worker.join()
    numbers.append(check_table(folder, seen))
    assert not seen.wrong
    assert numbers == sorted(numbers)
    assert numbers[-1] >= max(max(known, default=0) for known in seen.crl_numbers) > 0
    assert all(known == sorted(known) for known in seen.crl_numbers)
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
