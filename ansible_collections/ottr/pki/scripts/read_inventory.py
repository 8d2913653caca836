# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an Ansible inventory for a program that cannot import Ansible.

A child process: one JSON object a line comes in on standard input, one goes out on standard output for each,
until standard input ends. Standard output carries nothing else; whatever plugins print goes to standard error.

``open``       parse the sources; answers hosts, groups, and why the answer may change although no file does
``variables``  the wanted variables of the named hosts, rendered, without secrets
``match``      the hosts that a pattern and a limit mean
``files``      the files and folders that were looked at
``secrets``    the secret variables of the named hosts, rendered

A request that cannot be answered gives ``{"error": {"code", "message", "file", "line"}}``; a variable that cannot
be rendered is a problem of its host, and the host stays.
"""

from __future__ import annotations

import atexit
import datetime
import gc
import json
import os
import re
import time

TEMPLATE = re.compile(r"\{\{|\{%|\{#")
# Absolute, without anything that could be expanded or shortened, unquoted.
WHOLE_PATH = re.compile(r"(?:/(?![.]{0,2}(?:/|$))[^/~$'\"\\\0\n]+)+\Z")
STATIC_PLUGINS = frozenset(["ini", "yaml", "toml", "host_list", "advanced_host_list"])
# What a template can look at besides variables: a value made of these may differ in the next minute.
OUTSIDE_CALLS = frozenset(["lookup", "query", "q", "now"])
OUTSIDE_FILTERS = frozenset(
    ["random", "shuffle", "random_mac", "fileglob", "realpath", "expanduser", "expandvars", "strftime", "password_hash"]
)
# What a template can reach other variables by without naming them.
INDIRECT = frozenset(["hostvars", "vars", "lookup", "query", "q"])
# What of Jinja's settings a text may change for itself (`#jinja2: trim_blocks: false`), and lookups for their files.
SYNTAX = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
)
# Lines of a file that Ansible's words show: numbered below their origin (ansible-core 2.19), or the offending one.
EXCERPT = re.compile(
    r"(?<=\n)\n(?: *[0-9]+(?: [^\n]*)?\n)+(?: *\^[^\n]*)?|The offending line appears to be:.*?\^ here", re.DOTALL
)
PLAIN_DEFAULTS = {
    "ansible_user": "DEFAULT_REMOTE_USER",
    "ansible_port": "DEFAULT_REMOTE_PORT",
    "ansible_ssh_private_key_file": "DEFAULT_PRIVATE_KEY_FILE",
    "ansible_become": "DEFAULT_BECOME",
    "ansible_become_method": "DEFAULT_BECOME_METHOD",
    "ansible_become_user": "DEFAULT_BECOME_USER",
}


class PasswordNeeded(Exception):
    """A vault password has to be asked from somebody who sits at a terminal."""

    def __init__(self, vault_id):
        super().__init__("a vault password is needed for vault id %r" % vault_id)
        self.vault_id = vault_id


class Unparsed(Exception):
    """A source that no inventory plugin could read."""

    def __init__(self, source, message):
        super().__init__("%s: %s" % (source, message))
        self.source = source


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


class Renderer:
    """Templates and encrypted values of one host at a time."""

    def __init__(self, reader):
        from ansible.template import Templar

        remember_compiled()
        self.reader = reader
        self.engine = Templar(loader=reader.loader)
        self.shared = None
        self.current = None
        self.parsed = {}

    def render(self, host, merged, value):
        """The value as JSON can carry it. Raises what Ansible raises."""
        if not is_template(value) and not is_vaulted(value):
            return plain(value)
        if self.current is not host:
            if self.shared is None:
                self.shared = self.reader.variables.get_vars(include_hostvars=True)
            self.engine.available_variables = {**merged, **self.shared, **host.get_magic_vars()}
            self.current = host
        return plain(self.engine.template(value))

    def judge(self, host, merged):
        """A function that says of a variable whether its value depends on the outside, and whether on vaulted data."""
        any_vaulted = bool(self.reader.encrypted_names)

        def look(name, value, seen):
            if is_vaulted(value) or (any_vaulted and name in self.reader.encrypted_names):
                return False, True
            if not is_template(value):
                return False, False
            outside, vaulted = False, False
            for text in strings(value):
                names, reaches_out = self.parse(text)
                outside = outside or reaches_out
                vaulted = vaulted or (bool(names & INDIRECT) and self.holds_vaulted(merged))
                for other in names - seen:
                    if other in merged:
                        seen.add(other)
                        more = look(other, merged[other], seen)
                        outside, vaulted = outside or more[0], vaulted or more[1]
            return outside, vaulted

        return lambda name, value: look(name, value, {name})

    def holds_vaulted(self, merged):
        return bool(self.reader.encrypted_names) or any(is_vaulted(value) for value in merged.values())

    def parse(self, text):
        """Names of variables a template uses, and whether it looks at anything besides variables."""
        if text not in self.parsed:
            self.parsed[text] = parse_template(text)
        return self.parsed[text]


def remember_compiled():
    """Make Jinja compile a text once, however many hosts have it: compiling takes ten times as long as running."""
    import jinja2

    compile_anew, known = jinja2.Environment.compile, {}

    def compile_once(self, source, name=None, filename=None, raw=False, defer_init=False):
        # Files have names; and whether backslashes are Jinja's or YAML's, Ansible decides case by case.
        if not isinstance(source, str) or name or filename or raw or defer_init or "\\" in source:
            return compile_anew(self, source, name, filename, raw, defer_init)
        settings = tuple(getattr(self, setting) for setting in SYNTAX)
        key = (type(self), settings, str(source))
        if key not in known:
            known[key] = compile_anew(self, source, name, filename, raw, defer_init)
        return known[key]

    jinja2.Environment.compile = compile_once


def parse_template(text):
    if not TEMPLATE.search(text):
        return frozenset(), False
    import jinja2
    from jinja2 import meta, nodes

    try:
        tree = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]).parse(text)
    except jinja2.TemplateError:
        return frozenset(), True
    names = frozenset(meta.find_undeclared_variables(tree))
    filters = {node.name.rpartition(".")[2] for node in tree.find_all(nodes.Filter)}
    tests = {node.name for node in tree.find_all(nodes.Test)}
    paths = {"exists", "file", "directory", "link", "link_exists", "mount", "is_file", "is_dir", "is_link", "is_mount"}
    return names, bool(names & OUTSIDE_CALLS or filters & OUTSIDE_FILTERS or tests & paths)


def is_static(plugin):
    """Whether the plugin reads hosts from the file itself, and from nowhere else."""
    return plugin.rpartition(".")[2] in STATIC_PLUGINS


def strings(value):
    """Every string in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def is_template(value):
    """Whether rendering could make something else of the value."""
    if isinstance(value, str):
        return "{" in value and TEMPLATE.search(value) is not None
    if isinstance(value, (dict, list, tuple)):
        return any(TEMPLATE.search(text) for text in strings(value))
    return False


