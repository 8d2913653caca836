# SPDX-License-Identifier: Apache-2.0
"""Enrolment over Secure Transport (RFC 7030, clarified by RFC 8951): certificates for who has one, or a password.

settings     the section ``est`` of ca.yaml
callers      who asks: the certificate TLS has seen here, or that a proxy has seen which proves to be ours
users        enrolment passwords, each bound to names and profiles
enrolment    simpleenroll and simplereenroll
messages     bodies: base64, PKCS#10, PKCS#7, csrattrs
server       the endpoints, without a socket
"""
