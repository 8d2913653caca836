# SPDX-License-Identifier: Apache-2.0
"""`acme` and `server` of ca.yaml."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml

from ottr.ca.acme.settings import AcmeSettings, Limits, Rate, ValidationSettings, read_acme_settings
from ottr.ca.names import NameRules
from ottr.ca.serving import ServerSettings, read_server_settings
from ottr.ca.settings import CaSettings, parse_settings
from ottr.errors import SettingsError


def parse(section: str, content: Any) -> CaSettings:
    return parse_settings(yaml.safe_dump({section: content}), Path("/ca"))


def test_nothing_is_needed() -> None:
    assert read_acme_settings(parse("acme", None)) == AcmeSettings()
    assert read_server_settings(parse("server", None)) == ServerSettings()


def test_everything_can_be_said() -> None:
    content = {
        "url": "https://ca.example.com/acme/",
        "terms_of_service": "https://ca.example.com/terms",
        "website": "https://ca.example.com",
        "eab_required": True,
        "names": {"dns": ["*.example.com"], "ip": "192.0.2.0/24"},
        "profiles": {"client": "clients", "server": "servers"},
        "order_lifetime": "1h",
        "authorization_lifetime": "2d",
        "reuse_orders": True,
        "reuse_authorizations": True,
        "orders_per_page": 10,
        "renew_fraction": 0.5,
        "renewal_retry": "1h",
        "limits": {"orders": "300/3h", "failures": "5 / 1h"},
        "validation": {
            "challenges": ["dns-01"],
            "resolvers": ["192.0.2.1", "192.0.2.2:5353", "2001:db8::1", "[2001:db8::2]:53"],
            "http_port": 8080,
            "tls_port": 8443,
            "networks": ["10.0.0.0/8"],
            "caa": True,
            "caa_identities": "CA.example",
            "timeout": "5s",
            "workers": 4,
        },
    }
    assert read_acme_settings(parse("acme", content)) == AcmeSettings(
        url="https://ca.example.com/acme",
        terms_of_service="https://ca.example.com/terms",
        website="https://ca.example.com",
        eab_required=True,
        rules=NameRules(dns=("*.example.com",), ip=("192.0.2.0/24",)),
        profiles={"client": "clients", "server": "servers"},
        order_lifetime_s=3600,
        authorization_lifetime_s=2 * 86400,
        reuse_orders=True,
        reuse_authorizations=True,
        orders_per_page=10,
        renew_fraction=0.5,
        renewal_retry_s=3600,
        limits=Limits(orders=Rate(300, 10800), failures=Rate(5, 3600)),
        validation=ValidationSettings(
            challenges=("dns-01",),
            resolvers=(("192.0.2.1", 53), ("192.0.2.2", 5353), ("2001:db8::1", 53), ("2001:db8::2", 53)),
            http_port=8080,
            tls_port=8443,
            networks=(ipaddress.ip_network("10.0.0.0/8"),),
            caa=True,
            caa_identities=("ca.example",),
            timeout_s=5,
            workers=4,
        ),
    )


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"url": "ca.example.com"}, "acme: url"),
        ({"url": "ftp://ca.example.com"}, "acme: url"),
        ({"names": {"ip": "everywhere"}}, "acme.names: ip"),
        ({"names": {"email": "*"}}, "acme.names: email: no such key"),
        ({"profiles": {"root": "roots"}}, "acme.profiles: root"),
        ({"profiles": {"sub_ca": "CAs"}}, "acme.profiles: sub_ca"),
        ({"profiles": {"none": ""}}, "acme.profiles: none"),
        ({"limits": {"orders": "many"}}, "acme.limits: orders"),
        ({"limits": {"orders": "0/1h"}}, "acme.limits: orders"),
        ({"limits": {"orders": "5/soon"}}, "acme.limits: orders"),
        ({"limits": {"others": "5/1h"}}, "acme.limits: others: no such key"),
        ({"validation": {"challenges": ["dns-02"]}}, "acme.validation: challenges"),
        ({"validation": {"resolvers": ["ns1.example.com"]}}, "acme.validation: resolvers"),
        ({"validation": {"networks": ["10.0.0.1/8"]}}, "acme.validation: networks"),
        ({"validation": {"caa": True}}, "acme: validation.caa_identities"),
        ({"validation": {"port": 80}}, "acme.validation: port: no such key"),
        ({"surprise": 1}, "acme: surprise: no such key"),
    ],
)
def test_what_is_wrong_is_named(content: dict[str, Any], where: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_acme_settings(parse("acme", content))
    assert str(refused.value).startswith(f"/ca/ca.yaml: {where}")


def test_where_the_server_listens() -> None:
    content = {"listen": "[::1]:0", "names": ["ca.example.com"], "plain": True}
    assert read_server_settings(parse("server", content)) == ServerSettings(
        host="::1", port=0, names=("ca.example.com",), plain=True
    )


@pytest.mark.parametrize("content", [{"listen": "here"}, {"listen": "127.0.0.1"}, {"certificate": "x.pem"}, {"x": 1}])
def test_a_server_nobody_could_start_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="server"):
        read_server_settings(parse("server", content))
