# SPDX-License-Identifier: Apache-2.0
"""routing.yaml: what it means, what is refused, and that no reachable route ever is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottr.drivers import DriverModule
from ottr.errors import RoutingError
from ottr.files.settings import load_settings
from ottr.model import Device, Endpoint, EndpointProtocol, KeyType, Route
from ottr.routing import Reason, Router, load_routes

SETTINGS = """
issuers:
  lets_encrypt: {directory: letsencrypt, key_type: ec384, profile: tlsserver}
  ottr_ca: {directory: "https://ca.example.com/dir"}
default_issuer: lets_encrypt
rotation: {windows: ["02:00-04:00"]}
"""


def check_options(options: Mapping[str, Any]) -> None:
    if unknown := set(options) - {"service", "port"}:
        raise ValueError(f"unknown option {min(unknown)}")


def default_endpoint(options: Mapping[str, Any]) -> tuple[int, str] | None:
    if options.get("service") == "elsewhere":
        return None
    return (25, "smtp") if options.get("service") == "postfix" else (options.get("port", 443), "tls")


def load_driver(name: str) -> DriverModule:
    """Drivers as the core sees them: only their check of options, and a word on the endpoint, matter here."""
    if name == "broken":
        raise ImportError("no module")
    if name == "linux":
        return cast(DriverModule, SimpleNamespace(check_options=check_options, default_endpoint=default_endpoint))
    if name in ("panos", "other"):
        return cast(DriverModule, SimpleNamespace(check_options=check_options))
    raise RoutingError(f"there is no driver {name!r}", hint="look")


def load(text: str, settings_text: str = SETTINGS) -> Router:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ottr.yaml").write_text(settings_text)
        (folder / "routing.yaml").write_text(text)
        return load_routes(folder / "routing.yaml", load_settings(folder / "ottr.yaml", {}), load_driver)


def refusal(text: str) -> RoutingError:
    with pytest.raises(RoutingError) as caught:
        load(text)
    return caught.value


def device(name: str = "web1", **words: Any) -> Device:
    return Device(
        name=name,
        platform=words.pop("platform", "linux"),
        address=words.pop("address", "127.0.0.1"),
        dns_names=words.pop("dns_names", (f"{name}.example.com",)),
        **words,
    )


def route(router: Router, one: Device) -> Route:
    found = router.route(one)
    assert isinstance(found, Route), found
    return found


def reason(router: Router, one: Device) -> Reason:
    found = router.route(one)
    assert isinstance(found, Reason)
    return found


EVERYTHING = """
defaults:
  issuer: ottr_ca
  key_type: rsa2048
  renew_before: 1/4
  dead_man: 120
  endpoint: {port: 8443}
  hooks: {before: [[logger, two words]], after: "logger 'two words'"}
  windows: []
routes:
  - match: {host_platform: panos, os_version: [">=9.0,<12", "==13.*"], device_model: [PA-*, VM-*], data_center: DC1}
    driver: panos
    options: {service: x}
    issuer: lets_encrypt
    key_type: ec256
    profile: shortlived
    endpoints:
      - {port: 443, address: "::1", server_name: Other.example.com.}
      - {protocol: smtps, server_name: ""}
      - {protocol: imap}
      - {protocol: ldap, port: 1389, address: ldap.example.com, server_name: null}
    renew_before: 30d
    revoke_superseded: true
    dead_man: 0
    verify_timeout: 90s
    hooks: {after: [true-story, [undrain, now]]}
    windows: ["Sat 22:00-04:00"]
  - driver: other
