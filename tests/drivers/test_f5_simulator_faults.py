# SPDX-License-Identifier: Apache-2.0
"""Reboots, faults, device groups and tasks of the simulated BIG-IP, and its unconfirmed points, each both ways."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ottr.drivers.f5.simulator import F5Simulator, Profile, Unconfirmed, Virtual
from ottr.drivers.f5.simulator.state import FAULTS
from ottr.simulation.faults import WIRE_FAULTS
from ottr.simulation.server import wait_until
from tests.drivers.f5 import (
    HTTPD_CERTIFICATE,
    HTTPD_KEY,
    SITE,
    Answer,
    Wire,
    chain_sent,
    fingerprint,
    issuer,
    run_f5,
    run_pair,
    seen,
    sign,
)

CUT = (OSError, http.client.HTTPException)
KEY = "POST tm/sys/crypto/key"


@pytest.fixture
def device() -> Iterator[F5Simulator]:
    with run_f5() as running:
        yield running


@pytest.fixture
def wire(device: F5Simulator) -> Wire:
    return Wire(device).log_in()


# Saved and running


def test_a_reboot_loses_what_was_not_saved(device: F5Simulator, wire: Wire) -> None:
    first = wire.prepare("a")
    wire.bind("a")
    assert wire.save()["kind"] == "tm:sys:config:savestate"
    wire.prepare("b")
    wire.bind("b")
    wire.bash("echo x > /shared/kept; echo x > /tmp/lost")
    device.reboot()
    assert wire.comes_back()
    assert wire.get("tm/sys").status == 401
    wire.log_in()
    assert seen(device, "web") == fingerprint(first)
    assert wire.get(SITE)["cert"] == "/Common/a.crt"
    assert wire.get("tm/sys/crypto/key/b.key").status == 404
    assert wire.get("tm/sys/crypto/csr/b.csr").status == 200  # a file, not part of the configuration
    assert (device.read("/shared/kept"), device.read("/tmp/lost")) == (b"x\n", None)


def test_load_goes_back_to_what_was_saved(device: F5Simulator, wire: Wire) -> None:
    before = seen(device, "web")
    wire.prepare("a")
    wire.bind("a")
    assert wire.post("tm/sys/config", command="load").status == 200
    assert seen(device, "web") == before


# Faults


def test_every_fault_is_armed_in_a_test_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in FAULTS if f'"{name}"' not in text] == []
    assert set(FAULTS).isdisjoint(WIRE_FAULTS)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("token_expires", 401, b"X-F5-Auth-Token does not exist."),
        ("reject", 400, b"POST tm/sys/crypto/key is not possible"),
        ("busy", 503, b"active asynchronous task"),
        ("restarting_page", 503, b"Configuration Utility restarting..."),
        ("disk_full", 400, b"No space left on device"),
    ],
)
def test_a_request_that_fails_once(device: F5Simulator, wire: Wire, fault: str, status: int, words: bytes) -> None:
    device.faults.arm(fault, KEY)
    assert wire.get("tm/sys").status == 200
    before = device.state_hash()
    answer = wire.make_key("a.key")
    assert (answer.status, words in answer.body) == (status, True)
    assert device.state_hash() == before
    wire.log_in()
    assert wire.make_key("a.key").status == 200


@pytest.mark.parametrize(("fault", "made"), [("reboot_before", False), ("reboot_after", False), ("drop_after", True)])
def test_a_request_without_an_answer(device: F5Simulator, wire: Wire, fault: str, made: bool) -> None:
    device.faults.arm(fault, KEY)
    with pytest.raises(CUT):
        wire.make_key("a.key")
    assert wire.comes_back()
    assert ("a.key" in device.certificate_names) is made


def test_uploads_that_break(device: F5Simulator, wire: Wire) -> None:
    device.faults.arm("upload_broken")
    broken = wire.upload("a.pem", b"abc")
    assert (broken.status, broken.body) == (500, b"abc")
    assert wire.upload("a.pem", b"abc").status == 200
    device.faults.arm("disk_full")
    assert b"No space left" in wire.upload("a.pem", b"abcd").body
    device.faults.arm("disk_full")
    wire.bash("echo x > /config/x; cp /config/httpd/conf/ssl.key/server.key /var/tmp/copy")
    assert device.read("/config/x") == b""
    device.faults.clear()
    wire.bash("echo x > /config/x")
    assert device.read("/config/x") == b"x\n"
    pem = wire.prepare("a")
    wire.upload("a.pem", pem.encode())
    device.faults.arm("disk_full")
    source = "file:/var/config/rest/downloads/a.pem"
    assert wire.post("tm/sys/file/ssl-cert", name="b.crt", sourcePath=source).status == 400


def test_saving_fails(device: F5Simulator, wire: Wire) -> None:
    wire.make_key("a.key")
    device.faults.arm("save_fails", "disk is read-only")
    refused = wire.save()
    assert (refused.status, "disk is read-only" in refused.message) == (400, True)
    assert device.state.configuration.saved != device.state.configuration.running
    assert wire.save().status == 200


def test_a_commit_is_refused_or_its_transaction_is_gone(device: F5Simulator, wire: Wire) -> None:
    wire.prepare("a")
    before = seen(device, "web")
    for fault, status in (("transaction_refused", 400), ("transaction_lost", 404)):
        inside = wire.begin()
        inside.bind("a")
        device.faults.arm(fault, *(["PATCH tm/transaction"] if fault == "transaction_lost" else []))
        assert wire.commit(inside).status == status
        assert wire.get(f"tm/transaction/{inside.transaction}").status == 404
    assert seen(device, "web") == before


def test_a_script_whose_answer_is_lost_has_run(device: F5Simulator, wire: Wire) -> None:
    device.faults.arm("bash_lost")
    with pytest.raises(CUT):
        wire.bash("touch /shared/done")
    assert device.read("/shared/done") == b""


def test_a_virtual_server_keeps_what_it_served(device: F5Simulator, wire: Wire) -> None:
    before = seen(device, "web")
    pem = wire.prepare("a")
    device.faults.arm("serve_old_after_install")
    assert wire.bind("a").status == 200
    assert seen(device, "web") == before == device.served_fingerprint("web")
    device.repair()
    assert seen(device, "web") == fingerprint(pem)


@pytest.mark.parametrize("fault", ["serve_old_after_install", "httpd_stays_down"])
def test_httpd_after_a_restart(device: F5Simulator, wire: Wire, fault: str) -> None:
    before = seen(device)
    wire.prepare("a")
    place = wire.get("tm/adc/fileobject/ssl-key")["items"][0]["cachePath"]
    wire.bash(f"cp {place} {HTTPD_KEY}; cp /var/config/rest/downloads/a.crt.pem {HTTPD_CERTIFICATE}")
    device.faults.arm(fault)
    with pytest.raises(CUT):
        wire.post("tm/sys/service", command="restart", name="httpd")
    if fault == "httpd_stays_down":
        assert device.served_fingerprint() == ""
        device.repair()
        assert wire.comes_back()
        assert seen(device) != before
    else:
        assert wire.comes_back()
        assert seen(device) == before


def test_somebody_else_changes_something(device: F5Simulator, wire: Wire) -> None:
    device.faults.arm("foreign_change", KEY)
    before = wire.get("tm/ltm/profile/client-ssl/clientssl").json
    wire.make_key("a.key")
    after = wire.get("tm/ltm/profile/client-ssl/clientssl").json
    assert after["description"].startswith("changed")
    assert after["generation"] > before["generation"]
    device.foreign_change()
    assert wire.get("tm/ltm/profile/client-ssl/clientssl")["description"] != after["description"]


# Device groups


def status(wire: Wire) -> tuple[str, str]:
    (entry,) = wire.get("tm/cm/sync-status")["entries"].values()
    shown = entry["nestedStats"]["entries"]
    return shown["status"]["description"], shown["summary"]["description"]


def sync(wire: Wire, arguments: str = "config-sync to-group pair") -> Answer:
    answer = wire.post("tm/cm", command="run", utilCmdArgs=arguments)
    assert wire.device.wait_until_idle()
    return answer


def test_a_pair_is_synced_and_fails_over() -> None:
    with run_pair() as (first, second):
        wire = Wire(first).log_in()
        assert status(wire)[0] == "In Sync"
        assert (seen(first, "web"), second.served_fingerprint("web")) == (first.served_fingerprint("web"), "")
        pem = wire.prepare("a")
        wire.bind("a")
        assert status(wire) == ("Changes Pending", "Changes pending")
        device_lines = wire.get("tm/cm/sync-status").body.decode()
        assert "Recommended action: Synchronize bigip1.example.com to group pair" in device_lines
        answer = sync(wire)
        assert (answer["kind"], answer["command"]) == ("tm:cm:runstate", "run")
        assert status(wire)[0] == status(Wire(second).log_in())[0] == "In Sync"
        states = wire.get("tm/cm/device?$select=name,failoverState,selfDevice")["items"]
        assert [(item["failoverState"], item["selfDevice"]) for item in states] == [
            ("active", "true"),
            ("standby", "false"),
        ]
        first.failover()
        assert (first.served_fingerprint("web"), seen(second, "web")) == ("", fingerprint(pem))
        assert "STANDBY" in wire.get("tm/cm/failover-status").body.decode()
        assert seen(first) != seen(second)  # httpd's pair is each unit's own


def test_groups_and_their_members() -> None:
    with run_pair(auto_sync=True) as (first, _):
        wire = Wire(first).log_in()
        groups = {item["name"]: item for item in wire.get("tm/cm/device-group")["items"]}
        assert (groups["pair"]["type"], groups["pair"]["autoSync"]) == ("sync-failover", "enabled")
        members = wire.get("tm/cm/device-group/~Common~pair/devices")["items"]
        assert [member["name"] for member in members] == ["bigip1.example.com", "bigip2.example.com"]
        assert wire.get("tm/cm/device-group/nobody/devices").status == 404
        refused = sync(wire, "config-sync to-group nobody")
        assert refused.status == 400
        assert refused.message == "01070734:3: Configuration error: Device group (nobody) not found."
        options = [{"to-group": "pair"}]
        assert wire.post("tm/cm/config-sync", command="run", options=options).status == 200
        assert wire.get("tm/cm/config-sync").status == 405
        assert first.wait_until_idle()


def test_a_group_may_sync_by_itself() -> None:
    with run_pair(auto_sync=True) as (first, second):
        wire = Wire(first).log_in()
        pem = wire.prepare("a")
        wire.bind("a")
        assert wait_until(lambda: status(wire)[0] == "In Sync" and "a.crt" in second.certificate_names)
        assert second.state.configuration.get("ltm/profile/client-ssl", "/Common/site")["certKeyChain"][0]["cert"] == (
            "/Common/a.crt"
        )
        first.failover()
        assert seen(second, "web") == fingerprint(pem)


def test_a_sync_that_fails_and_a_conflict() -> None:
    with run_pair() as (first, second):
        wire = Wire(first).log_in()
        wire.make_key("a.key")
        first.faults.arm("sync_fails")
        assert sync(wire).status == 200
        assert status(wire)[0] == "Sync Failure"
        assert "a.key" not in second.certificate_names
        assert sync(wire, "config-sync force-full-load-push to-group pair").status == 200
        assert "a.key" in second.certificate_names
        first.faults.arm("foreign_sync_change", KEY)
        wire.make_key("b.key")
        assert status(wire) == ("Changes Pending", "There is a possible change conflict between devices")
        assert sync(wire, "config-sync from-group pair").status == 200
        assert "b.key" not in first.certificate_names
        assert status(wire)[0] == "In Sync"


# Tasks


def test_tasks_run_by_themselves(device: F5Simulator, wire: Wire) -> None:
    task = wire.post("tm/task/sys/ucs", command="save", name="before.ucs")
    path = f"tm/task/sys/ucs/{task['_taskId']}"
    assert task["_taskState"] == "STARTED"
    assert wire.put(path, _taskState="NONSENSE").status == 400
    assert wire.put(path, _taskState="VALIDATING").status == 202
    assert wait_until(lambda: wire.get(path)["_taskState"] == "COMPLETED")
    assert device.read("/var/local/ucs/before.ucs")
    assert len(wire.get("tm/task/sys/ucs")["items"]) == 1
    assert wire.delete(path).status == 200
    assert "items" not in wire.get("tm/task/sys/ucs").json
    failing = wire.post("tm/task/sys/ucs", command="load", name="x")["_taskId"]
    wire.put(f"tm/task/sys/ucs/{failing}", _taskState="VALIDATING")
    assert wait_until(lambda: wire.get(f"tm/task/sys/ucs/{failing}/result")["_taskState"] == "FAILED")
    assert wire.post(f"tm/task/sys/ucs/{failing}").status == 405


# Unconfirmed points, each both ways


def both(**points: Any) -> Iterator[tuple[Any, Wire]]:
    ((name, values),) = points.items()
    for value in values:
        with run_f5(unconfirmed=Unconfirmed(**{name: value})) as device:
            yield value, Wire(device).log_in()


def test_every_unconfirmed_point_has_a_test_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in Unconfirmed.__dataclass_fields__ if f"{name}=" not in text] == []


def test_names_that_exist() -> None:
    for value, wire in both(existing_key_status=(409, 400)):
        assert [wire.make_key("a.key").status for _ in range(2)] == [200, value]
    for value, wire in both(csr_overwrites=(False, True)):
        wire.make_key("a.key")
        assert [wire.make_csr("a.csr", "a.key").status for _ in range(2)] == [200, 200 if value else 409]


def test_ways_to_a_csr() -> None:
    for value, wire in both(gen_csr_in_response=(False, True)):
        made = wire.post("tm/sys/crypto/key", name="a.key", options=[{"gen-csr": "a"}], keyType="ec-private").json
        assert ("csr" in made) is value
    for value, wire in both(csr_download=(False, True)):
        wire.make_key("a.key")
        wire.make_csr("a.csr", "a.key")
        span = {"Content-Range": "0-9999/0"}
        got = wire.send("GET", "shared/file-transfer/ssl-csr-transfers/~Common~a.csr", headers=span)
        assert got.status == (200 if value else 404)
    for value, wire in both(csr_other_partitions=(False, True)):
        assert wire.make_csr("a.csr", "/Common/default.key", partition="Common").status == 200
        assert wire.make_csr("b.csr", "/Common/default.key", partition="Shop").status == (200 if value else 400)
    for value, wire in both(san_takes_email_and_uri=(True, False)):
        made = wire.make_csr("a.csr", "default.key", subjectAlternativeName="DNS:a, email:a@example.com")
        assert made.status == (200 if value else 400)


def test_what_bash_takes_and_gives() -> None:
    for value, wire in both(bash_takes_newlines=(False, True)):
        answer = wire.post("tm/util/bash", command="run", utilCmdArgs="-c 'echo a\necho b'")
        assert (answer.status, answer.json.get("commandResult")) == ((200, "a\nb\n") if value else (400, None))
    for value, wire in both(bash_takes_double_quotes=(True, False)):
        assert wire.post("tm/util/bash", command="run", utilCmdArgs='-c "id"').status == (200 if value else 400)
    for value, wire in both(bash_merges_errors=(True, False)):
        assert wire.bash("echo out; echo bad >&2") == ("out\nbad\n" if value else "out\n")


def test_uploads() -> None:
    for value, wire in both(missing_range_status=(400, 500)):
        assert wire.send_chunk("a", b"abc", "").status == value
    for value, wire in both(upload_needs_admin=(True, False)):
        certs = Wire(wire.device, "certs", "certs-simulated").log_in()
        assert certs.send_chunk("a", b"abc", "0-2/3").status == (401 if value else 200)
    for value, wire in both(unauthorized_status=(401, 403)):
        guest = Wire(wire.device, "guest", "guest-simulated").log_in()
        assert guest.make_key("a.key").status == value


def test_what_a_certificate_shows() -> None:
    for value, wire in both(new_certificate_attributes=(True, False)):
        assert ("fingerprint" in wire.get("tm/sys/file/ssl-cert/default.crt").json) is value
    for value, wire in both(serial_form=("colons", "decimal")):
        assert (":" in wire.get("tm/sys/file/ssl-cert/default.crt")["serialNumber"]) is (value == "colons")
    for value, wire in both(in_use_text=("in use", "in use by")):
        wire.prepare("a")
        wire.bind("a")
        assert ("in use by" in wire.delete("tm/sys/crypto/cert/a.crt").message) is (value == "in use by")
    for value, wire in both(certificate_before_key=(True, False)):
        wire.prepare("a")
        assert wire.delete("tm/sys/crypto/key/a.key").status == (400 if value else 200)


def test_usage_of_an_entry() -> None:
    for value in (True, False):
        with run_f5("17.1.1", unconfirmed=Unconfirmed(chain_entry_usage=value)) as device:
            wire = Wire(device).log_in()
            assert ("usage" in wire.get(SITE)["certKeyChain"][0]) is value
            entry = {"name": "x", "cert": "/Common/default.crt", "key": "/Common/default.key", "usage": "SERVER"}
            assert wire.patch(SITE, certKeyChain=[entry]).status == (200 if value else 400)


def test_issuers_are_sent() -> None:
    for value, wire in both(bundle_sends_all=(False, True)):
        wire.make_key("a.key")
        wire.make_csr("a.csr", "a.key")
        leaf, above = sign(wire.read_csr("a.csr")), issuer()
        assert wire.install("a.crt", leaf + above).status == 200
        assert wire.get("tm/sys/file/ssl-cert/a.crt")["isBundle"] == "true"
        wire.bind("a")
        assert len(chain_sent(wire.device, "web")) == (2 if value else 1)
        wire.install("chain.crt", above)
        wire.bind("a", chain="/Common/chain.crt")
        assert len(chain_sent(wire.device, "web")) == 2
    for value, wire in both(httpd_sends_bundle=(True, False)):
        wire.prepare("a")
        wire.upload("i.pem", issuer().encode())
        downloads = "/var/config/rest/downloads"
        wire.bash(f"cat {downloads}/a.crt.pem {downloads}/i.pem > {HTTPD_CERTIFICATE}")
        wire.bash(f"cp /config/filestore/files_d/Common_d/certificate_key_d/*a.key* {HTTPD_KEY}")
        wire.device.restart_httpd()
        assert wire.comes_back()
        assert len(chain_sent(wire.device)) == (2 if value else 1)
        chained = {"sslCertchainfile": HTTPD_CERTIFICATE}
        with pytest.raises(CUT):
            wire.patch("tm/sys/httpd", **chained)
        assert wire.comes_back()
        assert len(chain_sent(wire.device)) == 2


def test_profiles_without_a_server_name() -> None:
    for value in (False, True):
        profiles = (Profile("one", sni_default=True), Profile("two", common_name="two.example.com"))
        chosen: dict[str, Any] = {"profiles": profiles, "virtuals": (Virtual("web", ("one", "two")),)}
        with run_f5(unconfirmed=Unconfirmed(sni_from_certificate=value), **chosen) as device:
            assert (seen(device, "web", "two.example.com") != seen(device, "web")) is value


def test_transactions() -> None:
    for value, wire in both(transaction_timeout_s=(120, 30)):
        inside = wire.begin()
        wire.device.advance(31)
        assert wire.commit(inside).status == (200 if value == 120 else 404)
    for value, wire in both(transaction_prefix=(True, False)):
        inside = wire.begin()
        inside.bind("absent")
        assert wire.commit(inside).message.startswith("transaction failed:") is value


def test_what_survives() -> None:
    for value, wire in both(unsaved_objects_survive_reboot=(False, True)):
        wire.make_key("a.key")
        wire.device.reboot()
        assert ("a.key" in wire.device.certificate_names) is value
    for value, wire in both(tokens_survive_reboot=(False, True)):
        wire.device.reboot()
        assert wire.comes_back()
        assert wire.get("tm/sys").status == (200 if value else 401)
    for value, wire in both(tokens_survive_httpd=(True, False)):
        wire.device.restart_httpd()
        assert wire.comes_back()
        assert wire.get("tm/sys").status == (200 if value else 401)


def test_the_page_after_a_restart() -> None:
    for value, wire in both(restarting_status=(503, 404)):
        wire.device.faults.arm("restarting_page", "GET tm/sys")
        assert wire.get("tm/sys").status == value


def test_tokens_that_are_counted() -> None:
    basic = {"Authorization": "Basic YWRtaW46c2ltdWxhdGVk"}
    for value, wire in both(basic_makes_tokens=(False, True)):
        assert Wire(wire.device).send("GET", "tm/sys", headers=basic).status == 200
        assert wire.device.sessions == (2 if value else 1)
    for value in (False, True):
        with run_f5(token_limit=1, unconfirmed=Unconfirmed(admin_has_token_limit=value)) as device:
            login = {"username": "admin", "password": "simulated"}
            answers = [Wire(device).post("shared/authn/login", **login).status for _ in range(2)]
            assert answers == [200, 400 if value else 200]


def test_what_httpd_checks() -> None:
    for value, wire in both(httpd_pair_checked=(True, False)):
        try:
            answered = wire.patch("tm/sys/httpd", sslCertfile="/config/absent").status
        except CUT:
            answered = 0
        assert answered == (400 if value else 0)
        assert (
            wire.device.state.configuration.get("sys/httpd", "/Common/httpd")["sslCertfile"] == "/config/absent"
        ) is (not value)
    for value, wire in both(httpd_takes_filestore=(True, False)):
        wire.prepare("a")
        items = wire.get("tm/adc/fileobject/ssl-key")["items"]
        key = next(item["cachePath"] for item in items if item["name"] == "/Common/a.key")
        pair = {"sslCertkeyfile": key, "sslCertfile": "/var/config/rest/downloads/a.crt.pem"}
        try:
            answered = wire.patch("tm/sys/httpd", **pair).status
        except CUT:
            answered = 0
        assert answered == (0 if value else 400)
    for value, wire in both(httpd_test=(True, False)):
        wire.bash(f"echo > {HTTPD_KEY}")
        assert ("Syntax OK" in wire.bash("httpd -t")) is not value


def test_what_save_takes() -> None:
    for value, wire in both(save_takes_partitions=(True, False)):
        options = [{"partitions": "{ Common }"}]
        assert wire.post("tm/sys/config", command="save", options=options).status == (200 if value else 400)


def test_the_csr_is_for_its_key(wire: Wire) -> None:
    wire.make_key("a.key")
    wire.make_csr("a.csr", "a.key")
    assert x509.load_pem_x509_csr(wire.read_csr("a.csr")).is_signature_valid


def test_the_readme_lists_every_fault_and_every_unconfirmed_point() -> None:
    text = (Path(__file__).parents[2] / "ottr/drivers/f5/README.md").read_text()
    assert [
        name for name in (*WIRE_FAULTS, *FAULTS, *Unconfirmed.__dataclass_fields__) if f"| `{name}` |" not in text
    ] == []
