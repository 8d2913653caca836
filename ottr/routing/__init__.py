# SPDX-License-Identifier: Apache-2.0
"""Which driver rotates a device, and how: routing.yaml, an ordered list of routes. The first match wins."""

from __future__ import annotations

from ottr.routing.loader import load_routes
from ottr.routing.router import Reason, Router, Trial

__all__ = ["Reason", "Router", "Trial", "load_routes"]
