#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: plan
short_description: Tell whether the certificate of a host is due
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Returns one reason code for every host, as C(ottr plan) does. Connects to nothing.
extends_documentation_fragment:
  - ottr.pki.ottr
  - ottr.pki.ottr.reading
  - ottr.pki.ottr.force
seealso:
  - module: ottr.pki.rotate
  - module: ottr.pki.certificate_info
"""

EXAMPLES = r"""
---
- name: Look what is due
  ottr.pki.plan:
  register: looked

- name: Show the reason
  ansible.builtin.debug:
    msg: "{{ looked.plan.reason }}, next at {{ looked.plan.next_at }}"
"""

RETURN = r"""
---
plan:
  description:
    - One host of C(ottr plan --output json).
    - Also set as the fact C(ottr_plan).
  returned: success
  type: dict
  contains:
    device:
      description: The name in the inventory.
      type: str
      returned: always
      sample: web1.example.com
    due:
      description: Whether a rotation would begin now.
      type: bool
      returned: always
    reason:
      description: Why it is due, or why not.
      type: str
      returned: always
      sample: lifetime_fraction
    message:
      description: Why it cannot be rotated, in words.
      type: str
      returned: always
    dns_names:
      description: The names its certificate is to have.
      type: list
      elements: str
      returned: always
      sample: [web1.example.com, www.example.com]
    platform:
      description: The platform of the device.
      type: str
      returned: always
      sample: linux
    driver:
      description: The driver of the route.
      type: str
      returned: always
      sample: linux_ssh
    issuer:
      description: The CA.
      type: str
      returned: always
      sample: lets_encrypt
    key_type:
      description: The type of the new key.
      type: str
      returned: always
      sample: ec256
    endpoints:
      description: Where the certificate is served.
      type: list
      elements: str
      returned: always
      sample: ["192.0.2.10:443"]
    windows:
      description: Maintenance windows; none means always.
      type: list
      elements: str
      returned: always
    route_line:
      description: The line of C(routing.yaml) that the route begins at.
      type: int
      returned: always
      sample: 12
    sha256:
      description: Fingerprint of the known certificate.
      type: str
      returned: always
    not_after:
      description: End of its validity.
      type: str
      returned: always
      sample: "2027-02-20T01:13:37Z"
    next_at:
      description: When the answer may change.
      type: str
      returned: always
      sample: "2027-01-21T01:13:37Z"
ansible_facts:
  description: Facts about the host.
  returned: success
  type: dict
  contains:
    ottr_plan:
      description: The same as RV(plan).
      type: dict
      returned: success
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
  sample: check the address, the port and the way to it; the next run goes on where this one stopped
"""
