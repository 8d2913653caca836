# SPDX-License-Identifier: Apache-2.0
"""The operator's files for a lab: inventory, routing.yaml and ottr.yaml."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from ottr.lab.appliance import API_PORT, SSH_PORT, Appliance, Product, Way
from ottr.lab.parts import TLS_PORT, Ca, Dns, LinuxHost

_SHARED: Mapping[str, Any] = MappingProxyType({"data_center": "LAB", "certificate_authority": "lab"})


class Files:
    """Where they are, and writing them."""

    def __init__(self, folder: Path) -> None:
        self.settings = folder / "ottr.yaml"
        self.routing = folder / "routing.yaml"
        self.inventory = folder / "inventory"
        self.ssh_key = folder / "ssh" / "id_ed25519"
        self.known_hosts = folder / "ssh" / "known_hosts"
        self.trust = folder / "roots.pem"

    def write(
        self,
        hosts: Sequence[LinuxHost],
        appliances: Sequence[Appliance],
        dns: Dns,
        ca: Ca,
        *,
        revoking: Collection[str] = (),
    ) -> None:
        """Write what speaks of a running lab: inventory, routes, settings.

        The routes of the platforms in ``revoking`` ask for superseded certificates to be revoked.
        """
        products = tuple(dict.fromkeys(appliance.model.product for appliance in appliances))
        usual = hosts[0].usual_options if hosts else {"service": "nginx"}
        _write_inventory(self.inventory / "hosts.yml", hosts, appliances, self.ssh_key)
        _write_routing(self.routing, usual, products, self.trust, revoking)
        _write_settings(self.settings, dns, ca, products)

    def write_trust(self, ca: Ca) -> None:
        """Write the roots that certificates are issued under."""
        self.trust.write_text("".join(ca.roots()))

    def write_known_hosts(self, lines: Iterable[str], appliances: Sequence[Appliance]) -> None:
        """Write the host keys: ``lines`` of the hosts, and what the appliances say of themselves."""
        known = list(lines)
        for appliance in appliances:
            if key := appliance.read_start().get("ssh_host_key"):
                known.append(f"[{appliance.address}]:{SSH_PORT} {key}\n")
        self.known_hosts.write_text("".join(known))


def _write_inventory(path: Path, hosts: Sequence[LinuxHost], appliances: Sequence[Appliance], ssh_key: Path) -> None:
    """Write a YAML inventory with a group for each platform."""
    path.parent.mkdir(exist_ok=True)
    shared = {
        **_SHARED,
        "ansible_user": hosts[0].user if hosts else "root",
        "ansible_ssh_private_key_file": str(ssh_key),
        "host_platform": "linux",
        "os_version": "12",
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


def _write_routing(
    path: Path, usual: Mapping[str, Any], products: Sequence[Product], trust: Path, revoking: Collection[str]
) -> None:
    """Write a route for Linux hosts, and those of each kind of appliance."""
    routes = [_build_route("linux", "linux_ssh", usual, TLS_PORT)]
    routes += [_build_way(product, way, trust) for product in products for way in product.ways]
    for route in routes:
        if route["match"]["host_platform"] in revoking:
            route["revoke_superseded"] = True
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


def _write_settings(path: Path, dns: Dns, ca: Ca, products: Sequence[Product]) -> None:
    """Write ottr.yaml beside the lab's other files, and every secret into a file of its own."""
    secret = _write_secret(path.parent / "tsig.secret", dns.tsig_secret)
    options = {
        "server": dns.server,
        "key_name": dns.tsig_name,
        "key_secret": {"file": secret.name},
        "algorithm": dns.tsig_algorithm,
    }
    solver = {
        "kind": "rfc2136",
        "zones": list(dns.zones),
        "options": options,
        "nameservers": [dns.server],
        "propagation_interval": "0.1s",
    }
    settings = {
        "issuers": {"lab": _describe_issuer(ca, path.parent)},
        "default_issuer": "lab",
        "solvers": {"lab": solver},
        "resolvers": [dns.server],
        "known_hosts": ["ssh/known_hosts"],
        "inventory": ["inventory"],
        "routing": "routing.yaml",
        "state": {"folder": "state"},
    }
    logins = {product.platform: _describe_login(product, path.parent) for product in products}
    _write(path, {**settings, "credentials": logins} if logins else settings)


def _describe(host: LinuxHost) -> Mapping[str, Any]:
    return {
        "ansible_host": host.address,
        "ansible_port": host.ssh_port,
        "common_name": host.name,
        "subject_alternative_name": [host.name],
        "ottr_options": {
            "fullchain": str(host.fullchain),
            "key": str(host.key),
            "test_command": list(host.test_command),
            "reload_command": list(host.reload_command),
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


def _describe_issuer(ca: Ca, folder: Path) -> Mapping[str, Any]:
    issuer: dict[str, Any] = {
        "directory": ca.directory,
        "terms_of_service_agreed": True,
        "ca_bundle": str(ca.ca_bundle),
        "trust": "roots.pem",
    }
    for number, (kid, key) in enumerate(ca.eab.items()):
        secret = _write_secret(folder / f"eab{number}.secret", key)
        issuer["external_account"] = {"kid": kid, "hmac_key": {"file": secret.name}}
    return issuer


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True))
