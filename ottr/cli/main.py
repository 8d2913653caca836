# SPDX-License-Identifier: Apache-2.0
"""The command: its parts put together, and its exit status."""

from __future__ import annotations

import gc
import logging
import sys
from typing import Annotated

import typer
import typer.main

from ottr import __version__
from ottr.cli import inventory, screen
from ottr.cli.account import account
from ottr.cli.demo import demo
from ottr.cli.doctor import doctor
from ottr.cli.drivers import drivers
from ottr.cli.explain import explain
from ottr.cli.history import history
from ottr.cli.init import init
from ottr.cli.lab import lab
from ottr.cli.onehost import abandon, cleanup, release, rollback
from ottr.cli.options import Misuse, spread
from ottr.cli.plan import plan
from ottr.cli.rotate import resume, rotate
from ottr.cli.verify import verify
from ottr.errors import DeviceUnreachable, OttrError, RollbackFailed, RotationError
from ottr.model import ErrorReport
from ottr.report import ExitStatus, describe_failure

log = logging.getLogger(__name__)

_LOOK = (plan, explain, verify, history, drivers, doctor, account)
_ACT = (rotate, resume, rollback, abandon, release, cleanup)
_START = (init, lab, demo)
_SIMPLE = frozenset(command.__name__ for command in (*_LOOK, *_ACT, *_START))
"""Names of the commands without commands of their own."""

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""`ottr ca` reads its own words; it is imported only when it is asked for."""
_GARBAGE_AFTER = 100_000
"""Objects made and not gone again before the collector looks at them; Python's own 700 is for small programs."""
_INTERRUPTED = 130
"""What typer makes of a Ctrl-C that nobody handles."""


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.say(f"ottr {__version__}")
        raise typer.Exit


def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Rotates certificates on machines that can run no agent. Start with `ottr init`, or see `ottr demo`."""


def build(only: str = "") -> typer.Typer:
    """Every command; or one only, which takes less time than the help for all of them."""
    app = typer.Typer(
        name="ottr",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_start)
    for panel, commands in (("Rotate", _ACT), ("Look", _LOOK), ("Start", _START)):
        for command in commands:
            if only in ("", command.__name__):
                app.command(rich_help_panel=panel)(spread(command))
    if only not in _SIMPLE:
        app.add_typer(inventory.build(), name="inventory", rich_help_panel="Start")
        app.command(rich_help_panel="Start", context_settings=_PASS_ON, add_help_option=False)(ca)
    return app


def ca(context: typer.Context) -> int:
    """A CA of your own: `ottr ca init`, `ottr ca issue`, ... (`ottr ca --help`)."""
    from ottr.cli.ca import build as build_ca

    return int(typer.main.get_command(build_ca()).main(context.args, prog_name="ottr ca", standalone_mode=False) or 0)


def main() -> int:
    """Run the command line of this process; return the exit status."""
    # Thousands of objects are made at the start and hardly one is garbage: looking through them again and again would
    # take a tenth of the time.
    gc.set_threshold(_GARBAGE_AFTER, 20, 50)
    screen.set_up_streams()
    status = run(sys.argv[1:])
    screen.flush()
    gc.freeze()  # the interpreter's end would look through all of it three times
    return status


def run(arguments: list[str]) -> int:
    """Run one command; every error becomes a line on stderr and a status."""
    named = arguments[0] if arguments and arguments[0] in _SIMPLE else ""
    command = typer.main.get_command(build(named))
    try:
        status = command.main(arguments, prog_name="ottr", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except Misuse as error:
        return _refuse(str(error), arguments)
    except typer.TyperException as error:
        return _refuse(getattr(error, "format_message", error.__str__)(), arguments)
    except OttrError as error:
        return _report(error.report, _status(error), arguments)
    except Exception as error:
        return _break_down(error, arguments)
    if status == _INTERRUPTED:
        screen.warn("interrupted")
        return ExitStatus.INTERRUPTED
    return int(status or 0)


def _refuse(message: str, arguments: list[str]) -> int:
    """Bad options."""
    return _report(
        ErrorReport("Misuse", message, "`ottr COMMAND --help` shows the options"), ExitStatus.USAGE, arguments
    )


def _break_down(error: Exception, arguments: list[str]) -> int:
    """A mistake of ours; its text may hold anything, so only the log gets it, where secrets are taken out."""
    message = f"unexpected {type(error).__name__}"
    hint = "this is a mistake of Ottr's: please report it with the traceback that -v shows; `ottr resume` is safe"
    log.info("traceback", exc_info=error)
    return _report(ErrorReport("Unexpected", message, hint), ExitStatus.UNEXPECTED, arguments)


def _report(error: ErrorReport, status: ExitStatus, arguments: list[str]) -> int:
    if _wants_json(arguments):
        screen.say_json(describe_failure(error, status))
    screen.complain(error.message, error.hint)
    return status


def _status(error: OttrError) -> ExitStatus:
    if isinstance(error, RollbackFailed):
        return ExitStatus.STRANDED
    if isinstance(error, DeviceUnreachable):
        return ExitStatus.UNREACHABLE
    return ExitStatus.FAILED if isinstance(error, RotationError) else ExitStatus.ERROR


def _wants_json(arguments: list[str]) -> bool:
    """Asked of the words themselves: what went wrong may have gone wrong before they were understood."""
    return any(
        word in ("-ojson", "--output=json", "-o=json") or (word in ("-o", "--output") and following == "json")
        for word, following in zip(arguments, [*arguments[1:], ""], strict=True)
    )
