#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: order
short_description: Have the CSR of a host signed, and hold the rotation there
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - The second step. Completes an ACME order (dns-01) for the rotation that M(ottr.pki.csr) has begun.
  - Does nothing for a host whose rotation is not open. Asked again, it returns the same certificate without a new order.
extends_documentation_fragment:
  - ottr.pki.ottr
  - ottr.pki.ottr.step
seealso:
  - module: ottr.pki.csr
  - module: ottr.pki.install
  - module: ottr.pki.verify
  - module: ottr.pki.rotate
"""

EXAMPLES = r"""
---
- name: Have the certificate issued
  ottr.pki.order:
  register: ordered

- name: Keep a copy
  ansible.builtin.copy:
    content: "{{ ordered.full_chain }}"
    dest: /var/lib/certificates/{{ inventory_hostname }}.pem
    mode: "0644"
  delegate_to: localhost
  when: ordered.full_chain is truthy
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
      sample: held
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
csr:
  description: The certification request (PKCS#10) of the open rotation, in PEM.
  returned: success
  type: str
certificate:
  description: The issued certificate of the open rotation in PEM, V(none) before it is issued.
  returned: success
  type: str
chain:
  description: Its issuers in PEM, without the certificate.
  returned: success
  type: str
full_chain:
  description: The certificate and its issuers in PEM.
  returned: success
  type: str
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
  sample: check the address, the port and the way to it; the next run goes on where this one stopped
"""
