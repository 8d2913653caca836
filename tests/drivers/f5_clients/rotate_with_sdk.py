# SPDX-License-Identifier: Apache-2.0
"""A rotation with f5-sdk, run by its own virtual environment: ADDRESS PORT, then reads the signed PEM's path.

Prints a line of JSON with the CSR, reads a line with the path of the certificate, and prints what it saw.
"""

import json
import sys

from f5.bigip import ManagementRoot
from f5.bigip.contexts import TransactionContextManager
from f5.sdk_exception import TransactionSubmitException
from icontrol.exceptions import iControlUnexpectedHTTPError

NAME = "sdk"


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


address, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "token"
root = ManagementRoot(address, "admin", "simulated", port=port, token=token)
tm = root.tm
version = root.tmos_version

key = tm.sys.crypto.keys.key.create(name=f"{NAME}.key", keyType="rsa-private", keySize="2048")
assert key.keySize == "2048", key.keySize
body = {
    "name": f"{NAME}.csr",
    "key": f"{NAME}.key",
    "commonName": "site.example.com",
    "subjectAlternativeName": "DNS:site.example.com, IP:192.0.2.1",
}
session = root._meta_data["icr_session"]
session.post(f"https://{address}:{port}/mgmt/tm/sys/crypto/csr/", json=body)
shown = tm.util.bash.exec_cmd("run", utilCmdArgs=f"-c 'tmsh list sys crypto csr {NAME}.csr'").commandResult
say(csr=shown[shown.rindex("-----BEGIN") :], version=version)

path = sys.stdin.readline().strip()
root.shared.file_transfer.uploads.upload_file(path, chunk_size=100)
source = f"/var/config/rest/downloads/{path.rpartition('/')[2]}"
tm.sys.crypto.certs.exec_cmd("install", **{"name": f"{NAME}.crt", "from-local-file": source})
certificate = tm.sys.file.ssl_certs.ssl_cert.load(name=f"{NAME}.crt", partition="Common")
profile = tm.ltm.profile.client_ssls.client_ssl.load(name="site", partition="Common")

try:
    with TransactionContextManager(tm.transactions.transaction) as api:
        inside = api.tm.ltm.profile.client_ssls.client_ssl
        inside._meta_data["uri"] = profile._meta_data["uri"]
        wrong = [{"name": "x", "cert": f"/Common/{NAME}.crt", "key": "/Common/default.key"}]
        api._meta_data["icr_session"].patch(profile._meta_data["uri"], json={"certKeyChain": wrong})
    refused = ""
except TransactionSubmitException as error:
    refused = str(error)

with TransactionContextManager(tm.transactions.transaction) as api:
    entry = [{"name": f"{NAME}_0", "cert": f"/Common/{NAME}.crt", "key": f"/Common/{NAME}.key"}]
    api._meta_data["icr_session"].patch(profile._meta_data["uri"], json={"certKeyChain": entry})

tm.sys.config.exec_cmd("save")
profile.refresh()
try:
    tm.sys.file.ssl_keys.ssl_key.load(name=f"{NAME}.key", partition="Common").delete()
    undeleted = ""
except iControlUnexpectedHTTPError as error:
    undeleted = str(error)
virtual = tm.ltm.virtuals.virtual.load(name="web", partition="Common")
say(
    bound=profile.certKeyChain[0]["cert"],
    subject=certificate.subject,
    refused=refused,
    undeleted=undeleted,
    profiles=[item.name for item in virtual.profiles_s.get_collection()],
    certificates=[item.name for item in tm.sys.file.ssl_certs.get_collection()],
    keys=[item.name for item in tm.sys.crypto.keys.get_collection()],
    devices=[device.failoverState for device in tm.cm.devices.get_collection()],
    groups=[group.name for group in tm.cm.device_groups.get_collection()],
    folders=[folder.name for folder in tm.sys.folders.get_collection()],
    httpd=tm.sys.httpd.load().sslCertfile,
)
