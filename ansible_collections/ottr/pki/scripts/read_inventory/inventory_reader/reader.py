# SPDX-License-Identifier: GPL-3.0-or-later
"""One inventory, parsed once, asked often."""

from __future__ import annotations

import gc
import json
import os

from inventory_reader.failures import PasswordNeeded, Unparsed, first_line
from inventory_reader.merging import Merger
from inventory_reader.rendering import Renderer
from inventory_reader.sources import Watched, is_static, make_loader, make_manager
from inventory_reader.templates import INDIRECT
from inventory_reader.values import plain

PLAIN_DEFAULTS = {
    "ansible_user": "DEFAULT_REMOTE_USER",
    "ansible_port": "DEFAULT_REMOTE_PORT",
    "ansible_ssh_private_key_file": "DEFAULT_PRIVATE_KEY_FILE",
    "ansible_become": "DEFAULT_BECOME",
    "ansible_become_method": "DEFAULT_BECOME_METHOD",
    "ansible_become_user": "DEFAULT_BECOME_USER",
}


class Reader:
    """One inventory, parsed once, asked often."""

    def __init__(self, request, warnings):
        from ansible import constants as C
        from ansible import context
        from ansible.cli import CLI
        from ansible.inventory.manager import InventoryManager
        from ansible.module_utils.common.collections import ImmutableDict
        from ansible.parsing.dataloader import DataLoader
        from ansible.plugins.loader import init_plugin_loader
        from ansible.utils.path import unfrackpath
        from ansible.vars.hostvars import HostVars
        from ansible.vars.manager import VariableManager

        self.constants = C
        self.warnings = warnings
        self.broken = ""  # the file that could not be loaded last
        self.plugins = []  # (source, plugin that parsed it)
        self.encrypted_files = set()
        self.encrypted_names = set()
        sources = [s if "," in s else unfrackpath(s, follow=False) for s in request["sources"]]
        self.sources = sources or list(C.DEFAULT_HOST_LIST)
        context.CLIARGS = ImmutableDict(
            extra_vars=tuple(request["extra_vars"]), inventory=tuple(self.sources), verbosity=0, check=False, diff=False
        )
        init_plugin_loader()
        self.loader = make_loader(DataLoader, self)
        self.unlock(CLI, request)
        self.unparsed = []
        self.inventory = make_manager(InventoryManager, self)(loader=self.loader, sources=self.sources)
        self.refuse_unparsed()
        version = CLI.version_info(gitinfo=False)
        self.variables = VariableManager(loader=self.loader, inventory=self.inventory, version_info=version)
        self.hostvars = HostVars(inventory=self.inventory, variable_manager=self.variables, loader=self.loader)
        self.merger = Merger(self)
        self.renderer = Renderer(self)

    def unlock(self, cli, request):
        """Load the vault secrets as Ansible's commands do; passwords that were typed come with the request."""
        import ansible.cli

        typed = dict(request["vault_passwords"])

        class Typed(ansible.cli.PromptVaultSecret):
            def ask_vault_passwords(self):
                if self.vault_id not in typed:
                    raise PasswordNeeded(self.vault_id)
                return typed[self.vault_id].encode()

        ansible.cli.PromptVaultSecret = Typed
        secrets = cli.setup_vault_secrets(
            self.loader,
            vault_ids=list(self.constants.DEFAULT_VAULT_IDENTITY_LIST) + list(request["vault_ids"]),
            vault_password_files=list(request["vault_password_files"]),
            ask_vault_pass=request["ask_vault_pass"] or bool(self.constants.DEFAULT_ASK_VAULT_PASS),
            auto_prompt=False,
        )
        self.loader.set_vault_secrets(secrets)

    def refuse_unparsed(self):
        """Ansible leaves out what it cannot read with a warning; hosts that vanish are worse than an error."""
        for source in self.unparsed:
            if "," not in source and not os.path.exists(source):
                raise Unparsed(source, "there is no such file or folder")
            if os.path.isdir(source):
                if not any(other.startswith(source + os.sep) for other in self.unparsed):
                    raise Unparsed(source, "there is no inventory in this folder")
                continue
            texts = [text for text in self.warnings if source in text or "Failed to parse" in text]
            kinds = {".json": "yaml", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}
            kind = kinds.get(os.path.splitext(source)[1], "ini")
            best = [text for text in texts if kind in text.replace(source, "")] or texts or ["no plugin can read it"]
            raise Unparsed(source, best[0])

    def origin(self, host, static):
        """Number of the source whose host_vars belong to the host; -1 where a program made the host up."""
        path = host.vars.get("inventory_file")
        if not path or str(path) not in static or not os.path.exists(path):
            return -1
        for number, source in enumerate(self.sources):
            if str(path) == str(source) or str(path).startswith(str(source).rstrip(os.sep) + os.sep):
                return number
        return -1

    def describe(self):
        """Hosts in Ansible's order, groups in Ansible's order with their hosts, and what all of it came from."""
        hosts = list(self.inventory.hosts)
        numbers = {name: number for number, name in enumerate(hosts)}
        groups = [
            [str(name), [numbers[host.name] for host in group.get_hosts()]]
            for name, group in self.inventory.groups.items()
        ]
        static = {path for path, plugin in self.plugins if is_static(plugin)}
        return {
            "hosts": [str(name) for name in hosts],
            "groups": groups,
            "defaults": self.defaults(),
            "dynamic": self.dynamic(),
            "sources": [str(source) for source in self.sources],
            "origins": [self.origin(host, static) for host in self.inventory.hosts.values()],
            "config": self.constants.CONFIG_FILE or "",
            "mismatch": self.constants.HOST_PATTERN_MISMATCH,
        }

    def defaults(self):
        """Connection settings of ansible.cfg and the environment, under the variables that override them."""
        found = {}
        for name, setting in PLAIN_DEFAULTS.items():
            value, origin = self.constants.config.get_config_value_and_origin(setting)
            if origin != "default" and value is not None:
                found[name] = plain(value)
        return found

    def dynamic(self):
        """Why the answer may differ at the next call although no file changed; empty when it cannot."""
        reasons = []
        for source, plugin in self.plugins:
            if not is_static(plugin):
                reasons.append("%s is read by the plugin %s" % (source, plugin))
        if not self.merger.simple:
            reasons.append("vars plugins, a fact cache or their settings differ from Ansible's defaults")
        return reasons

    def read(self, request):
        """The wanted variables of the named hosts, without secrets."""
        names, secret = frozenset(request["names"]), frozenset(request["secrets"])
        prefixes, suffixes = tuple(request["prefixes"]), tuple(request["secret_suffixes"])
        kinds = {}  # of every name met: None unwanted, else whether it is a secret

        def kind(name):
            if name not in kinds:
                wanted = name in names or name in secret or name.startswith(prefixes)
                kinds[name] = (name in secret or name.endswith(suffixes)) if wanted else None
            return kinds[name]

        rows = []
        for host in self.named(request["hosts"]):
            merged = self.merger.merge(host)
            wanted = [(name, kind(name)) for name in merged if kind(name) is not None]
            rows.append(self.row(host, merged, wanted, names))
            if len(rows) % 200 == 0:
                gc.collect(0)  # what reading these left behind; all that is older stays unlooked at
        used = set().union(*(found[0] for found in self.renderer.parsed.values()))
        return {"rows": rows, "used": sorted(used), "indirect": bool(used & INDIRECT)}

    def row(self, host, merged, wanted, identity):
        """Name, variables, names of secrets, problems, and whether the values may be kept."""
        found, problems, hidden, keep = {}, {}, [], True
        judge = self.renderer.judge(host, merged)
        for name, secret in wanted:
            value = merged[name]
            outside, vaulted = (False, True) if secret else judge(name, value)
            if secret or (vaulted and name not in identity):
                hidden.append(str(name))
                continue
            keep = keep and not outside and not vaulted
            try:
                found[name] = self.renderer.render(host, merged, value)
            except Exception as error:  # one host's variable must not take the inventory with it
                problems[name] = first_line(error)
        return [host.name, found, hidden, problems, keep]

    def secrets(self, request):
        """The named secret variables of the named hosts, as text; errors name the variable and nothing of its value."""
        rows = []
        for name, wanted in request["hosts"].items():
            found, problems = {}, {}
            for host in self.named([name]):
                merged = self.merger.merge(host)
                for variable in wanted:
                    if variable not in merged:
                        continue
                    try:
                        value = self.renderer.render(host, merged, merged[variable])
                        found[variable] = value if isinstance(value, str) else json.dumps(value)
                    except Exception as error:
                        problems[variable] = "cannot be read (%s)" % type(error).__name__
            rows.append([name, found, problems])
        return {"rows": rows}

    def match(self, request):
        """Names of the hosts that a pattern and a limit mean."""
        self.inventory.subset(request["limit"] or None)
        try:
            return {"hosts": [host.name for host in self.inventory.get_hosts(request["pattern"])]}
        finally:
            self.inventory.subset(None)

    def named(self, names):
        if names is None:
            return self.inventory.get_hosts("all")
        return [host for host in (self.inventory.hosts.get(name) for name in names) if host is not None]

    def files(self):
        """Every file and folder that the answer depends on, and those whose appearance would change it."""
        paths = Watched()
        for source in self.sources:
            if "," in source and not os.path.exists(source):
                continue
            paths.tree(source)
            base = source if os.path.isdir(source) else os.path.dirname(source)
            paths.adjacent(os.path.realpath(base))
        paths.adjacent(os.path.realpath(self.loader.get_basedir()))
        for extra in list(self.encrypted_files) + [v for v in (self.constants.CONFIG_FILE,) if v]:
            paths.add(extra)
        return sorted(paths.found)
