# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's loader and inventory, noting what came from where."""

from __future__ import annotations

import os
import re

# Absolute, without anything that could be expanded or shortened, unquoted.
WHOLE_PATH = re.compile(r"(?:/(?![.]{0,2}(?:/|$))[^/~$'\"\\\0\n]+)+\Z")

STATIC_PLUGINS = frozenset(["ini", "yaml", "toml", "host_list", "advanced_host_list"])


def make_loader(base, reader):
    """A DataLoader that notes vaulted files, and copies nothing that nobody else holds."""

    class Loader(base):
        def load_from_file(self, file_name, cache="all", unsafe=False, **options):
            # Without caching the parsed data are nobody else's: the deep copy is half the time of a large file.
            try:
                data = super().load_from_file(file_name, cache=cache, unsafe=unsafe or cache == "none", **options)
            except Exception:
                reader.broken = str(self.path_dwim(file_name))
                raise
            if reader.encrypted_files and os.path.abspath(self.path_dwim(file_name)) in reader.encrypted_files:
                reader.encrypted_names.update(str(key) for key in data or ())
            return data

        def path_dwim(self, given):
            # Asked several times for each file: a path that is whole already need not be taken apart.
            if isinstance(given, str) and WHOLE_PATH.match(given):
                return given
            return super().path_dwim(given)

        def _get_file_contents(self, file_name):
            content, in_clear = super()._get_file_contents(file_name)
            if not in_clear:
                reader.encrypted_files.add(os.path.abspath(self.path_dwim(file_name)))
            return content, in_clear

    return Loader()


def make_manager(base, reader):
    """An InventoryManager that notes which plugin read which source."""

    def noting(plugin):
        parse = plugin.parse

        def parse_and_note(inventory, loader, path, cache=True):
            parse(inventory, loader, path, cache=cache)
            name = getattr(plugin, "_load_name", None) or getattr(plugin, "NAME", type(plugin).__module__)
            reader.plugins.append((str(path), str(name)))

        plugin.parse = parse_and_note
        return plugin

    class Manager(base):
        def parse_source(self, source, cache=False):
            parsed = super().parse_source(source, cache=cache)
            if not parsed and (str(source) != "/etc/ansible/hosts" or os.path.exists(source)):
                reader.unparsed.append(str(source))
            return parsed

        def _fetch_inventory_plugins(self):
            return [noting(plugin) for plugin in super()._fetch_inventory_plugins()]

    return Manager


def is_static(plugin):
    """Whether the plugin reads hosts from the file itself, and from nowhere else."""
    return plugin.rpartition(".")[2] in STATIC_PLUGINS


class Watched:
    """Paths whose stat says whether anything changed."""

    def __init__(self):
        self.found = set()

    def add(self, path):
        self.found.add(os.path.abspath(str(path)))

    def adjacent(self, base):
        for name in ("group_vars", "host_vars"):
            self.tree(os.path.join(base, name))

    def tree(self, path):
        """Everything below a path but what Ansible passes over: hidden files and folders."""
        path = os.path.abspath(str(path))
        self.found.add(path)
        for folder, folders, files in os.walk(path, followlinks=True):
            folders[:] = [name for name in folders if name[0] != "."]
            self.found.update(os.path.join(folder, name) for name in folders + files if name[0] != ".")
