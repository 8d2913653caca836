# SPDX-License-Identifier: Apache-2.0
"""What the F5 driver puts on the wire, and how it reads answers the simulator does not give."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.group import Group
from ottr.drivers.f5.httpd import build_paths, parse_chain
from ottr.drivers.f5.keys import Keys
from ottr.drivers.f5.messages import AlreadyThere, Away, InUse, NoSuchObject, build_error
from ottr.drivers.f5.options import parse_options
from ottr.drivers.f5.patience import Patience
from ottr.drivers.f5.profiles import Profiles
from ottr.drivers.f5.rest import Rest
from ottr.drivers.f5.session import open_device
from ottr.drivers.f5.shell import RestShell, finish_line, read_output, run_checked
from ottr.drivers.f5.virtuals import find_endpoints
from ottr.drivers.f5.wire import Wire
from ottr.errors import (
    AuthenticationFailed,
    DeviceBusy,
    DeviceRejected,
    DeviceUnreachable,
    KeyLost,
    UnsupportedDevice,
)
from ottr.files.settings import load_settings
from ottr.model import CertificateRequest, Credentials, Device, KeyType, Secret
from ottr.routing.loader import load_routes
from ottr.transports.http import HttpError, HttpResponse
from tests.drivers.f5_site import QUICK, run_site, wait_briefly

TOKEN = {"token": {"token": "T0KEN", "userName": "ottr", "address": "1.2.3.4", "timeout": 1200}}
PROFILE = {"kind": "x", "fullPath": "/Common/site", "certKeyChain": []}


class Script:
    """A device that answers in a fixed order, and what it was sent. Stands in for one HttpClient."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    def request(self, method, url, *, body, headers):
        self.sent.append((method, url, body, dict(headers)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, HttpResponse):
            return answer
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        return HttpResponse(status, {"content-type": "application/json"}, json.dumps(content).encode())

    def close(self):
        pass


def make_rest(script, *, opened=True):
    rest = Rest(Wire("lb1", "https://lb1", lambda _: script), "ottr", Secret("p&ss"), lambda _: None)
    if opened:
        script.answers[:0] = [TOKEN, {"items": []}]
        rest.open()
        script.sent.clear()
    return rest


def make_client(*answers):
    script = Script(*answers)
    return Client(make_rest(script)), script


def make_patience():
    return Patience(
        parse_options({**QUICK, "management": True, "restart_timeout": 0.1, "sync_timeout": 0.1}), wait_briefly
    )


def status(word, *details):
    below = {str(n): {"nestedStats": {"entries": {"details": {"description": d}}}} for n, d in enumerate(details)}
    entries = {"status": {"description": word}, "below": {"nestedStats": {"entries": below}}}
    return {"selfLink": "https://localhost/x?ver=16.1.2", "entries": {"0": {"nestedStats": {"entries": entries}}}}


def test_no_request_leaves_another_way(monkeypatch):
    """Only connections to the device's port, and every one of them through urllib3."""
    seen = []
    connect = socket.create_connection

    def look(address, timeout=None, source_address=None, socket_options=None):
        seen.append(address)
        return connect(address)

    monkeypatch.setattr("urllib3.util.connection.create_connection", look)
    with run_site() as site:
        pin = site.simulator.served_fingerprint()
        site.variables = {"ottr_tls_fingerprint": f"SHA256:{pin}"}
        site.rotate()
        assert set(seen) == {(site.simulator.address, site.simulator.port)}
        assert len(site.simulator.requests) > 20


def test_password_and_token_are_where_they_belong():
    script = Script(TOKEN, {"items": []}, {"name": "x"}, {})
    rest = make_rest(script, opened=False)
    rest.open()
    rest.get("tm/sys/httpd")
    rest.close()
    login, listed, read, deleted = script.sent
    assert json.loads(login[2]) == {"username": "ottr", "password": "p&ss", "loginProviderName": "tmos"}
    assert "X-F5-Auth-Token" not in login[3]
    assert [request[3]["X-F5-Auth-Token"] for request in (listed, read, deleted)] == ["T0KEN"] * 3
    assert all("Authorization" not in request[3] for request in script.sent)
    assert (deleted[0], deleted[1]) == ("DELETE", "https://lb1/mgmt/shared/authz/tokens/T0KEN")
    assert "T0KEN" not in f"{login[1]}{listed[1]}{read[1]}"


def test_logout_is_tried_again_while_httpd_is_away_and_never_raises(caplog):
    script = Script(HttpError("lost"), (503, {}), (200, {}))
    make_rest(script).close()
    assert not script.answers
    script = Script(*[HttpError("lost")] * 20)
    make_rest(script).close()
    assert "runs out by itself" in caplog.text
    make_rest(Script((500, {"message": "no"}))).close()
    for gone in (401, 404):
        make_rest(Script((gone, {}))).close()
    make_rest(Script(), opened=False).close()


def test_tokens_that_cannot_be_listed_do_not_matter():
    script = Script(TOKEN, (403, {"message": "Authorization failed"}), {"a": 1})
    rest = make_rest(script, opened=False)
    rest.open()
    assert rest.get("x") == {"a": 1}


def test_only_tokens_of_our_own_kind_are_deleted():
    mine = TOKEN["token"]
    others = [
        {**mine, "token": "DEAD"},
        {**mine, "token": "ALICE", "userName": "alice"},
        {**mine, "token": "ELSEWHERE", "address": "1.2.3.5"},
        {**mine, "token": "LONGER", "timeout": 3600},
        mine,
    ]
    script = Script(TOKEN, {"items": others}, {})
    make_rest(script, opened=False).open()
    assert [request[1].rpartition("/")[2] for request in script.sent if request[0] == "DELETE"] == ["DEAD"]


@pytest.mark.parametrize("answer", [{}, {"token": "text"}, {"token": {}}])
def test_a_login_without_a_token(answer):
    with pytest.raises(AuthenticationFailed, match="no token"):
        make_rest(Script(answer), opened=False).open()


def test_a_refused_login_does_not_repeat_the_request_body():
    echo = {"code": 401, "message": "Authentication failed.", "originalRequestBody": '{"password":"p&ss"}'}
    with pytest.raises(AuthenticationFailed) as caught:
        make_rest(Script((401, echo)), opened=False).open()
    assert "p&ss" not in f"{caught.value}{caught.value.hint}"


def test_words_of_the_device_do_not_carry_secrets():
    client, _ = make_client((400, {"message": "bad token T0KEN of p&ss"}))
    with pytest.raises(DeviceRejected) as caught:
        client.save()
    assert "T0KEN" not in str(caught.value)
    assert "p&ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (409, "01020066:3: The requested key (/Common/x) already exists in partition Common.", AlreadyThere),
        (400, "01020066:3: The requested key (/Common/x) already exists in partition Common.", AlreadyThere),
        (404, "01020036:3: The requested key (/Common/x) was not found.", NoSuchObject),
        (400, "01020036:3: The requested key (/Common/x) was not found.", NoSuchObject),
        (404, "", NoSuchObject),
        (404, "Configuration Utility restarting...", Away),
        (503, "", Away),
        (502, "Bad Gateway", Away),
        (500, "", DeviceRejected),
        (400, "transaction failed:01070317:3: profile /Common/P's key(K) and certificate(C) do not match.", KeyLost),
        (400, "01070621:3: The certificate (/Common/x) is in use by (/Common/P).", InUse),
        (400, "user 1-2 has reached maximum active login tokens", DeviceBusy),
        (400, "Too many requests, try again", DeviceBusy),
        (401, "X-F5-Auth-Token does not exist.", AuthenticationFailed),
        (403, "forbidden", AuthenticationFailed),
        (400, "anything", DeviceRejected),
    ],
)
def test_words_and_codes(code, words, kind):
    found = build_error("lb1", code, words)
    assert type(found) is kind
    assert str(found).startswith("lb1")
    assert found.hint or kind in (AlreadyThere, NoSuchObject)


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_answers_that_are_no_objects(body):
    client, _ = make_client(HttpResponse(200, {}, body))
    with pytest.raises(DeviceRejected, match="JSON"):
        client.fetch_httpd()


