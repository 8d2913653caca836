# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an Ansible inventory for a program that cannot import Ansible."""
