# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from ottr.errors import HostKeyRefused
from ottr.transports.host_keys import (
    ALGORITHMS,
    HostKey,
    HostKeyCheck,
    build_known_hosts,
    check_pins,
    load_known_hosts,
    parse_known_hosts,
)

ED = HostKey("ssh-ed25519", b"ed25519 blob")
RSA = HostKey("ssh-rsa", b"rsa blob")
OTHER = HostKey("ssh-ed25519", b"another blob")


def line(names: str, key: HostKey, marker: str = "") -> str:
    return f"{marker} {names} {key.type} {base64.b64encode(key.blob).decode()} a comment\n".lstrip()


def check(text: str, name: str = "fw1.example.com", port: int = 22, pins: tuple[str, ...] = ()) -> HostKeyCheck:
    return HostKeyCheck(name, port, build_known_hosts(parse_known_hosts(text)), pins)


@pytest.mark.parametrize(
    ("names", "name", "port", "known"),
    [
        ("fw1.example.com", "fw1.example.com", 22, True),
        ("FW1.example.com", "fw1.EXAMPLE.com", 22, True),
        ("other,fw1.example.com,10.0.0.1", "10.0.0.1", 22, True),
        ("*.example.com", "fw1.example.com", 22, True),
        ("fw?.example.com", "fw12.example.com", 22, False),
        ("*.example.com,!fw1.example.com", "fw1.example.com", 22, False),
        ("[fw1.example.com]:2222", "fw1.example.com", 2222, True),
        ("[fw1.example.com]:2222", "fw1.example.com", 22, False),
        ("[*.example.com]:2222", "fw1.example.com", 2222, True),
        ("fw1.example.com", "fw1.example.com", 2222, True),
        ("[2001:db8::1]:2222", "2001:db8::1", 2222, True),
        ("other", "fw1.example.com", 22, False),
    ],
)
def test_names_match_as_ssh_matches_them(names: str, name: str, port: int, known: bool) -> None:
    assert check(line(names, ED), name, port).accepts(ED) is known


def test_the_port_of_its_own_wins_over_the_host_at_large() -> None:
    text = line("fw1.example.com", OTHER) + line("[fw1.example.com]:2222", ED)
    assert check(text, port=2222).accepts(ED)
    assert not check(text, port=2222).accepts(OTHER)


def test_hashed_names_match(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line("[fw1.example.com]:2222", ED).replace(base64.b64encode(ED.blob).decode(), _real_key(tmp_path)))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert file.read_text().startswith("|1|")
    lines = load_known_hosts([file])
    assert HostKeyCheck("fw1.example.com", 2222, lines).known()
    assert not HostKeyCheck("fw2.example.com", 2222, lines).known()


def _real_key(folder: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    return (folder / "key.pub").read_text().split()[1]


def test_fingerprints_are_those_of_openssh(tmp_path: Path) -> None:
    key = HostKey("ssh-ed25519", base64.b64decode(_real_key(tmp_path)))
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    )
    assert key.fingerprint == printed.stdout.split()[1]


def test_lines_that_cannot_be_read_are_left_out() -> None:
    text = "# comment\n\nfw1 ssh-rsa\nfw1 ssh-rsa ?!\n|1|x|y ssh-rsa AAAA\n|1|broken ssh-rsa AAAA\n@revoked\n"
    assert parse_known_hosts(text) == ()


def test_only_known_types_are_asked_for_first_and_all_when_that_finds_nothing() -> None:
    rounds = check(line("fw1.example.com", RSA)).rounds()
    assert next(rounds) == ("rsa-sha2-512", "rsa-sha2-256")
    assert next(rounds) == ALGORITHMS
    assert next(rounds, None) is None


def test_a_changed_key_is_refused_with_both_fingerprints() -> None:
    decision = check(line("fw1.example.com", ED))
    rounds = decision.rounds()
    next(rounds)
    assert not decision.accepts(OTHER)
    assert next(rounds, None) is None
    words = str(decision.refusal())
    assert OTHER.fingerprint in words
    assert ED.fingerprint in words


def test_an_unknown_host_is_refused_with_what_it_showed_and_how_to_pin_it() -> None:
    decision = check("")
    rounds = decision.rounds()
    assert next(rounds) == ALGORITHMS
    assert not decision.accepts(ED)
    assert next(rounds, None) is None
    refusal = decision.refusal()
    assert ED.fingerprint in str(refusal)
    assert f"ottr_host_key: {ED.fingerprint}" in refusal.hint


def test_a_revoked_key_is_refused_even_where_it_is_known_or_pinned() -> None:
    text = line("fw1.example.com", ED) + line("*", ED, "@revoked")
    for pins in ((), (ED.fingerprint,)):
        decision = check(text, pins=pins)
        assert not decision.accepts(ED)
        assert "revoked" in str(decision.refusal())


def test_a_line_for_an_authority_is_no_host_key() -> None:
    assert not check(line("*", ED, "@cert-authority")).accepts(ED)


def test_pins_take_the_place_of_known_hosts() -> None:
    pins = (OTHER.fingerprint, RSA.fingerprint)
    decision = check(line("fw1.example.com", ED), pins=pins)
    rounds = decision.rounds()
    assert next(rounds) == ALGORITHMS
    assert not decision.accepts(ED)
    assert next(rounds) == tuple(name for name in ALGORITHMS if name != "ssh-ed25519")
    assert decision.accepts(RSA)
    assert RSA.fingerprint in str(decision.refusal())


def test_pins_are_tried_until_the_host_has_no_other_key() -> None:
    decision = check("", pins=(OTHER.fingerprint,))
    rounds = decision.rounds()
    next(rounds)
    decision.accepts(ED)
    next(rounds)
    assert next(rounds, None) is None


@pytest.mark.parametrize("pin", ["", "MD5:aa:bb", "SHA256:short", "ssh-ed25519 AAAA"])
def test_a_pin_that_is_no_fingerprint_is_refused(pin: str) -> None:
    with pytest.raises(HostKeyRefused, match="not a SHA-256 fingerprint") as caught:
        check_pins([pin])
    assert "ssh-keygen -lf" in caught.value.hint


def test_a_file_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert load_known_hosts([tmp_path / "none"]).lines == ()
    with pytest.raises(HostKeyRefused, match="cannot be read"):
        load_known_hosts([tmp_path])


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line("fw1", ED))
    assert len(load_known_hosts([file]).lines) == 1
    file.write_text(line("fw1", ED) + line("fw2", RSA))
    assert len(load_known_hosts([file]).lines) == 2


def test_every_kind_of_line_about_a_host_is_found_in_the_order_of_the_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    names = ("*.example.com", "FW1.example.com,fw1.example.com", "other", "fw1.example.com")
    keys = [HostKey("ssh-ed25519", str(number).encode()) for number in range(4)]
    first.write_text("".join(line(name, key) for name, key in zip(names[:2], keys[:2], strict=True)))
    second.write_text("".join(line(name, key) for name, key in zip(names[2:], keys[2:], strict=True)))
    found = HostKeyCheck("fw1.example.com", 22, load_known_hosts([first, second])).known()
    assert found == (keys[0], keys[1], keys[3])