def test_pages_of_httpd_are_read_by_what_they_say():
    page = HttpResponse(404, {}, b"<html>Configuration Utility restarting...</html>")
    client, _ = make_client(page, HttpResponse(404, {}, b"<html>nothing</html>"))
    with pytest.raises(Away):
        client.fetch_httpd()
    with pytest.raises(NoSuchObject):
        client.fetch_httpd()


def test_large_files_go_in_chunks():
    done = {"remainingByteCount": 0, "localFilePath": "/var/config/rest/downloads/x.crt"}
    client, script = make_client({"remainingByteCount": 5}, {"remainingByteCount": 1}, done)
    client.rest.chunk_size = 4
    assert client.rest.upload("x.crt", b"0123456789") == "/var/config/rest/downloads/x.crt"
    assert [request[3]["Content-Range"] for request in script.sent] == ["0-3/10", "4-7/10", "8-9/10"]
    assert b"".join(request[2] for request in script.sent) == b"0123456789"
    assert {request[3]["Content-Type"] for request in script.sent} == {"application/octet-stream"}


def test_an_upload_that_echoes_is_begun_anew_from_the_start():
    echo = HttpResponse(400, {}, b"4567")
    done = {"localFilePath": "/x"}
    client, script = make_client({}, echo, {}, done)
    client.rest.chunk_size = 4
    assert client.rest.upload("x.crt", b"01234567") == "/x"
    assert [request[3]["Content-Range"] for request in script.sent] == ["0-3/8", "4-7/8"] * 2


