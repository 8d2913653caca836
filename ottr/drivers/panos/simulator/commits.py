# SPDX-License-Identifier: Apache-2.0
"""Commit, partial commit, Panorama's push to its firewalls, and validation."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ottr.drivers.panos.simulator.answers import Element, Refusal, lines, success
from ottr.drivers.panos.simulator.configuration import Change
from ottr.drivers.panos.simulator.jobs import DeviceResult, Job, JobFailed
from ottr.drivers.panos.simulator.places import DEVICE, template_place
from ottr.drivers.panos.simulator.schema import broken_references, pending_references
from ottr.drivers.panos.simulator.state import State
from ottr.drivers.panos.simulator.tree import Step, find, merge
from ottr.simulation.requests import Response

_PARTS = frozenset({"device-and-network", "shared-object", "policy-and-objects"})
_PARTIAL = _PARTS | {"admin", "vsys", "no-vsys", "description", "description-only"}
_COMMITTED = "Configuration committed successfully"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a commit takes along. ``admins`` None: everybody's changes."""

    admins: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    force: bool = False
    validate: bool = False


def parse_commit(command: Element) -> Scope:
    """Read ``<commit>``. Raises Refusal (code 17) for what is not known."""
    if command.tag != "commit":
        raise _unexpected("", command.tag)
    force = validate = False
    node = command
    for tag in ("validate", "force"):
        inner = node.find(tag)
        if inner is not None:
            node, validate, force = inner, validate or tag == "validate", force or tag == "force"
    for inner in node:
        if inner.tag not in ("partial", "description"):
            raise _unexpected("commit", inner.tag)
    partial = node.find("partial")
    if partial is None:
        return Scope(None, frozenset(), force, validate)
    return Scope(*_parse_partial(partial), force, validate)


def _parse_partial(partial: Element) -> tuple[frozenset[str] | None, frozenset[str]]:
    for inner in partial:
        if inner.tag not in _PARTIAL:
            raise _unexpected("commit -> partial", inner.tag)
        if inner.tag in _PARTS and (inner.text or "excluded") != "excluded":
            raise _unexpected(f"commit -> partial -> {inner.tag}", inner.text or "")
    members = [node.text or "" for node in partial.findall("admin/member")]
    excluded = frozenset(node.tag for node in partial if node.tag in _PARTS)
    return (frozenset(members) if members else None), excluded


def _unexpected(way: str, tag: str) -> Refusal:
    return Refusal(17, f"{way} -> {tag} unexpected here".removeprefix(" -> "), f"{way or tag} is invalid")


def commit(state: State, user: str, scope: Scope) -> Response:
    """Enqueue a commit. Raises Refusal."""
    _need_freedom(state, user)
    admin = state.accounts.admin(user)
    changes = state.configuration.of(scope.admins, scope.excluded)
    if not changes and not scope.force and not scope.validate:
        if admin.custom_role:
            raise Refusal(
                13,
                "The result of this commit would be the same as the previous commit queued/processed. "
                "No edits were made in between these commits.",
                shape="msg",
            )
        return success("<msg>There are no changes to commit.</msg>", code=19)
    preview = state.configuration.preview(changes)

    def work(job: Job) -> tuple[str, ...]:
        with state.lock:
            _validate(state, preview)
            if scope.validate:
                return ("Configuration is valid",)
            return _apply(state, job.user, preview, changes)

    return enqueue(state, user, "Validate" if scope.validate else "Commit", work)


def enqueue(state: State, user: str, kind: str, work: object) -> Response:
    """Enqueue a job that changes configuration, with the faults such jobs have."""

    def failing(_job: Job) -> tuple[str, ...]:
        raise JobFailed("Error: the management server failed to apply the configuration", "Commit failed")

    chosen = failing if state.faults.take("job_fails") else work
    if state.faults.take("job_never_ends"):
        chosen = None
    job = state.jobs.add(user, kind, state.settings.commit_s, chosen)  # type: ignore[arg-type]
    text = f"{'Validate' if kind == 'Validate' else 'Commit'} job enqueued with jobid {job.id}"
    return success(f"<result><msg>{lines([text])}</msg><job>{job.id}</job></result>", code=19)


