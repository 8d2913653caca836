# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from ottr.dns.lexicon import LexiconSolver, build_solver, describe_failure
from ottr.dns.publisher import ZonePublisher
from ottr.dns.solvers import load_solver
from ottr.errors import DnsError, SettingsError
from ottr.lab.pdns import PowerDns
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings


@pytest.fixture
def cloud(pdns: PowerDns) -> SolverSettings:
    options = {"provider": "powerdns", "pdns_server": pdns.api, "auth_token": Secret(pdns.api_key)}
    return SolverSettings("cloud", "lexicon", pdns.zones, options, nameservers=(pdns.server,))


def options(settings: SolverSettings, **changes: Any) -> SolverSettings:
    return replace(settings, options={**settings.options, **changes})


def test_single_values_are_added_and_removed(cloud: SolverSettings, pdns: PowerDns) -> None:
    solver = load_solver(cloud)
    ours, other = (TxtRecord("_acme-challenge.one.cloud.test", value) for value in ("-ours_", "other"))
    solver.present(other)
    solver.present(ours)
    solver.present(ours)
    assert pdns.txt(ours.name) == {"-ours_", "other"}
    solver.cleanup(ours)
    solver.cleanup(ours)
    assert pdns.txt(ours.name) == {"other"}
    solver.cleanup(other)
    assert pdns.txt(ours.name) == frozenset()


