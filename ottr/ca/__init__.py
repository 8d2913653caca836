# SPDX-License-Identifier: Apache-2.0
"""The private CA: a product of its own that any ACME client can use.

How the parts fit::

    opening      init_authority(folder, yaml, passphrase), open_authority(folder, Passphrase(...), listeners=...)
       └─ Authority (authority.py): the one object everybody calls
            .settings    CaSettings of ca.yaml; settings.section("acme") is the part's own mapping, read strictly
            .database    Database: write() and read() are transactions; ensure(name, version, metadata) makes the
                         tables of a part (its own sa.MetaData), once
            .keyring     Keyring of issuers' keys: sealed files or a PKCS#11 token; .load(key_id) is a Signer
            .clock()     aware UTC
            .issue(request, terms) / .prepare(request, terms) then .sign(connection, prepared)
            .revoke, .hold, .release, .revoke_row(connection, row, reason, actor)
            .find(issuer_id, serial), .find_serial(serial), .issuers(), .active_issuer()
            .chains(issuer_id), .trust_bundle(), .load_signer(issuer_id), .load_ocsp_signer(issuer_id)

A certificate goes through three steps: *prepare* decides every byte and lints it under a throw-away signature,
*sign* has the issuer sign exactly that, once, and records it; both the record and whatever else the caller writes are
one transaction, and only after its commit the certificate may leave the process.

A change of status is one transaction too: the row, an entry of ``status_change`` (what delta CRLs are made of),
the issuer's ``status_version`` (what caches compare), the audit trail, and every listener.

Served (``serving``): ``acme`` (by way of ``direct``, without ASGI), ``est``, ``status``, ``jwks``, ``downloads``.
``peers`` tells who is at the other end of a connection, ``clients`` whether a client certificate counts.

Nothing here imports the rest of Ottr but ``ottr.errors``; nothing but the command line and the lab imports this.
More: docs/ca.md.
"""
