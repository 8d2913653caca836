# SPDX-License-Identifier: Apache-2.0
"""What the values say about themselves."""

from __future__ import annotations

import logging

import pytest

from ottr.model import Credentials, Device, Endpoint, IssuedCertificate, KeyType, Outcome, Route, Secret, Step


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{0!r:>20}".format, lambda one: f"{one}", "%s".__mod__])
def test_a_secret_never_shows_itself(show):
    assert "hunter2" not in show(Secret("hunter2"))


def test_a_secret_stays_hidden_inside_other_values_and_in_logs(caplog):
    credentials = Credentials("admin", Secret("hunter2"), become_password=Secret("hunter3"))
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("with %s and %r", credentials, [credentials])
    assert "********" in caplog.text
    assert "hunter" not in caplog.text


def test_a_secret_is_revealed_only_when_asked():
    assert Secret("hunter2").reveal() == "hunter2"


def test_secrets_are_equal_by_what_they_hide():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (Endpoint("web1.example.com"), "web1.example.com:443"),
        (Endpoint("192.0.2.1", 8443, "web1.example.com"), "192.0.2.1:8443"),
        (Endpoint("2001:db8::1", 25), "[2001:db8::1]:25"),
    ],
)
def test_an_endpoint_reads_as_in_a_url(endpoint, text):
    assert str(endpoint) == text


def test_the_first_name_is_the_common_name():
    device = Device("web1", "linux", "192.0.2.1", ("web1.example.com", "www.example.com"), variables={"a": 1})
    assert device.common_name == "web1.example.com"


def test_devices_and_routes_are_hashable_in_spite_of_their_variables():
    device = Device("web1", "linux", "192.0.2.1", ("web1.example.com",), variables={"a": [1]})
    assert len({device, device}) == 1
    assert len({Route("x", "ca", options={"a": []}), Route("x", "ca", options={"a": [1]})}) == 2


def test_a_full_chain_begins_with_the_leaf():
    assert IssuedCertificate("leaf\n", "chain\n").fullchain_pem == "leaf\nchain\n"


def test_codes_are_the_words_of_the_documentation():
    assert f"{KeyType.EC256} {Step.CSR} {Outcome.ROLLED_BACK}" == "ec256 csr rolled_back"
