# SPDX-License-Identifier: Apache-2.0
"""What the PAN-OS driver puts on the wire, and how it reads answers the simulator does not give."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from ottr.drivers.panos.client import Client
from ottr.drivers.panos.messages import build_error
from ottr.drivers.panos.options import parse_options
from ottr.drivers.panos.patience import Patience, find_foreign_changes
from ottr.drivers.panos.session import open_device
from ottr.drivers.panos.wire import Wire
from ottr.drivers.panos.xapi import Xapi
from ottr.errors import (
    AuthenticationFailed,
    DeviceBusy,
    DeviceRejected,
    DeviceUnreachable,
    KeyLost,
    UnsupportedDevice,
)
from ottr.model import CertificateRequest, Credentials, Device, Secret
from ottr.transports.http import HttpResponse
from tests.drivers.panos import QUICK, run_site, wait_briefly

KEY = b"<response status = 'success'><result><key>k3y+/=</key></result></response>"
EMPTY = b'<response status="success" code="7"><result/></response>'
NONE_THERE = b'<response status="error" code="7"><msg><line>No such node</line></msg></response>'


class Script:
    """A device that answers in a fixed order, and what it was sent. Stands in for one HttpClient."""

    def __init__(self, *answers: bytes | int) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.urls: list[str] = []

    def request(self, method, url, *, body, headers):
        assert method == "POST"
        self.urls.append(url)
        self.bodies.append({name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()})
        self.headers.append(dict(headers))
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            return HttpResponse(answer, {"content-type": "text/html"}, b"<html>")
        return HttpResponse(200, {"content-type": "application/xml"}, answer)

    def close(self):
        pass


def make_client(script: Script, *, header: bool = True) -> Client:
    wire = Wire("fw1", "https://fw1/api/", lambda _: script)
    return Client("fw1", Xapi(wire, "ottr", Secret("p&ss"), key_in_header=header))


def make_patience(client: Client) -> Patience:
    return Patience(client, parse_options(QUICK), wait_briefly)


def error(code: str, *lines: str) -> bytes:
    inside = "".join(f"<line><![CDATA[{line}]]></line>" for line in lines)
    return f'<response status="error" code="{code}"><msg>{inside}</msg></response>'.encode()


def test_no_request_leaves_another_way(monkeypatch):
    """Neither the library's own urllib, nor a proxy of the client object: only connections to the device's port."""
    seen = []
    connect = socket.create_connection

    def look(address, *rest, **more):
        seen.append(address)
        return connect(address, *rest, **more)

    def forbid(*arguments, **more):
        raise AssertionError("a request left through urllib")

    monkeypatch.setattr("urllib3.util.connection.create_connection", _by_socket(look))
    monkeypatch.setattr("pan.xapi.urlopen", forbid)
    monkeypatch.setattr(urllib.request, "urlopen", forbid)
    with run_site() as site:
        pin = site.simulator.served_fingerprint()
        site.variables = {"ottr_tls_fingerprint": f"SHA256:{pin}"}
        site.rotate()
        assert set(seen) == {(site.simulator.address, site.simulator.port)}
        answered = [entry for entry in site.simulator.requests if entry.status == 200]
        assert len(answered) > 20


def _by_socket(look):
    def create(address, timeout=None, source_address=None, socket_options=None):
        return look(address)

    return create


def test_password_and_key_are_in_the_body_only():
    script = Script(KEY, EMPTY)
    make_client(script, header=False).find("/config/shared/x")
    assert script.bodies[0] == {"type": "keygen", "user": "ottr", "password": "p&ss"}
    assert script.bodies[1]["key"] == "k3y+/="
    assert {urlsplit(url).query for url in script.urls} == {""}
    script = Script(KEY, EMPTY)
    make_client(script).find("/config/shared/x")
    assert script.headers[1]["X-PAN-KEY"] == "k3y+/="
    assert "key" not in script.bodies[1]


def test_session_that_timed_out_gets_a_new_key():
    found = b'<response status="success" code="19"><result><x>text</x></result></response>'
    script = Script(KEY, error("22", "Session timed out"), KEY, found)
    assert make_client(script).find("/config/shared/x") == "text"
    assert [body["type"] for body in script.bodies] == ["keygen", "config", "keygen", "config"]


def test_words_of_the_device_do_not_carry_secrets():
    script = Script(KEY, error("17", "bad key k3y+/= of p&amp;ss".replace("&amp;", "&")))
    with pytest.raises(DeviceRejected) as caught:
        make_client(script).operate("<show/>")
    assert "k3y" not in str(caught.value)
    assert "p&ss" not in str(caught.value)


@pytest.mark.parametrize("answer", [EMPTY, NONE_THERE])
def test_absent_nodes(answer):
    assert make_client(Script(KEY, answer)).find("/config/shared/x") == ""
    assert make_client(Script(KEY, answer)).fetch_names("/config/shared/certificate") == frozenset()
    make_client(Script(KEY, answer)).delete("/config/shared/x")


def test_names_are_asked_for_without_the_entries():
    listed = (
        b'<response status="success" code="19"><result><entry name="ottr-a"/><entry name="web"/></result></response>'
    )
    script = Script(KEY, listed)
    assert make_client(script).fetch_names("/config/shared/certificate") == {"ottr-a", "web"}
    assert script.bodies[1]["xpath"] == "/config/shared/certificate/entry/@name"


def test_web_server_that_is_not_ready_is_unreachable():
    with pytest.raises(DeviceUnreachable, match="503"):
        make_client(Script(503)).operate("<show/>")
    with pytest.raises(AuthenticationFailed):
        make_client(Script(200)).operate("<show/>")
    with pytest.raises(DeviceRejected):
        make_client(Script(KEY, 200)).operate("<show/>")


def test_values_are_escaped():
    script = Script(KEY, b'<response status="success"/>')
    with pytest.raises(UnsupportedDevice, match="64"):
        make_client(script).generate("ottr-a", ["a" * 65], next(iter(_key_types())))
    make_client(script).generate("ottr-a", ["a<b", "c" * 70], next(iter(_key_types())))
    assert "<name>a&lt;b</name>" in script.bodies[1]["cmd"]


def _key_types():
    return [CertificateRequest("ottr-a", ("a",)).key_type]


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        ("13", "Another commit/validate is in progress. Please try again later", DeviceBusy),
        ("13", "A commit is in progress.", DeviceBusy),
        ("13", "You cannot commit while an install is in progress. Please try again later.", DeviceBusy),
        ("", "Configuration is locked by alice", DeviceBusy),
        ("", "Config for scope shared is currently locked by alice", DeviceBusy),
        ("14", "Other administrators are holding device wide commit locks.", DeviceBusy),
        ("16", "Unauthorized request", AuthenticationFailed),
        ("", "Import of ottr-a failed. private key doesn't exist for csr", KeyLost),
        ("12", "P -> certificate 'ottr-a' is not a valid reference", DeviceRejected),
        ("", "", DeviceRejected),
    ],
)
def test_words_and_codes(code, words, kind):
    found = build_error("fw1", code, words)
    assert type(found) is kind
    assert str(found).startswith("fw1")
    assert found.hint or kind is DeviceRejected


@pytest.mark.parametrize(
    "answer",
    [
        b'<response status="success" code="19"><msg>There are no changes to commit.</msg></response>',
        error("13", "The result of this commit would be the same as the previous commit"),
    ],
)
def test_nothing_to_commit_waits_for_own_jobs(answer):
    jobs = b"<response status='success'><result>%s</result></response>"
    running = b"<job><id>7</id><user>ottr</user><type>Commit</type><status>ACT</status><result>PEND</result></job>"
    foreign = running.replace(b"ottr", b"alice").replace(b"7", b"8")
    ended = running.replace(b"ACT", b"FIN").replace(b"PEND", b"FAIL")
    script = Script(KEY, answer, jobs % (running + foreign), jobs % running, jobs % ended)
    client = make_client(script)
    make_patience(client).commit(_Commit(), "partial")
    assert not script.answers
    assert "<id>7</id>" in script.bodies[-1]["cmd"]


def test_job_that_is_not_known_any_more_is_left_to_the_configuration():
    started = b'<response status="success" code="19"><result><job>7</job></result></response>'
    script = Script(KEY, started, error("7", "job 7 not found"))
    make_patience(make_client(script)).commit(_Commit(), "partial")
    assert not script.answers


def test_push_ends_with_its_devices():
    started = b'<response status="success" code="19"><result><job>7</job></result></response>'
    job = "<job><status>FIN</status><result>OK</result><devices>%s</devices></job>"
    job = f"<response status='success'><result>{job}</result></response>"
    device = "<entry><serial-no>1</serial-no><devicename>fw9</devicename><result>%s</result></entry>"
    pending = (job % (device % "PEND")).encode()
    script = Script(KEY, started, pending, (job % (device % "OK")).encode())
    make_patience(make_client(script)).commit(_Commit(), "all")
    assert not script.answers
    script = Script(KEY, started, pending, (job % (device % "FAIL")).encode())
    with pytest.raises(DeviceRejected, match="fw9: FAIL"):
        make_patience(make_client(script)).commit(_Commit(), "all")


def test_foreign_changes_are_counted_by_owner():
    entry = "<entry><xpath>/config/x</xpath><owner>%s</owner></entry>"
    journal = "".join(entry % owner for owner in ("alice", "ottr", "alice", "bob"))
    script = Script(
        KEY, f"<response status='success'><result><journal>{journal}</journal></result></response>".encode()
    )
    assert find_foreign_changes(make_client(script)) == (
        "alice has 2 changes that are not committed",
        "bob has 1 changes that are not committed",
    )


@pytest.mark.parametrize(
    ("variables", "credentials", "kind", "words"),
    [
        ({"ottr_tls_fingerprint": "SHA256:xx"}, Credentials("u", Secret("p")), DeviceRejected, "ottr_tls_fingerprint"),
        ({}, Credentials("u"), AuthenticationFailed, "password"),
        ({}, Credentials("", Secret("p")), AuthenticationFailed, "user name"),
    ],
)
def test_refused_before_anything_is_sent(variables, credentials, kind, words):
    device = Device("fw1", "panos", "127.0.0.1", ("fw1.example.com",), variables={"ansible_port": 9, **variables})
    with pytest.raises(kind, match=words), open_device(device, QUICK, credentials):
        pass


@pytest.mark.parametrize("variables", [{}, {"certificate_validation": False}])
def test_nobody_listens(variables):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        device = Device("fw1", "panos", "127.0.0.1", ("a",), variables={"ansible_port": port, **variables})
        with pytest.raises(DeviceUnreachable), open_device(device, QUICK, Credentials("u", Secret("p"))):
            pass


class _Commit:
    def element_str(self):
        return b"<commit/>"