def test_download_asks_for_the_exact_length_where_the_first_answer_is_short():
    first = HttpResponse(200, {"Content-Range": "0-3/6"}, b"0123")
    client, script = make_client(first, HttpResponse(200, {"Content-Range": "0-5/6"}, b"012345"), (404, {}))
    assert client.rest.download("x.csr") == b"012345"
    assert script.sent[1][3]["Content-Range"] == "0-5/6"
    assert client.rest.download("x.csr") == b""


@pytest.mark.parametrize(
    ("key_type", "wanted"),
    [
        (KeyType.EC256, {"keyType": "ec-private", "curveName": "prime256v1"}),
        (KeyType.EC384, {"keyType": "ec-private", "curveName": "secp384r1"}),
        (KeyType.RSA3072, {"keyType": "rsa-private", "keySize": "3072"}),
    ],
)
def test_what_is_asked_of_a_key(key_type, wanted):
    client, script = make_client({})
    client.create_key("ottr-a", key_type)
    assert json.loads(script.sent[0][2]) == {"name": "ottr-a.key", "partition": "Common", **wanted}


def test_a_transaction_is_committed_without_its_header():
    client, script = make_client({"transId": 7}, {}, PROFILE, {"state": "COMPLETED"})
    client.change_profiles({"/Common/site": [{"name": "n"}]}, {"/Common/site": PROFILE})
    begun, changed, _read, committed = script.sent
    assert json.loads(begun[2]) == {}
    assert changed[3]["X-F5-REST-Coordination-Id"] == "7"
    assert changed[1].endswith("/~Common~site")
    assert "X-F5-REST-Coordination-Id" not in committed[3]
    assert json.loads(committed[2])["state"] == "VALIDATING"


def test_a_transaction_without_a_number():
    client, _ = make_client({})
    with pytest.raises(DeviceRejected, match="without a number"):
        client.change_profiles({"/Common/site": [{}]}, {"/Common/site": PROFILE})


