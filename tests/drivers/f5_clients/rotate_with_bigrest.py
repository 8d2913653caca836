# SPDX-License-Identifier: Apache-2.0
"""A rotation with bigrest, run by its own virtual environment: ADDRESS:PORT and the password's way, token or basic.

Prints a line of JSON with the CSR, reads a line with the path of the certificate, and prints what it saw.
"""

import json
import pathlib
import sys

import urllib3
from bigrest.bigip import BIGIP
from bigrest.common.exceptions import RESTAPIError

NAME = "bigrest"
urllib3.disable_warnings()


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


device = BIGIP(
    sys.argv[1], "admin", "simulated", request_token=sys.argv[2] == "token", session_verify=False, timeout=60
)
ec = {"keyType": "ec-private", "curveName": "secp384r1"}
device.create("/mgmt/tm/sys/crypto/key", {"name": f"{NAME}.key", "partition": "Common", **ec})
names = {"commonName": "site.example.com", "subjectAlternativeName": "DNS:site.example.com"}
device.create("/mgmt/tm/sys/crypto/csr", {"name": f"{NAME}.csr", "key": f"{NAME}.key", **names})
device.command(
    "/mgmt/tm/util/unix-mv",
    {"command": "run", "utilCmdArgs": f"/config/ssl/ssl.csr/{NAME}.csr /var/config/rest/bulk/{NAME}.csr"},
)
folder = pathlib.Path(sys.argv[3])
device.download("/mgmt/shared/file-transfer/bulk", str(folder / f"{NAME}.csr"))
silent = device.command("/mgmt/tm/util/unix-rm", {"command": "run", "utilCmdArgs": f"/var/config/rest/bulk/{NAME}.csr"})
say(csr=(folder / f"{NAME}.csr").read_text(), silent=silent)

path = sys.stdin.readline().strip()
device.upload("/mgmt/shared/file-transfer/uploads", path)
source = f"file:/var/config/rest/downloads/{pathlib.Path(path).name}"
device.create("/mgmt/tm/sys/file/ssl-cert", {"name": f"{NAME}.crt", "partition": "Common", "sourcePath": source})
site = "/mgmt/tm/ltm/profile/client-ssl/~Common~site"
with device:
    entry = {"name": f"{NAME}_0", "cert": f"/Common/{NAME}.crt", "key": f"/Common/{NAME}.key"}
    device.modify(site, {"certKeyChain": [entry]})
profile = device.load(site)
profile.properties["serverName"] = "site.example.com"
saved = device.save(profile)
task = device.task_start("/mgmt/tm/task/sys/config", {"command": "save"})
device.task_wait(task, interval=0)
shell = device.task_start("/mgmt/tm/task/util/bash", {"command": "run", "utilCmdArgs": "-c 'tmsh show sys version'"})
device.task_wait(shell, interval=0)
try:
    device.delete(f"/mgmt/tm/sys/file/ssl-cert/~Common~{NAME}.crt")
    refused = ""
except RESTAPIError as error:
    refused = str(error)
say(
    bound=device.load(site).properties["certKeyChain"][0]["cert"],
    server_name=saved.properties["serverName"],
    version=device.task_result(shell),
    refused=refused,
    absent=device.exist("/mgmt/tm/sys/crypto/csr/nobody.csr"),
    sync=device.show("/mgmt/tm/cm/sync-status").properties["status"]["description"],
)
