#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: verify
short_description: Look at what a host serves, and end the rotation that was installed
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Looks with a TLS handshake from outside at every endpoint of the host. The task fails when one serves something else
    than was issued, or nothing.
  - The last step after M(ottr.pki.install). A rotation that is installed and not verified is ended. When its certificate
    is not served, the device goes back to the one it had. In check mode that rotation is left as it is.
  - What was seen is written down in the state database and in the inventory, but not in check mode.
extends_documentation_fragment:
  - ottr.pki.ottr
  - ottr.pki.ottr.reading
seealso:
  - module: ottr.pki.install
  - module: ottr.pki.rotate
  - module: ottr.pki.certificate_info
"""

EXAMPLES = r"""
---
- name: Is everything served as it was issued?
  ottr.pki.verify:
"""

RETURN = r"""
---
rotation:
  description:
    - V(none) when no rotation was to be ended.
    - How the host came out. The members are those of RV(ottr.pki.rotate#module:rotation); these are some of them.
  returned: success
  type: dict
  contains:
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
    error:
      description: What went wrong with C(kind), C(message) and C(hint), V(none) if nothing did.
      type: dict
      returned: always
endpoints:
  description: What was seen, as C(ottr verify --output json) says it.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: The name in the inventory.
      type: str
      returned: always
    endpoint:
      description: Address and port.
      type: str
      returned: always
      sample: 192.0.2.10:443
    status:
      description: V(ok), V(drift), V(unreachable), V(unknown) (good, and nothing was known before) or V(skipped).
      type: str
      returned: always
      sample: ok
    problem:
      description: What is wrong, in words.
      type: str
      returned: always
    sha256:
      description: Fingerprint of what is served.
      type: str
      returned: always
    serial:
      description: Its serial number.
      type: str
      returned: always
    not_after:
      description: End of its validity.
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
    warnings:
      description: What else is worth knowing.
      type: list
      elements: str
      returned: always
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
  sample: check the address, the port and the way to it; the next run goes on where this one stopped
"""
