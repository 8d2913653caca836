# SPDX-License-Identifier: Apache-2.0
"""Asking CAs when they would like certificates to be renewed (RFC 9773); nothing here can stop a run."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from ottr.acme import Issuer
from ottr.errors import OttrError
from ottr.model import RenewalInfo
from ottr.orchestrator.target import Surroundings
from ottr.state.certificates import CertificateFacts
from ottr.state.schedules import Schedule

log = logging.getLogger(__name__)

ASK_AGAIN = timedelta(hours=6)
"""After an error, and where a CA has nothing to say (section 4.3.3)."""


def refresh(around: Surroundings, devices: Iterable[tuple[str, str]], forks: int) -> None:
    """Ask for the windows of these (device, CA) whose time to be asked for has come, and keep them."""
    current, schedules = around.stores.certificates.current(), around.stores.schedules.load()
    now = around.clock()
    served = [current[device] for device, ca in devices if ca in around.authorities and device in current]
    stale = [facts for facts in served if _stale(schedules.get(facts.device, Schedule(facts.device)), facts, now)]
    offering = {ca for ca in {facts.ca for facts in stale} if _offers(around.authorities[ca].issuer)}
    asked = [facts for facts in stale if facts.ca in offering]
    if asked:
        with ThreadPoolExecutor(max_workers=min(forks, len(asked))) as pool:
            list(pool.map(partial(_ask, around, schedules), asked))


def choose(info: RenewalInfo, former: Schedule, sha256: str, now: datetime, randomness: random.Random) -> Schedule:
    """Choose an instant in the window, once: as long as the window stays, so does the instant."""
    same = former.renewal_sha256 == sha256 and (former.renewal_start, former.renewal_end) == (info.start, info.end)
    instant = former.renewal_at if same else None
    if instant is None:
        instant = info.start + (info.end - info.start) * randomness.random()
    check_at = now + timedelta(seconds=info.retry_after_s)
    return Schedule(former.device, 0, "", "", None, None, sha256, info.start, info.end, instant, check_at)


def _stale(schedule: Schedule, facts: CertificateFacts, now: datetime) -> bool:
    """Never asked for this certificate, or the CA's Retry-After is over; not after expiry (section 4.3)."""
    if facts.not_after <= now:
        return False
    at = schedule.renewal_check_at
    return schedule.renewal_sha256 != facts.sha256 or at is None or at <= now


def _offers(issuer: Issuer) -> bool:
    try:
        return issuer.offers_renewal_info()
    except OttrError as error:
        log.info("no renewal windows: %s", error)
        return False


def _ask(around: Surroundings, schedules: Mapping[str, Schedule], facts: CertificateFacts) -> None:
    former = schedules.get(facts.device, Schedule(facts.device))
    found = around.stores.certificates.pem(facts.device, facts.sha256)
    now = around.clock()
    info = None
    if found is not None:
        try:
            info = around.authorities[facts.ca].issuer.renewal_info(found.leaf_pem)
        except OttrError as error:
            log.info("%s: no renewal window: %s", facts.device, error)
        except Exception:  # a bug met at one certificate keeps no device from its rotation
            log.exception("%s: unexpected", facts.device)
    if info is None:
        keep = former if former.renewal_sha256 == facts.sha256 else Schedule(facts.device, renewal_sha256=facts.sha256)
        around.stores.schedules.keep_window(replace(keep, renewal_check_at=now + ASK_AGAIN))
        return
    around.stores.schedules.keep_window(choose(info, former, facts.sha256, now, random.SystemRandom()))
