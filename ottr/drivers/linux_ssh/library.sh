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

take_lock_of_label() {
	[ -d "$base/$label" ] || fail 10 "the folder $base/$label is gone"
	take_lock
}

# The service's commands get ordinary signals, and neither our lock nor our streams: they may leave a daemon behind.
run_for_service() { # function
	log=$base/$label/output
	(: >"$log") 2>/dev/null || log=/dev/null
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

read_current() {
	current=
	if [ -L "$base/current" ]; then
		current=$(readlink "$base/current") || cannot "read $base/current"
	fi
}

switch_to() { # generation
	ln -sfn -- "$1" "$base/current.new" && mv -fT -- "$base/current.new" "$base/current" || return 1
	current=$1
}

# Whether a path is our link already.
is_linked() { # path, target
	[ -L "$1" ] && [ "$(readlink "$1")" = "$base/current/$2" ]
}

each_file() { # function, which gets path and target
	set -f
	IFS=$newline
	for line in $files; do
		unset IFS
		if ! "$1" "${line#* }" "${line%% *}"; then
			set +f
			return 1
		fi
	done
	unset IFS
	set +f
}

inspect() { # path of the certificate
	read_current
	printf 'bound=%s\n' "$current"
	if [ -r /etc/os-release ]; then
		sed -n -e '/^VERSION_ID=/p' -e '/^VERSION_CODENAME=/p' /etc/os-release
	fi
	if [ -r "$1" ]; then
		# The first certificate and no other line: the file may hold a private key as well.
		sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END/{
/PRIVATE/q
p
/^-----END/q
}' "$1"
	fi
}

need_openssl() {
	command -v openssl >/dev/null 2>&1 || fail 11 "there is no openssl on the host"
}

make_folder() {
	if ! [ -d "$base/$label" ]; then
		[ -d "${base%/*}/" ] || fail 12 "there is no folder ${base%/*} that this login can see"
		(umask 022 && mkdir -p -- "$base/$label") || cannot "make the folder $base/$label"
	fi
}

create_csr() { # configuration of openssl req, subject; arguments of openssl req for a new key
	configuration=$1
	subject=$2
	shift 2
	need_openssl
	make_folder
	take_lock
	cd "$base/$label" || cannot "enter $base/$label"
	if ! { [ -s privkey.pem ] && [ -s csr.pem ] && is_own_csr; }; then
		printf '%s\n' "$configuration" >request.cnf || cannot "write to $base/$label"
		if [ -s privkey.pem ]; then
			make_request -key privkey.pem
		else
			make_request "$@" -nodes -keyout privkey.new
			mv -f privkey.new privkey.pem || cannot "keep the key in $base/$label"
		fi
		mv -f csr.new csr.pem || cannot "keep the CSR in $base/$label"
	fi
	cat csr.pem
}

make_request() { # arguments of openssl req
	openssl req -new -sha256 -config request.cnf -subj "$subject" "$@" -out csr.new 2>output ||
		cannot "make a CSR: $(tail -n 3 output)"
	sync_files ./*.new
}

# Whether the CSR that lies there is for the key beside it and for the names asked for.
is_own_csr() {
	[ "$(cat request.cnf)" = "$configuration" ] &&
		[ "$(openssl req -in csr.pem -noout -pubkey)" = "$(openssl pkey -in privkey.pem -pubout)" ]
}

sync_files() {
	# coreutils before 8.24 ignore the names and write everything out: slower, and as good.
	sync -- "$@" 2>/dev/null || sync
}

put() { # name, content
	umask 022
	printf '%s\n' "$2" >"$1.new" && mv -f -- "$1.new" "$1" || cannot "write $base/$label/$1"
	umask 077
}

write_certificate() { # leaf, chain, public key
	need_openssl
	cd "$base/$label" && [ -s privkey.pem ] && public=$(openssl pkey -in privkey.pem -pubout) ||
		fail 10 "the key $base/$label/privkey.pem is gone"
	[ "$public" = "$3" ] || fail 12 "the certificate does not belong to the key $base/$label/privkey.pem"
	put cert.pem "$1"
	put chain.pem "$2"
	put fullchain.pem "$1${2:+$newline$2}"
	case $files in
		*combined.pem*)
			cat fullchain.pem privkey.pem >combined.new && mv -f combined.new combined.pem ||
				cannot "write $base/$label/combined.pem"
			;;
	esac
	each_file set_permissions
	sync_files ./*.pem
}

# Owner and mode as the operator says, else as they were, else 0644, and 0600 where a key is inside.
set_permissions() { # path, target
	is=$(stat -c '%u:%g %a' "$2") || cannot "look at $base/$label/$2"
	was=$is
	if [ -e "$1" ]; then
		was=$(stat -L -c '%u:%g %a' "$1") || cannot "look at $1"
	fi
	wanted=${was#* }
	case $2 in
		privkey.pem | combined.pem) wanted=${mode:-$wanted} ;;
	esac
	[ "${was% *}" = "${is% *}" ] || chown -- "${was% *}" "$2" || cannot "give $base/$label/$2 to ${was% *}"
	[ -z "$owner$group" ] || chown -- "$owner${group:+:$group}" "$2" || cannot "give $2 to $owner:$group"
	[ "$wanted" = "${is#* }" ] || chmod -- "$wanted" "$2" || cannot "set the mode of $base/$label/$2"
}

note_unlinked() { is_linked "$1" "$2" || unlinked=yes; }
note_existing() { if [ -e "$1" ]; then existing=yes; fi; }
note_changed() { if [ -e "$1" ] && ! cmp -s "$1" "$base/current/$2"; then changed=yes; fi; }
copy_original() { if [ -e "$1" ]; then cp -aL -- "$1" "$picture.new/$2"; fi; }

link_path() {
	if ! is_linked "$1" "$2"; then
		aside=${1%/*}/.${1##*/}.ottr
		ln -sfn -- "$base/current/$2" "$aside" && mv -fT -- "$aside" "$1"
	fi
}

