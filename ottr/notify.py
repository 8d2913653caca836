# SPDX-License-Identifier: Apache-2.0
"""Telling somebody what happened: one JSON object for each event, to a command or a webhook.

::

    {"version": 1,
     "event":   "failed" | "stranded" | "summary",
     "at":      "2026-11-22T01:13:37Z",
     "host":    the orchestrator's own name,
     "run":     the run's id,
     "text":    one sentence for people (chat services show this member),
     "counts":  {outcome: number of devices}, summary only,
     "results": [the results that `--output json` shows; a summary has those that did not end well]}

``failed`` is sent for each device that failed, was rolled back or could not be reached, ``stranded`` for each one
that needs a human at once, ``summary`` at the end of a run. Nobody being told is a warning in the log and no more.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from ottr.commands import CommandError, run_command
from ottr.errors import OttrError
from ottr.model import Outcome, RotationResult, Secret, Waiter
from ottr.retry import retry
from ottr.settings import NotifySettings
from ottr.transports.http import HttpClient, HttpError

_log = logging.getLogger(__name__)

_VERSION = 1
_COMMAND_TIMEOUT_S = 60.0
_WEBHOOK_TIMEOUT_S = 10.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_WELL = frozenset({Outcome.FAILED, Outcome.ROLLED_BACK, Outcome.UNREACHABLE, Outcome.STRANDED})


class EventKind(StrEnum):
    """What somebody may want to be told."""

    FAILED = "failed"
    STRANDED = "stranded"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened: to one device, or in a whole run."""

    kind: EventKind
    at: datetime
    run_id: str
    results: tuple[RotationResult, ...]
    """Of one device, or of all of them for a summary."""


class Notifier(Protocol):
    """Tells somebody. Never raises."""

    def notify(self, event: Event) -> None:
        """Tell, or write a warning to the log that nobody could be told."""


Render = Callable[[RotationResult], Mapping[str, Any]]
"""Turns a result into the object that `--output json` shows."""


class _NotTold(OttrError):
    """Nobody could be told."""


class _NotToldYet(_NotTold):
    """Nobody could be told now."""

    retryable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CommandChannel:
    """A command that reads the event from its standard input."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    label: str = "notify.command"

    def send(self, body: bytes) -> None:
        """Run the command, once. Raises an OttrError."""
        try:
            run_command(self.command, self.environment, timeout_s=_COMMAND_TIMEOUT_S, stdin=body)
        except CommandError as error:
            raise _NotTold(str(error)) from error


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A URL that takes the event by POST."""

    url: Secret
    http: HttpClient
    wait: Waiter = time.sleep
    label: str = "notify.webhook"

    def send(self, body: bytes) -> None:
        """Post the event, again after a while when the server is at fault. Raises an OttrError without the URL."""
        retry(lambda: self._post(body), wait=self.wait)

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            response = self.http.request("POST", self.url.reveal(), body=body, headers=headers)
        except HttpError as error:
            raise _NotToldYet(str(error)) from error
        if response.status in _TRY_AGAIN:
            raise _NotToldYet(f"the server answered {response.status}")
        if not 200 <= response.status < 300:
            raise _NotTold(f"the server answered {response.status}")


class Channel(Protocol):
    """One way to tell."""

    @property
    def label(self) -> str:
        """Its key in ottr.yaml."""

    def send(self, body: bytes) -> None:
        """Send one event as JSON. Raises an OttrError."""


class ChannelNotifier:
    """Tells by every channel of ottr.yaml the events that it asks for.

    A channel that could not tell is not asked again for every device that fails: a server that is gone costs half a
    minute each time. What needs a human, and the summary, which has all that failed, it is given in any case.
    """

    def __init__(self, channels: tuple[Channel, ...], kinds: frozenset[str], render: Render) -> None:
        self._channels = channels
        self._kinds = kinds
        self._render = render
        self._silent: dict[str, str] = {}
        """Label of a channel that could not tell: the run in which that was."""

    def notify(self, event: Event) -> None:
        """Tell, or write a warning to the log that nobody could be told."""
        if event.kind not in self._kinds or not self._channels:
            return
        body = json.dumps(describe_event(event, self._render), ensure_ascii=False).encode()
        for channel in self._channels:
            if event.kind is EventKind.FAILED and self._silent.get(channel.label) == event.run_id:
                continue
            try:
                channel.send(body)
            except OttrError as error:
                self._give_up(channel, event, str(error))
            except Exception as error:  # a bug here must not stop the run that it tells of
                self._give_up(channel, event, type(error).__name__)
                _log.debug("traceback", exc_info=error)

    def _give_up(self, channel: Channel, event: Event, why: str) -> None:
        self._silent[channel.label] = event.run_id
        later = "left to the summary" if EventKind.SUMMARY in self._kinds else "not told of"
        rest = f"; further failures are {later}" if event.kind is EventKind.FAILED else ""
        _log.warning("%s: nobody was told of %s: %s%s", channel.label, event.kind, why, rest)


def build_notifier(
    settings: NotifySettings, render: Render, environment: Mapping[str, str] | None = None
) -> ChannelNotifier:
    """Build the notifier of ottr.yaml; one that tells nobody when it names no channel."""
    channels: list[Channel] = []
    if settings.command:
        channels.append(CommandChannel(settings.command, os.environ if environment is None else environment))
    if settings.webhook is not None:
        channels.append(WebhookChannel(settings.webhook, HttpClient(timeout_s=_WEBHOOK_TIMEOUT_S)))
    return ChannelNotifier(tuple(channels), settings.on, render)


def describe_event(event: Event, render: Render) -> dict[str, Any]:
    """Return the object that is sent, in the form the module's head documents."""
    counts = Counter(result.outcome.value for result in event.results)
    summary = event.kind is EventKind.SUMMARY
    shown = [result for result in event.results if not summary or result.outcome in _NOT_WELL]
    return {
        "version": _VERSION,
        "event": event.kind.value,
        "at": event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": platform.node(),
        "run": event.run_id,
        "text": _say_summary(counts) if summary else "; ".join(_say(result) for result in shown),
        **({"counts": dict(sorted(counts.items()))} if summary else {}),
        "results": [dict(render(result)) for result in shown],
    }


def _say(result: RotationResult) -> str:
    why = f": {result.error.message}" if result.error else ""
    urgent = " and needs a human" if result.outcome is Outcome.STRANDED else ""
    return f"ottr: {result.device} {result.outcome.value}{urgent}{why}"


def _say_summary(counts: Mapping[str, int]) -> str:
    said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    return f"ottr: {said or 'no device'}"
