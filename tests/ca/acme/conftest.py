# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ottr.ca.acme.exchange import Reply
from ottr.ca.acme.server import AcmeServer
from ottr.ca.acme.settings import AcmeSettings, ValidationSettings
from ottr.ca.authority import Authority
from ottr.ca.database import Database
from ottr.dns.solvers import load_solver
from ottr.lab.bind import Bind
from ottr.lab.network import Network, claim_network
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings
from tests.ca.acme.client import Client


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with claim_network() as claimed:
        yield claimed


@pytest.fixture(scope="session")
def bind(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    records = (
        "_acme-challenge.away.lab.test. IN CNAME proof.lab.test.",
        "outside.lab.test. IN CNAME web.elsewhere.test.",
        "web.lab.test. IN A 127.0.0.1",
        "inside.lab.test. IN A 169.254.1.1",
        "mine.caa.lab.test. IN A 127.0.0.1",
        'lab.test. IN CAA 0 issue "ca.example"',
        'caa.lab.test. IN CAA 0 issue "other.example"',
        'mine.caa.lab.test. IN CAA 0 issue "ca.example"',
        'mine.caa.lab.test. IN CAA 0 issuewild ";"',
        'bound.caa.lab.test. IN CAA 0 issue "ca.example; accounturi=https://ca.example.test/acme/acct/1"',
        'method.caa.lab.test. IN CAA 0 issue "ca.example; validationmethods=dns-01,http-01"',
        'strange.caa.lab.test. IN CAA 128 unheard "x"',
    )
    folder = tmp_path_factory.mktemp("bind")
    with Bind(folder, "127.0.0.1", network.port(0), zones=("lab.test",), records=records) as started:
        yield started


Publish = Callable[[str, str], None]


@pytest.fixture
def publish(bind: Bind) -> Iterator[Publish]:
    """Add a TXT value for the time of the test."""
    options = {
        "server": bind.server,
        "key_name": bind.tsig_name,
        "key_secret": Secret(bind.tsig_secret),
        "algorithm": bind.tsig_algorithm,
    }
    solver = load_solver(SolverSettings(name="bind", kind="rfc2136", zones=bind.zones, options=options))
    records: list[TxtRecord] = []

    def add(name: str, value: str) -> None:
        records.append(TxtRecord(name, value))
        solver.present(records[-1])

    yield add
    for record in records:
        solver.cleanup(record)


@pytest.fixture
def settings(bind: Bind) -> AcmeSettings:
    return AcmeSettings(validation=ValidationSettings(resolvers=((bind.address, bind.port),), timeout_s=4))


Serve = Callable[..., AcmeServer]


@pytest.fixture
def serve(authority: Authority, settings: AcmeSettings) -> Iterator[Serve]:
    """Start a server with changed settings; ``validation`` takes a mapping of changes."""
    started: list[AcmeServer] = []

    def start(validation: dict[str, Any] | None = None, **changes: Any) -> AcmeServer:
        looks = replace(settings.validation, **(validation or {}))
        started.append(AcmeServer(authority, replace(settings, validation=looks, **changes)))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(serve: Serve) -> AcmeServer:
    return serve()


@pytest.fixture
def client(server: AcmeServer) -> Client:
    return Client(server).register()


@pytest.fixture
def elsewhere(authority: Authority) -> Iterator[Database]:
    """The database as another process sees it."""
    opened = Database(authority.database._url.render_as_string(hide_password=False))
    yield opened
    opened.close()


Prove = Callable[[Client, Reply], None]


@pytest.fixture
def prove(publish: Publish) -> Prove:
    """Publish what the order needs and answer its challenges, all of which must become valid."""

    def work(client: Client, order: Reply) -> None:
        for authorization in client.authorizations(order):
            challenge = client.challenge(authorization)
            digest = hashlib.sha256(client.key_authorization(challenge).encode()).digest()
            value = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            publish(f"_acme-challenge.{authorization['identifier']['value']}", value)
            client.post(challenge["url"], {})
            found = client.wait(challenge["url"])
            assert found["status"] == "valid", found

    return work
