# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a host before rendering."""

from __future__ import annotations

import os


class Merger:
    """The variables of a host before rendering, by Ansible's precedence.

    ``VariableManager.get_vars`` does it host by host; where nothing unusual is configured, the share of the groups
    is the same for all hosts of the same groups, and is put together once.
    """

    def __init__(self, reader):
        from ansible.plugins.loader import vars_loader

        self.reader = reader
        constants = reader.constants
        plugin = vars_loader.get("host_group_vars")
        loaded = {getattr(p, "_load_name", p.__module__.rpartition(".")[2]) for p in vars_loader.all(class_only=True)}
        self.simple = (
            constants.RUN_VARS_PLUGINS == "demand"
            and list(constants.VARIABLE_PLUGINS_ENABLED) == ["host_group_vars"]
            and loaded <= {"host_group_vars", "ansible.builtin.host_group_vars"}
            and constants.CACHE_PLUGIN in ("memory", "ansible.builtin.memory")
            and plugin.get_option("stage") in (None, "all")
        )
        self.plugin = plugin
        self.shared = {}
        self.bases = [
            base
            for source in reader.sources
            if source is not None and not ("," in source and not os.path.exists(source))
            for base in [source if os.path.isdir(source) else os.path.dirname(source)]
        ]

    def merge(self, host):
        """All variables of the host, templates as they stand. Not to be changed by the caller."""
        from ansible.utils.vars import combine_vars

        if not self.simple:
            return self.reader.variables.get_vars(host=host, include_hostvars=False)
        merged = combine_vars(self.of_groups(host.get_groups()), host.get_vars())
        merged = self.add_files(merged, self.bases, [host])
        merged = self.add_files(merged, [self.reader.loader.get_basedir()], [host])
        return combine_vars(merged, self.reader.variables.extra_vars)

    def add_files(self, merged, bases, entities):
        from ansible.utils.vars import combine_vars

        data = {}
        for base in bases:
            found = self.plugin.get_vars(self.reader.loader, base, entities)
            data = combine_vars(data, found) if found else data
        return combine_vars(merged, data) if data else merged

    def of_groups(self, groups):
        key = tuple(group.name for group in groups)
        if key not in self.shared:
            self.shared[key] = self.merge_groups(groups)
        return self.shared[key]

    def merge_groups(self, groups):
        from ansible.inventory.helpers import get_group_vars, sort_groups
        from ansible.utils.vars import combine_vars

        top = [self.reader.inventory.groups["all"]]
        rest = sort_groups([group for group in groups if group.name != "all"])
        playbook = [self.reader.loader.get_basedir()]
        steps = {
            "all_inventory": lambda merged: combine_vars(merged, top[0].get_vars()),
            "all_plugins_inventory": lambda merged: self.add_files(merged, self.bases, top),
            "all_plugins_play": lambda merged: self.add_files(merged, playbook, top),
            "groups_inventory": lambda merged: combine_vars(merged, get_group_vars(rest)),
            "groups_plugins_inventory": lambda merged: self.add_files(merged, self.bases, rest),
            "groups_plugins_play": lambda merged: self.add_files(merged, playbook, rest),
        }
        merged = {}
        for entry in self.reader.constants.VARIABLE_PRECEDENCE:
            if entry in steps:
                merged = steps[entry](merged)
        return merged
