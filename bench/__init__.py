# SPDX-License-Identifier: Apache-2.0
"""The benchmark: Ottr and other ways to rotate a fleet, one after the other on one lab. Not part of the wheel."""
