# SPDX-License-Identifier: Apache-2.0
"""``python -m bench.ca_status``: what answers about revocation cost beside nginx and ``openssl ocsp``.

The same OCSP request goes to `ottr ca serve` (with a thousand certificates and with many), to nginx that serves the
answer as a static file, and to the responder of the openssl program, in turns, from wrk on the same machine. Counted is
the CPU time of the server's processes. Then nginx serves the tree of `ottr ca publish`, and a CRL is built and signed.

The tree is held against a static file with a short name, in an nginx with the same settings. Two more rows say where
the difference is: a static file with a URL as long as that of an OCSP request, and the same without sendfile, which the
configuration of the tree switches off.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from bench.report import build_criteria, describe_machine
from bench.results import Criterion
from ottr.ca.authority import Authority
from ottr.ca.csr import Request
from ottr.ca.envelope import Passphrase
from ottr.ca.exporting import export_pem
from ottr.ca.issuance import Terms
from ottr.ca.model import Certificate, Names
from ottr.ca.names import ANY_NAME
from ottr.ca.opening import init_authority, open_authority
from ottr.ca.status.identities import read_hashable
from ottr.ca.status.publishing import find_file, publish
from ottr.ca.status.request import build_cert_id, build_request
from ottr.ca.status.service import Status
from ottr.ca.status.transport import encode_path
from ottr.lab.network import claim_network
from ottr.lab.process import Process, find_program

_PASSPHRASE = "a passphrase of the benchmark"  # noqa: S105 of a CA that is thrown away
_FEW = 1000
_CONNECTIONS = 32
_ENTRIES = 100_000
_FILL = sa.text("""
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :count)
    INSERT INTO certificate (issuer_id, serial, status, revoked_at, reason, not_before, not_after, issued_at, profile,
        subject, names, requester, key_id, subject_issuer_id, auto_renew, spki_sha256, sha256, der)
    SELECT model.issuer_id, '4' || lower(hex(randomblob(19))), :status, :at, :reason, model.not_before, model.not_after,
        model.issued_at, model.profile, model.subject, model.names, model.requester, '', '', model.auto_renew,
        lower(hex(randomblob(32))), lower(hex(randomblob(32))), NULL
    FROM counted, (SELECT * FROM certificate WHERE id = :model) AS model
""")
_NGINX = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 100000000;
    open_file_cache max=1000;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""
_STATIC = """\
root {folder};
        default_type application/ocsp-response;
        error_page 405 =200 $uri;
        location /copied/ {{ sendfile off; }}
"""
_REPORT = re.compile(r"(\d+) requests in ([\d.]+)s")


_POST = """\
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/ocsp-request"
"""
_NGINX_POST, _NGINX_GET, _PUBLISHED = "nginx, static POST", "nginx, static GET", "nginx, published tree, GET"
_NGINX_LONG, _NGINX_COPIED = "nginx, static GET, long URL", "nginx, static GET, long URL, no sendfile"
_OTTR_FEW, _OTTR_MANY, _OTTR_GET = "ottr, POST", "ottr, POST, many certificates", "ottr, GET"
_OPENSSL = "openssl ocsp, POST"


@dataclass(frozen=True, slots=True)
class Target:
    """A server that runs, and what it is asked."""

    name: str
    url: str
    pid: int
    body: bytes = b""
    """Empty: GET."""


@dataclass(frozen=True, slots=True)
class Load:
    """One round against one server."""

    server: str
    number: int
    rate: float
    """Requests per second."""
    cpu_us: float
    """Of the server, for each request."""


@dataclass(frozen=True, slots=True)
class Crl:
    """A CRL, made in this process."""

    entries: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA that is served, and a request about one of its certificates."""

    folder: Path
    url: str
    request: bytes
    pid: int

    @property
    def published(self) -> Path:
        """The tree of `ottr ca publish`."""
        return self.folder / "tree"


