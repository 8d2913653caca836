# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests that come over ASGI: EST and OCSP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ottr.ca.web import BodyRefused, receive_body


def receive(*events: dict[str, Any]) -> bytes:
    """Receive a body of at most five bytes; after the events nothing comes any more."""
    left = list(events)

    async def give() -> dict[str, Any]:
        return left.pop(0) if left else await asyncio.Event().wait() or {}

    async def work() -> bytes:
        return await receive_body(give, 5, 0.05)

    return asyncio.run(work())


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_parts_is_put_together() -> None:
    assert receive(part(b"abc"), part(b"de", more=False)) == b"abcde"


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((part(b"abc"), {"type": "http.disconnect"}), 400),
        ((part(b"abc"),), 408),
        ((part(b"abc"), part(b"def")), 413),
    ],
    ids=["gone", "slow", "too long"],
)
def test_what_is_not_a_whole_body_in_time_is_refused(events: tuple[dict[str, Any], ...], status: int) -> None:
    with pytest.raises(BodyRefused) as caught:
        receive(*events)
    assert caught.value.status == status
