# SPDX-License-Identifier: Apache-2.0
"""Against the private CA's ACME server: what Debian's Pebble does not have (RFC 9773, profiles), end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from ottr.acme.issuer import AcmeIssuer
from ottr.lab.bind import Bind
from ottr.lab.network import Network
from ottr.model import Secret
from ottr.settings import ExternalAccount
from tests.acme.conftest import MemoryLog, make_request
from tests.ca.acme.service import Service, serve


@pytest.fixture(scope="module")
def private_ca(tmp_path_factory: pytest.TempPathFactory, network: Network, bind: Bind) -> Iterator[Service]:
    acme = {"profiles": {"server": "TLS servers", "client": "TLS clients"}, "limits": {"certificates": "1/1h"}}
    with serve(tmp_path_factory.mktemp("private") / "ca", network, bind, 1, acme=acme) as service:
        yield service


@pytest.fixture
def private(make_issuer: Callable[..., AcmeIssuer], private_ca: Service) -> AcmeIssuer:
    return make_issuer(private_ca)


def read_usages(leaf_pem: str) -> list[x509.ObjectIdentifier]:
    leaf = x509.load_pem_x509_certificate(leaf_pem.encode())
    return list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_certificate_of_the_profile_that_was_asked_for(private: AcmeIssuer, name: str, log: MemoryLog) -> None:
    issued = private.issue(make_request(name, profile="client"), log)
    assert read_usages(issued.leaf_pem) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert log.open == []


def test_renewal_info_and_a_replacement_that_no_limit_counts(
    private: AcmeIssuer, private_ca: Service, name: str, log: MemoryLog
) -> None:
    first = private.issue(make_request(name), log)
    assert private.offers_renewal_info()
    window = private.renewal_info(first.leaf_pem)
    assert window is not None
    assert datetime.now(UTC) + timedelta(days=50) < window.start < window.end
    second = private.issue(make_request(name, replaces_pem=first.leaf_pem), log)
    assert second.leaf_pem != first.leaf_pem

    private.revoke(second.leaf_pem, 4)
    assert private_ca.status(x509.load_pem_x509_certificate(second.leaf_pem.encode())) == ("revoked", "superseded")
    past = private.renewal_info(second.leaf_pem)
    assert past is not None
    assert past.end <= datetime.now(UTC)


def test_an_account_that_is_bound_and_gets_another_key(
    make_issuer: Callable[..., AcmeIssuer], private_ca: Service, name: str, log: MemoryLog
) -> None:
    made = private_ca.ottr("eab", name)
    bound = ExternalAccount(made["kid"], Secret(made["hmac_key"]))
    issuer = make_issuer(private_ca, external_account=bound)
    account = issuer.account_url()
    issuer.change_account_key()
    issued = issuer.issue(make_request(name), log)
    assert issuer.account_url() == account
    leaf = x509.load_pem_x509_certificate(issued.leaf_pem.encode())
    found = private_ca.ottr("show", format(leaf.serial_number, "x"))["certificate"]
    assert found["requester"] == "acme:" + account.rpartition("/")[2]