def is_vaulted(value):
    """Whether the value, or one inside it, was encrypted in its file."""
    if isinstance(value, (dict, list, tuple)):
        return any(is_vaulted(item) for item in (value.values() if isinstance(value, dict) else value))
    return type(value).__name__ in ("EncryptedString", "AnsibleVaultEncryptedUnicode")


def plain(value):
    """The value in JSON's own types: Ansible's strings are subclasses, and YAML knows dates."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def first_line(error):
    return one_line(str(error))[:400]


def one_line(text):
    """Ansible's words on one line, without the lines of a file that it shows with them: they may hold a password."""
    return " ".join(EXCERPT.sub("", text).split())


def make_error(error, file=""):
    """An error as JSON: which kind, which file and line, in whose words."""
    chain, line, code = error, 0, "ansible"
    while chain is not None:
        if "Vault" in type(chain).__name__:
            code = "vault"
        mark = getattr(chain, "problem_mark", None)
        line = mark.line + 1 if mark is not None else line
        chain = chain.__cause__ or chain.__context__
    return {"error": {"code": code, "message": first_line(error), "file": file, "line": line}}


class Session:
    """The requests of one parent."""

    def __init__(self):
        self.reader = None
        self.warnings = []

    def answer(self, request):
        """One request in, one answer out; nothing is raised."""
        try:
            answer = self.act(request)
        except PasswordNeeded as error:
            answer = make_error(error)
            answer["error"].update(code="vault_password_needed", vault_id=error.vault_id)
        except Unparsed as error:
            answer = make_error(error, error.source)
            answer["error"]["code"] = "unparsed"
        except (Exception, SystemExit) as error:  # the parent reports it
            answer = make_error(error, self.reader.broken if self.reader else "")
        answer["warnings"], self.warnings[:] = list(self.warnings), []
        return answer

    def act(self, request):
        operation = request["operation"]
        if operation == "open":
            started = time.time_ns()
            self.reader = Reader(request, self.warnings)
            return {"started_ns": started, **self.reader.describe()}
        if operation == "variables":
            return self.reader.read(request)
        if operation == "files":
            return {"files": self.reader.files()}
        if operation == "match":
            return self.reader.match(request)
        return self.reader.secrets(request)


def collect_display(warnings):
    """Make Ansible's display write into a list."""
    from ansible.utils.display import Display

    def display(msg, *args, **kwargs):
        text = one_line(str(msg))
        if text and text not in warnings:
            warnings.append(text)

    Display().display = display


def main():
    """Answer requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    # What is read stays until the end: looking through it again and again would only cost time.
    gc.disable()
    session = Session()
    # Sets up the state of the process that everything else expects.
    import ansible.cli  # noqa: F401

    collect_display(session.warnings)
    for line in requests:
        answer = session.answer(json.loads(line))
        json.dump(answer, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")
        out.flush()
    # Taking a large inventory apart object by object takes a second; only temporary files are worth tidying.
    atexit._run_exitfuncs()
    os._exit(0)


if __name__ == "__main__":
    main()
