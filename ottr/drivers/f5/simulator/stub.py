# SPDX-License-Identifier: Apache-2.0
"""tmsh, bigstart, httpd: programs in the device's shell. They give what they are asked to the device and print what
it says. Runs without any package; imports are few, because it is started often: ``socket`` alone costs as much as
all the rest of it."""

import _socket
import os
import sys

SOCKET = "/var/run/mcpd.sock"


def ask(words: list[str]) -> int:
    """Let the device do one command; its exit status."""
    line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    line.connect(SOCKET)
    line.sendall("\0".join(words).encode())
    line.shutdown(_socket.SHUT_WR)
    told = b""
    while part := line.recv(65536):
        told += part
    line.close()
    status, out, error, script = (told.decode() or "1\0\0the device is off\0").split("\0")
    sys.stdout.write(out)
    sys.stdout.flush()
    sys.stderr.write(error)
    sys.stderr.flush()
    if script:
        return os.spawnv(os.P_WAIT, "/bin/bash", ["/bin/bash", "-c", script])  # noqa: S606 - bash is what was asked for
    return int(status)


def converse() -> int:
    """The prompt of tmsh, until its user quits. What is typed is shown when it is read, as line editors do."""
    import termios

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
