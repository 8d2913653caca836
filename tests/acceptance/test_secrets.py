# SPDX-License-Identifier: Apache-2.0
"""No byte of a host's private key and no secret is in anything received, logged, kept, printed or to be seen."""

from __future__ import annotations

import base64
import logging
import os
import secrets
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from ottr.app import Options
from ottr.inventory.ansible import InventoryOptions
from ottr.lab import Lab
from ottr.lab.host import Host
from ottr.lab.namespace import ASKED_USER, NamespaceHost, run_namespace_host
from ottr.lab.pebble import Pebble
from ottr.model import Outcome, RotationResult
from ottr.notify import WebhookChannel
from ottr.orchestrator.runner import Rollout, Stop
from ottr.service import Selection
from tests.acceptance import faults
from tests.acceptance.faults import Site, check_rotated
from tests.acceptance.secrets_trail import (
    Trail,
    encrypt,
    forms_of_bytes,
    forms_of_key,
    forms_of_text,
    tapped,
    trace_command,
    traced,
    webhook,
)

MACHINE = "machine.lab.test"
VAULT_PASSWORD = "a vault of one's own"
UNUSED = "a vaulted value that nothing needs"
HOOK_PATH = "/hooks/T024BE7LH/B9nJ3vQs8xkPz"
EAB_KEY = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


@dataclass(frozen=True)
class Stage:
    """A site with every kind of secret, and hosts that ask for them."""

    site: Site
    lab: Lab
    machine: NamespaceHost
    vault_password_file: Path
    webhook_file: Path

    @property
    def hosts(self) -> list[Host]:
        return [*self.lab.hosts, Host(MACHINE, self.machine.sshd, self.machine.nginx)]

    @property
    def account_key(self) -> Path:
        return self.site.folder / "state" / "accounts" / "lab" / "key.pem"

    def list_secret_files(self) -> list[Path]:
        """Files that the operator, or Ottr, keeps secrets in; they are as they should be."""
        return [self.vault_password_file, self.webhook_file, self.account_key]

    def list_secrets(self) -> dict[str, set[bytes]]:
        """Every secret there is now, in all its forms."""
        tsig = self.lab.bind.tsig_secret
        found = {
            "password": forms_of_text(self.machine.namespace.password),
            "vault password": forms_of_text(VAULT_PASSWORD),
            "vaulted value": forms_of_text(UNUSED),
            "TSIG secret": forms_of_text(tsig) | forms_of_bytes(base64.b64decode(tsig)),
            "EAB key": forms_of_text(EAB_KEY) | forms_of_bytes(base64.urlsafe_b64decode(f"{EAB_KEY}==")),
            "webhook": forms_of_text(HOOK_PATH.rpartition("/")[2]),
        }
        if self.account_key.exists():
            found["account key"] = forms_of_key(self.account_key.read_bytes())
        ssh_key = b"".join(self.lab.ssh_key.read_bytes().splitlines()[1:-1])
        found["SSH key"] = {ssh_key, *self.lab.ssh_key.read_bytes().splitlines()[2:-1]}
        for path in self.list_host_keys():
            found[f"key {path}"] = forms_of_key(path.read_bytes())
        return found

    def list_host_keys(self) -> list[Path]:
        """All private keys on the hosts: those in use first, then those of all generations."""
        folders = [host.nginx.key.parent for host in self.lab.hosts]
        folders.append(self.machine.namespace.seen(self.machine.nginx.key.parent))
        used = [host.nginx.key for host in self.lab.hosts]
        return used + [path for folder in folders for path in folder.rglob("privkey.pem")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    build = partial(Pebble, eab={"kid-1": EAB_KEY})
    with Lab(tmp_path_factory.mktemp("secrets") / "lab", 2, build_pebble=build) as lab:
        yield lab


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceHost]:
    public = lab.ssh_key.with_suffix(".pub").read_text().strip()
    folder = tmp_path_factory.mktemp("machine")
    with run_namespace_host(folder, lab.network.address(200), MACHINE, public) as running:
        yield running


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def stage(lab: Lab, machine: NamespaceHost, trail: Trail, tmp_path: Path) -> Iterator[Stage]:
    site = Site(lab, tmp_path / "site")
    known_hosts = site.folder / "known_hosts"
    known_hosts.write_text(lab.known_hosts.read_text() + machine.sshd.known_hosts)
    site.settings["known_hosts"] = [str(known_hosts)]
    site.issuer["external_account"]["hmac_key"] = {"file": str(lab.folder / "eab0.secret")}
    site.issuer["contact"] = ["mailto:pki@lab.test"]
    environment = site.folder / "environment"
    site.route["hooks"] = {"before": [["env"]], "after": [["sh", "-c", f"env >>{environment}"]]}
    vault_password_file = write_secret(tmp_path / "vault.secret", VAULT_PASSWORD)
    write_inventory(site, machine, vault_password_file)
    with webhook(trail, HOOK_PATH) as url:
        webhook_file = write_secret(tmp_path / "webhook.secret", url)
        site.settings["notify"] = {
            "webhook": {"file": str(webhook_file)},
            "command": ["sh", "-c", f"cat >>{site.folder}/told; env >>{environment}"],
        }
        yield Stage(site, lab, machine, vault_password_file, webhook_file)


