# SPDX-License-Identifier: Apache-2.0
"""ottr.yaml: what it means, and that every mistake is named by file, line and key."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from ottr.errors import CredentialsError, SettingsError
from ottr.files.credentials import complete_credentials
from ottr.files.search import SERVICE_STATE, find_inventory, find_settings
from ottr.files.settings import load_settings
from ottr.model import Credentials, Device, KeyType, Secret
from ottr.settings import Freeze, Settings

EVERYTHING = """
issuers:
  lets_encrypt: &defaults
    directory: letsencrypt
    contact: [pki@example.com, "mailto:ops@example.com"]
    terms_of_service_agreed: true
    staging: staging
  staging:
    <<: *defaults
    directory: letsencrypt-staging
    staging: private
  private:
    directory: http://127.0.0.1:14000/dir
    external_account: {kid: my-key, hmac_key: {env: EAB}, algorithm: HS384}
    profile: short
    profile_required: yes
    preferred_chain: Some Root
    ca_bundle: root.pem
    trust: system
    issuer_names: "CN=*,O=Example"
    key_type: rsa3072
    timeout: 5
    order_timeout: PT1H30M
default_issuer: private
solvers:
  corp:
    kind: rfc2136
    zones: [Example.com., sub.example.com]
    options:
      server: 127.0.0.1:53
      key_secret: {file: tsig.secret}
      nested: {auth_token: abc, api_key: 04711, n: [1, 2]}
      ttl: 60
    nameservers: [127.0.0.1, "127.0.0.1:5353", "::1", "[::1]:53"]
    propagation_timeout: 1m30s
    propagation_interval: 0.5
  hook: {kind: exec, zones: example.net}
resolvers: 127.0.0.53
credentials:
  "*.dc1": {become_password: {env: SUDO}, username: root}
  linux: {username: ottr, password: hunter2, private_key_file: keys/id, private_key_passphrase: {file: tsig.secret}}
