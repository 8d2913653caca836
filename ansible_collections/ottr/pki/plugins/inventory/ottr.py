# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
name: ottr
short_description: Devices and their certificates from the state database of Ottr
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Serves every device that the state database (SQLite or PostgreSQL) knows of, those of C(ottr inventory) with their
    variables.
  - Of a device with a known certificate the variables C(certificate_expiration), C(certificate_issuer),
    C(certificate_serial), C(certificate_sha256), C(certificate_names), C(certificate_key_type), C(certificate_ca) and
    C(certificate_validation) are set; of all devices C(ottr_driver), C(ottr_issuer), C(ottr_open), C(ottr_stranded)
    and C(ottr_quarantined).
  - Devices are in the groups C(driver_NAME) and C(issuer_NAME); in C(expiring) when their certificate runs out within
    O(expiring_days), in C(stranded) when going back has failed and a human is needed, and in C(quarantined) when they
    have failed too often.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description:
      - The name of this plugin.
    required: true
    choices: [ottr.pki.ottr]
    type: str
  config:
    description:
      - The settings of Ottr, C(ottr.yaml). A relative path begins at the folder of the inventory file.
      - Without it the first there is of E(OTTR_CONFIG), C(./ottr.yaml), C(~/.config/ottr/ottr.yaml) and
        C(/etc/ottr/ottr.yaml).
    type: path
  expiring_days:
    description:
      - How many days before the end of its validity a certificate is expiring.
    type: int
    default: 30
requirements:
  - ottr, in the Python that runs the play.
notes:
  - The name of the inventory file ends with C(.ottr.yml) or C(.ottr.yaml).
"""

EXAMPLES = r"""
---
# devices.ottr.yml
plugin: ottr.pki.ottr
config: /etc/ottr/ottr.yaml
expiring_days: 14
keyed_groups:
  - key: data_center
    prefix: dc
groups:
  broken: ottr_stranded or ottr_quarantined
compose:
  ansible_host: ansible_host | default(inventory_hostname)
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ansible
cache_timeout: 600
"""

import datetime
import os

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.ottr.pki.plugins.module_utils import _service

FACTS = {
    "expiration": "not_after",
    "issuer": "issuer",
    "serial": "serial",
    "sha256": "sha256",
    "names": "dns_names",
    "key_type": "key_type",
    "ca": "ca",
}


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """See the documentation."""

    NAME = "ottr.pki.ottr"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith((".ottr.yml", ".ottr.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        now = datetime.datetime.now(datetime.timezone.utc)
        for device in self.load(path, cache):
            self.add(device, now)

    def load(self, path, cache):
        """The devices, from the cache if there is one that holds."""
        key = self.get_cache_key(path)
        if cache and self.get_option("cache"):
            try:
                return self._cache[key]
            except KeyError:
                pass
        config = self.get_option("config")
        if config:
            config = os.path.join(os.path.dirname(os.path.abspath(path)), config)
        try:
            found = _service.load_devices(config)
        except _service.ServiceError as error:
            raise AnsibleParserError("%s: %s" % (path, error)) from error
        if self.get_option("cache"):
            self._cache[key] = found
        return found

    def add(self, device, now):
        name = self.inventory.add_host(device["name"])
        for variable, value in describe(device).items():
            self.inventory.set_variable(name, variable, value)
        for group in self.groups_of(device, now):
            self.inventory.add_child(self.inventory.add_group(self._sanitize_group_name(group)), name)
        variables = self.inventory.get_host(name).get_vars()
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        variables = self.inventory.get_host(name).get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)

    def groups_of(self, device, now):
        groups = list(device["groups"])
        groups += ["%s_%s" % (what, device[what]) for what in ("driver", "issuer") if device[what]]
        groups += [what for what in ("stranded", "quarantined") if device[what]]
        if device["certificate"]:
            end = datetime.datetime.fromisoformat(device["certificate"]["not_after"].replace("Z", "+00:00"))
            if end - now <= datetime.timedelta(days=self.get_option("expiring_days")):
                groups.append("expiring")
        return groups


def describe(device):
    """The variables of a device."""
    variables = dict(device["variables"])
    variables.update(("ottr_%s" % what, device[what]) for what in ("driver", "issuer", "open", "stranded", "quarantined"))
    if device["certificate"]:
        variables.update(("certificate_%s" % name, device["certificate"][key]) for name, key in FACTS.items())
        # A CA names itself as it likes, and no template is to be seen in its name (RFC 4514 section 2.4).
        variables["certificate_issuer"] = variables["certificate_issuer"].replace("{", "\\7B")
        variables["certificate_validation"] = True
    return variables
