# SPDX-License-Identifier: Apache-2.0
"""Ottr rotates X.509 certificates on machines that can run no agent."""

__version__ = "0.1.0"
