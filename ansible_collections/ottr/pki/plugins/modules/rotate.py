#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rotate
short_description: Rotate the certificate of a host
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Makes a key and a CSR on the device, has the CSR signed by an ACME CA (dns-01), installs the certificate, reloads
    the service, and looks from outside whether it is served. The private key never leaves the device.
  - Does nothing for a host that is not due. Goes on with a rotation that an earlier run has left open, with the same key
    and the same order.
  - When anything goes wrong the device goes back to the certificate it had, and the task fails.
  - A device that does not answer is unreachable to Ansible as well. A host that Ottr cannot rotate as things stand
    (no route, a variable that is wrong), or that another process works on, is skipped.
extends_documentation_fragment:
  - ottr.pki.ottr
  - ottr.pki.ottr.changing
  - ottr.pki.ottr.force
seealso:
  - module: ottr.pki.plan
  - module: ottr.pki.csr
  - module: ottr.pki.verify
  - module: ottr.pki.rollback
"""

EXAMPLES = r"""
---
- name: Rotate what is due
  ottr.pki.rotate:

- name: The same for one host that is not due
  ottr.pki.rotate:
    force: true
  when: inventory_hostname == "web1.example.com"

- name: Say once for all tasks where the settings are
  hosts: all
  gather_facts: false
  serial: [1, 10%, 100%]
  max_fail_percentage: 0
  module_defaults:
    group/ottr.pki.ottr:
      config: /etc/ottr/ottr.yaml
  tasks:
    - name: Rotate
      ottr.pki.rotate:
      register: rotated
"""

RETURN = r"""
---
rotation:
  description:
    - How the host came out, as C(ottr rotate --output json) says it.
    - Serial numbers and fingerprints are lower-case hex, times ISO 8601 UTC.
  returned: when the host could be looked at
  type: dict
  contains:
    device:
      description: The name in the inventory.
      type: str
      returned: always
      sample: web1.example.com
    outcome:
      description:
        - V(rotated), V(held) (open, until the next step is asked for), V(planned) (in check mode), V(not_due),
          V(skipped), V(deferred), V(unreachable), V(rolled_back), V(failed), V(interrupted) or V(stranded).
        - V(stranded) means that going back failed too, and that a human is needed now.
      type: str
      returned: always
      sample: rotated
    changed:
      description: Whether the device serves a new certificate.
      type: bool
      returned: always
    reason:
      description: Why it was due, or is not.
      type: str
      returned: always
      sample: lifetime_fraction
    step:
      description: The step that was reached.
      type: str
      returned: always
      sample: record
    rotation_id:
      description: The rotation in the journal.
      type: str
      returned: always
      sample: 4kq0w2m9d1xz
    driver:
      description: The driver of the route.
      type: str
      returned: always
      sample: linux_ssh
    issuer:
      description: The CA, a key of C(issuers) in C(ottr.yaml).
      type: str
      returned: always
      sample: lets_encrypt
    old_sha256:
      description: Fingerprint of the certificate before.
      type: str
      returned: always
    new_sha256:
      description: Fingerprint of the certificate after.
      type: str
      returned: always
    serial:
      description: Serial number of the new certificate.
      type: str
      returned: always
      sample: 7a1d75f09eb4e088
    not_after:
      description: End of its validity.
      type: str
      returned: always
      sample: "2027-02-20T01:13:37Z"
    error:
      description: What went wrong, V(none) if nothing did.
      type: dict
      returned: always
      contains:
        kind:
          description: Class of the error.
          type: str
          returned: always
          sample: VerificationError
        message:
          description: What happened.
          type: str
          returned: always
        hint:
          description: What to do about it.
          type: str
          returned: always
    warnings:
      description: What else is worth knowing.
      type: list
      elements: str
      returned: always
    diff:
      description: In check mode, what would change about the certificate.
      type: list
      elements: dict
      returned: always
      contains:
        what:
          description: V(names), V(issuer), V(key type) or V(not_after).
          type: str
          returned: always
        before:
          description: What the device has.
          type: str
          returned: always
        after:
          description: What it would have.
          type: str
          returned: always
    started:
      description: When work on the device began.
      type: str
      returned: always
    finished:
      description: When it ended.
      type: str
      returned: always
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
  sample: check the address, the port and the way to it; the next run goes on where this one stopped
"""