def test_virtual_servers_in_all_forms():
    def virtual(name, destination, **more):
        inside = {"items": [{"fullPath": "/Common/site", "context": "clientside"}]}
        return {"fullPath": name, "destination": destination, "profilesReference": inside, **more}

    others = {"items": [{"fullPath": "/Common/site", "context": "serverside"}]}
    items = [
        virtual("/Common/v4", "/Common/10.0.0.1:443"),
        virtual("/Common/v6", "/Common/2001:db8::1.8443"),
        virtual("/Common/folder", "/Shop/app/10.0.0.2%0:443"),
        virtual("/Common/domain", "/Common/10.0.0.3%7:443"),
        virtual("/Common/any", "/Common/0.0.0.0:443"),
        virtual("/Common/ports", "/Common/10.0.0.4:0"),
        virtual("/Common/name", "/Common/some-name:443"),
        virtual("/Common/list", ""),
        virtual("/Common/off", "/Common/10.0.0.5:443", disabled=True),
        virtual("/Common/back", "/Common/10.0.0.6:443", profilesReference=others),
    ]
    client, _ = make_client({"items": items}, *[PROFILE] * 9)
    found = find_endpoints(client, ("/Common/site",), ("*.example.com", "a.example.com"))
    assert [str(endpoint) for endpoint in found] == ["10.0.0.1:443", "[2001:db8::1]:8443", "10.0.0.2:443"]
    assert {endpoint.server_name for endpoint in found} == {"a.example.com"}


def test_virtual_servers_without_expanded_profiles():
    plain = {"fullPath": "/Common/web", "destination": "/Common/10.0.0.1:443", "profilesReference": {"link": "x"}}
    inside = {"items": [{"fullPath": "/Common/site", "context": "clientside"}]}
    client, script = make_client({"items": [plain]}, inside, PROFILE)
    assert len(find_endpoints(client, ("/Common/site",), ())) == 1
    assert script.sent[1][1].endswith("/tm/ltm/virtual/~Common~web/profiles")


def test_entries_of_other_uses_and_their_fields_are_kept():
    ca = {"name": "ca", "cert": "/Common/ca.crt", "key": "/Common/ca.key", "usage": "CA", "chain": "none"}
    own = {
        "name": "default",
        "cert": "/Common/default.crt",
        "key": "/Common/default.key",
        "certReference": {"link": ""},
    }
    former = {**PROFILE, "certKeyChain": [ca, {**own, "usage": "SERVER", "appService": "none"}]}
    ec = {"keyType": "ec-private"}
    client, script = make_client(ec, {}, former, {"keyType": "rsa-private"}, {"transId": 7}, {}, former, {})
    Profiles(client, parse_options({"client_ssl": "site"})).bind("ottr-a")
    sent = next(json.loads(request[2]) for request in script.sent if request[0] == "PATCH")
    assert [entry["name"] for entry in sent["certKeyChain"]] == ["ca", "ottr-a"]
    assert sent["certKeyChain"][0] == {name: ca[name] for name in ("name", "cert", "key", "usage")}


def test_a_key_with_a_passphrase_is_an_obstacle():
    entry = {"name": "a", "cert": "/Common/a.crt", "key": "/Common/a.key", "passphrase": "$M$xx"}
    client, _ = make_client({**PROFILE, "certKeyChain": [entry]})
    assert "passphrase" in Profiles(client, parse_options({"client_ssl": "site"})).find_obstacle()


def test_a_profile_is_never_left_without_a_certificate():
    entry = {"name": "ottr-a", "cert": "/Common/ottr-a.crt", "key": "/Common/ottr-a.key"}
    client, script = make_client({**PROFILE, "certKeyChain": [entry]}, {"keyType": "ec-private"})
    with pytest.raises(DeviceRejected, match="without a certificate"):
        Profiles(client, parse_options({"client_ssl": "site"})).unbind("ottr-a", '{"/Common/site": []}')
    assert {request[0] for request in script.sent} == {"GET"}


