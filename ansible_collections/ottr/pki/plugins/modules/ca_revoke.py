#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ca_revoke
short_description: Have the private CA of Ottr revoke a certificate
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Revokes a certificate of the CA. One that is revoked already is left as it is, with the reason it has.
  - An issuer revoked with V(ca_compromise) or V(key_compromise) takes all it has signed with it.
extends_documentation_fragment:
  - ottr.pki.ca
  - ottr.pki.ca.changing
options:
  serial:
    description:
      - Serial number in hex; colons do not matter.
      - One of O(serial), O(certificate_path) and O(certificate_content) is needed.
    type: str
  issuer:
    description:
      - The issuer, when two of the CA's have used the same serial number.
    type: str
    default: ""
  certificate_path:
    description:
      - The certificate, in PEM, on the host.
    type: path
  certificate_content:
    description:
      - The certificate itself.
    type: str
  reason:
    description:
      - A reason of RFC 5280. V(certificate_hold) suspends the certificate, V(remove_from_crl) lifts that.
    type: str
    default: unspecified
    choices:
      - unspecified
      - key_compromise
      - ca_compromise
      - affiliation_changed
      - superseded
      - cessation_of_operation
      - certificate_hold
      - remove_from_crl
      - privilege_withdrawn
      - aa_compromise
seealso:
  - module: ottr.pki.ca_certificate
"""

EXAMPLES = r"""
---
- name: Revoke what a host had before it was taken away
  ottr.pki.ca_revoke:
    folder: /srv/ca
    certificate_path: /etc/ssl/certs/www.pem
    reason: cessation_of_operation

- name: Suspend a certificate
  ottr.pki.ca_revoke:
    folder: /srv/ca
    serial: 7a:1d:75:f0:9e:b4:e0:88
    reason: certificate_hold
  run_once: true
"""

RETURN = r"""
---
info:
  description:
    - What the CA knows of the certificate, in check mode as it is before. The members are those of
      RV(ottr.pki.ca_certificate#module:info); these are some of them.
  returned: success
  type: dict
  contains:
    serial:
      description: Serial number in lower-case hex.
      type: str
      returned: always
      sample: 7a1d75f09eb4e088
    status:
      description: V(valid), V(held) or V(revoked).
      type: str
      returned: always
      sample: revoked
    reason:
      description: Why it was revoked, V(none) if it was not.
      type: str
      returned: always
      sample: superseded
    revoked_at:
      description: Since when it is revoked or held.
      type: str
      returned: always
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
"""
