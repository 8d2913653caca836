# SPDX-License-Identifier: Apache-2.0
"""What the lab writes is what the operator's loaders take."""

from __future__ import annotations

import hashlib
import ssl
from functools import partial
from pathlib import Path

import yaml

from ottr.files.settings import load_settings
from ottr.lab import Lab
from ottr.lab.appliance import API_PORT, MIXED
from ottr.lab.pebble import Pebble
from ottr.model import Device, KeyType, Route
from ottr.routing.loader import load_routes


def test_settings_speak_of_the_running_servers(lab: Lab) -> None:
    settings = load_settings(lab.settings, {})

    issuer = settings.issuers["lab"]
    assert issuer.directory == lab.pebble.directory
    assert issuer.ca_bundle == lab.pebble.ca_bundle
    assert issuer.trust == lab.trust
    assert lab.trust.read_text() == "".join(lab.pebble.roots())
    (solver,) = settings.solvers
    assert solver.kind == "rfc2136"
    assert solver.options["server"] == lab.bind.server
    assert solver.options["key_secret"].reveal() == lab.bind.tsig_secret
    assert settings.known_hosts == (lab.known_hosts,)
    assert settings.state_dir == lab.folder / "state"


def test_settings_carry_the_external_account_of_a_ca_that_wants_one(tmp_path: Path) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with Lab(tmp_path / "lab", 1, build_pebble=partial(Pebble, eab={"kid-1": key})) as lab:
        external = load_settings(lab.settings, {}).issuers["lab"].external_account

    assert external is not None
    assert (external.kid, external.hmac_key.reveal()) == ("kid-1", key)


def test_every_host_of_the_inventory_is_routed_to_its_own_nginx(lab: Lab) -> None:
    router = load_routes(lab.routing, load_settings(lab.settings, {}))
    group = yaml.safe_load((lab.inventory / "hosts.yml").read_text())["linux"]

    assert list(group["hosts"]) == [host.name for host in lab.hosts]
    for host in lab.hosts:
        variables = group["vars"] | group["hosts"][host.name]
        route = router.route(
            Device(
                host.name,
                variables["host_platform"],
                variables["ansible_host"],
                tuple(variables["subject_alternative_name"]),
                os_version=variables["os_version"],
                certificate_authority=variables["certificate_authority"],
                variables=variables,
            )
        )
        assert isinstance(route, Route)
        assert (route.driver, route.issuer) == ("linux_ssh", "lab")
        assert route.options["fullchain"] == str(host.nginx.fullchain)
        assert route.options["key"] == str(host.nginx.key)
        (endpoint,) = route.endpoints
        assert (endpoint.host, endpoint.port) == (host.nginx.address, host.nginx.port)


def test_every_appliance_is_routed_by_its_release_and_known_by_its_first_certificate(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", 0, simulated=MIXED) as lab:
        router = load_routes(lab.routing, load_settings(lab.settings, {}))
        groups = yaml.safe_load((lab.inventory / "hosts.yml").read_text())

        routed = {}
        for appliance in lab.appliances:
            variables = groups[appliance.platform]["vars"] | groups[appliance.platform]["hosts"][appliance.name]
            der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((appliance.address, API_PORT)))
            assert variables["ottr_tls_fingerprint"] == f"SHA256:{hashlib.sha256(der).hexdigest()}"
            device = Device(
                appliance.name,
                variables["host_platform"],
                variables["ansible_host"],
                (appliance.name,),
                os_version=variables["os_version"],
                certificate_authority=variables["certificate_authority"],
                variables=variables,
            )
            route = router.route(device)
            assert isinstance(route, Route)
            assert [str(endpoint) for endpoint in route.endpoints] == [f"{appliance.address}:{appliance.port}"]
            assert route.driver == appliance.platform
            assert route.options == {**appliance.model.way.options, "ca_bundle": str(lab.trust)}
            routed[appliance.os_version] = route.key_type

    assert routed.pop("8.1.26") is KeyType.RSA2048
    assert routed == {model.os_version: KeyType.EC256 for model in MIXED[1:]}
