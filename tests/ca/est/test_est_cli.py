# SPDX-License-Identifier: Apache-2.0
"""``ottr ca est-user`` and ``ottr ca export --issuers``, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from ottr.ca.est.users import find_user
from ottr.ca.names import NameRules
from ottr.ca.opening import open_authority
from ottr.ca.passphrase import VARIABLE
from ottr.report import ExitStatus
from tests.ca.conftest import PASSPHRASE, SETTINGS, MovableClock
from tests.ca.test_cli import SECRET, Typed


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.setenv("OTTR_CA", str(folder))
    monkeypatch.setenv(VARIABLE, SECRET)
    (folder / "ca.yaml").write_text(f"{SETTINGS}est: {{enabled: true, profiles: [client, server]}}\n")
    return Typed(capsys)


def test_a_user_is_made_for_names_and_removed(typed: Typed, folder: Path, clock: MovableClock) -> None:
    names = (
        "*.Dev.test",
        "10.0.0.0/8",
        "192.0.2.1",
        "--common-name",
        "sensor-*",
        "--uri",
        "spiffe://a/*",
        "--email",
        "*@a",
    )
    made = typed.json("est-user", "devices", *names, "--uses", "1")
    assert (made["user"], made["removed"]) == ("devices", False)
    other = typed("est-user", "other", "a.test", "--profile", "server", "--days", "1").split()[-6]
    with open_authority(folder, PASSPHRASE, clock=clock) as authority:
        with authority.database.read() as connection:
            user = find_user(connection, "devices", made["password"], clock())
            single = find_user(connection, "other", other, clock())
        assert user is not None
        assert user.profiles == ("client", "server")
        ip = ("10.0.0.0/8", "192.0.2.1/32")
        assert user.rules == NameRules(("*.dev.test",), ip, ("*@a",), ("spiffe://a/*",), ("sensor-*",))
        assert single is not None
        assert single.profiles == ("server",)
        clock.move(days=1, minutes=1)
        with authority.database.read() as connection:
            assert find_user(connection, "other", other, clock()) is None
            assert find_user(connection, "devices", made["password"], clock())
    assert "removed" in typed("est-user", "devices", "--remove")
    assert "no user 'devices'" in typed("est-user", "devices", "--remove", status=ExitStatus.ERROR)


def test_a_user_for_nothing_and_for_profiles_EST_has_not(typed: Typed) -> None:
    assert "for which names?" in typed("est-user", "devices", status=ExitStatus.USAGE)
    assert "for which names?" in typed("est-user", "devices", "a.test", "--remove", status=ExitStatus.USAGE)
    said = typed("est-user", "devices", "a.test", "--profile", "sub_ca", status=ExitStatus.USAGE)
    assert "not for sub_ca" in said


def test_the_issuers_are_exported_old_and_new(typed: Typed) -> None:
    typed("rollover")
    found = x509.load_pem_x509_certificates(typed("export", "--issuers").encode())
    subjects = [one.subject.rfc4514_string().removesuffix(",O=Example") for one in found]
    roots, others = (
        ["CN=Example Root CA 2", "CN=Example Root CA 1"],
        [f"CN=Example Intermediate CA {n}" for n in (2, 1)],
    )
    assert subjects == [*roots, *others, roots[0]]
    assert len(x509.load_pem_x509_certificates(typed("export").encode())) == 2
    assert "not both" in typed("export", "1234", "--issuers", status=ExitStatus.USAGE)
