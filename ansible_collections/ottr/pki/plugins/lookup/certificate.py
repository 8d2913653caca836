# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
name: certificate
short_description: Looks up what Ottr knows of the certificate of a device
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Reads the state database of Ottr. Connects to no device.
options:
  _terms:
    description:
      - Names of devices.
    type: list
    elements: str
    required: true
  config:
    description:
      - The settings of Ottr, C(ottr.yaml).
      - Without it the first there is of E(OTTR_CONFIG), C(./ottr.yaml), C(~/.config/ottr/ottr.yaml) and
        C(/etc/ottr/ottr.yaml).
    type: path
requirements:
  - ottr, in the Python that runs the play.
seealso:
  - module: ottr.pki.certificate_info
"""

EXAMPLES = r"""
---
- name: Publish the certificate of a mail server (RFC 7672)
  ansible.builtin.debug:
    msg: "{{ lookup('ottr.pki.certificate', 'mail.example.com').sha256 }}"

- name: Which of the web servers have run out?
  ansible.builtin.debug:
    msg: "{{ query('ottr.pki.certificate', *groups['web']) | select | selectattr('expired') | map(attribute='device') }}"
"""

RETURN = r"""
---
_raw:
  description:
    - For each device what M(ottr.pki.certificate_info) returns as RV(ottr.pki.certificate_info#module:certificate), V(none) when nothing is known.
  type: list
  elements: dict
"""

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.ottr.pki.plugins.module_utils import _service


class LookupModule(LookupBase):
    """See the documentation."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return _service.load_certificates(self.get_option("config"), [str(name) for name in terms])
        except _service.ServiceError as error:
            raise AnsibleLookupError("ottr.pki.certificate: %s" % error) from error
