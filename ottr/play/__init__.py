# SPDX-License-Identifier: Apache-2.0
"""One process for a whole play: hosts ask for verbs of the service one by one, as their turn comes.

A play decides host by host (``when``, ``rescue``, ``serial``, strategies) what is done, so that no host may be touched
before its own task has come. What costs time, starting Python and reading settings, routes and state, is done once.
"""
