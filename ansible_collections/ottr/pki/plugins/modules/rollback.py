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
      sample: rolled_back
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
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
  sample: check the address, the port and the way to it; the next run goes on where this one stopped
"""
