# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go wrong, as the parent is told."""

from __future__ import annotations

import re

# Lines of a file that Ansible's words show: numbered below their origin (ansible-core 2.19), or the offending one.
EXCERPT = re.compile(
    r"(?<=\n)\n(?: *[0-9]+(?: [^\n]*)?\n)+(?: *\^[^\n]*)?|The offending line appears to be:.*?\^ here", re.DOTALL
)


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


def first_line(error):
    return one_line(str(error))[:400]


def one_line(text):
    """Ansible's words on one line, without the lines of a file that it shows with them: they may hold a password."""
    return " ".join(EXCERPT.sub("", text).split())