def write_secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(f"{text}\n")
    return path


def write_inventory(site: Site, machine: NamespaceHost, vault_password_file: Path) -> None:
    """The lab's hosts, and the machine, whose passwords are in a vault."""
    folder = site.change_inventory({})
    options = {
        "fullchain": str(machine.nginx.fullchain),
        "key": str(machine.nginx.key),
        "test_command": list(machine.nginx.test_command),
        "reload_command": list(machine.nginx.reload_command),
    }
    variables = {
        "ansible_host": machine.nginx.address,
        "ansible_port": machine.sshd.port,
        "ansible_user": ASKED_USER,
        "ansible_become": True,
        "host_platform": "linux",
        "certificate_authority": "lab",
        "common_name": MACHINE,
        "ottr_options": options,
    }
    (folder / "machine.yml").write_text(yaml.safe_dump({"all": {"hosts": {MACHINE: variables}}}))
    program = Path(sys.executable).with_name("ansible-vault")
    vaulted = {
        "ansible_password": machine.namespace.password,
        "ansible_become_password": machine.namespace.password,
        "not_needed": UNUSED,
    }
    host_vars = folder / "host_vars" / MACHINE
    host_vars.mkdir(parents=True)
    text = "\n".join(encrypt(program, vault_password_file, name, value) for name, value in vaulted.items())
    (host_vars / "vault.yml").write_text(textwrap.dedent(text))


def rotate(stage: Stage) -> list[RotationResult]:
    """Run ``ottr rotate all --force`` in this process."""
    options = InventoryOptions(vault_password_files=(str(stage.vault_password_file),))
    app = faults.App(Options(config=stage.site.write(), inventory=options), private_environment(stage))
    try:
        return list(app.service.rotate(Selection(), Rollout(forks=4), Stop(), forced=True))
    finally:
        app.close()
        app.stores.journal._database.close()


def private_environment(stage: Stage) -> dict[str, str]:
    """With a cache of its own, which is looked through as well."""
    return {**os.environ, "XDG_CACHE_HOME": str(stage.site.folder / "cache")}