"""


class TestWhatItMeans:
    def test_everything_a_route_can_say(self) -> None:
        firewall = device(platform="panos", os_version="10.1.14-h9", model="PA-440", variables={"data_center": "DC1"})
        assert route(load(EVERYTHING), firewall) == Route(
            driver="panos",
            issuer="lets_encrypt",
            key_type=KeyType.EC256,
            options={"service": "x"},
            endpoints=(
                Endpoint("::1", 443, "other.example.com"),
                Endpoint("127.0.0.1", 465, None),
                Endpoint("127.0.0.1", 143, "web1.example.com", EndpointProtocol.IMAP),
                Endpoint("ldap.example.com", 1389, None, EndpointProtocol.LDAP),
            ),
            profile="shortlived",
            renew_before=30 * 86400.0,
            renew_fraction=None,
            revoke_superseded=True,
            dead_man_s=0,
            verify_timeout_s=90.0,
            before=(("logger", "two words"),),
            after=(("true-story",), ("undrain", "now")),
            windows=("Sat 22:00-04:00",),
            line=11,
        )

    def test_defaults_fill_in(self) -> None:
        assert route(load(EVERYTHING), device()) == Route(
            driver="other",
            issuer="ottr_ca",
            key_type=KeyType.RSA2048,
            endpoints=(Endpoint("127.0.0.1", 8443, "web1.example.com"),),
            renew_fraction=0.75,
            dead_man_s=120,
            before=(("logger", "two words"),),
            after=(("logger", "two words"),),
            line=28,
        )

    def test_settings_fill_in_what_nobody_says(self) -> None:
        assert route(load("routes: [{driver: other}]"), device()) == Route(
            driver="other",
            issuer="lets_encrypt",
            key_type=KeyType.EC384,
            profile="tlsserver",
            endpoints=(Endpoint("127.0.0.1", 443, "web1.example.com"),),
            windows=("02:00-04:00",),
            line=1,
        )

    def test_the_issuer_of_the_device_goes_first(self) -> None:
        router = load("routes: [{driver: other, issuer: ottr_ca}]")
        assert route(router, device()).issuer == "ottr_ca"
        assert route(router, device(certificate_authority="lets_encrypt")).issuer == "lets_encrypt"

    def test_the_default_issuer_counts_as_the_devices_in_a_match(self) -> None:
        router = load("routes: [{match: {certificate_authority: lets_encrypt}, driver: other}]")
        assert route(router, device()).driver == "other"
        assert reason(router, device(certificate_authority="ottr_ca")).code == "no_route"

    def test_a_share_and_a_span_replace_each_other(self) -> None:
        text = "defaults: {renew_before: 30d}\nroutes: [{driver: other, renew_before: 25%}]"
        found = route(load(text), device())
        assert (found.renew_before, found.renew_fraction) == (None, 0.75)

    def test_groups_and_names(self) -> None:
        router = load(
            "routes:\n"
            "  - {match: {groups: [mail, db-*]}, driver: panos}\n"
            "  - {match: {name: 'web?', origin: '1', certificate_authority: [lets_*, ottr_ca]}, driver: other}\n"
        )
        assert route(router, device(groups=frozenset({"x", "db-1"}))).driver == "panos"
        assert route(router, device(variables={"origin": 1})).driver == "other"
        assert reason(router, device("web10", variables={"origin": 1})).code == "no_route"

    @pytest.mark.parametrize(
        ("version", "taken"), [("12.0rc1", True), ("12 (bookworm)", True), ("11.9", False), ("13.0b1", True)]
    )
    def test_prereleases_match(self, version: str, taken: bool) -> None:
        router = load('routes: [{match: {os_version: ">=12.0rc1,<13.1"}, driver: other}]')
        assert isinstance(router.route(device(os_version=version)), Route) is taken


class TestEndpoints:
    def test_the_driver_has_a_word_when_the_operator_has_none(self) -> None:
        text = "routes: [{match: {name: mx*}, driver: linux, options: {service: postfix}}, {driver: linux}]"
        router = load(text)
        smtp = EndpointProtocol.SMTP
        assert route(router, device("mx1")).endpoints == (Endpoint("127.0.0.1", 25, "mx1.example.com", smtp),)
        assert route(router, device()).endpoints == (Endpoint("127.0.0.1", 443, "web1.example.com"),)

    def test_a_port_alone_keeps_the_drivers_protocol(self) -> None:
        router = load("routes: [{driver: linux, options: {service: postfix}, endpoint: {port: 2525}}]")
        (endpoint,) = route(router, device()).endpoints
        assert (endpoint.port, endpoint.protocol) == (2525, EndpointProtocol.SMTP)

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (("*.example.com", "www.example.com"), "www.example.com"),
            (("*.example.com", "*.example.net"), "ottr-probe.example.com"),
            ((), None),
        ],
    )
    def test_the_name_that_is_asked_for(self, names: tuple[str, ...], expected: str | None) -> None:
        (endpoint,) = route(load("routes: [{driver: other}]"), device(dns_names=names)).endpoints
        assert endpoint.server_name == expected

    def test_the_inventory_goes_first(self) -> None:
        router = load("routes: [{driver: linux, endpoint: {port: 1}}]")
        one = device(variables={"ottr_endpoint": {"port": "8443"}})
        several = device(variables={"ottr_endpoints": ({"protocol": "ldaps"}, {"address": "::1"})})
        assert [str(endpoint) for endpoint in route(router, one).endpoints] == ["127.0.0.1:8443"]
        assert [str(endpoint) for endpoint in route(router, several).endpoints] == ["127.0.0.1:636", "[::1]:443"]

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ({"port": "many"}, "web1: ottr_endpoint.port: expected a port from 1 to 65535, found 'many'"),
            ({"port": 0}, "web1: ottr_endpoint.port: expected a port from 1 to 65535, found 0"),
            ({"port": True}, "web1: ottr_endpoint.port: expected a port from 1 to 65535, found True"),
            ({"address": "-x"}, "web1: ottr_endpoint.address: expected an address or a name, found '-x'"),
            ({"protocol": "gopher"}, "web1: ottr_endpoint.protocol: expected one of tls, smtp, lmtp, imap, pop3, ftp"),
            ({"prot": 1}, "web1: ottr_endpoint.prot: unknown key; did you mean"),
            ([], "web1: ottr_endpoint: expected one endpoint or more"),
            ("8443", "web1: ottr_endpoint: expected a mapping, found '8443'"),
        ],
    )
    def test_a_bad_one_is_a_reason_of_the_device(self, value: object, said: str) -> None:
        found = reason(load("routes: [{driver: other}]"), device(variables={"ottr_endpoint": value}))
        assert found.code == "bad_endpoints"
        assert found.message.startswith(said)


class TestOptions:
    def test_of_the_device_are_laid_over_those_of_the_route(self) -> None:
        router = load("routes: [{driver: linux, options: {service: nginx, port: 1}}]")
        found = route(router, device(variables={"ottr_options": {"port": 8443}}))
        assert found.options == {"service": "nginx", "port": 8443}
        assert found.endpoints[0].port == 8443
        assert route(router, device(variables={"ottr_options": None})).options == {"service": "nginx", "port": 1}

    @pytest.mark.parametrize(("value", "said"), [({"x": 1}, "unknown option x"), ([1], "web1: ottr_options: expected")])
    def test_bad_ones_are_a_reason_of_the_device(self, value: object, said: str) -> None:
        found = reason(load("routes: [{driver: linux}]"), device(variables={"ottr_options": value}))
        assert found.code == "bad_options"
        assert said in found.message


class TestReasons:
    def test_no_route(self) -> None:
        router = load("routes: [{match: {host_platform: panos}, driver: panos}]")
        found = reason(router, device())
        assert found == Reason("no_route", "no route matches web1; `ottr explain web1` says what each one misses")
        assert reason(load("routes:"), device()).code == "no_route"

    def test_a_version_that_nobody_understands(self) -> None:
        router = load('routes: [{match: {os_version: ">=1"}, driver: panos}]')
        found = reason(router, device(os_version="unstable"))
        assert found.code == "no_route"
        assert found.message.endswith("; os_version 'unstable' is not understood as a version")
        assert not reason(router, device(os_version="0.9")).message.endswith("as a version")

    def test_an_issuer_that_is_not_there(self) -> None:
        found = reason(load("routes: [{driver: other}]"), device(certificate_authority="nobody"))
        assert found == Reason(
            "unknown_issuer", "there is no issuer 'nobody'; issuers of ottr.yaml: lets_encrypt, ottr_ca"
        )
        found = reason(load("routes: [{driver: other}]", ""), device(certificate_authority="nobody"))
        assert found.message.endswith("issuers of ottr.yaml: none; `ottr init` writes a start")

    def test_no_issuer_at_all(self) -> None:
        assert reason(load("routes: [{driver: other}]", ""), device()).code == "no_issuer"


def test_explain_says_of_each_route_what_is_missed_first() -> None:
    router = load(
        """
