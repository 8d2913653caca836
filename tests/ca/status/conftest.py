# SPDX-License-Identifier: Apache-2.0
"""A CA whose status is asked for, without a socket and over one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ottr.ca.authority import Authority
from ottr.ca.model import Certificate
from ottr.ca.settings import CaSettings
from ottr.ca.status.service import Status
from tests.ca.requests import SERVER, build_request


@pytest.fixture
def row(authority: Authority) -> Certificate:
    """A certificate of the intermediate."""
    return authority.issue(build_request("www.example.test"), SERVER)


OpenStatus = Callable[..., Status]


@pytest.fixture
def open_status(authority: Authority) -> Iterator[OpenStatus]:
    """Open the status of the CA with sections of ca.yaml."""
    with ExitStack() as stack:

        def build(**sections: object) -> Status:
            old = authority.settings
            authority.settings = CaSettings(
                **{name: getattr(old, name) for name in old.__slots__ if name != "sections"},  # type: ignore[attr-defined]
                sections={**old.sections, **sections},
            )
            return stack.enter_context(Status(authority))

        yield build


@pytest.fixture
def status(open_status: OpenStatus) -> Status:
    """With the usual settings."""
    return open_status()
