# SPDX-License-Identifier: Apache-2.0
"""Notifications, told to a real command and a real server."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ottr.model import ErrorReport, Outcome, RotationResult, Secret
from ottr.notify import ChannelNotifier, Event, EventKind, WebhookChannel, build_notifier
from ottr.settings import NotifySettings
from ottr.transports.http import HttpClient

AT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
STRANDED = RotationResult("web1", Outcome.STRANDED, error=ErrorReport("RollbackFailed", "no way back"))
RESULTS = (RotationResult("web0", Outcome.ROTATED), STRANDED, RotationResult("web2", Outcome.ROTATED))


def render(result: RotationResult) -> Mapping[str, Any]:
    return {"device": result.device}


class Hook:
    """A server that answers with the statuses it was told to, in turn, the last one for ever."""

    def __init__(self, statuses: list[int]) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.url = ""
        self._statuses = statuses

    def answer(self, path: str, kind: str, body: bytes) -> int:
        self.requests.append((path, kind, json.loads(body)))
        return self._statuses[min(len(self.requests), len(self._statuses)) - 1]


@contextmanager
def serve(statuses: list[int]) -> Iterator[Hook]:
    hook = Hook(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(hook.answer(self.path, self.headers["Content-Type"], body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        hook.url = f"http://127.0.0.1:{server.server_port}/services/hunter2"
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def notifier(hook: Hook, waits: list[float], *kinds: str) -> Iterator[ChannelNotifier]:
    http = HttpClient(timeout_s=10)
    channel = WebhookChannel(Secret(hook.url), http, waits.append)
    yield ChannelNotifier((channel,), frozenset(kinds or EventKind), render)
    http.close()


def test_what_a_command_is_told(tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    settings = NotifySettings(command=(sys.executable, "-c", code, str(tmp_path / "told")))
    build_notifier(settings, render).notify(Event(EventKind.SUMMARY, AT, "run1", RESULTS))
    assert json.loads((tmp_path / "told").read_text()) == {
        "version": 1,
        "event": "summary",
        "at": "2026-11-22T01:02:03Z",
        "host": platform.node(),
        "run": "run1",
        "text": "ottr: 2 rotated, 1 stranded",
        "counts": {"rotated": 2, "stranded": 1},
        "results": [{"device": "web1"}],
    }


def test_what_a_webhook_is_told() -> None:
    with serve([200]) as hook, notifier(hook, []) as told:
        told.notify(Event(EventKind.STRANDED, AT, "run1", (STRANDED,)))
    ((path, kind, body),) = hook.requests
    assert (path, kind) == ("/services/hunter2", "application/json")
    assert body == {
        "version": 1,
        "event": "stranded",
        "at": "2026-11-22T01:02:03Z",
        "host": platform.node(),
        "run": "run1",
        "text": "ottr: web1 stranded and needs a human: no way back",
        "results": [{"device": "web1"}],
    }


def test_an_empty_run_and_a_failure_without_an_error_have_a_text_too() -> None:
    with serve([200]) as hook, notifier(hook, []) as told:
        told.notify(Event(EventKind.SUMMARY, AT, "run1", ()))
        told.notify(Event(EventKind.FAILED, AT, "run1", (RotationResult("web1", Outcome.FAILED),)))
    assert [body["text"] for _, _, body in hook.requests] == ["ottr: no device", "ottr: web1 failed"]


def test_only_what_is_asked_for_is_told() -> None:
    with serve([200]) as hook, notifier(hook, [], "stranded") as told:
        told.notify(Event(EventKind.FAILED, AT, "run1", (STRANDED,)))
        assert hook.requests == []
        told.notify(Event(EventKind.STRANDED, AT, "run1", (STRANDED,)))
    assert len(hook.requests) == 1


def test_a_busy_server_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    waits: list[float] = []
    with serve([503, 429, 204]) as hook, notifier(hook, waits) as told, caplog.at_level(logging.WARNING):
        told.notify(Event(EventKind.FAILED, AT, "run1", (STRANDED,)))
    assert len(hook.requests) == 3
    assert waits == sorted(waits)
    assert len(waits) == 2
    assert caplog.text == ""


@pytest.mark.parametrize(("status", "asked"), [(500, 3), (404, 1), (302, 1)])
def test_giving_up_is_a_warning_without_the_url(caplog: pytest.LogCaptureFixture, status: int, asked: int) -> None:
    with serve([status]) as hook, notifier(hook, []) as told, caplog.at_level(logging.DEBUG):
        told.notify(Event(EventKind.FAILED, AT, "run1", (STRANDED,)))
    assert len(hook.requests) == asked
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "ottr.notify"]
    assert warning == (
        f"notify.webhook: nobody was told of failed: the server answered {status}; "
        "further failures are left to the summary"
    )
    assert "hunter2" not in caplog.text


def test_no_server_at_all_is_a_warning_without_the_url(caplog: pytest.LogCaptureFixture) -> None:
    with serve([200]) as hook:
        pass
    waits: list[float] = []
    with notifier(hook, waits) as told, caplog.at_level(logging.WARNING):
        told.notify(Event(EventKind.FAILED, AT, "run1", (STRANDED,)))
    assert len(waits) == 2
    assert "notify.webhook: nobody was told of failed: " in caplog.text
    assert "hunter2" not in caplog.text


def test_a_server_that_is_gone_is_not_asked_for_every_device_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    failed, back = Event(EventKind.FAILED, AT, "run1", (STRANDED,)), Event(EventKind.FAILED, AT, "run2", (STRANDED,))
    with serve([404, 404, 200]) as hook, notifier(hook, []) as told, caplog.at_level(logging.WARNING):
        for event in (failed, failed, failed, Event(EventKind.STRANDED, AT, "run1", (STRANDED,)), failed):
            told.notify(event)
        told.notify(Event(EventKind.SUMMARY, AT, "run1", RESULTS))
        told.notify(back)
    assert [body["event"] for _, _, body in hook.requests] == ["failed", "stranded", "summary", "failed"]
    assert len(caplog.messages) == 2


def test_one_channel_that_fails_does_not_keep_the_other_from_telling(caplog: pytest.LogCaptureFixture) -> None:
    with serve([200]) as hook, caplog.at_level(logging.WARNING):
        settings = NotifySettings(command=("/nowhere/at-all",), webhook=Secret(hook.url))
        build_notifier(settings, render, os.environ).notify(Event(EventKind.FAILED, AT, "run1", (STRANDED,)))
    assert len(hook.requests) == 1
    assert "notify.command: nobody was told of failed: /nowhere/at-all cannot be started" in caplog.text


def test_without_a_channel_nobody_is_told() -> None:
    build_notifier(NotifySettings(), render).notify(Event(EventKind.FAILED, AT, "run1", (STRANDED,)))


class _Broken:
    label = "notify.broken"

    def send(self, body: bytes) -> None:
        raise AttributeError(f"a mistake of ours, with {body!r} in its text")


def test_a_mistake_of_a_channel_does_not_stop_the_run_it_tells_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ChannelNotifier((_Broken(),), frozenset({"failed"}), render).notify(
            Event(EventKind.FAILED, AT, "run1", (STRANDED,))
        )
    assert caplog.messages == [
        "notify.broken: nobody was told of failed: AttributeError; further failures are not told of"
    ]
