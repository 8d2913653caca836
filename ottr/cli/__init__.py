# SPDX-License-Identifier: Apache-2.0
"""The ``ottr`` command. A command parses, calls one verb of the service, and shows what comes back.

Every run of ``ottr`` imports every module of this folder: what is heavy is imported inside the functions that need it.
"""
