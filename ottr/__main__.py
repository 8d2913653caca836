# SPDX-License-Identifier: Apache-2.0
"""``python -m ottr``."""

from __future__ import annotations

import os
import sys

from ottr import headstart


def main() -> None:
    """Entry point of the ``ottr`` command."""
    headstart.begin(sys.argv[1:], os.environ)
    try:
        from ottr.cli.main import main as run

        status = run()
    finally:
        headstart.dismiss()
    sys.exit(status)


if __name__ == "__main__":
    main()
