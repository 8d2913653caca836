# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and encrypted values of a host, rendered."""

from __future__ import annotations

from inventory_reader.templates import INDIRECT, is_template, parse_template
from inventory_reader.values import is_vaulted, plain, strings

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
