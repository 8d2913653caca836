# SPDX-License-Identifier: Apache-2.0
"""The contract of drivers as a kit: clauses that every driver keeps, asked of it on a device that its stand starts."""
