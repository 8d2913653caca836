# SPDX-License-Identifier: Apache-2.0
"""When a device is due, and why."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottr import x509
from ottr.model import Device, KeyType, Route
from ottr.policy import Decision, Known, Reason, Situation, changed, decide, renewal_time, urgency
from ottr.settings import RotationSettings
from tests.unit.authority import Authority

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
TICK = dt.timedelta(microseconds=1)
DEVICE = Device("web1", "linux", "192.0.2.1", ("web1.example.com", "www.example.com"))
ROUTE = Route("memory", "ca")
SETTINGS = RotationSettings()


def known(days: float = 90, **changes) -> Known:
    times = (START, START + days * DAY)
    return replace(Known("aa", "ca", "CN=R1,O=CA", DEVICE.dns_names, "ec256", *times), **changes)


def ask(now: dt.datetime = START, route: Route = ROUTE, issuer_names=(), **situation) -> Decision:
    situation.setdefault("known", known())
    return decide(DEVICE, route, Situation(**situation), now, SETTINGS, issuer_names)


CAUSES = [
    (Reason.FORCED, {"forced": True}),
    (Reason.REVOKED, {"known": known(revoked=True)}),
    (Reason.UNFINISHED, {"unfinished": True}),
    (Reason.NEVER_ISSUED, {"known": None}),
    (Reason.NEVER_ISSUED, {"known": known(self_signed=True)}),
    (Reason.ARI_WINDOW, {"renewal_at": START}),
    (Reason.NAMES_CHANGED, {"known": known(dns_names=("web1.example.com",))}),
    (Reason.ISSUER_CHANGED, {"known": known(ca="another")}),
    (Reason.KEY_TYPE_CHANGED, {"known": known(key_type="rsa2048")}),
    (Reason.DRIFT, {"served_sha256": "bb"}),
    (Reason.LIFETIME_FRACTION, {"known": known(0)}),
]


@pytest.mark.parametrize(("reason", "situation"), CAUSES)
def test_each_cause_makes_a_device_due_and_is_named(reason, situation):
    assert ask(**situation) == Decision(due=True, reason=reason)


def test_nothing_the_matter_is_not_due_and_says_when_it_will_be():
    assert ask() == Decision(due=False, reason=Reason.NOT_DUE, next_at=START + 60 * DAY)


def test_what_is_served_as_known_is_no_drift():
    assert ask(served_sha256="aa").reason is Reason.NOT_DUE


def _overlay(first: dict, second: dict) -> dict:
    merged = {**second, **first}
    if first.get("known") and second.get("known"):
        plain = known()
        fields = Known.__dataclass_fields__
        mine = {name: getattr(first["known"], name) for name in fields}
        merged["known"] = replace(
            second["known"], **{name: value for name, value in mine.items() if value != getattr(plain, name)}
        )
    return merged


@pytest.mark.parametrize("first", range(len(CAUSES)))
def test_of_two_causes_the_more_pressing_one_is_named(first):
    reason, situation = CAUSES[first]
    for later, other in CAUSES[first + 1 :]:
        if situation.get("known", 1) is None and other.get("known"):
            continue  # no certificate, and something about it: cannot both be
        if other.get("known", 1) is None and situation.get("known"):
            continue
        if later is reason:
            continue
        assert ask(**_overlay(situation, other)).reason is reason, later


def test_a_quarantined_device_is_left_alone_whatever_else():
    for _, situation in CAUSES[1:]:
        assert ask(**situation, quarantined=True) == Decision(due=False, reason=Reason.QUARANTINED)


def test_force_overrides_quarantine_back_off_and_windows():
    later = START + DAY
    decision = ask(forced=True, quarantined=True, not_before=later, window_open=False, window_opens=later)
    assert decision == Decision(due=True, reason=Reason.FORCED)


def test_a_due_device_waits_for_the_time_its_ca_named():
    later = START + DAY
    assert ask(unfinished=True, not_before=later) == Decision(due=False, reason=Reason.DEFERRED, next_at=later)
    assert ask(later - TICK, unfinished=True, not_before=later).reason is Reason.DEFERRED
    assert ask(later, unfinished=True, not_before=later).due


def test_a_due_device_waits_for_its_window():
    opens = START + DAY
    decision = ask(unfinished=True, window_open=False, window_opens=opens)
    assert decision == Decision(due=False, reason=Reason.OUTSIDE_WINDOW, next_at=opens)


def test_back_off_is_named_before_the_window():
    assert ask(unfinished=True, not_before=START + DAY, window_open=False).reason is Reason.DEFERRED


def test_what_was_stopped_between_bind_and_verify_waits_for_nothing_but_quarantine():
    held_back = {"not_before": START + DAY, "window_open": False, "window_opens": START + DAY}
    assert ask(unfinished=True, half_installed=True, **held_back) == Decision(due=True, reason=Reason.UNFINISHED)
    assert ask(unfinished=True, half_installed=True, quarantined=True).reason is Reason.QUARANTINED
    assert ask(half_installed=True, known=None, **held_back).reason is Reason.DEFERRED


def test_what_is_not_due_is_neither_deferred_nor_outside_its_window():
    assert ask(not_before=START + DAY, window_open=False).reason is Reason.NOT_DUE


@pytest.mark.parametrize(
    ("days", "due_after"),
    [(6, 3), (9.99, 4.995), (10, 20 / 3), (47, 47 * 2 / 3), (90, 60), (200, 400 / 3)],
)
def test_the_share_of_the_lifetime_decides_to_the_microsecond(days, due_after):
    certificate = known(days)
    at = renewal_time(certificate, ROUTE, SETTINGS)
    assert abs(at - (START + due_after * DAY)) <= TICK
    assert ask(at - TICK, known=certificate) == Decision(due=False, reason=Reason.NOT_DUE, next_at=at)
    assert ask(at, known=certificate) == Decision(due=True, reason=Reason.LIFETIME_FRACTION)


def test_a_route_may_name_its_own_share_of_the_lifetime():
    for days in (6, 90):
        at = renewal_time(known(days), replace(ROUTE, renew_fraction=0.25), SETTINGS)
        assert at == START + days * DAY / 4


def test_a_route_may_name_seconds_before_the_end_instead():
    route = replace(ROUTE, renew_before=30 * 86400.0)
    assert renewal_time(known(90), route, SETTINGS) == START + 60 * DAY
    assert renewal_time(known(47), route, SETTINGS) == START + 17 * DAY


@pytest.mark.parametrize("days", [6, 30])
def test_seconds_before_the_end_that_exceed_the_lifetime_do_not_renew_at_every_run(days):
    route = replace(ROUTE, renew_before=30 * 86400.0)
    assert renewal_time(known(days), route, SETTINGS) == renewal_time(known(days), ROUTE, SETTINGS)


def test_the_instant_chosen_in_the_cas_window_is_the_next_time_when_it_is_sooner():
    assert ask(renewal_at=START + DAY).next_at == START + DAY
    assert ask(renewal_at=START + 80 * DAY).next_at == START + 60 * DAY


def test_the_order_of_names_does_not_matter():
    assert ask(known=known(dns_names=tuple(reversed(DEVICE.dns_names)))).reason is Reason.NOT_DUE


@pytest.mark.parametrize(
    ("issuer_names", "reason"),
    [((), None), (("CN=R?,O=CA",), None), (("CN=X", "*O=CA"), None), (("cn=r1,O=CA",), Reason.ISSUER_CHANGED)],
)
def test_a_certificate_found_on_a_device_is_judged_by_its_issuers_name(issuer_names, reason):
    assert changed(DEVICE, ROUTE, known(ca=""), issuer_names) is reason


def test_a_certificate_of_ours_is_judged_by_its_ca_not_by_a_name():
    assert changed(DEVICE, ROUTE, known(), ("CN=another",)) is None


def test_a_certificate_found_on_a_device_is_described_for_the_policy():
    root = Authority()
    leaf = x509.parse_certificate(root.issue("web1.example.com").leaf_pem)
    found = Known.of(leaf)
    assert (found.ca, found.issuer, found.dns_names) == ("", "CN=Root", ("web1.example.com",))
    assert (found.key_type, found.self_signed, found.revoked) == (KeyType.EC256, False, False)
    assert Known.of(x509.parse_certificate(root.pem)).self_signed


def test_a_key_that_ottr_does_not_make_is_described_as_no_key_type():
    from cryptography.hazmat.primitives.asymmetric import ed25519

    leaf = Authority().issue("web1.example.com", key=ed25519.Ed25519PrivateKey.generate()).leaf_pem
    assert Known.of(x509.parse_certificate(leaf)).key_type == ""


def test_when_slots_are_short_what_cannot_wait_goes_first_then_what_expires_soonest_then_new_devices():
    due = [
        (Decision(due=True, reason=Reason.NEVER_ISSUED), None),
        (Decision(due=True, reason=Reason.LIFETIME_FRACTION), known(90)),
        (Decision(due=True, reason=Reason.ARI_WINDOW), known(47)),
        (Decision(due=True, reason=Reason.DRIFT), known(6)),
        (Decision(due=True, reason=Reason.REVOKED), known(200)),
    ]
    ordered = [decision.reason for decision, _ in sorted(due, key=lambda pair: urgency(*pair))]
    assert ordered == [
        Reason.REVOKED,
        Reason.DRIFT,
        Reason.ARI_WINDOW,
        Reason.LIFETIME_FRACTION,
        Reason.NEVER_ISSUED,
    ]


@pytest.mark.parametrize("reason", [Reason.REVOKED, Reason.FORCED, Reason.UNFINISHED])
def test_what_cannot_wait_goes_first_with_or_without_a_certificate(reason):
    decision = Decision(due=True, reason=reason)
    assert urgency(decision, None) == urgency(decision, known()) == (0, 0.0)


instants = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2040, 1, 1), timezones=st.just(dt.UTC))
lifetimes = st.floats(0.01, 825).map(dt.timedelta)
certificates = st.builds(
    lambda start, lifetime, names, ca, key, revoked, own: Known(
        "aa", ca, "CN=R1", names, key, start, start + lifetime, revoked, own
    ),
    instants,
    lifetimes,
    st.sampled_from([DEVICE.dns_names, ("web1.example.com",), ()]),
    st.sampled_from(["ca", "another", ""]),
    st.sampled_from(["ec256", "rsa2048", ""]),
    st.booleans(),
    st.booleans(),
)
situations = st.builds(
    Situation,
    known=st.none() | certificates,
    served_sha256=st.sampled_from([None, "aa", "bb"]),
    unfinished=st.booleans(),
    half_installed=st.booleans(),
    forced=st.booleans(),
    quarantined=st.booleans(),
    not_before=st.none() | instants,
    renewal_at=st.none() | instants,
    window_open=st.booleans(),
    window_opens=st.none() | instants,
)
routes = st.builds(
    lambda before, fraction: replace(ROUTE, renew_before=before, renew_fraction=None if before else fraction),
    st.none() | st.floats(0, 100 * 86400),
    st.none() | st.floats(0.1, 0.95),
)
HELD_BACK = {Reason.QUARANTINED, Reason.DEFERRED, Reason.OUTSIDE_WINDOW}


@given(situations, instants, routes)
def test_an_instant_in_the_past_means_due_unless_held_back(situation, now, route):
    decision = decide(DEVICE, route, situation, now, SETTINGS)
    past = situation.renewal_at is not None and situation.renewal_at <= now
    if situation.known is not None:
        past = past or renewal_time(situation.known, route, SETTINGS) <= now
    if past or situation.known is None:
        assert decision.due or decision.reason in HELD_BACK


@given(situations, instants, routes)
def test_due_and_reason_never_contradict_each_other(situation, now, route):
    decision = decide(DEVICE, route, situation, now, SETTINGS)
    assert decision.due is (decision.reason not in HELD_BACK | {Reason.NOT_DUE})
    assert decision.due or not situation.forced
    if decision.due:
        assert decision.next_at is None
        assert situation.forced or not situation.quarantined


@given(certificates, instants, routes)
def test_before_its_time_a_certificate_as_asked_is_never_due(certificate, now, route):
    asked = replace(
        certificate, dns_names=DEVICE.dns_names, ca="ca", key_type="ec256", revoked=False, self_signed=False
    )
    at = renewal_time(asked, route, SETTINGS)
    decision = decide(DEVICE, route, Situation(asked), now, SETTINGS)
    assert decision.due is (now >= at)
    if now < at:
        assert decision.next_at == at


@given(certificates, routes)
def test_the_renewal_time_lies_within_the_lifetime(certificate, route):
    at = renewal_time(certificate, route, SETTINGS)
    assert certificate.not_before < at <= certificate.not_after


@given(situations, instants, routes, st.timedeltas(dt.timedelta(0), dt.timedelta(days=3650)))
def test_once_due_stays_due(situation, now, route, later):
    """Time alone never makes a due device not due."""
    if decide(DEVICE, route, situation, now, SETTINGS).due:
        assert decide(DEVICE, route, situation, now + later, SETTINGS).due