# Turn the paths into links. What is read through them is the same before, meanwhile and afterwards: the files are
# copied into a generation of their own, then "current" leads there, and only then each path is replaced.
convert() {
	unlinked='' existing='' changed=''
	each_file note_unlinked
	[ -n "$unlinked" ] || return 0
	each_file note_existing
	if [ -n "$existing" ]; then
		case $current in
			original*) each_file note_changed ;;
			*) changed=yes ;;
		esac
		[ -z "$changed" ] || take_picture
	fi
	each_file link_path || cannot "replace a file by a link to $base/current"
}

# "original" is the first picture and stays for good; a later one is for paths that have been added since.
take_picture() {
	for picture in "$base/original" "$base/original-$label" "$base/original-$label-2"; do
		case $current in
			"${picture##*/}") ;;
			'') break ;;
			*) [ -d "$base/original" ] && [ "$picture" = "$base/original" ] || break ;;
		esac
	done
	rm -rf -- "$picture.new" &&
		(umask 022 && mkdir -- "$picture.new") &&
		each_file copy_original &&
		sync_files "$picture.new"/* &&
		rm -rf -- "$picture" &&
		mv -fT -- "$picture.new" "$picture" &&
		switch_to "${picture##*/}" || cannot "keep the former files in $picture"
}

is_installed() { # leaf
	unlinked=''
	each_file note_unlinked
	[ -z "$unlinked" ] && [ "$current" = "$label" ] && ! [ -e "$base/unloaded" ] &&
		[ "$(cat "$base/$label/cert.pem")" = "$1" ]
}

install_certificate() { # leaf, chain, public key
	take_lock_of_label
	read_current
	if is_installed "$1"; then
		return
	fi
	write_certificate "$@"
	convert
	owed=
	if [ -e "$base/unloaded" ]; then
		owed=yes
	fi
	if [ "$current" != "$label" ]; then
		printf '%s\n' "$current" >before && : >"$base/unloaded" || cannot "write to $base"
		switch_to "$label" || cannot "switch $base/current"
	fi
	: >"$base/unloaded" || cannot "write to $base"
	if ! run_for_service test_command; then
		words=$(show_output)
		go_back ''
		# The service has not been told anything, so it need not be told of the way back.
		[ -n "$owed" ] || rm -f -- "$base/unloaded"
		fail 12 "the service's own test refuses the new certificate: $words"
	fi
	if ! run_for_service reload_service; then
		words=$(show_output)
		go_back ''
		if run_for_service reload_service; then
			rm -f -- "$base/unloaded"
		fi
		fail 12 "the service could not be reloaded: $words"
	fi
	rm -f -- "$base/unloaded"
}

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
		rm -f -- "$base/unloaded"
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
		(: >"$base/unloaded") 2>/dev/null
		go_back "$1"
	fi
	[ -e "$base/unloaded" ] || return 0
	run_for_service test_command || fail 12 "the service's own test refuses the former certificate: $(show_output)"
	run_for_service reload_service || fail 12 "the service could not be reloaded: $(show_output)"
	rm -f -- "$base/unloaded"
}