def test_a_rotation_keeps_every_secret(
    stage: Stage, trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = {host.sshd.process.pid for host in stage.hosts}
    with traced(trail, tmp_path, pids), tapped(trail, monkeypatch):
        results = rotate(stage)
        check_rotated(results)
        trail.add("results", repr(results).encode())
    trail.add_files(stage.site.folder, without=stage.list_secret_files())

    known = stage.list_secrets()
    assert len([name for name in known if name.startswith("key ")]) >= len(stage.hosts) * 2
    for where in ("received by SSH", "log", "processes", "told by webhook", str(stage.site.folder / "told")):
        assert trail.size(where) > 100, where
    assert trail.size(str(stage.site.database)) > 10_000
    assert trail.find(known) == set()
    assert trail.find({"any key": {b"PRIVATE KEY"}}) - {("any key", "processes")} == set()

    mode = stat.S_IMODE(stage.account_key.stat().st_mode)
    assert (mode, stat.S_IMODE(stage.account_key.parent.stat().st_mode)) == (0o600, 0o700)


def test_the_command_keeps_every_secret_however_much_it_says(stage: Stage, trail: Trail, tmp_path: Path) -> None:
    output = tmp_path / "strace.out"
    log = stage.site.folder / "ottr.log"
    for form in ("human", "json"):
        argv = [sys.executable, "-m", "ottr", "rotate", "all", "--force", "--config", str(stage.site.write()), "-vvvv"]
        argv += ["--vault-password-file", str(stage.vault_password_file), "--log-file", str(log), "--output", form]
        done = subprocess.run(
            [*trace_command(output), *argv], env=private_environment(stage), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        trail.add("stdout", done.stdout)
        trail.add("stderr", done.stderr)
        trail.add("processes", output.read_bytes())
    for command in ("plan", "verify", ["explain", MACHINE], ["history", MACHINE]):
        words = [command] if isinstance(command, str) else command
        argv = [sys.executable, "-m", "ottr", *words, "--config", str(stage.site.write()), "-vvvv", "--output", "json"]
        argv += [] if command[0] == "history" else ["--vault-password-file", str(stage.vault_password_file)]
        done = subprocess.run(argv, env=private_environment(stage), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        trail.add("stdout", done.stdout)
        trail.add("stderr", done.stderr)
    trail.add_files(stage.site.folder, without=stage.list_secret_files())

    for where in ("stdout", "stderr", "processes", "told by webhook", str(log)):
        assert trail.size(where) > 100, where
    assert trail.find(stage.list_secrets()) == set()


def test_what_goes_wrong_is_told_without_secrets(
    stage: Stage, trail: Trail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is refused, the error and the log say so without showing what was."""
    monkeypatch.setattr("ottr.notify.WebhookChannel", partial(WebhookChannel, wait=lambda seconds: None))
    site, machine = stage.site, stage.machine
    wrong = "this is not the password"
    more = {"wrong password": forms_of_text(wrong)}
    former = site.settings
    with tapped(trail, monkeypatch):
        for spoil in (_spoil_eab, _spoil_tsig, _spoil_webhook):
            site.settings = yaml.safe_load(yaml.safe_dump(former))
            spoil(site)
            results = rotate(stage)
            assert (Outcome.FAILED in {result.outcome for result in results}) == (spoil is not _spoil_webhook)
            trail.add("results", repr(results).encode())
        site.settings = former
        path = Path(site.settings["inventory"][0]) / "host_vars" / MACHINE / "vault.yml"
        text = path.read_text()
        for name in ("ansible_password", "ansible_become_password"):
            # The name stands twice now, which Ansible warns of, and shows the line.
            path.write_text(text + f"\n{name}: {wrong}\n")
            results = rotate(stage)
            assert Outcome.FAILED in {result.outcome for result in results}
            trail.add("results", repr(results).encode())
        path.write_text(text)
    trail.add_files(site.folder, without=stage.list_secret_files())

    assert trail.size("log") > 500
    assert machine.namespace.password.encode() not in caplog.text.encode()
    assert trail.find(stage.list_secrets() | more) == set()


def _spoil_eab(site: Site) -> None:
    site.issuer["external_account"]["kid"] = "kid-nobody-knows"


def _spoil_tsig(site: Site) -> None:
    site.solver["options"]["algorithm"] = "hmac-sha512"


def _spoil_webhook(site: Site) -> None:
    url = site.folder.parent / "other.secret"
    write_secret(url, f"http://127.0.0.1:9{HOOK_PATH}")
    site.settings["notify"]["webhook"] = {"file": str(url)}


def test_the_search_finds_what_is_planted(
    stage: Stage, trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that finds nothing is worth something only when it would find it."""
    key = stage.list_host_keys()[0]
    pem = key.read_bytes()
    scalar_hex = next(form for form in forms_of_key(pem) if len(form) == 64 and form.decode("latin1").islower())
    password = stage.machine.namespace.password

    with tapped(trail, monkeypatch), traced(trail, tmp_path, [os.getpid()]):
        logging.getLogger("any.library").debug("logging in with %s", password)
        subprocess.run(["true", password], check=True)
        subprocess.run(["true"], env={"EAB": EAB_KEY}, check=True)
        site, host = stage.site, stage.lab.hosts[0]
        connect_and_show(stage, host, key)
    kept = site.folder / "kept"
    kept.write_bytes(base64.b64encode(b"some" + pem + b"thing"))
    trail.add_files(site.folder)
    trail.add("hex", scalar_hex)

    found = trail.find(stage.list_secrets())
    for expected in (
        ("password", "log"),
        ("password", "processes"),
        ("EAB key", "processes"),
        (f"key {key}", "received by SSH"),
        (f"key {key}", "hex"),
    ):
        assert expected in found
    twice = trail.find({"key": forms_of_text(pem.decode()[30:90])})
    assert ("key", str(kept)) in twice


def connect_and_show(stage: Stage, host: Host, path: Path) -> None:
    """Let a host send a private key."""
    from ottr.model import Credentials, Device
    from ottr.transports.ssh import open_session

    device = Device(host.name, "linux", host.address, (host.name,), variables={"ansible_port": host.sshd.port})
    credentials = Credentials(username=host.sshd.user, private_key_file=str(stage.lab.ssh_key))
    with open_session(device, credentials, known_hosts=[stage.lab.known_hosts]) as session:
        assert session.run(["cat", str(path)]).status == 0
