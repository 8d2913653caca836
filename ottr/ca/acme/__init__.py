# SPDX-License-Identifier: Apache-2.0
"""The ACME server (RFC 8555, RFC 9773, RFC 8737, RFC 8738, draft-ietf-acme-profiles).

How the parts fit::

    server       AcmeServer.handle(Message) -> Reply: routes, problems, nonces; knows nothing of sockets
     ├─ exchange       one request, verified: strict JWS, url, nonce, account (RFC 8555 section 6)
     ├─ accounts       newAccount, update, deactivation, key change, external account binding
     ├─ orders         newOrder, order, list
     ├─ finalize       the CSR judged, the certificate signed and recorded; disk waits for the commit
     ├─ authorizations authorizations and their challenges; looks has validation/ look at DNS, HTTP, TLS, CAA
     ├─ downloads      certificates with chain and alternates, revocation
     └─ renewal_info   when to renew (RFC 9773)
    records      the tables' rows as values; schema has the tables; memory keeps rows while nobody else writes
    settings     `acme` of ca.yaml

An order is stored as pending, valid or invalid; whether a pending one is ready follows from its authorizations
whenever it is looked at, so nothing has to be kept in step. Finalizing claims the order, signs and records in one
transaction: of two at once, one gets the certificate and the other ``orderNotReady``.

Where the database is a file, ``direct`` has its event loop ``begin`` nearly every request itself: there nothing may be
waited for, but by the first write to a new log for the disk (see ``writer``). What would have to wait raises ``Busy``
and goes on when the commit under way is done, or in a thread.
"""