routes:
  - match: {host_platform: [panos, f5], os_version: ">=9"}
    driver: panos
  - match: {os_version: [">=13", "<10"]}
    driver: other
  - match: {groups: mail}
    driver: other
  - driver: linux
  - match: {name: never-asked}
    driver: other
""".replace("  - match: {name: never-asked}\n    driver: other\n", "")
    )
    trials = router.explain(device(os_version="12"))
    assert [(trial.line, trial.driver, trial.taken, trial.why) for trial in trials] == [
        (3, "panos", False, "host_platform is 'linux', wanted panos or f5"),
        (5, "other", False, "os_version is '12' (12), wanted >=13 or <10"),
        (7, "other", False, "groups is empty, wanted mail"),
        (9, "linux", True, ""),
    ]
    trials = router.explain(device(platform="f5", os_version="?", groups=frozenset({"mail", "a"})))
    assert [trial.why for trial in trials] == [
        "os_version '?' is not understood as a version, wanted >=9",
        "os_version '?' is not understood as a version, wanted >=13 or <10",
        "",
        "not asked: the route of line 7 comes first",
    ]


MISTAKES = [
    ("routes:\n  - {}\n", "2: routes[0]: driver is missing"),
    ("routes:\n  - driver: nobody\n", "2: routes[0].driver: there is no driver 'nobody'"),
    ("routes: [{driver: broken}]", "1: routes[0].driver: the driver 'broken' cannot be loaded: no module"),
    ("routes: [{driver: other, options: {x: 1}}]", "1: routes[0].options: unknown option x"),
    ("routes: [{driver: other, options: [x]}]", "1: routes[0].options: expected a mapping, found a list"),
    (
        "routes: [{driver: other, issuer: x}]",
        "issuer: there is no issuer 'x'; issuers of ottr.yaml: lets_encrypt, ottr",
    ),
    ("routes: [{driver: other, match: {certificate_authority: [x]}}]", "certificate_authority[0]: there is no issuer"),
    (
        "routes: [{driver: other, match: {device_modell: x}}]",
        "match.device_modell: unknown key; did you mean 'device_m",
    ),
    ("routes: [{driver: other, match: {device_model: []}}]", "device_model: expected one value or more, found a list"),
    ("routes: [{driver: other, match: {device_model: 440}}]", "match.device_model: expected text, found 440"),
    ("routes: [{driver: other, match: {os_version: 9.10}}]", "expected a version range in quotes as"),
    ("routes: [{driver: other, match: {os_version: '12'}}]", "'12' is not a version range"),
    ("routes: [{driver: other, match: {os_version: '>=9,<8'}}]", "no version can be in '>=9,<8'"),
    ("routes: [{driver: other, rout: 1}]", "1: routes[0].rout: unknown key"),
    ("routes: [{driver: other, endpoint: {}, endpoints: []}]", "endpoint and endpoints are the same"),
    ("routes: [{driver: other, endpoint: {port: x}}]", "endpoint.port: expected a port from 1 to 65535, found 'x'"),
    ("routes: [{driver: other, renew_before: soon}]", "renew_before: expected a time span"),
    (
        "routes: [{driver: other, dead_man: 10, verify_timeout: 10}]",
        "dead_man (10 s) must be longer than verify_timeou",
    ),
    ("routes: [{driver: other, hooks: {during: x}}]", "hooks.during: unknown key"),
    ("routes: [{driver: other, hooks: {before: [logger, -x]}}]", "a command cannot begin with '-x'"),
    ("routes: [{driver: other, windows: [x]}]", "windows[0]: 'x' is not a window"),
    ("defaults: {driver: other}", "1: defaults.driver: unknown key"),
    ("rotues: []", "1: rotues: unknown key; did you mean 'routes'?"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_each_mistake_names_file_line_and_key(text: str, said: str) -> None:
    message = str(refusal(text))
    assert "routing.yaml:" in message
    assert said in message


def test_a_version_that_yaml_read_as_a_number_is_to_be_quoted() -> None:
    assert refusal("routes: [{driver: other, match: {os_version: 9.10}}]").hint == "put it in quotes: '9.10'"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(RoutingError, match="cannot be read: No such file") as caught:
        load_routes(Path("/nowhere/routing.yaml"), load_settings(None, {}), load_driver)
    assert "ottr init" in caught.value.hint


SHADOWED = [
    ("{}", "{host_platform: linux}"),
    ("{}", "{}"),
    ("{host_platform: linux}", "{host_platform: linux}"),
    ("{host_platform: [linux, panos]}", "{host_platform: panos, os_version: '>=9'}"),
    ("{device_model: 'PA-*'}", "{device_model: [PA-440, 'PA-5*'], host_platform: panos}"),
    ("{os_version: '>=9'}", "{os_version: '>=10,<12'}"),
    ("{os_version: ['>=9', '<5']}", "{os_version: ['<4', '==10.*']}"),
    ("{device_model: '*'}", "{host_platform: linux}"),
    ("{groups: 'db-*'}", "{groups: db-1}"),
]
OPEN = [
    ("{host_platform: linux}", "{}"),
    ("{host_platform: linux}", "{host_platform: '*'}"),
    ("{host_platform: linux, os_version: '>=9'}", "{host_platform: linux}"),
    ("{os_version: '>=0'}", "{host_platform: linux}"),  # a version nobody understands goes on
    ("{groups: '*'}", "{host_platform: linux}"),  # a device may be in no group
    ("{groups: web}", "{groups: [web, mail]}"),
    ("{device_model: 'PA-4*'}", "{device_model: 'PA-*'}"),
]


@pytest.mark.parametrize(("earlier", "later"), SHADOWED)
def test_a_route_that_can_never_match_is_refused(earlier: str, later: str) -> None:
    text = f"routes:\n  - {{driver: other, match: {earlier}}}\n  - {{driver: linux, match: {later}}}\n"
    error = refusal(text)
    assert str(error).endswith(":3: routes[1]: can never match: the route of line 2 takes all it would take")
    assert error.hint == "put it before line 2, or take it out"


@pytest.mark.parametrize(("earlier", "later"), OPEN)
def test_a_route_that_may_match_is_not(earlier: str, later: str) -> None:
    load(f"routes:\n  - {{driver: other, match: {earlier}}}\n  - {{driver: linux, match: {later}}}\n")


# Few words, so that conditions and devices meet often.
words = st.sampled_from(["a", "ab", "b", "ba"])
globs = st.one_of(words, st.sampled_from(["*", "a*", "?", "*b", "[ab]", "[!a]*"]))
one_or_more = st.one_of(globs, st.lists(globs, min_size=1, max_size=2))
ranges = st.sampled_from([">=1", ">=2", "<2", "==1.*", "==2", ">=1,<3", ">1", "!=1", "~=1.0"])
matches = st.fixed_dictionaries(
    {},
    optional={
        "host_platform": one_or_more,
        "device_model": one_or_more,
        "groups": one_or_more,
        "name": one_or_more,
        "os_version": st.one_of(ranges, st.lists(ranges, min_size=1, max_size=2)),
    },
)
devices = st.builds(
    Device,
    name=words,
    platform=words,
    address=st.just("127.0.0.1"),
    dns_names=st.just(("x.example.com",)),
    os_version=st.sampled_from(["", "?", "0.9", "1", "1.0p1", "1.5", "2", "2.0rc1", "2.1", "3"]),
    model=st.one_of(words, st.just("")),
    groups=st.frozensets(words, max_size=2),
)


def takes(match: dict[str, Any], one: Device) -> bool:
    """The oracle: a route alone, without any other before it."""
    return isinstance(load(f"routes: [{{driver: other, match: {json.dumps(match)}}}]").route(one), Route)


def write_routes(several: list[dict[str, Any]]) -> str:
    return "routes:\n" + "".join(f"  - {{driver: other, match: {json.dumps(match)}}}\n" for match in several)


def load_reachable(several: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Take out what is refused as unreachable; return what stays, and what was taken out."""
    kept: list[dict[str, Any]] = []
    refused = []
    for match in several:
        try:
            load(write_routes([*kept, match]))
        except RoutingError:
            refused.append(match)
        else:
            kept.append(match)
    return kept, refused


