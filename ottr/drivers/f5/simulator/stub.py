# SPDX-License-Identifier: Apache-2.0
"""tmsh, bigstart, httpd: programs in the device's shell. They give what they are asked to the device and print what
it says. They are written for bash, which starts much faster than Python: a rotation runs them often.

Fields of a message end with a zero byte. There: a secret that only the device's own shell knows, the number of words,
the words. Back: exit status, what goes to standard output, to standard error, and what bash is to run.
"""

from __future__ import annotations

PLACE = "MCPD"
"""The variable that has the secret and, behind a colon, the device's port on 127.0.0.1."""

PROGRAM = r"""#!/bin/bash
ask() {
    local status out error script
    if ! { exec 3<>"/dev/tcp/127.0.0.1/${MCPD#*:}"; } 2>/dev/null; then
        echo "Connection to mcpd has been lost" >&2
        exit 1
    fi
    printf '%s\0' "${MCPD%%:*}" $# "$@" >&3
    if ! IFS= read -r -d '' status <&3; then
        echo "the device is off" >&2
        exit 1
    fi
    IFS= read -r -d '' out <&3
    IFS= read -r -d '' error <&3
    IFS= read -r -d '' script <&3
    exec 3>&-
    printf %s "$out"
    printf %s "$error" >&2
    if [ -n "$script" ]; then
        /bin/bash -c "$script"
    else
        return "$status"
    fi
}

# The prompt of tmsh, until its user quits. What is typed is shown when it is read, as line editors do.
converse() {
    local line
    [ ! -t 0 ] || stty -echo
    while ask prompt; IFS= read -r line || [ -n "$line" ]; do
        [ ! -t 0 ] || printf '%s\n' "$line"
        line=${line#"${line%%[![:space:]]*}"}
        line=${line%"${line##*[![:space:]]}"}
        case $line in
            quit | exit) break ;;
            ?*) ask tmsh "$line" ;;
        esac
    done
    return 0
}

name=${0##*/}
if [ "$name" != tmsh ]; then
    ask "$name" "$@"
elif [ $# = 0 ]; then
    converse
elif [ "$1" = -c ]; then
    shift
    ask tmsh "$*"
else
    line=
    for word; do
        case $word in
            *[[:space:]]*) word="\"$word\"" ;;
        esac
        line="$line${line:+ }$word"
    done
    ask tmsh "$line"
fi
"""