def test_threads_at_one_name_lose_no_value(cloud: SolverSettings, pdns: PowerDns) -> None:
    """The provider reads the record set and writes it back: without the lock, values vanish."""
    solver = load_solver(cloud)
    records = [TxtRecord("_acme-challenge.shared.cloud.test", f"value-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(solver.present, records))
        assert pdns.txt(records[0].name) == {record.value for record in records}
        list(pool.map(solver.cleanup, records[1:]))
    assert pdns.txt(records[0].name) == {"value-0"}


def test_a_probe_goes_all_the_way(cloud: SolverSettings, pdns: PowerDns) -> None:
    publisher = ZonePublisher([(cloud, load_solver(cloud))])
    report = publisher.probe("www.cloud.test")
    assert (report.name, report.zone, report.solver) == ("_acme-challenge.www.cloud.test", "cloud.test", "cloud")
    assert pdns.txt(report.name) == frozenset()


def test_wrong_credentials_are_told_but_not_shown(cloud: SolverSettings) -> None:
    with pytest.raises(DnsError) as caught:
        load_solver(options(cloud, auth_token=Secret("wrong-token"))).present(TxtRecord("a.cloud.test", "v"))
    assert "the DNS provider powerdns did not add the value at a.cloud.test (zone cloud.test)" in str(caught.value)
    assert "401" in str(caught.value)
    assert "credentials" in caught.value.hint
    assert "wrong-token" not in f"{caught.value}{caught.value.hint}"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_zone_the_account_does_not_have_is_told(cloud: SolverSettings) -> None:
    with pytest.raises(DnsError, match=r"did not remove the value at a\.foreign\.test \(zone foreign\.test\)"):
        load_solver(replace(cloud, zones=("foreign.test",))).cleanup(TxtRecord("a.foreign.test", "v"))


def test_a_provider_that_is_down_is_told(cloud: SolverSettings) -> None:
    with pytest.raises(DnsError, match="ConnectionError"):
        load_solver(options(cloud, pdns_server="http://127.0.0.1:1")).present(TxtRecord("a.cloud.test", "v"))


def test_a_name_outside_the_zones_is_refused(cloud: SolverSettings) -> None:
    with pytest.raises(DnsError, match=r"in none of the zones cloud\.test"):
        load_solver(cloud).present(TxtRecord("a.example.com", "v"))


def test_nothing_of_it_is_logged_even_when_everything_is(
    cloud: SolverSettings, pdns: PowerDns, caplog: pytest.LogCaptureFixture
) -> None:
    solver = load_solver(cloud)
    with caplog.at_level(logging.DEBUG):
        solver.present(TxtRecord("_acme-challenge.quiet.cloud.test", "value"))
    assert caplog.records == []
    assert pdns.api_key not in repr(solver)


def test_words_of_errors_are_kept_without_urls_and_secrets() -> None:
    error = RuntimeError("GET https://api.test/?key=a%2Fb failed:\n a/b is no key of bob, a%2Fb, a/b+c")
    described = describe_failure(error, {"auth_token": "a/b", "other": "a/b+c", "zone": 3, "empty": ""})
    assert described == "RuntimeError: GET (URL) failed: ******** is no key of bob, ********, ********"
    assert describe_failure(KeyError(), {}) == "KeyError"


class Service:
    """A provider in lexicon's form that answers False; ``records`` is what its service holds in the end."""

    def __init__(self, *records: dict[str, str]) -> None:
        self.records = list(records)

    def __call__(self, config: object) -> Service:
        return self

    def configure_parser(self, parser: object) -> None: ...
    def authenticate(self) -> None: ...
    def cleanup(self) -> None: ...

    def create_record(self, rtype: str, name: str, content: str) -> bool:
        return False

    def delete_record(self, *, rtype: str, name: str, content: str) -> bool:
        return False

    def list_records(self, rtype: str, name: str, content: str) -> list[dict[str, str]]:
        return self.records


def test_false_is_a_failure_only_if_the_value_is_not_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some providers say False for a failure, some for a value that is there or gone already."""
    module = ModuleType("lexicon._private.providers.false")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    solver = LexiconSolver(("cloud.test",), "false", {})
    record = TxtRecord("a.cloud.test", "value")
    vars(module)["Provider"] = Service({"content": '"value"'})
    solver.present(record)
    with pytest.raises(DnsError, match=r"did not remove the value at .*: it answered that it did nothing"):
        solver.cleanup(record)
    vars(module)["Provider"] = Service({"content": "other"})
    solver.cleanup(record)
    with pytest.raises(DnsError, match=r"did not add the value at .*: it answered that it did nothing"):
        solver.present(record)


def test_a_provider_whose_packages_are_missing_is_told(cloud: SolverSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lexicon._private.providers.powerdns", raising=False)
    monkeypatch.setitem(sys.modules, "requests_unixsocket", None)
    with pytest.raises(SettingsError, match=r"needs more packages .*pip install 'dns-lexicon\[powerdns\]'"):
        build_solver(cloud)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"provider": ""}, "option 'provider' is missing"),
        ({"provider": "auto"}, "lexicon has no provider 'auto' that can be used here"),
        ({"provider": "nosuch"}, "lexicon has no provider 'nosuch'"),
        ({"provider": "../x"}, "lexicon has no provider '../x'"),
        ({"auth_tokken": "x"}, "there is no option 'auth_tokken'"),
        ({"ttl": 100000}, "option 'ttl' must be a number from 0 to 3600"),
        ({"auth_token": None}, r"does not take these options: PowerDNSProviderError: .*auth_token"),
    ],
)
def test_wrong_options_are_refused(cloud: SolverSettings, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        build_solver(options(cloud, **changes))
    assert "solver 'cloud'" in str(caught.value)


def test_the_options_of_the_provider_are_shown(cloud: SolverSettings) -> None:
    with pytest.raises(SettingsError) as caught:
        build_solver(options(cloud, wrong=1))
    assert "auth_token" in caught.value.hint
    assert "pdns_server" in caught.value.hint


def test_providers_that_replace_the_zone_are_called_one_at_a_time() -> None:
    settings = SolverSettings("n", "lexicon", ("a.test",), {"provider": "namecheap", "auth_token": "x"})
    settings = options(settings, auth_username="u", auth_client_ip="127.0.0.1")
    assert build_solver(settings).serialize == "zone"
    assert build_solver(options(settings, serialize="name")).serialize == "name"


def test_the_public_suffix_list_is_never_downloaded() -> None:
    """Providers that guess a zone by themselves do so from the list that comes with the library."""
    program = (
        "from ottr.dns.lexicon import _import_provider; m = _import_provider('godaddy'); import socket\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "print(m.tldextract.extract('a.b.co.uk').domain)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("b\n", "")


def test_other_solvers_do_not_load_lexicon() -> None:
    program = (
        "import sys, ottr.dns.publisher, ottr.dns.rfc2136, ottr.dns.lexicon\n"
        "print([name for name in ('lexicon', 'requests', 'tldextract') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
