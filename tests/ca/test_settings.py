# SPDX-License-Identifier: Apache-2.0
"""ca.yaml: every key is read strictly, every error names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottr.ca.fields import Fields
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import Constraints
from ottr.ca.opening import init_authority, open_authority
from ottr.ca.profiles import BUILT_IN, DAY_S, Usage
from ottr.ca.settings import CaSettings, load_settings, parse_settings, write_settings
from ottr.errors import AuthorityError, KeyUnavailable, RequestRefused, SettingsError
from tests.ca.conftest import PASSPHRASE, SETTINGS
from tests.ca.requests import SERVER, build_request

FOLDER = Path("/srv/ca")


def parse(text: str) -> CaSettings:
    return parse_settings(text, FOLDER)


def test_nothing_said_is_the_defaults() -> None:
    settings = parse("")
    assert settings.database_url == "sqlite:////srv/ca/ca.db"
    assert settings.key_algorithm is KeyAlgorithm.EC256
    assert settings.profiles == BUILT_IN
    assert settings.token is None
    assert settings.issuer_url("x") == settings.crl_url("x") == settings.ocsp_url == ""
    assert settings.keys_folder == FOLDER / "keys"
    assert "ca.db" not in repr(settings)


def test_everything_can_be_said() -> None:
    settings = parse(
        """
organization: Example
database: postgresql://ca:secret@db/ca
base_url: http://pki.example.com/
key_type: ec384
backdate: 1h30m
renew_fraction: 0.5
token: {module: /usr/lib/x.so, token: ca}
name_constraints: {permitted_dns: [example.com], excluded_ip: 10.0.0.0/8}
profiles:
  server: {lifetime: 47d, keys: [ec256, rsa2048]}
  node: {like: server, usages: [server_auth, client_auth]}
  short: {like: node, lifetime: 7d, revocable: false}
  root: {lifetime: 7300d}
