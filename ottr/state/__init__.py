# SPDX-License-Identifier: Apache-2.0
"""What survives a run: journal, leases, certificates and schedules, in SQLite or PostgreSQL."""
