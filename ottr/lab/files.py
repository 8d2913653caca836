# SPDX-License-Identifier: Apache-2.0
"""The operator's files for a lab: inventory, routing.yaml and ottr.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from ottr.lab.appliance import API_PORT, Appliance, Product, Way
from ottr.lab.bind import Bind
from ottr.lab.host import Host
from ottr.lab.pebble import Pebble

_SHARED: Mapping[str, Any] = MappingProxyType({"data_center": "LAB", "certificate_authority": "lab"})


def write_inventory(path: Path, hosts: Sequence[Host], appliances: Sequence[Appliance], ssh_key: Path) -> None:
    """Write a YAML inventory with a group for each platform."""
    path.parent.mkdir(exist_ok=True)
    shared = {
        **_SHARED,
        "ansible_user": hosts[0].sshd.user if hosts else "root",
        "ansible_ssh_private_key_file": str(ssh_key),
        "host_platform": Host.platform,
        "os_version": Host.os_version,
        "device_model": "lab",
        "origin": "SSH",
        "certificate_validation": False,
    }
    groups = {"linux": {"vars": shared, "hosts": {host.name: _describe(host) for host in hosts}}}
    for appliance in appliances:
        product = appliance.model.product
        login = {"ansible_user": product.username}
        shared = {**_SHARED, "host_platform": product.platform, **product.variables, **login}
        group = groups.setdefault(product.platform, {"vars": shared, "hosts": {}})
        group["hosts"][appliance.name] = _describe_appliance(appliance)
    _write(path, groups)


def write_routing(path: Path, products: Sequence[Product], trust: Path, tls_port: int) -> None:
    """Write a route for Linux hosts, and those of each kind of appliance."""
    routes = [_build_route("linux", "linux_ssh", {"service": "nginx"}, tls_port)]
    routes += [_build_way(product, way, trust) for product in products for way in product.ways]
    _write(path, {"routes": routes})


def _build_way(product: Product, way: Way, trust: Path) -> dict[str, Any]:
    route = _build_route(product.platform, product.platform, {**way.options, "ca_bundle": str(trust)}, way.port)
    route["match"]["os_version"] = way.versions
    return {**route, "key_type": way.key_type} if way.key_type else route


def _build_route(platform: str, driver: str, options: Mapping[str, Any], tls_port: int) -> dict[str, Any]:
    return {
        "match": {"host_platform": platform, "certificate_authority": "lab"},
        "driver": driver,
        "options": dict(options),
        "endpoints": [{"port": tls_port}],
    }


def write_settings(path: Path, bind: Bind, pebble: Pebble, products: Sequence[Product]) -> None:
    """Write ottr.yaml beside the lab's other files, and every secret into a file of its own."""
    secret = _write_secret(path.parent / "tsig.secret", bind.tsig_secret)
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
    logins = {product.platform: _describe_login(product, path.parent) for product in products}
    _write(path, {**settings, "credentials": logins} if logins else settings)


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


def _describe_appliance(appliance: Appliance) -> Mapping[str, Any]:
    """With the fingerprint of its first certificate, which nobody else vouches for."""
    return {
        "ansible_host": appliance.address,
        "ansible_port": API_PORT,
        "os_version": appliance.os_version,
        "common_name": appliance.name,
        "subject_alternative_name": [appliance.name],
        "ottr_tls_fingerprint": f"SHA256:{appliance.read_start()['fingerprint']}",
    }


def _describe_login(product: Product, folder: Path) -> Mapping[str, Any]:
    secret = _write_secret(folder / f"{product.platform}.secret", product.password)
    return {"password": {"file": secret.name}}


def _write_secret(path: Path, value: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(f"{value}\n")
    return path


def _describe_issuer(pebble: Pebble, folder: Path) -> Mapping[str, Any]:
    issuer: dict[str, Any] = {
        "directory": pebble.directory,
        "terms_of_service_agreed": True,
        "ca_bundle": str(pebble.ca_bundle),
        "trust": "roots.pem",
    }
    for number, (kid, key) in enumerate(pebble.eab.items()):
        secret = _write_secret(folder / f"eab{number}.secret", key)
        issuer["external_account"] = {"kid": kid, "hmac_key": {"file": secret.name}}
    return issuer


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True))