def run_loads(runs: int, seconds: int, rows: int) -> list[Load]:
    """Ask every server, in turns; the first round warms up."""
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name, claim_network() as network, ExitStack() as stack:
        folder, other = Path(name), stack.enter_context(claim_network())
        few = stack.enter_context(_serve_ca(folder / "few", network.port(0), _FEW))
        many = stack.enter_context(_serve_ca(folder / "many", network.port(1), rows))
        path = encode_path(few.request)
        answer = (few.published / "www" / "ocsp" / find_file(few.request)).read_bytes()
        long = "a" * (len(f"ocsp/{path}") - len("copied/"))
        for file in ("answer", f"direct/{long}", f"copied/{long}"):
            (folder / "static" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "static" / file).write_bytes(answer)
        server = _STATIC.format(folder=folder / "static")
        static = stack.enter_context(_serve_nginx(folder / "nginx", network.port(2), server))
        include = f"include {few.published}/nginx.conf;"
        published = stack.enter_context(_serve_nginx(folder / "tree", network.port(3), include))
        files = f"http://127.0.0.1:{network.port(2)}"
        targets = (
            Target(_NGINX_POST, f"{files}/answer", static, few.request),
            Target(_OTTR_FEW, f"{few.url}/ocsp", few.pid, few.request),
            Target(_OTTR_MANY, f"{many.url}/ocsp", many.pid, many.request),
            Target(_OTTR_GET, f"{few.url}/ocsp/{path}", few.pid),
            Target(_NGINX_GET, f"{files}/answer", static),
            Target(_NGINX_LONG, f"{files}/direct/{long}", static),
            Target(_NGINX_COPIED, f"{files}/copied/{long}", static),
            Target(_PUBLISHED, f"http://127.0.0.1:{network.port(3)}/ocsp/{path}", published),
            stack.enter_context(_serve_openssl(folder / "openssl", few, other.port(0))),
        )
        rounds = [(target, number) for number in range(runs + 1) for target in targets]
        return [one for one in (_load(target, number, seconds, folder) for target, number in rounds) if one.number]


def run_crl(runs: int) -> list[Crl]:
    """Build and sign one of a hundred thousand entries."""
    with tempfile.TemporaryDirectory(prefix="ottr-bench-") as name, _open_ca(Path(name) / "ca", {}) as authority:
        _fill(authority, _issue(authority), _ENTRIES, revoked=True)
        with Status(authority) as status:
            status.crls.get("root-1")
            return [_make_crl(status) for _ in range(runs)]


def judge(loads: list[Load], crls: list[Crl]) -> list[Criterion]:
    """Hold the project's criteria against the medians."""

    def cpu_us(name: str) -> float:
        return median(one.cpu_us for one in loads if one.server == name)

    def rate(name: str) -> float:
        return median(one.rate for one in loads if one.server == name)

    return [
        Criterion("CPU of a cached answer, times nginx's static POST", 4.0, cpu_us(_OTTR_FEW) / cpu_us(_NGINX_POST)),
        Criterion("rate of cached answers, times openssl ocsp's", 6.0, rate(_OTTR_FEW) / rate(_OPENSSL), at_least=True),
        Criterion("CPU with many certificates, times that with few", 1.0, cpu_us(_OTTR_MANY) / cpu_us(_OTTR_FEW)),
        Criterion("CPU of a published answer, times nginx's static GET", 1.0, cpu_us(_PUBLISHED) / cpu_us(_NGINX_GET)),
        Criterion(f"CPU seconds for a CRL of {_ENTRIES} entries", 2.0, median(one.cpu_s for one in crls)),
    ]


@contextmanager
def _open_ca(folder: Path, settings: dict[str, object]) -> Iterator[Authority]:
    passphrase = Passphrase(_PASSPHRASE.encode())
    init_authority(folder, json.dumps({"organization": "Benchmark", **settings}), passphrase)
    with open_authority(folder, passphrase) as authority:
        yield authority


@contextmanager
def _serve_ca(folder: Path, port: int, rows: int) -> Iterator[Ca]:
    """Publish the few that it has itself, then fill it up and serve it."""
    url = f"http://127.0.0.1:{port}"
    server = {"listen": "127.0.0.1:0", "plain": True, "http_listen": f"127.0.0.1:{port}"}
    with _open_ca(folder, {"base_url": url, "server": server}) as authority:
        row = _issue(authority)
        issuer = read_hashable(authority.active_issuer())
        with Status(authority) as status:
            publish(status, folder / "tree")
        _fill(authority, row, rows, revoked=False)
        (folder / "chain.pem").write_bytes(export_pem([one.certificate for one in authority.issuers()]))
        request = build_request(build_cert_id("sha1", issuer.name, issuer.key, int(row.serial, 16)))
        (folder / "index.txt").write_text(f"V\t{row.not_after:%y%m%d%H%M%SZ}\t\t{int(row.serial, 16):X}\tunknown\t/\n")
        signer = authority.load_ocsp_signer(row.issuer_id)
        key = signer.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "signer.pem").write_bytes(key + export_pem([signer.certificate]))
        (folder / "issuer.pem").write_bytes(export_pem([authority.active_issuer().certificate]))
    command = (sys.executable, "-m", "ottr", "ca", "serve", "--dir", str(folder))
    environment = {"OTTR_CA_PASSPHRASE": _PASSPHRASE}
    place = [("127.0.0.1", port)]
    with Process(command, log=folder / "serve.log", listens=place, environment=environment) as process:
        yield Ca(folder, url, request, process.pid)


