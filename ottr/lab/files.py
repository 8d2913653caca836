# SPDX-License-Identifier: Apache-2.0
"""The operator's files for a lab: inventory, routing.yaml and ottr.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ottr.lab.bind import Bind
from ottr.lab.host import Host
from ottr.lab.pebble import Pebble


def write_inventory(path: Path, hosts: Sequence[Host], ssh_key: Path) -> None:
    """Write the hosts as a YAML inventory with one group, ``linux``."""
    path.parent.mkdir(exist_ok=True)
    shared = {
        "ansible_user": hosts[0].sshd.user if hosts else "root",
        "ansible_ssh_private_key_file": str(ssh_key),
        "host_platform": "linux",
        "os_version": "12",
        "device_model": "lab",
        "data_center": "LAB",
        "origin": "SSH",
        "certificate_authority": "lab",
        "certificate_validation": False,
    }
    _write(path, {"linux": {"vars": shared, "hosts": {host.name: _describe(host) for host in hosts}}})


def write_routing(path: Path, tls_port: int) -> None:
    """Write the one route of the lab."""
    route = {
        "match": {"host_platform": "linux", "certificate_authority": "lab"},
        "driver": "linux_ssh",
        "options": {"service": "nginx"},
        "endpoints": [{"port": tls_port}],
    }
    _write(path, {"routes": [route]})


def write_settings(path: Path, bind: Bind, pebble: Pebble) -> None:
    """Write ottr.yaml beside the lab's other files, and the TSIG key into a file of its own."""
    secret = path.parent / "tsig.secret"
    secret.touch(mode=0o600)
    secret.write_text(f"{bind.tsig_secret}\n")
    options = {
        "server": bind.server,
        "key_name": bind.tsig_name,
        "key_secret": {"file": secret.name},
        "algorithm": bind.tsig_algorithm,
    }
    solver = {
        "kind": "rfc2136",
        "zones": list(bind.zones),
        "options": options,
        "nameservers": [bind.server],
        "propagation_interval": "0.1s",
    }
    settings = {
        "issuers": {"lab": _describe_issuer(pebble, path.parent)},
        "default_issuer": "lab",
        "solvers": {"lab": solver},
        "resolvers": [bind.server],
        "known_hosts": ["ssh/known_hosts"],
        "inventory": ["inventory"],
        "routing": "routing.yaml",
        "state": {"folder": "state"},
    }
    _write(path, settings)


def _describe(host: Host) -> Mapping[str, Any]:
    nginx = host.nginx
    return {
        "ansible_host": host.address,
        "ansible_port": host.sshd.port,
        "common_name": host.name,
        "subject_alternative_name": [host.name],
        "ottr_options": {
            "fullchain": str(nginx.fullchain),
            "key": str(nginx.key),
            "test_command": list(nginx.test_command),
            "reload_command": list(nginx.reload_command),
        },
    }


def _describe_issuer(pebble: Pebble, folder: Path) -> Mapping[str, Any]:
    issuer: dict[str, Any] = {
        "directory": pebble.directory,
        "terms_of_service_agreed": True,
        "ca_bundle": str(pebble.ca_bundle),
        "trust": "roots.pem",
    }
    for number, (kid, key) in enumerate(pebble.eab.items()):
        secret = folder / f"eab{number}.secret"
        secret.touch(mode=0o600)
        secret.write_text(f"{key}\n")
        issuer["external_account"] = {"kid": kid, "hmac_key": {"file": secret.name}}
    return issuer


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True))
