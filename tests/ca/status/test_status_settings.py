# SPDX-License-Identifier: Apache-2.0
"""The sections ``crl``, ``ocsp`` and ``server.http_listen`` of ca.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ottr.ca.serving import read_server_settings
from ottr.ca.settings import parse_settings
from ottr.ca.status.settings import (
    CrlSettings,
    NoncePolicy,
    OcspSettings,
    read_crl_settings,
    read_ocsp_settings,
)
from ottr.errors import SettingsError


def test_what_is_said_and_what_is_not(tmp_path: Path) -> None:
    nothing = parse_settings("", tmp_path)
    assert read_crl_settings(nothing) == CrlSettings()
    assert read_ocsp_settings(nothing) == OcspSettings()
    assert read_server_settings(nothing).http_listen is None
    everything = parse_settings(
        """
        crl: {lifetime: 30d, deltas: true, delta_lifetime: 2h, complete_every: 6h, issuing_point: false,
              urls: ["http://old.example.test/{issuer}.crl"]}
        ocsp: {enabled: false, lifetime: 12h, nonce: required, archive_cutoff: 365d, cached: 5,
               published_hashes: sha256}
        server: {http_listen: "[::1]:80"}
        """,
        tmp_path,
    )
    assert read_crl_settings(everything) == CrlSettings(
        lifetime_s=30 * 86400,
        deltas=True,
        delta_lifetime_s=7200,
        complete_every_s=21600,
        issuing_point=False,
        urls=("http://old.example.test/{issuer}.crl",),
    )
    assert read_ocsp_settings(everything) == OcspSettings(
        enabled=False,
        lifetime_s=43200,
        nonce=NoncePolicy.REQUIRED,
        archive_cutoff_s=365 * 86400,
        most_cached=5,
        published_hashes=("sha256",),
    )
    assert read_server_settings(everything).http_listen == ("::1", 80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crl: {lifetime: 10s}", "crl: lifetime: expected a span from 1m to 365d"),
        ("crl: {delta_lifetime: 1000d}", "crl: delta_lifetime: expected a span from 1m to 365d"),
        ("crl: {urls: [http://x/]}", "crl: urls: expected addresses with {issuer}"),
        ("crl: {colour: red}", "crl: colour: no such key"),
        ("ocsp: {lifetime: 8d}", "ocsp: lifetime: expected a span from 1m to 7d"),
        ("ocsp: {nonce: maybe}", "ocsp: nonce: expected one of optional, required, ignore"),
        ("ocsp: {published_hashes: [md5]}", "ocsp: published_hashes: expected some of sha1, "),
        ("ocsp: {colour: red}", "ocsp: colour: no such key"),
        ("server: {http_listen: nowhere}", "server: http_listen: expected an address and port"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    settings = parse_settings(text, tmp_path)
    readers: tuple[Any, ...] = (read_crl_settings, read_ocsp_settings, read_server_settings)
    (found,) = [error for error in (_try(read, settings) for read in readers) if error]
    assert expected in found


def _try(read: Any, settings: object) -> str:
    try:
        read(settings)
    except SettingsError as error:
        return str(error)
    return ""
