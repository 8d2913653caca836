# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from ottr.dns.caa import CaaPolicy, fetch_policy
from ottr.dns.publisher import ZonePublisher


@pytest.mark.parametrize(
    ("identifier", "policy"),
    [
        ("caa.lab.test", CaaPolicy("caa.lab.test", frozenset({"ca.test", "other.test"}))),
        ("a.b.caa.lab.test", CaaPolicy("caa.lab.test", frozenset({"ca.test", "other.test"}))),
        ("*.caa.lab.test", CaaPolicy("caa.lab.test", frozenset({"wild.test"}))),
        ("plain.lab.test", CaaPolicy("plain.lab.test", frozenset({"ca.test"}))),
        ("*.plain.lab.test", CaaPolicy("plain.lab.test", frozenset({"ca.test"}))),
        ("nobody.lab.test", CaaPolicy("nobody.lab.test", frozenset())),
        ("mail.lab.test", CaaPolicy("mail.lab.test", None)),
        ("critical.lab.test", CaaPolicy("critical.lab.test", frozenset())),
        ("http.lab.test", CaaPolicy("http.lab.test", frozenset({"both.test"}))),
    ],
)
def test_policies_are_read(publisher: ZonePublisher, identifier: str, policy: CaaPolicy) -> None:
    assert fetch_policy(identifier, publisher.resolver) == policy


def test_no_records_up_to_the_root_let_everybody_issue(scripted: object, say: object) -> None:
    from ottr.dns.resolver import Resolver
    from ottr.dns.servers import parse_server

    server = scripted(say("NXDOMAIN"))  # type: ignore[operator]
    policy = fetch_policy("a.b.test", Resolver([parse_server(server.server)]))
    assert policy == CaaPolicy("", None)
    assert policy.allows("anyone.test")
    assert server.asked == 3


def test_a_ca_is_allowed_by_any_of_its_identities() -> None:
    policy = CaaPolicy("lab.test", frozenset({"ca.test"}))
    assert policy.allows("other.test", "CA.test.")
    assert not policy.allows("other.test")
    assert not policy.allows()