@pytest.mark.parametrize("bound", ["", "default", "{}", "[]", '{"/Common/site": 1}', '{"/Common/site": [{}]}'])
def test_what_was_bound_must_be_readable(bound):
    entry = {"name": "ottr-a", "cert": "/Common/ottr-a.crt", "key": "/Common/ottr-a.key"}
    client, _ = make_client({**PROFILE, "certKeyChain": [entry]})
    with pytest.raises(DeviceRejected, match="nothing that was bound"):
        Profiles(client, parse_options({"client_ssl": "site"})).unbind("ottr-a", bound)


def make_group(*answers):
    client, script = make_client(*answers)
    return Group(client, make_patience(), parse_options({**QUICK, "client_ssl": "site", "device_group": "DG"})), script


def test_a_sync_is_not_started_from_the_wrong_side():
    units = {"items": [{"name": "one", "failoverState": "active"}, {"name": "two", "failoverState": "standby"}]}
    group, script = make_group(
        {}, status("Changes Pending", "Recommended action: Synchronize /Common/two to group DG"), units
    )
    with pytest.raises(DeviceBusy, match="another unit"):
        group.settle(changed=True)
    assert not [request for request in script.sent if request[1].endswith("/tm/cm")]
    ours = status("Changes Pending", "Recommended action: Synchronize one to group DG")
    group, script = make_group({}, ours, units, {}, status("In Sync"))
    group.settle(changed=False)
    assert not script.answers


def test_a_standalone_device_is_not_synced():
    group, script = make_group({}, status("Standalone"))
    group.settle(changed=True)
    assert not script.answers


def test_a_unit_without_a_version():
    client, _ = make_client({"entries": {}})
    assert client.fetch_unit() == ("", "")


def test_waiting_for_httpd_ends():
    def away():
        raise Away("lb1")

    patience = make_patience()
    for wait in (patience.ride_out, patience.ride_out_start):
        with pytest.raises(DeviceUnreachable):
            wait(away)
    assert not patience.await_restart(lambda: False)
    answers = [Away("lb1"), Away("lb1"), None]

    def late():
        answer = answers.pop(0)
        if answer:
            raise answer
        return "there"

    assert patience.ride_out_start(late) == "there"


@pytest.mark.parametrize("line", ["echo 'x'", "a\nb", "a\\b"])
def test_lines_that_cannot_be_quoted_are_not_sent(line):
    with pytest.raises(DeviceRejected, match="cannot be sent"):
        finish_line(line)


def test_output_of_a_shell():
    assert read_output("lb1", "text\r\nottr-rc=0\r\n").output == "text\n"
    done = read_output("lb1", "ottr-rc=3\nerrors behind it\n")
    assert (done.status, done.output) == (3, "errors behind it\n")
    with pytest.raises(DeviceRejected, match="how a command ended"):
        read_output("lb1", "text")
    with pytest.raises(DeviceRejected, match="private key") as caught:
        read_output("lb1", "-----BEGIN RSA PRIVATE KEY-----\nMIIsecret\nottr-rc=0\n")
    assert "MIIsecret" not in str(caught.value)


def test_a_command_that_prints_nothing_at_all():
    client, _ = make_client({"command": "run"})
    with pytest.raises(DeviceRejected, match="how a command ended"):
        RestShell(client.rest).run("true")


