# SPDX-License-Identifier: Apache-2.0
"""Where what is allowed ends, to the second and the number, and what exactly is answered."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ottr.ca.acme.exchange import Reply
from ottr.ca.acme.schema import authorization
from ottr.ca.acme.settings import Limits, Rate
from ottr.ca.authority import Authority
from ottr.ca.names import NameRules
from tests.ca.acme.client import Client, make_csr
from tests.ca.acme.conftest import Prove, Serve
from tests.ca.acme.test_acme_requests import kind
from tests.ca.conftest import MovableClock

NAME = "www.lab.test"


def page(client: Client) -> Reply:
    return client.post(client.post(client.kid).document["orders"])


def test_reading_is_answered_with_200(client: Client) -> None:
    order = client.order(NAME)
    (proof,) = order.document["authorizations"]
    challenge = client.challenge(client.post(proof).document)["url"]
    urls = (order.headers["Location"], proof, challenge, client.kid, f"{client.kid}/orders")
    assert [client.post(url).status for url in urls] == [200] * 5
    assert f'<{proof}>;rel="up"' in client.post(challenge).links
    assert client.post(challenge).document["status"] == "pending"  # nobody has asked for a look


def test_the_last_page_that_is_full_has_none_after_it(serve: Serve) -> None:
    client = Client(serve(orders_per_page=2)).register()
    made = {client.order(f"n{number}.lab.test").headers["Location"] for number in range(2)}
    assert set(page(client).document["orders"]) == made
    assert not any('rel="next"' in link for link in page(client).links)


def test_one_refused_name_is_named_itself_and_several_each(serve: Serve) -> None:
    client = Client(serve(rules=NameRules(dns=("*.team.lab.test",)))).register()
    one = client.try_order("www.lab.test", "a.team.lab.test")
    assert kind(one) == (403, "rejectedIdentifier")
    assert one.document["identifier"] == {"type": "dns", "value": "www.lab.test"}
    assert "subproblems" not in one.document
    both = client.try_order("a.lab.test", "b.lab.test")
    assert kind(both) == (403, "rejectedIdentifier")
    assert len(both.document["subproblems"]) == 2


def test_what_is_no_name_is_a_mistake_of_the_client(client: Client) -> None:
    assert kind(client.try_order("a..lab.test")) == (400, "rejectedIdentifier")


def test_an_order_may_begin_in_thirty_days_and_no_later(client: Client, clock: MovableClock) -> None:
    last = clock.now + timedelta(days=30)
    assert client.try_order(NAME, notBefore=last.isoformat()).status == 201
    refused = client.try_order(NAME, notBefore=(last + timedelta(seconds=1)).isoformat())
    assert kind(refused) == (400, "malformed")


def test_an_order_does_not_end_when_it_begins(client: Client, clock: MovableClock) -> None:
    moment = (clock.now + timedelta(days=1)).isoformat()
    assert kind(client.try_order(NAME, notBefore=moment, notAfter=moment)) == (400, "malformed")


def test_before_it_is_ready_nobody_looks_at_the_csr(client: Client) -> None:
    assert kind(client.finalize(client.order(NAME), make_csr("other.lab.test"))) == (403, "orderNotReady")


def test_an_order_whose_end_has_come_gives_nothing(client: Client, prove: Prove, clock: MovableClock) -> None:
    order = client.order(NAME, notAfter=(clock.now + timedelta(hours=1)).isoformat())
    prove(client, order)
    clock.move(seconds=3599)
    short = client.finalize(order, make_csr(NAME))
    assert (kind(short), "at least 60 seconds" in short.document["detail"]) == ((400, "badCSR"), True)
    clock.move(seconds=1)
    over = client.finalize(order, make_csr(NAME))
    assert (kind(over), over.document["detail"]) == ((400, "malformed"), "notAfter of the order is over")


def test_a_proof_counts_again_when_it_outlives_the_order(serve: Serve, prove: Prove) -> None:
    for life_s, expected in ((3600.0, "pending"), (3601.0, "ready")):
        server = serve(reuse_authorizations=True, order_lifetime_s=3600.0, authorization_lifetime_s=life_s)
        client = Client(server).register()
        prove(client, client.order(NAME))
        assert client.order(NAME).document["status"] == expected


def test_in_the_second_of_its_end_a_proof_cannot_be_asked_for_any_more(serve: Serve, clock: MovableClock) -> None:
    client = Client(serve(order_lifetime_s=3600.0)).register()
    challenge = client.challenge(client.authorizations(client.order(NAME))[0])
    clock.move(seconds=3600)
    late = client.post(challenge["url"], {})
    assert (kind(late), late.document["detail"]) == ((400, "malformed"), "the authorization has expired")


def test_who_reads_an_authorization_is_told_to_wait_only_while_it_is_looked_at(
    client: Client, authority: Authority
) -> None:
    url = client.order(NAME).document["authorizations"][0]
    assert "Retry-After" not in client.post(url).headers
    with authority.database.write() as connection:
        connection.execute(sa.update(authorization).values(status="processing"))
    assert client.post(url).headers["Retry-After"] == "1"


def test_ten_contacts_and_no_more(client: Client) -> None:
    contacts = [f"mailto:{number}@lab.test" for number in range(11)]
    assert client.post(client.kid, {"contact": contacts[:10]}).document["contact"] == contacts[:10]
    assert kind(client.post(client.kid, {"contact": contacts})) == (400, "invalidContact")


def test_a_rate_counts_what_is_younger_than_its_span(serve: Serve, clock: MovableClock) -> None:
    client = Client(serve(limits=Limits(orders=Rate(1, 600)))).register()
    client.order(NAME)
    clock.move(seconds=599)
    refused = client.try_order(NAME)
    assert (kind(refused), refused.headers["Retry-After"]) == ((429, "rateLimited"), "2")
    clock.move(seconds=1)
    client.order(NAME)
