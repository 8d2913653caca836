# SPDX-License-Identifier: Apache-2.0
"""``python -m ottr.play``: serve one play. Settings come as one line of JSON on standard input."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ottr.app import App, Options
from ottr.cli.logs import Redactor, set_up_logs
from ottr.cli.options import LogForm
from ottr.errors import InventoryError, OttrError
from ottr.inventory.given import parse_host
from ottr.model import ErrorReport
from ottr.orchestrator.runner import Stop
from ottr.play.server import Server
from ottr.play.verbs import Asked, Verbs
from ottr.report import describe_error

if TYPE_CHECKING:
    from ottr.play.authorities import Authorities

log = logging.getLogger(__name__)


class Play:
    """One play's parts."""

    def __init__(self, config: Path | None, *, staging: bool, redactor: Redactor) -> None:
        self._app = App(Options(config=config, staging=staging), os.environ, learn=redactor.learn)
        self._redactor = redactor
        self._stop = Stop()
        self._verbs = Verbs(self._app, self._stop)
        self._authorities: Authorities | None = None
        self._opening = threading.Lock()

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer one host, an error too."""
        try:
            if "ca" in request:
                return self._ask_authority(request)
            asked = _parse(request)
            self._redactor.learn(asked.given.secrets)
            self._redactor.learn(self._app.settings)
            return self._verbs.act(asked)
        except OttrError as error:
            return {"error": describe_error(error.report)}
        except Exception as error:
            log.exception("unexpected")
            hint = "this is a mistake of Ottr's: please report it with the traceback in the log; `ottr resume` is safe"
            return {"error": describe_error(ErrorReport("Unexpected", f"unexpected {type(error).__name__}", hint))}

    def _ask_authority(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of the private CA, whose code is loaded when a play asks for it."""
        from ottr.play.authorities import parse_place

        place = parse_place(request["ca"])
        self._redactor.learn(place)
        return self._find_authorities().act(request["verb"], place, request["asked"], check=bool(request["check"]))

    def _find_authorities(self) -> Authorities:
        """One for all hosts, which ask side by side."""
        from ottr.play.authorities import Authorities

        with self._opening:
            if self._authorities is None:
                self._authorities = Authorities()
            return self._authorities

    def stop(self) -> None:
        """Begin no more devices."""
        self._stop.set("interrupted")

    def close(self) -> None:
        """The last word of the play."""
        self._verbs.close()
        if self._authorities is not None:
            self._authorities.close()
        self._app.close()


def _parse(request: Mapping[str, Any]) -> Asked:
    try:
        return Asked(request["verb"], parse_host(request["host"]), bool(request["check"]), bool(request["force"]))
    except (KeyError, TypeError) as error:
        raise InventoryError("the request is not complete") from error


def main() -> None:
    """Serve until the play is over."""
    start = json.loads(sys.stdin.readline())
    redactor = Redactor()
    set_up_logs(0, LogForm.HUMAN, Path(start["log_file"]) if start["log_file"] else None, redactor)
    config = Path(start["config"]) if start["config"] else None
    play = Play(config, staging=start["staging"], redactor=redactor)
    server = Server(Path(start["folder"]), start["play"], play.answer)
    server.serve()
    play.stop()
    server.finish()
    play.close()


if __name__ == "__main__":
    main()