state: {url: "sqlite:///here.db", folder: var}
rotation:
  forks: 8
  renew_fraction: 2/3
  renew_fraction_short: 40%
  short_lifetime: 2w
  quarantine_after: 3
  retry_install: 2
  keep_history: 30d
  windows: ["Sat,Sun 22:00-04:00 Europe/Berlin"]
  freezes:
    - {start: 2026-12-20, end: 2027-01-06, reason: year's end}
    - {start: "2027-03-01T12:00:00+01:00"}
notify:
  command: notify-somebody --loud 'two words'
  webhook: {env: HOOK}
  on: [stranded]
inventory: [hosts.yml, "a.example.com,", /srv/inventory]
routing: routes/routing.yaml
known_hosts: [known_hosts]
"""
ENVIRONMENT = {"EAB": "c2VjcmV0", "HOOK": "https://hooks.example.com/key", "SUDO": "sesame"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").touch()
    secret = tmp_path / "tsig.secret"
    secret.touch(mode=0o600)
    secret.write_text("c2VjcmV0\n")
    return tmp_path


def load(folder: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    path = folder / "ottr.yaml"
    path.write_text(text)
    return load_settings(path, ENVIRONMENT if environment is None else environment)


def refusal(folder: Path, text: str, environment: dict[str, str] | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(folder, text, environment)
    return caught.value


def test_everything_that_can_be_said(folder: Path) -> None:
    settings = load(folder, EVERYTHING)
    first, staging, private = settings.issuers.values()
    assert first.directory == "https://acme-v02.api.letsencrypt.org/directory"
    assert first.contact == ("mailto:pki@example.com", "mailto:ops@example.com")
    assert (first.terms_of_service_agreed, first.staging) == (True, "staging")
    assert (first.key_type, first.timeout_s, first.order_timeout_s) == (KeyType.EC256, 30.0, 300.0)
    assert staging.directory == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert (staging.contact, staging.staging) == (first.contact, "private")
    assert private.external_account is not None
    assert private.external_account.hmac_key.reveal() == "c2VjcmV0"
    assert (private.external_account.kid, private.external_account.algorithm) == ("my-key", "HS384")
    assert (private.profile, private.profile_required, private.preferred_chain) == ("short", True, "Some Root")
    assert (private.ca_bundle, private.trust, private.issuer_names) == (folder / "root.pem", None, ("CN=*,O=Example",))
    assert (private.key_type, private.timeout_s, private.order_timeout_s) == (KeyType.RSA3072, 5.0, 5400.0)
    assert settings.default_issuer == "private"


def test_solvers_and_the_secrets_in_their_options(folder: Path) -> None:
    corp, hook = load(folder, EVERYTHING).solvers
    assert (corp.name, corp.kind, corp.zones) == ("corp", "rfc2136", ("example.com", "sub.example.com"))
    assert corp.options == {
        "server": "127.0.0.1:53",
        "key_secret": Secret("c2VjcmV0"),
        "nested": {"auth_token": Secret("abc"), "api_key": Secret("04711"), "n": [1, 2]},
        "ttl": 60,
    }
    assert corp.nameservers == ("127.0.0.1", "127.0.0.1:5353", "::1", "[::1]:53")
    assert (corp.propagation_timeout_s, corp.propagation_interval_s) == (90.0, 0.5)
    assert (hook.kind, hook.zones, hook.options, hook.nameservers) == ("exec", ("example.net",), {}, ())


def test_the_rest_of_the_settings(folder: Path) -> None:
    settings = load(folder, EVERYTHING)
    assert settings.path == folder / "ottr.yaml"
    assert settings.state_url.reveal() == f"sqlite:///{folder}/here.db"
    assert settings.state_dir == folder / "var"
    assert settings.inventory == (str(folder / "hosts.yml"), "a.example.com,", "/srv/inventory")
    assert settings.routing == folder / "routes/routing.yaml"
    assert settings.known_hosts == (folder / "known_hosts",)
    assert settings.resolvers == ("127.0.0.53",)
    rotation = settings.rotation
    assert (rotation.forks, rotation.renew_fraction, rotation.renew_fraction_short) == (8, 2 / 3, 0.4)
    assert (rotation.short_lifetime_s, rotation.quarantine_after, rotation.retry_install) == (14 * 86400.0, 3, 2)
    assert rotation.keep_history_s == 30 * 86400.0
    assert rotation.windows == ("Sat,Sun 22:00-04:00 Europe/Berlin",)
    assert rotation.freezes == (
        Freeze("2026-12-20T00:00:00+00:00", "2027-01-07T00:00:00+00:00", "year's end"),
        Freeze("2027-03-01T12:00:00+01:00"),
    )
    assert settings.notify.command == ("notify-somebody", "--loud", "two words")
    assert settings.notify.webhook == Secret("https://hooks.example.com/key")
    assert settings.notify.on == {"stranded"}
    assert settings.withheld == {"EAB", "SUDO", "HOOK"}
    assert {solver.withheld for solver in settings.solvers} == {settings.withheld}


def test_no_file_at_all_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {"HOME": str(tmp_path)})
    assert settings.path is None
    assert (settings.issuers, settings.solvers, settings.default_issuer) == ({}, (), "")
    assert settings.routing == tmp_path / "routing.yaml"
    assert settings.state_url.reveal() == f"sqlite:///{tmp_path}/.ottr/state.db"


def test_an_empty_file_and_empty_sections_give_the_defaults(folder: Path) -> None:
    empty = load(folder, "# nothing\n")
    assert load(folder, "issuers:\nsolvers:\nrotation:\nstate:\ninventory:\n") == empty


def test_history_can_be_kept_for_ever(folder: Path) -> None:
    assert load(folder, "rotation: {keep_history: forever}").rotation.keep_history_s is None


def test_as_a_service_the_state_lives_in_var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottr.files.settings.SERVICE_FOLDER", tmp_path)
    settings = load(tmp_path, "")
    assert settings.state_dir == SERVICE_STATE
    assert settings.state_url.reveal() == f"sqlite:///{SERVICE_STATE}/state.db"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("state: sqlite:////srv/state.db", "sqlite:////srv/state.db"),
        ("state: {env: DB}", "postgresql+psycopg://ottr:pw@db/ottr"),
        ("state: {url: {env: DB}}", "postgresql+psycopg://ottr:pw@db/ottr"),
    ],
)
def test_state_urls(folder: Path, state: str, expected: str) -> None:
    settings = load(folder, state, {"DB": "postgresql+psycopg://ottr:pw@db/ottr"})
    assert settings.state_url.reveal() == expected
    assert settings.state_dir == folder / ".ottr"


def test_the_only_issuer_that_stands_in_for_no_other_is_the_default(folder: Path) -> None:
    issuers = "issuers:\n  a: {directory: letsencrypt, staging: b}\n  b: {directory: letsencrypt-staging}\n"
    assert load(folder, issuers).default_issuer == "a"
    assert load(folder, issuers + "  c: {directory: letsencrypt}\n").default_issuer == ""


MISTAKES = [
    ("issuers:\n  a:\n    directory: 5\n", "3: issuers.a.directory: expected a URL (https://…), found 5"),
    ("issuers:\n  a:\n    directory: ftp://x\n", "3: issuers.a.directory: expected a URL (https://…), found 'ftp://x'"),
    ("issuers: {a: {directory: 'http://ca.example.com/dir'}}", "1: issuers.a.directory: expected a URL"),
    ("issuers: {a: {directory: 'https://[x'}}", "1: issuers.a.directory: expected a URL"),
    ("issuers: {a: {directory: 'https://a b/'}}", "1: issuers.a.directory: expected a URL"),
    ("issuers: {a: {}}", "1: issuers.a: directory is missing"),
    ("issuers: {-a: {directory: letsencrypt}}", "1: issuers.-a: expected a name of letters"),
    ("issuers: {a: {directory: letsencrypt, contact: nobody}}", "1: issuers.a.contact: expected a mail address"),
    ("issuers: {a: {directory: letsencrypt, staging: b}}", "1: issuers.a.staging: there is no issuer 'b'; issuers"),
    ("issuers: {a: {directory: letsencrypt, staging: a}}", "1: issuers.a.staging: an issuer cannot stand in for it"),
    ("issuers: {a: {directory: letsencrypt, profile_required: true}}", "there is no profile to require"),
    ("issuers: {a: {directory: letsencrypt, terms_of_service_agreed: 1}}", "expected true or false, found 1"),
    ("issuers: {a: {directory: letsencrypt, ca_bundle: gone.pem}}", "gone.pem: there is no such file"),
    ("issuers: {a: {directory: letsencrypt, ca_bundle: ~nobody-at-all/x}}", "the home folder of"),
    ("issuers: {a: {directory: letsencrypt, key_type: dsa}}", "expected one of ec256, ec384, rsa2048, rsa3072"),
    ("issuers: {a: {directory: letsencrypt, timeout: soon}}", "expected a time span as 30d, 12h, 90s"),
    ("issuers: {a: {directory: letsencrypt, timeout: 0}}", "expected a time span longer than nothing"),
    ("issuers: {a: {directory: letsencrypt, timeout: 2000w5200w}}", "expected a time span as"),
    ("issuers: {a: {directory: letsencrypt, external_account: {kid: x}}}", "external_account: hmac_key is missing"),
    ("issuers: {a: {directory: letsencrypt, external_account: {kid: x, hmac_key: 'ü'}}}", "expected base64url"),
    ("issuers: {a: {directory: letsencrypt, external_account: {kid: 5, hmac_key: YWI}}}", "expected a text in quotes"),
    ("issuers: {a: {directory: letsencrypt, external_account: {kid: x, hmac_key: YWI, algorithm: none}}}", "one of HS"),
    ("default_issuer: a", "1: default_issuer: there is no issuer 'a'; issuers of ottr.yaml: none"),
    ("solvers: {a: {zones: x}}", "1: solvers.a: kind is missing"),
    ("solvers: {a: {kind: magic, zones: x}}", "solvers.a.kind: expected one of rfc2136, lexicon, exec, found 'magic'"),
    ("solvers: {a: {kind: exec, zones: []}}", "solvers.a.zones: expected one zone or more, found a list"),
    ("solvers: {a: {kind: exec, zones: 'ä.de'}}", "solvers.a.zones: expected the name of a zone"),
    ("solvers: {a: {kind: exec, zones: x}, b: {kind: exec, zones: [y, X.]}}", "the zone x stands twice, first in sol"),
    ("solvers: {a: {kind: exec, zones: x, nameservers: ns.example}}", "expected an IP address"),
    ("solvers: {a: {kind: exec, zones: x, nameservers: '[127.0.0.1]'}}", "expected an IP address"),
    ("solvers: {a: {kind: exec, zones: x, nameservers: '[::1'}}", "expected an IP address"),
    ("solvers: {a: {kind: exec, zones: x, nameservers: '127.0.0.1:0'}}", "expected an IP address"),
    ("solvers: [a]", "1: solvers: expected a mapping, found a list"),
    ("state: 5", "1: state: expected a mapping, found 5"),
    ("state: mysql://x", "1: state: expected a URL (sqlite:///… or postgresql://…)"),
    ("state: sqlite://", "1: state: expected a URL"),
    ("state: sqlite:///", "1: state: expected sqlite:///state.db"),
    ("rotation: {forks: 0}", "1: rotation.forks: expected a whole number from 1 to 1000, found 0"),
    ("rotation: {forks: true}", "expected a whole number"),
    ("rotation: {renew_fraction: 1}", "expected a share between 0 and 1 as 0.66, 2/3 or 66%, found 1"),
    ("rotation: {renew_fraction: 1/0}", "expected a share between 0 and 1"),
    ("rotation: {renew_fraction: most}", "expected a share between 0 and 1"),
    ("rotation: {windows: [at night]}", "rotation.windows[0]: 'at night' is not a window"),
    ("rotation: {freezes: [{end: 2026-01-01}]}", "rotation.freezes[0]: start is missing"),
    ("rotation: {freezes: [{start: '2026-01-01T00:00:00'}]}", "2026-01-01T00:00:00 has no zone"),
    ("rotation: {freezes: [{start: tomorrow}]}", "expected a date as 2026-12-20"),
    ("rotation: {freezes: [{start: 2026-02-01, end: 2026-01-01}]}", "the freeze ends before it begins"),
    ("notify: {on: [fire]}", "notify.on[0]: expected one of failed, stranded, summary, found 'fire'"),
    ("notify: {webhook: 'ftp://hooks.example.com/key'}", "1: notify.webhook: expected a URL"),
    ("notify: {command: '\"'}", "notify.command: cannot be split into arguments"),
    ("notify: {command: []}", "notify.command: expected a command"),
    ("notify: {command: -x}", "notify.command: a command cannot begin with '-x'"),
    ("notify: {on: true}\nnotify: {}", "2: notify: stands twice, first in line 1"),
    ("isuers: {}", "1: isuers: unknown key; did you mean 'issuers'? allowed: credentials, default_issuer"),
    ("zzz: {}", "1: zzz: unknown key; allowed: credentials"),
    ("routing: ''", "1: routing: expected a path, found ''"),
    ('routing: "a\\0b"', "1: routing: control characters are not allowed"),
    ("[]", "1: expected a mapping, found a list"),
    ("routing: [\n", ":2: not YAML: "),
    ("routing: {a: b}", "1: routing: expected a path, found a mapping"),
    ("routing: !vault abc", "1: routing: a tag is not understood here"),
    ("routing: 2026-99-99", "1: routing: cannot be read as it stands"),
    ("routing: &a [*a]", "1: routing[0]: holds itself by an alias"),
    ("? [a]\n: b\n", ":1: a key must be text"),
    ("state: {<<: 5}", "1: state.<<: expected a mapping, found 5"),
    ("credentials: {linux: {password: 12345}}", "credentials.linux.password: expected a text, {env: NAME} or"),
    ("credentials: {linux: {password: {env: 5}}}", "credentials.linux.password.env: expected the name of a variable"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_each_mistake_names_file_line_and_key(folder: Path, text: str, said: str) -> None:
    message = str(refusal(folder, text))
    assert message.startswith(f"{folder}/ottr.yaml:")
    assert said in message


def test_a_number_where_text_belongs_is_to_be_quoted(folder: Path) -> None:
    assert refusal(folder, "routing: 9.10").hint == "put it in quotes: '9.10'"


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "ottr.yaml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"ottr\.yaml: cannot be read: not UTF-8 text"):
        load_settings(folder / "ottr.yaml", {})
    with pytest.raises(SettingsError, match="there is no such file"):
        load_settings(folder / "gone.yaml", {})


class TestSecrets:
    def test_none_is_ever_shown(self, folder: Path) -> None:
        shown = repr(load(folder, EVERYTHING))
        assert not [secret for secret in ("c2VjcmV0", "hooks.example.com", "hunter2", "abc", "4711") if secret in shown]

    @pytest.mark.parametrize(
        "text",
        [
            "notify: {webhook: hunter2}",
            "notify: {webhook: [hunter2]}",
            "issuers: {a: {directory: letsencrypt, external_account: {kid: x, hmac_key: 'hunter2!'}}}",
            "credentials: {linux: {password: [hunter2]}}",
            "credentials: {linux: {password: {env: A, word: hunter2}}}",
            "credentials: {linux: {password: !hunter2 x}}",
        ],
    )
    def test_none_is_in_an_error(self, folder: Path, text: str) -> None:
        error = refusal(folder, text)
        assert "hunter2" not in str(error) + error.hint

    def test_a_variable_that_is_not_set(self, folder: Path) -> None:
        assert "the environment variable HOOK is not set" in str(refusal(folder, "notify: {webhook: {env: HOOK}}", {}))

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_a_file_that_others_may_write_is_refused(self, folder: Path, mode: int) -> None:
        (folder / "hook").write_text("https://hooks.example.com/key")
        (folder / "hook").chmod(mode)
        error = refusal(folder, "notify: {webhook: {file: hook}}")
        assert f"others may write to {folder}/hook (mode {mode:04o})" in str(error)
        assert error.hint == f"chmod 0600 {folder}/hook"

    @pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o400, False), (0o644, True)])
    def test_a_file_that_everybody_may_read_is_warned_about(
        self, folder: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
    ) -> None:
        (folder / "hook").write_text(" https://hooks.example.com/key\n")
        (folder / "hook").chmod(mode)
        with caplog.at_level(logging.WARNING):
            settings = load(folder, "notify: {webhook: {file: hook}}")
        assert settings.notify.webhook == Secret("https://hooks.example.com/key")
        assert ("everybody may read" in caplog.text) is warned

    def test_a_file_that_is_not_there_or_empty(self, folder: Path) -> None:
        text = "notify: {webhook: {file: hook}}"
        assert "hook cannot be read: No such file" in str(refusal(folder, text))
        (folder / "hook").touch(mode=0o600)
        assert "hook is empty" in str(refusal(folder, text))
        (folder / "hook").write_bytes(b"\xff")
        assert "hook cannot be read: not UTF-8 text" in str(refusal(folder, text))


class TestCredentials:
    device = Device("web1.dc1", "linux", "127.0.0.1", ("web1.example.com",))

    def test_each_field_comes_from_the_first_entry_that_has_it(self, folder: Path) -> None:
        sources = load(folder, EVERYTHING).credentials
        assert complete_credentials(Credentials(), self.device, sources, ENVIRONMENT) == Credentials(
            username="root",
            password=Secret("hunter2"),
            private_key_file=str(folder / "keys/id"),
            private_key_passphrase=Secret("c2VjcmV0"),
            become_password=Secret("sesame"),
        )

    def test_the_inventory_goes_first(self, folder: Path) -> None:
        sources = load(folder, EVERYTHING).credentials
        given = Credentials("me", Secret("mine"), "/id", Secret("phrase"), become_password=Secret("up"))
        assert complete_credentials(given, self.device, sources, {}) == given

    def test_other_devices_get_nothing(self, folder: Path) -> None:
        sources = load(folder, EVERYTHING).credentials
        other = Device("fw1.dc2", "panos", "127.0.0.1", ("fw1.example.com",))
        assert complete_credentials(Credentials(), other, sources, {}) == Credentials()

    def test_they_are_looked_up_only_when_needed(self, folder: Path) -> None:
        sources = load(folder, EVERYTHING).credentials
        with pytest.raises(CredentialsError, match=r"ottr\.yaml:\d+: credentials.*SUDO is not set"):
            complete_credentials(Credentials(), self.device, sources, {})


class TestSearch:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("ottr.files.search.SERVICE_FOLDER", tmp_path / "etc")
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        return tmp_path

    def test_the_places_in_their_order(self, home: Path) -> None:
        places = [home / "etc/ottr.yaml", home / ".config/ottr/ottr.yaml", home / "here/ottr.yaml"]
        environment = {"HOME": str(home)}
        assert find_settings(None, environment) is None
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
            assert find_settings(None, environment) == place
        for name in ("xdg/ottr/ottr.yaml", "named.yaml", "given.yaml"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).touch()
        environment["XDG_CONFIG_HOME"] = str(home / "xdg")
        places[-1].unlink()
        assert find_settings(None, environment) == home / "xdg/ottr/ottr.yaml"
        environment["OTTR_CONFIG"] = str(home / "named.yaml")
        assert find_settings(None, environment) == home / "named.yaml"
        assert find_settings(home / "given.yaml", environment) == home / "given.yaml"

    def test_the_sources_of_the_inventory_in_their_order(self, home: Path) -> None:
        environment = {"HOME": str(home)}
        here = home / "here"
        (here / "ottr.yaml").touch()
        (here / "inventory").mkdir()
        bare = load_settings(here / "ottr.yaml", {})
        told = load(here, "inventory: mine")
        assert find_inventory(bare, [], environment) == (str(here / "inventory"),)
        (home / ".ansible.cfg").write_text("[defaults]\ninventory = hosts, /srv/more ; both\n")
        assert find_inventory(bare, [], environment) == (str(home / "hosts"), "/srv/more")
        (home / "other.cfg").write_text("[defaults]\nforks = 5%\n")
        environment["ANSIBLE_CONFIG"] = str(home / "other.cfg")
        assert find_inventory(bare, [], environment) == (str(here / "inventory"),)
        environment["ANSIBLE_INVENTORY"] = "a.yml,b.yml"
        assert find_inventory(bare, [], environment) == (str(here / "a.yml"), str(here / "b.yml"))
        assert find_inventory(told, [], environment) == (str(here / "mine"),)
        assert find_inventory(told, ["x,"], environment) == ("x,",)

    def test_no_inventory_at_all(self, home: Path) -> None:
        environment = {"HOME": str(home)}
        with pytest.raises(Exception, match="there is no inventory") as caught:
            find_inventory(load_settings(None, environment), [], environment)
        assert "ottr init" in getattr(caught.value, "hint", "")
        (home / "here/ansible.cfg").write_text("not an ini file")
        with pytest.raises(Exception, match=r"ansible\.cfg: cannot be read"):
            find_inventory(load_settings(None, environment), [], environment)


def test_the_examples_of_this_checkout_load() -> None:
    root = Path(__file__).parents[2]
    settings = load_settings(root / "ottr.yaml", os.environ)
    assert settings.default_issuer == "lets_encrypt"