@contextmanager
def _serve_nginx(folder: Path, port: int, server: str) -> Iterator[int]:
    """Return the process that serves."""
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(user=user, folder=folder, port=port, server=server))
    command = (find_program("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration))
    with Process(command, log=folder / "log", listens=[("127.0.0.1", port)]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0])


@contextmanager
def _serve_openssl(folder: Path, ca: Ca, port: int) -> Iterator[Target]:
    """The openssl program's own responder; it answers one connection after the other, and ends each."""
    folder.mkdir()
    files = ("-index", "index.txt", "-CA", "issuer.pem", "-rsigner", "signer.pem", "-rkey", "signer.pem")
    command = ("openssl", "ocsp", "-port", str(port), *files, "-ndays", "1", "-ignore_err")
    with Process(
        command, log=folder / "log", announces="waiting for OCSP client connections", folder=ca.folder
    ) as process:
        yield Target(_OPENSSL, f"http://127.0.0.1:{port}/", process.pid, ca.request)


def _issue(authority: Authority) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return authority.issue(Request(key, Names(dns=("www.lab.test",))), Terms("server", ANY_NAME, "bench"))


def _fill(authority: Authority, model: Certificate, rows: int, *, revoked: bool) -> None:
    now = int(authority.clock().timestamp())
    values = ("revoked", now, "superseded") if revoked else ("valid", None, None)
    with authority.database.write() as connection:
        given = {"count": rows, "model": model.id, **dict(zip(("status", "at", "reason"), values, strict=True))}
        connection.execute(_FILL, given)


def _make_crl(status: Status) -> Crl:
    wall_s, cpu_s = time.monotonic(), time.process_time()
    made = status.crls.renew("intermediate-1")
    wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
    if len(made.der) < _ENTRIES * 30:
        raise RuntimeError("the CRL has too little in it")
    return Crl(_ENTRIES, wall_s, cpu_s)


def _load(target: Target, number: int, seconds: int, folder: Path) -> Load:
    before, (requests, span_s) = _read_cpu_s(target.pid), _ask(target, seconds, folder)
    return Load(target.name, number, requests / span_s, (_read_cpu_s(target.pid) - before) * 1e6 / requests)


def _ask(target: Target, seconds: int, folder: Path) -> tuple[int, float]:
    """How many answers came in how many seconds."""
    if target.name == _OPENSSL:
        return _ask_one_by_one(target, seconds)
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s"]
    if target.body:
        (folder / "body").write_bytes(target.body)
        (folder / "post.lua").write_text(_POST.format(body=folder / "body"))
        command += ["-s", str(folder / "post.lua")]
    done = subprocess.run([*command, target.url], capture_output=True, text=True, check=True, timeout=seconds + 60)
    found = _REPORT.search(done.stdout)
    if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"{target.name}: {done.stdout}")
    return int(found[1]), float(found[2])


def _ask_one_by_one(target: Target, seconds: int) -> tuple[int, float]:
    """As that server wants it: one connection after the other, each for one request."""
    place = urlsplit(target.url)
    head = f"POST / HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: {len(target.body)}\r\n\r\n"
    data, count, begun = head.encode() + target.body, 0, time.monotonic()
    while time.monotonic() < begun + seconds:
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
            connection.sendall(data)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        if b" 200 OK" not in answer[:20]:
            raise RuntimeError(f"{target.name}: {answer[:200]!r}")
        count += 1
    return count, time.monotonic() - begun


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _build_grid(title: str, rows: list[Load] | list[Crl]) -> Grid:
    grid = Grid(title=title, box=box.SIMPLE, title_justify="left")
    for name in asdict(rows[0]):
        grid.add_column(name.replace("_", " "), justify="left" if name == "server" else "right")
    for row in rows:
        grid.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in asdict(row).values()))
    return grid


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m bench.ca_status", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each round against each server")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    loads, crls = run_loads(given.runs, given.seconds, given.rows), run_crl(given.runs)
    criteria = judge(loads, crls)
    if given.output == "json":
        verdicts = [asdict(one) | {"verdict": one.verdict} for one in criteria]
        figures = {"answers": [asdict(one) for one in loads], "crls": [asdict(one) for one in crls]}
        print(json.dumps({"machine": describe_machine(), **figures, "criteria": verdicts}, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 170)
        console.print(_build_grid("OCSP answers, CPU of the server", sorted(loads, key=lambda one: one.server)))
        console.print(_build_grid("CRLs", crls))
        console.print(build_criteria(criteria))
    return 0


if __name__ == "__main__":
    sys.exit(main())
