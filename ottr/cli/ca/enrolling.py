# SPDX-License-Identifier: Apache-2.0
"""``ottr ca est-user``."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import typer

from ottr.ca.names import NameRules
from ottr.cli import screen
from ottr.cli.ca.issuing import check_days
from ottr.cli.ca.place import Place
from ottr.cli.options import Form, Misuse
from ottr.report import SCHEMA_VERSION, ExitStatus

_DAY_S = 86400.0


def est_user(
    place: Place,
    user: Annotated[str, typer.Argument(metavar="USER", help="Who enrols with the password: a device, a team.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="What its certificates may have: example.com, '*.example.com', 10.0.0.0/8."
        ),
    ] = None,
    common_name: Annotated[
        list[str] | None, typer.Option("--common-name", help="A common name it may have, such as 'sensor-*'.")
    ] = None,
    uri: Annotated[list[str] | None, typer.Option("--uri", help="A URI it may have, such as 'spiffe://a/*'.")] = None,
    email: Annotated[list[str] | None, typer.Option("--email", help="An address it may have: '*@example.com'.")] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", help="A kind of certificate, the first is the usual one; else est's."),
    ] = None,
    days: Annotated[float, typer.Option("--days", help="How long the password is good.")] = 30.0,
    uses: Annotated[int | None, typer.Option("--uses", min=1, help="For so many certificates, no more.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Its password is good for nothing any more.")] = False,
) -> int:
    """Make a password for a first certificate over EST: for these names and no others, shown this once."""
    from ottr.ca.est.settings import read_est_settings
    from ottr.ca.est.users import Grant, create_user, remove_user

    rules = read_rules(names or [], common_name or [], uri or [], email or [])
    if remove == (rules != NameRules()):
        raise Misuse("for which names? Or --remove, and no names")
    check_days(days)
    with place.open() as authority:
        if remove:
            remove_user(authority, user)
            password = ""
        else:
            known = read_est_settings(authority.settings).profiles
            for one in set(profile or ()) - set(known):
                raise Misuse(f"EST enrols for {', '.join(known)}, not for {one}: `est.profiles` in ca.yaml says so")
            profiles = tuple(profile or known)
            password = create_user(authority, user, Grant(rules, profiles, days * _DAY_S, uses))
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "user": user, "password": password, "removed": remove})
    elif remove:
        screen.say(f"{user}: removed; its certificates stay")
    else:
        screen.say(f"user:     {user}\npassword: {password}\nIt is shown this once.")
    return ExitStatus.OK


def read_rules(names: list[str], common_names: list[str], uris: list[str], emails: list[str]) -> NameRules:
    """Networks are those that look like one; all else are DNS names."""
    networks = {name for name in names if _is_network(name)}
    return NameRules(
        dns=tuple(name.lower() for name in names if name not in networks),
        ip=tuple(str(ipaddress.ip_network(name)) for name in names if name in networks),
        email=tuple(emails),
        uri=tuple(uris),
        common_names=tuple(common_names),
    )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
