# SPDX-License-Identifier: Apache-2.0
"""A lab that the tests of one module share, and a site of its own for each test.

Coverage of whole runs is not measured, but for the command line's: it shows what no test asks of a part by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from ottr.lab import Lab
from ottr.lab.host import Host
from tests.acceptance import faults
from tests.acceptance.faults import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker("no_cover")


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Four hosts whose services are reloaded by scripts."""
    with Lab(tmp_path_factory.mktemp("faults") / "lab", 4) as lab:
        faults.use_scripts(lab)
        yield lab


@pytest.fixture(scope="module")
def turns(shared_lab: Lab) -> Iterator[Host]:
    """The hosts of the lab, one after the other and from the beginning."""
    return cycle(shared_lab.hosts)


@pytest.fixture
def host(turns: Iterator[Host]) -> Host:
    """A host for one test; others may have rotated it before."""
    return next(turns)


@pytest.fixture
def site(shared_lab: Lab, tmp_path: Path) -> Site:
    """An operator's folder that knows nothing of the hosts yet."""
    return Site(shared_lab, tmp_path / "site")
