# SPDX-License-Identifier: Apache-2.0
"""The operator's first files: they load, they say what holds anyway, and nothing is overwritten."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ottr.drivers import DriverModule
from ottr.errors import ConfigurationError
from ottr.files.settings import load_settings
from ottr.files.start import take_over_lab, write_start
from ottr.model import Device, KeyType, Route
from ottr.routing import load_routes

ROOT = Path(__file__).parents[2]
DEVICE = Device("web1.example.com", "linux", "127.0.10.1", ("web1.example.com",), os_version="12")


def load_driver(_name: str) -> DriverModule:
    return cast(DriverModule, SimpleNamespace(check_options=lambda options: None))


def route_of(folder: Path, device: Device) -> Any:
    settings = load_settings(folder / "ottr.yaml", os.environ)
    return load_routes(settings.routing, settings, load_driver).route(device)


def test_the_start_loads_and_routes_its_example(tmp_path: Path) -> None:
    written = write_start(tmp_path / "new")
    assert [str(path.relative_to(tmp_path / "new")) for path in written] == [
        "inventory/hosts.yml",
        "ottr.yaml",
        "routing.yaml",
    ]
    route = route_of(tmp_path / "new", DEVICE)
    assert (route.driver, route.issuer) == ("linux_ssh", "lets_encrypt")


def test_the_start_is_what_stands_at_the_top_of_the_checkout(tmp_path: Path) -> None:
    for path in write_start(tmp_path):
        assert path.read_text() == (ROOT / path.relative_to(tmp_path)).read_text()


def test_what_the_start_sets_is_what_holds_anyway(tmp_path: Path) -> None:
    write_start(tmp_path)
    before = route_of(tmp_path, DEVICE)
    routing = (tmp_path / "routing.yaml").read_text()
    (tmp_path / "routing.yaml").write_text(re.sub(r"(?s)^defaults:.*?(?=^routes:)", "", routing, flags=re.MULTILINE))
    after = route_of(tmp_path, DEVICE)
    assert isinstance(after, Route)
    assert isinstance(before, Route)
    assert (after.dead_man_s, after.verify_timeout_s) == (before.dead_man_s, before.verify_timeout_s)


def uncomment(text: str) -> str:
    """Take the mark of a comment off every line that holds YAML; prose begins with a capital or goes on."""
    return re.sub(r"(?m)^( *)# ( *(?:- |\"|[a-z_]+:(?: |$)))", r"\1\2", text)


def test_the_commented_parts_of_the_settings_load_too(tmp_path: Path) -> None:
    write_start(tmp_path)
    for name in ("tsig.secret", "eab.secret"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text("c2VjcmV0")
    for name in ("ca-root.pem", "letsencrypt-staging-roots.pem"):
        (tmp_path / name).touch()
    text = uncomment((tmp_path / "ottr.yaml").read_text())
    (tmp_path / "ottr.yaml").write_text(text)
    environment = {
        "CLOUDFLARE_TOKEN": "t",
        "OTTR_STATE": "postgresql+psycopg://ottr@db.example.com/ottr",
        "OTTR_WEBHOOK": "https://hooks.example.com/x",
    }
    settings = load_settings(tmp_path / "ottr.yaml", environment)
    assert sorted(settings.issuers) == ["lets_encrypt", "lets_encrypt_staging", "ottr_ca"]
    assert [solver.kind for solver in settings.solvers] == ["rfc2136", "lexicon", "exec"]
    assert [source.pattern for source in settings.credentials] == ["*.dc1.example.com", "linux", "panos"]
    assert settings.notify.command == ("/usr/local/bin/page-somebody",)
    assert settings.rotation.freezes[0].reason == "year's end"
    assert settings.known_hosts == (tmp_path / "known_hosts",)


def test_the_commented_parts_of_the_routes_load_too(tmp_path: Path) -> None:
    write_start(tmp_path)
    path = tmp_path / "routing.yaml"
    path.write_text(uncomment(path.read_text()))
    mail = Device("mx", "linux", "127.0.10.2", ("mx.example.com",), os_version="12", groups=frozenset({"mail"}))
    route = route_of(tmp_path, mail)
    assert [str(endpoint) for endpoint in route.endpoints] == ["127.0.10.2:25", "127.0.10.2:465"]
    firewall = Device("fw", "panos", "127.0.10.3", ("fw.example.com",), os_version="8.1.26-h1")
    assert route_of(tmp_path, firewall).key_type is KeyType.RSA2048
    firewall = Device("fw", "panos", "127.0.10.3", ("fw.example.com",), os_version="11.1.2")
    assert [str(endpoint) for endpoint in route_of(tmp_path, firewall).endpoints] == ["vpn.example.com:443"]
    balancer = Device("lb", "f5", "127.0.10.4", ("www.example.com",), os_version="16.1.2.2-0.0.28")
    assert route_of(tmp_path, balancer).options == {"client_ssl": "/Common/www"}
    assert (route.before, route.after) == ((("/usr/local/bin/drain",),), (("/usr/local/bin/undrain",),))


@pytest.mark.parametrize("name", ["ottr.yaml", "routing.yaml", "inventory"])
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir() if name == "inventory" else (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError, match=f"{name} is there already") as caught:
        write_start(tmp_path)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/inventory/hosts\.yml: cannot be written: "):
        write_start(tmp_path / "file")


LAB_SETTINGS = """
# of the lab
issuers:
  lab: {directory: 'https://127.0.0.9:14000/dir', ca_bundle: /srv/ca.pem, trust: roots.pem}
  public: {directory: letsencrypt, trust: system}