@settings(max_examples=60, deadline=None)
@given(several=st.lists(matches, min_size=1, max_size=4), fleet=st.lists(devices, min_size=1, max_size=10))
def test_the_first_match_wins(several: list[dict[str, Any]], fleet: list[Device]) -> None:
    kept, _ = load_reachable(several)
    router = load(write_routes(kept))
    for one in fleet:
        first = next((number for number, match in enumerate(kept) if takes(match, one)), None)
        found = router.route(one)
        assert (found.line if isinstance(found, Route) else None) == (None if first is None else first + 2)
        assert [trial.line for trial in router.explain(one) if trial.taken] == ([] if first is None else [first + 2])


@settings(max_examples=150, deadline=None)
@given(several=st.lists(matches, min_size=2, max_size=4), fleet=st.lists(devices, min_size=5, max_size=30))
def test_no_route_is_refused_that_some_device_reaches(several: list[dict[str, Any]], fleet: list[Device]) -> None:
    kept, refused = load_reachable(several)
    router = load(write_routes(kept))
    for match in refused:
        alone = load(write_routes([match]))
        for one in fleet:
            # Whatever a refused route would take is taken without it.
            assert isinstance(router.route(one), Route) or not isinstance(alone.route(one), Route)


ELSEWHERE = "routes:\n- {driver: linux, options: {service: elsewhere}%s}\n"


def test_what_a_device_serves_elsewhere_needs_an_endpoint():
    reason = load(ELSEWHERE % "").route(device())
    assert isinstance(reason, Reason)
    assert reason.code == "bad_endpoints"
    assert "line 2" in reason.message
    reason = load(ELSEWHERE % "").route(device(variables={"ottr_options": {"service": "elsewhere"}}))
    assert isinstance(reason, Reason)


@pytest.mark.parametrize("given", [{"address": "192.0.2.7"}, {"address": "192.0.2.7", "port": 443}])
def test_an_endpoint_of_the_route_or_of_the_device_is_enough(given):
    wanted = (Endpoint("192.0.2.7", 443, "web1.example.com"),)
    written = ", ".join(f"{key}: {value}" for key, value in given.items())
    for route in (
        load(ELSEWHERE % f", endpoint: {{{written}}}").route(device()),
        load(ELSEWHERE % "").route(device(variables={"ottr_endpoint": given})),
    ):
        assert isinstance(route, Route)
        assert route.endpoints == wanted