acme: {x: 1}
"""
    )
    assert settings.base_url == "http://pki.example.com"
    assert settings.crl_url("root-1") == "http://pki.example.com/crl/root-1.crl"
    assert settings.backdate_s == 5400
    assert settings.constraints == Constraints(permitted_dns=("example.com",), excluded_ip=("10.0.0.0/8",))
    assert settings.token is not None
    assert settings.token.token == "ca"
    assert settings.profile("server").lifetime_s == 47 * DAY_S
    assert settings.profile("node").usages == (Usage.SERVER_AUTH, Usage.CLIENT_AUTH)
    assert settings.profile("node").lifetime_s == 47 * DAY_S
    assert not settings.profile("short").points_to_status
    assert settings.profile("root").lifetime_s == 7300 * DAY_S
    assert settings.section("acme").number("x", 0) == 1
    assert settings.section("crl").keys() == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not YAML in line 1"),
        ("\x00", "not YAML"),
        ("- a", "expected a mapping"),
        ("nope: 1", "nope: no such key"),
        ("organization: 7", "organization: expected a text"),
        ("key_type: dsa", "key_type: expected one of ec256, ec384"),
        ("backdate: soon", "backdate: expected a span of time"),
        ("backdate: true", "backdate: expected a span of time"),
        ("renew_fraction: 2", "renew_fraction: expected a share"),
        ("base_url: https://a.test", "base_url: expected a plain http"),
        ("base_url: http://", "base_url: expected a plain http"),
        ("base_url: http://a.test/pki", "base_url: expected a plain http:// URL without a path"),
        ("token: {module: x}", "token.*module, token: expected"),
        ("token: {module: x, token: ca, pin: z}", "token.*pin: no such key"),
        ("name_constraints: {permitted_dns: ['*.a.test']}", "name_constraints.*permitted_dns: expected DNS names"),
        ("name_constraints: {permitted_ip: [10.0.0.1/8]}", "permitted_ip: expected"),
        ("name_constraints: {excluded_dns: 7}", "excluded_dns: expected a list"),
        ("profiles: {x: {like: y}}", r"profiles\.x: like: expected"),
        ("profiles: {x: {}}", "like: expected the name of a profile"),
        ("profiles: {ocsp: {lifetime: 1d}}", "like: expected"),
        ("profiles: {x: {like: root}}", "like: expected"),
        ("profiles: {server: {usages: [ocsp_signing]}}", "usages: expected some of"),
        ("profiles: {server: {keys: [dsa]}}", "keys: expected some of"),
        ("profiles: {server: {revocable: false}}", "at most 7d"),
        ("profiles: {server: {revocable: maybe}}", "true or false"),
        ("profiles: {sub_ca: {revocable: false}}", "neither of them"),
        ("profiles: {sub_ca: {usages: [server_auth]}}", "neither of them"),
        ("profiles: {server: {no: 1}}", "no such key"),
        ("profiles: [1]", "profiles: expected a mapping"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=f"^/srv/ca/ca.yaml.*{complaint}"):
        parse(text)


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="no profile 'x'") as caught:
        parse("").profile("x")
    assert caught.value.hint == "this CA has client, server, sub_ca"


def test_a_section_is_read_strictly() -> None:
    fields = Fields("ca.yaml: acme", {"a": 5, "b": {"c": True}, "d": "x"})
    assert fields.number("a", 1) == 5
    assert fields.number("missing", 7) == 7
    assert fields.section("b").flag("c", default=False)
    assert fields.raw("d") == "x"
    fields.finish()
    with pytest.raises(SettingsError, match=r"^ca.yaml: acme\.b: c: no such key"):
        Fields("ca.yaml: acme", {"b": {"c": True}}).section("b").finish()
    for wrong in (-1, True, "1"):
        with pytest.raises(SettingsError, match="a whole number from 0"):
            Fields("ca.yaml: acme", {"a": wrong}).number("a", 1)


def test_a_first_ca_yaml_is_a_right_one() -> None:
    text = write_settings('Exa"mple: #1', "http://pki.test", KeyAlgorithm.EC384)
    settings = parse(text)
    assert (settings.organization, settings.base_url) == ('Exa"mple: #1', "http://pki.test")
    assert settings.key_algorithm is KeyAlgorithm.EC384
    commented = "\n".join(
        line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and ":" in line
    )
    assert "token" in commented
    assert "profiles" in commented


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file") as caught:
        load_settings(tmp_path)
    assert "ottr ca init" in caught.value.hint
    (tmp_path / "ca.yaml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(tmp_path)


def test_a_CA_is_made_once(folder: Path) -> None:
    with pytest.raises(AuthorityError, match="has a CA already"):
        init_authority(folder, SETTINGS, PASSPHRASE)


def test_a_CA_whose_making_died_is_finished(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    folder.mkdir(mode=0o700)
    (folder / "ca.yaml").write_text("organization: First\n")
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    (keys / "root-1-0badc0de.key").write_text("left over")
    init_authority(folder, "organization: Second\n", PASSPHRASE)
    with open_authority(folder, PASSPHRASE) as authority:
        assert "First" in authority.active_issuer().certificate.subject.rfc4514_string()


def test_wrong_settings_make_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        init_authority(tmp_path / "ca", "nope: 1", PASSPHRASE)
    assert not (tmp_path / "ca").exists()


def test_OT_03_what_is_there_is_not_made_again(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in (folder / "keys").iterdir()}
    with pytest.raises(AuthorityError):
        init_authority(folder, SETTINGS, PASSPHRASE)
    assert {path.name: path.read_bytes() for path in (folder / "keys").iterdir()} == before


def test_a_CA_in_a_looser_folder_is_not_opened(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(KeyUnavailable, match="looser than 0700"), open_authority(folder, PASSPHRASE):
        pass


def test_name_constraints_are_in_the_intermediate_and_hold(tmp_path: Path) -> None:
    text = "name_constraints: {permitted_dns: [example.test], excluded_ip: [0.0.0.0/0]}"
    init_authority(tmp_path / "ca", text, PASSPHRASE)
    with open_authority(tmp_path / "ca", PASSPHRASE) as authority:
        authority.issue(build_request("www.example.test"), SERVER)
        for name in ("example.org", "192.0.2.1"):
            with pytest.raises(RequestRefused, match="outside of the issuer's name constraints"):
                authority.issue(build_request(name), SERVER)
