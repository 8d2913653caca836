# SPDX-License-Identifier: Apache-2.0
"""``python -m ottr``."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``ottr`` command."""
    from ottr.cli.main import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
