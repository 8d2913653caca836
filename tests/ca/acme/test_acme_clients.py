# SPDX-License-Identifier: Apache-2.0
"""Clients others wrote, from Debian, against `ottr ca serve`: what docs/ca.md's table says of each."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.lab.bind import Bind
from ottr.lab.network import Network
from tests.ca.acme.service import Service, serve
from tests.ca.conftest import run_openssl


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, network: Network, bind: Bind) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("service") / "ca", network, bind, 1) as started:
        yield started


@pytest.fixture
def run(tmp_path: Path, service: Service) -> Callable[..., str]:
    """Run a client's program in a folder of the test; its exit status must be 0."""

    def work(*command: str | Path, **environment: str) -> str:
        trust = {
            name: str(service.ca_bundle) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "LEGO_CA_CERTIFICATES")
        }
        done = subprocess.run(
            [str(one) for one in command],
            cwd=tmp_path,
            env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": str(tmp_path), **trust, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return work


Run = Callable[..., str]


@pytest.fixture
def hook(tmp_path: Path, bind: Bind) -> Path:
    """``hook add|delete NAME VALUE``: a dynamic update."""
    path = tmp_path / "update"
    path.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            nsupdate <<END
            server {bind.address} {bind.port}
            key {bind.tsig_algorithm}:{bind.tsig_name} {bind.tsig_secret}
            update $1 $2 {"60 "}TXT "$3"
            send
            END
            """).replace("update $1 $2 60", 'update $1 $2 $([ "$1" = add ] && echo 60)')
    )
    path.chmod(0o755)
    return path


def read(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def names_of(leaf: x509.Certificate) -> set[str]:
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(san.get_values_for_type(x509.DNSName))


def check(service: Service, tmp_path: Path, chain: list[x509.Certificate], *names: str) -> x509.Certificate:
    """The chain leads to the root, as the openssl program sees it, and has these names."""
    leaf, *above = chain
    files = {"leaf": [leaf], "above": above}
    for name, certificates in files.items():
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    run_openssl("verify", "-CAfile", service.ca_bundle, "-untrusted", tmp_path / "above.pem", tmp_path / "leaf.pem")
    assert names_of(leaf) == set(names)
    return leaf


def test_certbot(service: Service, run: Run, hook: Path, tmp_path: Path) -> None:
    place = [f"--{name}-dir={tmp_path / name}" for name in ("config", "work", "logs")]
    common = [*place, "--server", service.directory, "--non-interactive"]
    auth = f"{hook} add _acme-challenge.$CERTBOT_DOMAIN $CERTBOT_VALIDATION"
    clean = f"{hook} delete _acme-challenge.$CERTBOT_DOMAIN $CERTBOT_VALIDATION"
    manual = ["--manual", "--preferred-challenges=dns", "--manual-auth-hook", auth, "--manual-cleanup-hook", clean]
    domains = ["-d", "certbot.lab.test", "-d", "*.certbot.lab.test"]
    run("certbot", "certonly", *common, *manual, *domains, "--agree-tos", "-m", "ops@example.com")
    live = tmp_path / "config/live/certbot.lab.test/fullchain.pem"
    first = check(service, tmp_path, read(live), "certbot.lab.test", "*.certbot.lab.test")

    run("certbot", "renew", *common[:-3], "--force-renewal", "--no-random-sleep-on-renew", "--non-interactive")
    second = check(service, tmp_path, read(live), "certbot.lab.test", "*.certbot.lab.test")
    assert second.serial_number != first.serial_number
    run("certbot", "update_account", *common, "-m", "others@example.com")
    run("certbot", "revoke", *common, "--cert-name=certbot.lab.test", "--reason=superseded", "--no-delete-after-revoke")
    assert service.status(second) == ("revoked", "superseded")
    run("certbot", "unregister", *common)


def lego(service: Service, bind: Bind, tmp_path: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    common = [
        "lego",
        "--server",
        service.directory,
        "--path",
        str(tmp_path / "lego"),
        "--accept-tos",
        "--email",
        "a@b.test",
    ]
    update = {
        "RFC2136_NAMESERVER": bind.server,
        "RFC2136_TSIG_KEY": bind.tsig_name,
        "RFC2136_TSIG_SECRET": bind.tsig_secret,
        "RFC2136_TSIG_ALGORITHM": f"{bind.tsig_algorithm}.",
        "RFC2136_POLLING_INTERVAL": "1",
        "RFC2136_SEQUENCE_INTERVAL": "1",
    }
    return [*common, *words], update


def test_lego(service: Service, run: Run, bind: Bind, tmp_path: Path) -> None:
    dns = ["--dns", "rfc2136", "--dns.disable-cp", "--dns.resolvers", bind.server, "--domains", "lego.lab.test"]
    command, update = lego(service, bind, tmp_path, *dns, "--domains", "*.lego.lab.test")
    run(*command, "run", **update)
    path = tmp_path / "lego/certificates/lego.lab.test.crt"
    first = check(service, tmp_path, read(path), "lego.lab.test", "*.lego.lab.test")
    run(*command, "renew", "--days=1000", "--no-random-sleep", **update)
    second = check(service, tmp_path, read(path), "lego.lab.test", "*.lego.lab.test")
    assert second.serial_number != first.serial_number
    run(*command, "revoke", "--keep", "--reason=4", **update)
    assert service.status(second) == ("revoked", "superseded")


def test_lego_over_http_and_tls(service: Service, run: Run, bind: Bind, network: Network, tmp_path: Path) -> None:
    for kind in ("http", "tls"):
        words = [f"--{kind}", f"--{kind}.port", f"127.0.0.1:{network.port(3)}", "--domains", "web.lab.test"]
        command, update = lego(service, bind, tmp_path / kind, *words)
        run(*command, "run", **update)
        check(service, tmp_path, read(tmp_path / kind / "lego/certificates/web.lab.test.crt"), "web.lab.test")


def test_lego_with_an_account_binding(
    tmp_path_factory: pytest.TempPathFactory, network: Network, bind: Bind, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("bound") / "ca"
    with serve(folder, network, bind, 2, acme={"eab_required": True}) as bound:
        made = bound.ottr("eab", "team.lab.test", "*.team.lab.test")
        words = ["--eab", "--kid", made["kid"], "--hmac", made["hmac_key"], "--dns", "rfc2136"]
        words += ["--dns.disable-cp", "--dns.resolvers", bind.server]
        command, update = lego(bound, bind, tmp_path, *words)
        trust = {"LEGO_CA_CERTIFICATES": str(bound.ca_bundle)}
        run(*command, "--domains", "www.team.lab.test", "run", **update, **trust)
        check(bound, tmp_path, read(tmp_path / "lego/certificates/www.team.lab.test.crt"), "www.team.lab.test")
        with pytest.raises(AssertionError, match="rejectedIdentifier"):
            run(*command, "--domains", "www.lab.test", "run", **update, **trust)


def test_dehydrated(service: Service, run: Run, hook: Path, tmp_path: Path) -> None:
    wrapper = tmp_path / "hook"
    wrapper.write_text(
        f'#!/bin/sh\ncase $1 in deploy_challenge) {hook} add "_acme-challenge.$2" "$4";;\n'
        f'clean_challenge) {hook} delete "_acme-challenge.$2" "$4";; esac\n'
    )
    wrapper.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        f'CA="{service.directory}"\nCHALLENGETYPE="dns-01"\nHOOK="{wrapper}"\nBASEDIR="{tmp_path}"\nKEY_ALGO=secp384r1\n'
        f'CURL_OPTS="--cacert {service.ca_bundle}"\nCONTACT_EMAIL=a@example.com\n'
    )
    command = ("dehydrated", "--config", str(config))
    run(*command, "--register", "--accept-terms")
    domain = ("--domain", "hydra.lab.test *.hydra.lab.test", "--alias", "hydra")
    run(*command, "--cron", *domain)
    folder = tmp_path / "certs/hydra"
    first = check(service, tmp_path, read(folder / "fullchain.pem"), "hydra.lab.test", "*.hydra.lab.test")
    run(*command, "--cron", *domain, "--force")
    second = check(service, tmp_path, read(folder / "fullchain.pem"), "hydra.lab.test", "*.hydra.lab.test")
    assert second.serial_number != first.serial_number
    run(*command, "--revoke", folder / "cert.pem")
    assert service.status(second)[0] == "revoked"
    run(*command, "--account")


def test_acme_tiny(service: Service, run: Run, network: Network, tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    challenges = tmp_path / "www/.well-known/acme-challenge"
    challenges.mkdir(parents=True)
    run("openssl", "genrsa", "-out", "account.key", "2048")
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "web.key", "-out", "web.csr",
        "-subj", "/CN=web.lab.test")  # fmt: skip
    with ThreadingHTTPServer(("127.0.0.1", network.port(3)), handler) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            said = run("acme-tiny", "--account-key", "account.key", "--csr", "web.csr", "--acme-dir", challenges,
                       "--directory-url", service.directory, "--disable-check")  # fmt: skip
        finally:
            site.shutdown()
            thread.join()
    pems = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", said, re.DOTALL)
    check(service, tmp_path, [x509.load_pem_x509_certificate(pem.encode()) for pem in pems], "web.lab.test")


def test_uacme(
    tmp_path_factory: pytest.TempPathFactory, network: Network, bind: Bind, run: Run, hook: Path, tmp_path: Path
) -> None:
    """It trusts only the system's roots, so it talks to a server without TLS."""
    wrapper = tmp_path / "hook"
    wrapper.write_text(
        f'#!/bin/sh\n[ "$2" = dns-01 ] || exit 1\ncase $1 in begin) {hook} add "_acme-challenge.$3" "$5";;\n'
        f'*) {hook} delete "_acme-challenge.$3" "$5";; esac\n'
    )
    wrapper.chmod(0o755)
    with serve(tmp_path_factory.mktemp("plain") / "ca", network, bind, 2, plain=True) as plain:
        command = ("uacme", "--acme-url", plain.directory, "--confdir", str(tmp_path / "uacme"), "--yes")
        run(*command, "new", "a@example.com")
        run(*command, "--hook", wrapper, "issue", "uacme.lab.test", "*.uacme.lab.test")
        path = tmp_path / "uacme/uacme.lab.test/cert.pem"
        leaf = check(plain, tmp_path, read(path), "uacme.lab.test", "*.uacme.lab.test")
        run(*command, "update", "b@example.com")
        run(*command, "newkey")
        run(*command, "revoke", path)
        assert plain.status(leaf)[0] == "revoked"
        run(*command, "deactivate")