def test_words_of_a_failed_command_are_printable():
    client, _ = make_client({"commandResult": "no\x1b[31m space\nottr-rc=1\n"})
    with pytest.raises(DeviceRejected, match=r"no .31m space") as caught:
        run_checked(RestShell(client.rest), "cp a b", "copy")
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sslCertfile": "/etc/passwd", "sslCertkeyfile": "/etc/httpd/conf/ssl.key/server.key"},
        {"sslCertfile": "/config/httpd/conf/ssl.crt/a b", "sslCertkeyfile": "/etc/httpd/conf/ssl.key/server.key"},
        {"sslCertfile": "/config/httpd/conf/../x", "sslCertkeyfile": "/etc/httpd/conf/ssl.key/server.key"},
        {"sslCertfile": "/etc/httpd/conf/a", "sslCertkeyfile": "/etc/httpd/conf/b", "sslCertchainfile": "/etc/$(id)"},
    ],
)
def test_paths_outside_of_httpd_are_refused(settings):
    with pytest.raises(UnsupportedDevice, match="lb1") as caught:
        build_paths("lb1", settings)
    assert caught.value.hint


@pytest.mark.parametrize("bound", ['{"label": "x"}', "{", '{"chain": "/etc/passwd; x"}', '{"chain": 7}'])
def test_chain_files_that_were_bound_must_be_readable(bound):
    with pytest.raises(DeviceRejected):
        parse_chain(bound)


@pytest.mark.parametrize(
    ("variables", "credentials", "kind", "words"),
    [
        ({"ottr_tls_fingerprint": "SHA256:xx"}, Credentials("u", Secret("p")), DeviceRejected, "ottr_tls_fingerprint"),
        ({}, Credentials("u"), AuthenticationFailed, "password"),
        ({}, Credentials("", Secret("p")), AuthenticationFailed, "user name"),
    ],
)
def test_refused_before_anything_is_sent(variables, credentials, kind, words):
    device = Device("lb1", "bigip", "127.0.0.1", ("a.example.com",), variables={"ansible_port": 9, **variables})
    with pytest.raises(kind, match=words), open_device(device, {"management": True}, credentials):
        pass


def test_nobody_shows_a_certificate():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        variables = {"ansible_port": holder.getsockname()[1], "certificate_validation": "no"}
        device = Device("lb1", "bigip", "127.0.0.1", ("a.example.com",), variables=variables)
        options = {**QUICK, "client_ssl": "site"}
        with pytest.raises(DeviceUnreachable), open_device(device, options, Credentials("u", Secret("p"))):
            pass


def test_an_old_version_is_refused_and_its_token_deleted(monkeypatch):
    script = Script(TOKEN, {"items": []}, {**status("ACTIVE"), "selfLink": "https://localhost/x?ver=13.1.1"}, {})
    monkeypatch.setattr("ottr.drivers.f5.session.HttpClient", lambda **_: script)
    device = Device("lb1", "bigip", "lb1.example.com", ("a.example.com",))
    with (
        pytest.raises(UnsupportedDevice, match="runs BIG-IP 13"),
        open_device(device, {"client_ssl": "site"}, Credentials("u", Secret("p"))),
    ):
        pass
    assert script.sent[-1][0] == "DELETE"


@pytest.mark.parametrize("name", ["a; rm -rf /", '"', "a\nb.example.com", "-rf", "a, DNS:b", "", "a" * 64, "A"])
def test_hostile_names_are_not_sent(name):
    client, script = make_client()
    with pytest.raises(DeviceRejected, match="not a DNS name"):
        Keys(client, RestShell(client.rest)).make(CertificateRequest("ottr-a", ("a.example.com", name)), lambda: None)
    assert not script.sent


def test_example_routes_of_the_readme(tmp_path):
    readme = Path(__file__).parents[2] / "ottr" / "drivers" / "f5" / "README.md"
    block = re.search(r"```yaml\n(routes:.*?)```", readme.read_text(), re.DOTALL)
    assert block
    (tmp_path / "routing.yaml").write_text(block[1])
    (tmp_path / "ottr.yaml").write_text(
        "issuers: {ca: {directory: 'https://ca.example.com/dir'}}\ndefault_issuer: ca\n"
    )
    router = load_routes(tmp_path / "routing.yaml", load_settings(tmp_path / "ottr.yaml", {}))
    assert [rule.driver for rule in router.rules] == ["f5"] * 3
