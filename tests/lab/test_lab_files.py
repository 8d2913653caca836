# SPDX-License-Identifier: Apache-2.0
"""What the lab writes is what the operator's loaders take."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml

from ottr.files.settings import load_settings
from ottr.lab import Lab
from ottr.lab.pebble import Pebble
from ottr.model import Device, Route
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
