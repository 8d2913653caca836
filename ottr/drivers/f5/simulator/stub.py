# SPDX-License-Identifier: Apache-2.0
"""tmsh, bigstart, httpd: programs in the device's shell. They give what they are asked to the device and print what
it says. Runs without any package."""

import json
import socket
import subprocess
import sys
import termios

SOCKET = "/var/run/mcpd.sock"


def ask(words: list[str]) -> int:
    """Let the device do one command; its exit status."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(SOCKET)
        line.sendall(json.dumps(words).encode() + b"\n")
        with line.makefile() as stream:
            told = json.loads(stream.readline() or '{"error": "the device is off", "status": 1}')
    sys.stdout.write(told.get("out", ""))
    sys.stdout.flush()
    sys.stderr.write(told.get("error", ""))
    sys.stderr.flush()
    if told.get("bash"):
        return subprocess.call(["/bin/bash", "-c", told["bash"]])
    return int(told.get("status", 0))


def converse() -> int:
    """The prompt of tmsh, until its user quits. What is typed is shown when it is read, as line editors do."""
    on_terminal = sys.stdin.isatty()
    if on_terminal:
        mode = termios.tcgetattr(0)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, mode)
    while True:
        ask(["prompt"])
        line = sys.stdin.readline()
        if on_terminal:
            sys.stdout.write(line)
            sys.stdout.flush()
        if not line or line.strip() in ("quit", "exit"):
            return 0
        if line.strip():
            ask(["tmsh", line.strip()])


def main() -> int:
    """Whatever the program is called."""
    name, arguments = sys.argv[0].rpartition("/")[2], sys.argv[1:]
    if name != "tmsh":
        return ask([name, *arguments])
    if arguments[:1] == ["-c"]:
        return ask(["tmsh", " ".join(arguments[1:])])
    if not arguments:
        return converse()
    return ask(["tmsh", " ".join(f'"{word}"' if any(c.isspace() for c in word) else word for word in arguments)])


try:
    sys.exit(main())
except (KeyboardInterrupt, BrokenPipeError):
    sys.exit(130)
except OSError as error:
    print(f"Connection to mcpd has been lost: {error}", file=sys.stderr)
    sys.exit(1)
