#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ca_bundle
short_description: Return the roots of the private CA of Ottr that are to be trusted, or write them
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - The roots that a trust store should have. While the CA goes over from one root to the next, these are several.
  - Needs no passphrase. The playbook C(trust_bundle.yml) of Ottr's sources carries them to the trust stores of hosts.
extends_documentation_fragment:
  - ansible.builtin.files
  - ottr.pki.ca
  - ottr.pki.ca.changing
  - ottr.pki.ca.file
options:
  phases:
    description:
      - Which roots, by where they stand in a rollover. Those that are revoked or have run out are never among them.
    type: list
    elements: str
    choices: [prepared, active, retiring, retired]
    default: [prepared, active, retiring]
seealso:
  - module: ottr.pki.ca_certificate
"""

EXAMPLES = r"""
---
- name: Tell a service whom to trust
  ottr.pki.ca_bundle:
    folder: /srv/ca
    path: /etc/example/trusted.pem
    mode: "0644"
"""

RETURN = r"""
---
bundle:
  description: The roots in PEM, the newest first.
  returned: success
  type: str
roots:
  description: The same one by one, as C(ottr ca list --issuers --output json) says it, with the certificates.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Name of the root within the CA.
      type: str
      returned: always
      sample: root-1
    role:
      description: Always V(root).
      type: str
      returned: always
    generation:
      description: Number of its generation.
      type: int
      returned: always
    parent:
      description: The root itself.
      type: str
      returned: always
    phase:
      description: Where it stands in a rollover, V(prepared), V(active), V(retiring) or V(retired).
      type: str
      returned: always
      sample: active
    status:
      description: V(valid), V(held) or V(revoked).
      type: str
      returned: always
      sample: valid
    serial:
      description: Serial number in lower-case hex.
      type: str
      returned: always
    subject:
      description: Subject (RFC 4514).
      type: str
      returned: always
    not_before:
      description: Begin of its validity.
      type: str
      returned: always
    not_after:
      description: End of its validity.
      type: str
      returned: always
    key_held:
      description: Whether the CA has its key.
      type: bool
      returned: always
    sha256:
      description: Fingerprint in lower-case hex.
      type: str
      returned: always
    certificate:
      description: The certificate in PEM.
      type: str
      returned: always
others:
  description: The roots of the CA that are not in the bundle, likewise; trust stores should not have them.
  returned: success
  type: list
  elements: dict
backup_file:
  description: The copy that was kept of the file before.
  returned: changed and if O(backup=true)
  type: str
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
"""
