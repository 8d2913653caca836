# SPDX-License-Identifier: Apache-2.0
"""Revocation status for relying parties: CRLs, an OCSP responder, issuers' certificates, all over plain HTTP.

``Status`` (``service.py``) is what the servers and the command line call: it has a ``CrlIssuer`` (``crls.py``) and a
``Responder`` (``responder.py``). ``web.py`` puts them into ASGI, ``protocol.py`` answers what is in memory before any
of that, and ``publishing.py`` writes the same as a tree of files for another web server.
"""
