# SPDX-License-Identifier: Apache-2.0
"""The ACME server (RFC 8555, RFC 9773, RFC 8737, RFC 8738, draft-ietf-acme-profiles).

How the parts fit::

    server       AcmeServer.handle(Message) -> Reply: routes, problems, nonces; knows nothing of sockets
     ├─ exchange       one request, verified: strict JWS, url, nonce, account (RFC 8555 section 6)
     ├─ accounts       newAccount, update, deactivation, key change, external account binding
     ├─ orders         newOrder, order, list, finalize
     ├─ authorizations authorizations and their challenges; validation/ looks at DNS, HTTP, TLS, CAA
     ├─ downloads      certificates with chain and alternates, revocation
     └─ renewal_info   when to renew (RFC 9773)
    records      the tables' rows as values; schema has the tables
    settings     `acme` of ca.yaml

An order is stored as pending, valid or invalid; whether a pending one is ready follows from its authorizations
whenever it is looked at, so nothing has to be kept in step. Finalizing claims the order, signs and records in one
transaction: of two at once, one gets the certificate and the other ``orderNotReady``.
"""
