# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.ca``: what the private CA's ACME server costs beside Pebble, and whether it slows down as it fills.

Both servers get the same orders (P-256, dns-01 looked up in one BIND, TLS, connections that stay open) from the same
client, in turns; what is counted is the CPU time of the server's process. Then certificates are issued in this
process with a thousand rows in the table, and with a million.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from bench.floor import Zone
from bench.floor_acme import Account
from bench.report import build_criteria, describe_machine
from bench.results import Criterion
from ottr.ca.authority import Authority
from ottr.ca.csr import Request
from ottr.ca.envelope import Passphrase
from ottr.ca.issuance import Terms
from ottr.ca.model import Names
from ottr.ca.names import ANY_NAME
from ottr.ca.opening import init_authority, open_authority
from ottr.lab.bind import Bind
from ottr.lab.network import Network, claim_network
from ottr.lab.pebble import Pebble
from ottr.lab.process import Process

_ZONE = "lab.test"
_PASSPHRASE = "a passphrase of the benchmark"  # noqa: S105 of a CA that is thrown away
_WARM_UP = 16
_FEW, _SAMPLES = 1000, 200
_FILL = sa.text("""
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :count)
    INSERT INTO certificate (issuer_id, serial, status, not_before, not_after, issued_at, profile, subject, names,
        requester, key_id, subject_issuer_id, auto_renew, spki_sha256, sha256, der)
    SELECT model.issuer_id, lower(hex(randomblob(19))), 'valid', model.not_before, model.not_after, model.issued_at,
        model.profile, model.subject, model.names, model.requester, '', '', model.auto_renew,
        lower(hex(randomblob(32))), lower(hex(randomblob(32))), model.der
    FROM counted, (SELECT * FROM certificate WHERE id = :model) AS model
""")


@dataclass(frozen=True, slots=True)
class Server:
    """An ACME server that runs."""

    name: str
    directory: str
    ca_bundle: Path
    pid: int


@dataclass(frozen=True, slots=True)
class Orders:
    """One round of orders at one server."""

    server: str
    number: int
    orders: int
    cpu_ms: float
    """Of the server, for each order."""
    wall_ms: float
    """Of the whole round, for each order."""


@dataclass(frozen=True, slots=True)
class Issuance:
    """Certificates issued with so many in the table."""

    rows: int
    cpu_ms: float
    wall_ms: float
    """Medians, for each certificate."""


def run_orders(orders: int, runs: int, clients: int) -> list[Orders]:
    """Place orders at both servers, in turns."""
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name, claim_network() as network:
        folder = Path(name)
        (folder / "bind").mkdir()
        with (
            Bind(folder / "bind", "127.0.0.1", network.port(0), zones=(_ZONE,)) as bind,
            _serve_ottr(folder, network, bind) as ours,
            Pebble(folder / "pebble", network.address(0), bind.server, gated=True) as pebble,
        ):
            theirs = Server("pebble", pebble.directory, pebble.ca_bundle, pebble.process.pid)
            zone = Zone(
                {
                    "zone": _ZONE,
                    "address": bind.address,
                    "port": bind.port,
                    "key_name": bind.tsig_name,
                    "key_secret": bind.tsig_secret,
                }
            )
            for server in (ours, theirs):
                _place(server, zone, 0, _WARM_UP, clients)
            rounds = [(server, number) for number in range(1, runs + 1) for server in (ours, theirs)]
            return [_place(server, zone, number, orders, clients) for server, number in rounds]


def run_issuance(rows: int) -> list[Issuance]:
    """Issue with few rows and with many."""
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name:
        path, passphrase = Path(name) / "ca", Passphrase(_PASSPHRASE.encode())
        init_authority(path, json.dumps({"organization": "Benchmark"}), passphrase)
        with open_authority(path, passphrase) as authority:
            model = authority.issue(_request("model.lab.test"), Terms("server", ANY_NAME, "bench")).id
            return [_issue(authority, model, count) for count in (_FEW, rows)]


def judge(placed: list[Orders], issued: list[Issuance]) -> list[Criterion]:
    """Hold the project's criteria against the medians."""
    ours, theirs = (median(one.cpu_ms for one in placed if one.server == name) for name in ("ottr", "pebble"))
    few, many = issued
    return [
        Criterion("CPU of the server for an ACME order, times Pebble's", 1.0, ours / theirs),
        Criterion(
            f"CPU to issue with {many.rows} certificates, times that with {few.rows}", 1.0, many.cpu_ms / few.cpu_ms
        ),
    ]


