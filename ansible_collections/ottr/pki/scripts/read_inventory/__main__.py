# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an Ansible inventory for a program that cannot import Ansible.

A child process: one JSON object a line comes in on standard input, one goes out on standard output for each,
until standard input ends. Standard output carries nothing else; whatever plugins print goes to standard error.

``open``       parse the sources; answers hosts, groups, and why the answer may change although no file does
``variables``  the wanted variables of the named hosts, rendered, without secrets
``match``      the hosts that a pattern and a limit mean
``files``      the files and folders that were looked at
``secrets``    the secret variables of the named hosts, rendered

A request that cannot be answered gives ``{"error": {"code", "message", "file", "line"}}``; a variable that cannot
be rendered is a problem of its host, and the host stays.
"""

from __future__ import annotations

from inventory_reader.session import main

main()
