#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: certificate_info
short_description: Return what is known of the certificate of a host
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Reads the state database of Ottr. Connects to nothing; M(ottr.pki.verify) looks at what is served.
extends_documentation_fragment:
  - ottr.pki.ottr
  - ottr.pki.ottr.reading
seealso:
  - module: ottr.pki.plan
  - module: ottr.pki.verify
"""

EXAMPLES = r"""
---
- name: Look the certificate up
  ottr.pki.certificate_info:
  register: known

- name: Refuse to go on with one that has run out
  ansible.builtin.assert:
    that: not known.certificate.expired
  when: known.certificate is truthy
"""

RETURN = r"""
---
certificate:
  description: The certificate the host was last seen to serve, V(none) when nothing is known.
  returned: success
  type: dict
  contains:
    device:
      description: The name in the inventory.
      type: str
      returned: always
    ca:
      description: The CA that was asked, a key of C(issuers) in C(ottr.yaml).
      type: str
      returned: always
      sample: lets_encrypt
    issuer:
      description: Name of the issuer (RFC 4514).
      type: str
      returned: always
      sample: CN=R11,O=Let's Encrypt,C=US
    serial:
      description: Serial number in lower-case hex.
      type: str
      returned: always
    sha256:
      description: Fingerprint in lower-case hex.
      type: str
      returned: always
    dns_names:
      description: The names it is for.
      type: list
      elements: str
      returned: always
    subject_alt_name:
      description: The same, as M(community.crypto.x509_certificate_info) writes them.
      type: list
      elements: str
      returned: always
      sample: ["DNS:web1.example.com"]
    key_type:
      description: Type of the key.
      type: str
      returned: always
      sample: ec256
    not_before:
      description: Begin of its validity.
      type: str
      returned: always
    not_after:
      description: End of its validity.
      type: str
      returned: always
    expired:
      description: Whether that is over.
      type: bool
      returned: always
    revoked:
      description: Whether Ottr has revoked it.
      type: bool
      returned: always
    rotation_id:
      description: The rotation it came from; empty when it was found on the device.
      type: str
      returned: always
    issued_at:
      description: When it was issued.
      type: str
      returned: always
    installed_at:
      description: When it was installed.
      type: str
      returned: always
    bound_at:
      description: When it was bound.
      type: str
      returned: always
    served_at:
      description: When it was first seen to be served.
      type: str
      returned: always
    certificate:
      description: The certificate in PEM.
      type: str
      returned: always
    chain:
      description: Its issuers in PEM, as far as they are known.
      type: str
      returned: always
    full_chain:
      description: Both.
      type: str
      returned: always
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
  sample: check the address, the port and the way to it; the next run goes on where this one stopped
"""
