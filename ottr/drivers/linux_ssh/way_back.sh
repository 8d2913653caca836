# SPDX-License-Identifier: Apache-2.0
# What Ottr does on a host, as functions of POSIX sh (dash, busybox ash, bash). README.md shows the layout.
#
# Set before any function is called: base (our folder), label, files (lines "TARGET PATH"), unit (systemd unit names),
# owner, group, mode, and the functions test_command and reload_command. What keeps every instant safe:
#   - nothing that a service reads is written in place: it is made aside, then renamed over;
#   - all paths lead through the one link "current", so that key and certificate change together;
#   - whatever is needed to go back is on the disk before "current" is switched.
# Each function may be cut off at any command and called again.

service_umask=$(umask)
umask 077
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
export LC_ALL PATH
# A lost connection must not stop a change half-way.
trap '' HUP PIPE
newline='
'

# Exit statuses, known to driver.py: 10 KeyLost, 11 UnsupportedDevice, 12 DeviceRejected, 13 DeviceBusy.
fail() { # status, words
	failure=$1
	shift
	printf '%s\n' "$*" >&2
	exit "$failure"
}

cannot() { # words; the usual reasons are looked for
	reason=
	if ! [ -w "${base%/*}/" ]; then
		reason=" (read-only or not permitted)"
	elif [ "$(read_room "${base%/*}/")" -lt 8 ]; then
		reason=" (no space left on device)"
	fi
	fail 12 "cannot $*$reason"
}

read_room() { # folder; prints free KiB
	df -Pk -- "$1" | {
		read -r _
		read -r _ _ _ free _
		printf '%s\n' "${free:-9999}"
	}
}

# One change at a time, also against a dead-man timer that goes off. The lock goes with the process.
take_lock() {
	[ -w "$base" ] || cannot "write to $base"
	exec 9>"$base/lock" || cannot "write to $base"
	if command -v flock >/dev/null 2>&1; then
		flock -w 60 9 || fail 13 "another change in $base is going on"
	fi
}

# The service's commands get ordinary signals, and neither our lock nor our streams: they may leave a daemon behind.
run_for_service() { # function
	log=$base/$label/output
	{ true >"$log"; } 2>/dev/null || log=/dev/null
	(
		trap - HUP PIPE
		umask "$service_umask"
		cd / && "$1" >"$log" 2>&1 </dev/null 9>&-
	)
}

show_output() {
	if [ -f "$base/$label/output" ]; then
		tail -n 6 "$base/$label/output"
	fi
}

reload_service() {
	if [ -n "$unit" ] && [ -d /run/systemd/system ]; then
		for name in $unit; do
			if systemctl is-active --quiet "$name"; then
				systemctl reload "$name"
				return
			fi
		done
	fi
	reload_command
}

# Where the link leads is asked of cd, which is no program; readlink does the rest (a dangling link, a folder elsewhere).
read_current() {
	current=
	[ -L "$base/current" ] || return 0
	if cd -P -- "$base" 2>/dev/null && here=$PWD && cd -P ./current 2>/dev/null && [ "${PWD%/*}" = "$here" ]; then
		current=${PWD##*/}
	else
		current=$(readlink "$base/current") || cannot "read $base/current"
	fi
}

switch_to() { # generation
	if [ -L "$base/current" ] || [ -e "$base/current" ]; then
		ln -sfn -- "$1" "$base/current.new" && mv -fT -- "$base/current.new" "$base/current" || return 1
	else
		ln -s -- "$1" "$base/current" || return 1
	fi
	current=$1
}

# "unloaded" is empty while a change has not been loaded by the service: to make it so needs no room on the disk.
owe_reload() { true >"$base/unloaded"; } 2>/dev/null
is_reload_owed() { [ -e "$base/unloaded" ] && ! [ -s "$base/unloaded" ]; }
settle_reload() { printf 'no\n' >"$base/unloaded" || rm -f -- "$base/unloaded"; } 2>/dev/null

# Back to what was bound before this label.
go_back() { # generation to take when this label has not noted one
	former=
	if [ -s "$base/$label/before" ]; then
		read -r former <"$base/$label/before"
	fi
	former=${former:-$1}
	if [ -n "$former" ]; then
		[ -d "$base/$former" ] || fail 12 "the former files in $base/$former are gone"
		switch_to "$former" || cannot "switch $base/current back to $former"
	else
		go_back_to_nothing
	fi
}

# There was no certificate. Where the service cannot be without one, the new one is better than none; where it cannot
# be with it either, things are left as they were.
go_back_to_nothing() {
	mv -fT -- "$base/current" "$base/current.off" || cannot "move $base/current away"
	if ! run_for_service test_command; then
		mv -fT -- "$base/current.off" "$base/current" || cannot "put $base/current back"
		if run_for_service test_command; then
			printf 'stays\n'
			return
		fi
		settle_reload
	fi
	rm -f -- "$base/current" "$base/current.off"
	current=
}

roll_back() { # what was bound, as inspect() said it
	[ -d "$base" ] || return 0
	take_lock
	if [ -L "$base/current.off" ] && ! [ -L "$base/current" ]; then
		mv -fT -- "$base/current.off" "$base/current"
	fi
	read_current
	if [ "$current" = "$label" ]; then
		owe_reload
		go_back "$1"
	fi
	is_reload_owed || return 0
	run_for_service test_command || fail 12 "the service's own test refuses the former certificate: $(show_output)"
	run_for_service reload_service || fail 12 "the service could not be reloaded: $(show_output)"
	settle_reload
}

# Who makes this file first has the last word, the timer or disarm(): so disarm() needs neither lock nor program.
claim() { # nonce
	set -C
	{ true >"$base/$label/claim-$1"; } 2>/dev/null && claimed=yes || claimed=
	set +C
	[ -n "$claimed" ]
}

# What is left to do when the timer has waited. Under the lock either the licence is still there, or it has been taken
# away. On a full disk nobody can claim anything, and the lock decides.
go_off() { # nonce, what was bound
	take_lock
	read -r licence <"$base/$label/armed" && [ "$licence" = "$1" ] || exit 0
	claim "$1" || ! [ -e "$base/$label/claim-$1" ] || exit 0
	mv -f -- "$base/$label/armed" "$base/$label/fired" && roll_back "$2"
} 2>/dev/null
