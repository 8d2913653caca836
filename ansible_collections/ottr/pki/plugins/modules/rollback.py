#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rollback
short_description: Put back the certificate a host had before its last rotation
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Binds the former certificate again, and sees it served. One step back only.
  - The former certificate counts as the current one from then on.
extends_documentation_fragment:
  - ottr.pki.ottr
  - ottr.pki.ottr.rolling
seealso:
  - module: ottr.pki.verify
  - module: ottr.pki.rotate
"""

EXAMPLES = r"""
---
- name: Back to the certificate before
  ottr.pki.rollback:
"""

RETURN = r"""
---
rotation:
  description:
    - How the host came out, as C(ottr rotate --output json) says it.
    - Serial numbers and fingerprints are lower-case hex, times ISO 8601 UTC.
  returned: success
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