solvers:
  lab: {kind: rfc2136, zones: [lab.test], options: {server: 127.0.0.9, key_secret: {file: tsig.secret}}}
default_issuer: lab
known_hosts: [ssh/known_hosts]
inventory: [inventory]
state: {folder: state}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    (folder / "inventory" / "host_vars").mkdir(parents=True)
    (folder / "inventory" / "hosts.yml").write_text("linux:\n")
    (folder / "inventory" / "host_vars" / "web1.yml").write_text("a: 1\n")
    (folder / "ottr.yaml").write_text(LAB_SETTINGS.replace("/srv/ca.pem", str(folder / "ca.pem")))
    (folder / "routing.yaml").write_text("routes: [{driver: linux_ssh}]\n")
    for name in ("ca.pem", "roots.pem"):
        (folder / name).touch()
    (folder / "tsig.secret").touch(mode=0o600)
    (folder / "tsig.secret").write_text("c2VjcmV0")
    return folder


def test_a_lab_is_taken_over_with_paths_that_lead_to_it(tmp_path: Path, lab: Path) -> None:
    written = take_over_lab(lab, tmp_path / "new")
    assert sorted(str(path.relative_to(tmp_path / "new")) for path in written) == [
        "inventory/host_vars/web1.yml",
        "inventory/hosts.yml",
        "ottr.yaml",
        "routing.yaml",
    ]
    settings = load_settings(tmp_path / "new/ottr.yaml", {})
    assert settings.issuers["lab"].ca_bundle == lab / "ca.pem"
    assert settings.issuers["lab"].trust == lab / "roots.pem"
    assert settings.issuers["public"].trust is None
    assert settings.known_hosts == (lab / "ssh/known_hosts",)
    assert settings.inventory == (str(tmp_path / "new/inventory"),)
    assert settings.state_dir == tmp_path / "new/state"
    assert (tmp_path / "new/ottr.yaml").read_text().count("# of the lab") == 1
    assert route_of(tmp_path / "new", DEVICE).issuer == "lab"


def test_a_lab_that_is_not_there_is_refused(tmp_path: Path, lab: Path) -> None:
    (lab / "routing.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"is not a lab: it has no routing\.yaml") as caught:
        take_over_lab(lab, tmp_path / "new")
    assert "ottr lab" in caught.value.hint
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigurationError, match=r"no ottr\.yaml, no routing\.yaml, no inventory"):
        take_over_lab(tmp_path / "nowhere", tmp_path / "new")
