# SPDX-License-Identifier: Apache-2.0
"""Rotations: one device (pipeline), many devices (runner), and what they leave behind."""
