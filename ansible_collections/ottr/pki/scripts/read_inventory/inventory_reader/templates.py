# SPDX-License-Identifier: GPL-3.0-or-later
"""What a template uses, found without rendering it."""

from __future__ import annotations

import re

from inventory_reader.values import strings

TEMPLATE = re.compile(r"\{\{|\{%|\{#")

# What a template can look at besides variables: a value made of these may differ in the next minute.
OUTSIDE_CALLS = frozenset(["lookup", "query", "q", "now"])

OUTSIDE_FILTERS = frozenset(
    ["random", "shuffle", "random_mac", "fileglob", "realpath", "expanduser", "expandvars", "strftime", "password_hash"]
)

# What a template can reach other variables by without naming them.
INDIRECT = frozenset(["hostvars", "vars", "lookup", "query", "q"])


def is_template(value):
    """Whether rendering could make something else of the value."""
    if isinstance(value, str):
        return "{" in value and TEMPLATE.search(value) is not None
    if isinstance(value, (dict, list, tuple)):
        return any(TEMPLATE.search(text) for text in strings(value))
    return False


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
