# SPDX-License-Identifier: Apache-2.0
"""DER (X.690), read strictly and written."""

from __future__ import annotations

import pytest

from ottr.ca.der import INTEGER, OCTET_STRING, SEQUENCE, DerError, read, read_serial, write


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, "0400"),
        (127, "047f"),
        (128, "048180"),
        (255, "0481ff"),
        (256, "04820100"),
        (65535, "0482ffff"),
        (65536, "0483010000"),
    ],
)
def test_a_length_is_written_in_one_way_and_read_again(length: int, head: str) -> None:
    content = b"x" * length
    raw = write(OCTET_STRING, content[:100], content[100:])
    assert raw == bytes.fromhex(head) + content
    one = read(raw)
    assert (one.tag, one.content, one.raw) == (OCTET_STRING, content, raw)


def test_elements_within_one() -> None:
    parts = write(INTEGER, b"\x05"), write(OCTET_STRING, b"x" * 200), write(SEQUENCE)
    assert [one.raw for one in read(write(SEQUENCE, *parts)).children()] == list(parts)
    with pytest.raises(DerError, match="cut off"):
        read(write(SEQUENCE, *parts, b"\x04")).children()


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("", "cut off"),
        ("04", "cut off"),
        ("0401", "cut off"),
        ("048180" + "00" * 127, "cut off"),
        ("04020000" + "00", "follows"),
        ("1f0100", "several bytes"),
        ("bf0100", "several bytes"),
        ("048000", "not DER"),
        ("0481", "not DER"),
        ("048201", "not DER"),
        ("04817f" + "00" * 127, "not DER"),
        ("04820080" + "00" * 128, "not DER"),
        ("04850100000000", "not DER"),
    ],
)
def test_what_is_not_DER(raw: str, complaint: str) -> None:
    with pytest.raises(DerError, match=complaint):
        read(bytes.fromhex(raw))


@pytest.mark.parametrize(
    ("content", "serial"),
    [
        ("01", "1"),
        ("0a0b", "a0b"),
        ("00" + "ff" * 20, "ff" * 20),
        ("", ""),
        ("00", ""),
        ("ff", ""),
        ("01" + "00" * 21, ""),
    ],
)
def test_serials_are_those_a_certificate_can_have(content: str, serial: str) -> None:
    assert read_serial(bytes.fromhex(content)) == serial