def commit_now(state: State, user: str) -> None:
    """A commit of everything, finished at once: what another administrator may do at any time."""
    changes = state.configuration.of(None)
    _apply(state, user, state.configuration.preview(changes), changes)


def _need_freedom(state: State, user: str) -> None:
    if text := state.faults.take("commit_refused"):
        raise Refusal(13, text)
    if owner := state.faults.take("lock_held_by"):
        state.commit_locks.held.clear()
        state.commit_locks.add(owner, "shared", "")
    if state.commit_locks.other(user):
        raise Refusal(14, "Other administrators are holding device wide commit locks.")
    if held := state.config_locks.other(user):
        raise Refusal(13, f"Configuration is locked by {held.owner}")
    if state.faults.take("busy") or (state.jobs.busy and not state.settings.commit_queue):
        raise Refusal(13, "Another commit/validate is in progress. Please try again later")


def _validate(state: State, preview: Element) -> None:
    root = state.effective(preview)
    found = [why for _, why in (*broken_references(root), *pending_references(root))]
    if found:
        raise JobFailed("Validation Error:", *found, "Commit failed")


def _apply(state: State, user: str, preview: Element, changes: Iterable[Change]) -> tuple[str, ...]:
    state.configuration.commit(preview, changes)
    if state.settings.unconfirmed.lock_released_by_commit:
        state.commit_locks.release(user)
    if not state.faults.take("serve_old_after_install"):
        state.refresh_services()
    return (_COMMITTED,)


def push(state: State, user: str, command: Element) -> Response:
    """``commit-all``: Panorama gives a template, or a stack, to its firewalls. Raises Refusal."""
    if not state.settings.panorama:
        raise Refusal(17, "commit-all unexpected here", "commit-all is invalid")
    _need_freedom(state, user)
    kind, names = _pushed_templates(state, command)

    def work(job: Job) -> tuple[str, ...]:
        with state.lock:
            layer = Element("config")
            for name in reversed(names):
                inside = find(
                    state.configuration.running, template_place(kind if name == names[0] else "template", name)
                )
                if inside is not None:
                    merge(layer, inside)
            job.devices = [_push_to(state, serial, layer) for serial in state.managed]
        return ("Push to devices done",)

    return enqueue(state, user, "CommitAll", work)


def _pushed_templates(state: State, command: Element) -> tuple[str, list[str]]:
    root = state.configuration.running
    for kind in ("template-stack", "template"):
        name = command.findtext(f"{kind}/name", "")
        if not name:
            continue
        node = find(root, (*DEVICE, Step(kind), Step("entry", name)))
        if node is None:
            raise Refusal(17, f"commit-all -> {kind} -> name '{name}' is not a valid reference")
        return kind, [name, *(member.text or "" for member in node.findall("templates/member"))]
    if command.find("shared-policy") is None:
        raise Refusal(17, "commit-all is invalid")
    return "template", [""]


def _push_to(state: State, serial: str, layer: Element) -> DeviceResult:
    firewall = state.managed[serial]
    visible_at = time.monotonic() + state.settings.device_lag_s
    if state.faults.take("push_fails", serial):
        return DeviceResult(serial, firewall.settings.hostname, "FAIL", ("Commit failed",), visible_at)
    with firewall.lock:
        state.keys.share_with(firewall.keys)
        firewall.chains.update(state.chains)
        before, firewall.pushed = firewall.pushed, copy.deepcopy(layer)
        root = firewall.effective(firewall.configuration.running)
        broken = [why for _, why in (*broken_references(root), *pending_references(root))]
        if broken:
            firewall.pushed = before
            return DeviceResult(serial, firewall.settings.hostname, "FAIL", (*broken, "Commit failed"), visible_at)
        firewall.refresh_services()
    return DeviceResult(serial, firewall.settings.hostname, "OK", (_COMMITTED,), visible_at)