@contextmanager
def _serve_ottr(folder: Path, network: Network, bind: Bind) -> Iterator[Server]:
    port, path, passphrase = network.port(1), folder / "ca", Passphrase(_PASSPHRASE.encode())
    url, bundle = f"https://localhost:{port}/acme", folder / "roots.pem"
    acme = {"url": url, "validation": {"resolvers": [bind.server]}}
    settings = {"organization": "Benchmark", "acme": acme, "server": {"listen": f"127.0.0.1:{port}"}}
    init_authority(path, json.dumps(settings), passphrase)
    with open_authority(path, passphrase) as authority:
        bundle.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in authority.trust_bundle()))
    command = (sys.executable, "-m", "ottr", "ca", "serve", "--dir", str(path))
    environment = {"OTTR_CA_PASSPHRASE": _PASSPHRASE}
    place = [("127.0.0.1", port)]
    with Process(command, log=folder / "serve.log", listens=place, environment=environment) as process:
        yield Server("ottr", f"{url}/directory", bundle, process.pid)


def _place(server: Server, zone: Zone, number: int, orders: int, clients: int) -> Orders:
    names = [f"{server.name}-{number}-{one}.{_ZONE}" for one in range(orders)]
    csrs = {name: _write_csr(name) for name in names}
    account = Account(server.directory, str(server.ca_bundle), clients)
    with ThreadPoolExecutor(clients) as pool:
        cpu_s, wall_s = _clock(lambda: _read_cpu_s(server.pid), lambda: _issue_all(pool, account, csrs, zone))
    return Orders(server.name, number, orders, cpu_s * 1000 / orders, wall_s * 1000 / orders)


def _issue_all(pool: ThreadPoolExecutor, account: Account, csrs: dict[str, str], zone: Zone) -> None:
    chains = list(pool.map(lambda name: account.issue(name, csrs[name], zone), csrs))
    if not all("BEGIN CERTIFICATE" in chain for chain in chains):
        raise RuntimeError("an order came to nothing")


def _issue(authority: Authority, model: int, rows: int) -> Issuance:
    with authority.database.write() as connection:
        before = connection.execute(sa.text("SELECT count(*) FROM certificate")).scalar_one()
        connection.execute(_FILL, {"count": rows - before, "model": model})
    terms = Terms("server", ANY_NAME, "bench")
    requests = [_request(f"host{number}.lab.test") for number in range(_SAMPLES)]
    taken = [_clock(time.process_time, lambda one=one: authority.issue(one, terms)) for one in requests]  # type: ignore[misc]
    return Issuance(rows, *(median(one[part] for one in taken) * 1000 for part in (0, 1)))


def _clock(read_cpu_s: Callable[[], float], work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall time of some work, in seconds."""
    cpu_s, wall_s = read_cpu_s(), time.monotonic()
    work()
    return read_cpu_s() - cpu_s, time.monotonic() - wall_s


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _request(name: str) -> Request:
    return Request(ec.generate_private_key(ec.SECP256R1()).public_key(), Names(dns=(name,)))


def _write_csr(name: str) -> str:
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


def _build_grid(title: str, rows: list[Orders] | list[Issuance]) -> Grid:
    grid = Grid(title=title, box=box.SIMPLE)
    for name in asdict(rows[0]):
        grid.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        grid.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in asdict(row).values()))
    return grid


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.ca", description=__doc__)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    placed, issued = run_orders(given.orders, given.runs, given.clients), run_issuance(given.rows)
    criteria = judge(placed, issued)
    if given.output == "json":
        verdicts = [asdict(one) | {"verdict": one.verdict} for one in criteria]
        figures = {"orders": [asdict(one) for one in placed], "issuance": [asdict(one) for one in issued]}
        print(json.dumps({"machine": describe_machine(), **figures, "criteria": verdicts}, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 170)
        console.print(_build_grid("ACME orders, CPU of the server", placed))
        console.print(_build_grid("Issuance as the table fills", issued))
        console.print(build_criteria(criteria))
    return 0


if __name__ == "__main__":
    sys.exit(main())