remove_labels() { # labels
	[ -d "$base" ] || return 0
	take_lock
	read_current
	for label in "$@"; do
		if [ "$label" != "$current" ] && [ -d "$base/$label" ]; then
			stop_timer
			rm -rf -- "${base:?}/$label" || cannot "remove $base/$label"
		fi
	done
}

list_labels() {
	for folder in "$base"/ottr-*; do
		if [ -d "$folder" ]; then
			printf '%s\n' "${folder##*/}"
		fi
	done
}

# The dead-man timer: a copy of these functions on the host, and "armed" as its licence, which names it. Under the
# lock either the timer finds its licence or disarm() has taken it away.
arm() { # seconds, nonce, text of the program
	take_lock_of_label
	stop_timer
	rm -f -- "$base/$label/fired"
	printf '%s\n' "$3" >"$base/$label/deadman.new" &&
		mv -f -- "$base/$label/deadman.new" "$base/$label/deadman.sh" &&
		printf '%s\n' "$2" >"$base/$label/armed" || cannot "write to $base/$label"
	if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1 &&
		systemd-run --quiet --no-ask-password --unit="$label" --on-active="$1" \
			sh "$base/$label/deadman.sh" 0 "$2" >/dev/null 2>&1 9>&-; then
		return
	fi
	detach=
	if command -v setsid >/dev/null 2>&1; then
		detach=setsid
	fi
	(
		trap - HUP PIPE
		exec $detach sh "$base/$label/deadman.sh" "$1" "$2" </dev/null >/dev/null 2>&1 9>&-
	) &
	printf '%s\n' "$!" >"$base/$label/timer"
}

# A timer that cannot be found is harmless without its licence.
stop_timer() {
	[ -e "$base/$label/deadman.sh" ] || return 0
	rm -f -- "$base/$label/armed"
	if [ -d /run/systemd/system ]; then
		systemctl stop "$label.timer" >/dev/null 2>&1
	fi
	if [ -s "$base/$label/timer" ]; then
		read -r pid <"$base/$label/timer"
		# Another process may have the number by now.
		if [ -r "/proc/$pid/cmdline" ] && grep -qF "$base/$label/deadman.sh" "/proc/$pid/cmdline"; then
			kill -s TERM -- "-$pid" 2>/dev/null || kill -s TERM "$pid" 2>/dev/null
		fi
	fi
	rm -f -- "$base/$label/timer" "$base/$label/deadman.sh"
}

disarm() {
	[ -d "$base/$label" ] || return 0
	take_lock
	if [ -e "$base/$label/fired" ]; then
		read_current
		[ "$current" = "$label" ] ||
			fail 12 "the dead-man timer has gone off: the host is back at its former certificate"
	fi
	stop_timer
}

is_licensed() { # nonce
	read -r licence <"$base/$label/armed" && [ "$licence" = "$1" ]
} 2>/dev/null

# Looks before it sleeps: stop_timer() may have come before this program could be recognized as the timer.
go_off() { # seconds, nonce, what was bound
	is_licensed "$2" && sleep "$1" && take_lock && is_licensed "$2" || exit 0
	mv -f -- "$base/$label/armed" "$base/$label/fired" && roll_back "$3"
}

check() {
	command -v openssl >/dev/null 2>&1 || echo "there is no openssl on the host"
	folder=$base
	[ -d "$folder" ] || folder=${base%/*}/
	if ! [ -d "$folder" ]; then
		echo "there is no folder ${base%/*} that this login can see"
	elif ! [ -w "$folder" ]; then
		echo "the folder $folder cannot be written to"
	elif [ "$(read_room "$folder")" -lt 64 ]; then
		echo "there is no space left on the disk of $folder"
	fi
	if ! words=$(test_command 2>&1 </dev/null); then
		printf 'the service does not pass its own test now: %s\n' "$(printf '%s' "$words" | tail -n 1)"
	fi
	date '+clock=%s'
}
