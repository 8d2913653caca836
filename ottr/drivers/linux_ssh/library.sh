# SPDX-License-Identifier: Apache-2.0
# What Ottr does on a host, besides the way back (way_back.sh, which is loaded before).

# Whether a path is our link already.
is_linked() { # path, target
	[ -L "$1" ] && [ "$(readlink "$1")" = "$base/current/$2" ]
}

take_lock_of_label() {
	[ -d "$base/$label" ] || fail 10 "the folder $base/$label is gone"
	take_lock
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
		show_version </etc/os-release
	fi
	if [ -r "$1" ]; then
		show_certificate <"$1"
	fi
}

show_version() {
	while read -r line || [ -n "$line" ]; do
		case $line in
			VERSION_ID=* | VERSION_CODENAME=*) printf '%s\n' "$line" ;;
		esac
	done
}

# The first certificate and no other line: the file may hold a private key as well.
show_certificate() {
	inside=
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in
			'-----BEGIN CERTIFICATE-----'*) inside=yes ;;
			*PRIVATE*) [ -z "$inside" ] || return 0 ;;
		esac
		[ -z "$inside" ] || printf '%s\n' "$line"
		case $inside$line in
			yes-----END*) return ;;
		esac
	done
}

need_openssl() {
	command -v openssl >/dev/null 2>&1 || fail 11 "there is no openssl on the host"
}

make_folder() {
	if ! [ -d "$base/$label" ]; then
		[ -d "${base%/*}/" ] || fail 12 "there is no folder ${base%/*} that this login can see"
		# The first time at once what take_picture() will need: one program less.
		existing=''
		[ -L "$base/current" ] || each_file note_existing
		umask 022
		mkdir -p -- "$base/$label" ${existing:+"$base/original"} || cannot "make the folder $base/$label"
		umask 077
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
	if [ -s privkey.pem ] && [ -s csr.pem ] && is_own_csr; then
		sync_files privkey.pem .
		cat csr.pem
		return
	fi
	printf '%s\n' "$configuration" >request.cnf || cannot "write to $base/$label"
	# A key that openssl cannot read was cut off while it was written: nothing has been asked of a CA for it.
	if [ -s privkey.pem ] && openssl pkey -in privkey.pem -noout 2>/dev/null; then
		make_request -key privkey.pem
	else
		make_request "$@" -nodes -keyout privkey.pem
	fi
}

# Nothing leads to this folder yet, so that its files are written as they are. The key is on the disk before its CSR is
# printed; the CSR need not be: from the same key another one can be made.
make_request() { # arguments of openssl req
	csr=$(openssl req -new -sha256 -config request.cnf -subj "$subject" "$@" 2>output) ||
		cannot "make a CSR: $(tail -n 3 output)"
	printf '%s\n' "$csr" >csr.pem || cannot "keep the CSR in $base/$label"
	sync_files privkey.pem .
	printf '%s\n' "$csr"
}

# Whether the CSR that lies there is for the key beside it and for the names asked for.
is_own_csr() {
	[ "$(cat request.cnf)" = "$configuration" ] &&
		public=$(openssl req -in csr.pem -noout -pubkey) && [ "$public" = "$(openssl pkey -in privkey.pem -pubout)" ]
}

sync_files() {
	# coreutils before 8.24 ignore the names and write everything out: slower, and as good.
	sync -- "$@" 2>/dev/null || sync
}

# What is there may be read by the service, or not be ours to write into: only a new file is written in place.
put() { # name, content
	if [ "$current" = "$label" ] || [ -e "$1" ]; then
		printf '%s\n' "$2" >"$1.new" && mv -f -- "$1.new" "$1" || cannot "write $base/$label/$1"
	else
		printf '%s\n' "$2" >"$1" || cannot "write $base/$label/$1"
	fi
}

write_certificate() { # leaf, chain, public key, its parts
	cd "$base/$label" && [ -s privkey.pem ] || fail 10 "the key $base/$label/privkey.pem is gone"
	holds_public_key privkey.pem "$4" || compare_public_key "$3"
	umask 022
	put cert.pem "$1"
	put chain.pem "$2"
	put fullchain.pem "$1${2:+$newline$2}"
	umask 077
	case $files in
		*combined.pem*)
			cat fullchain.pem privkey.pem >combined.new && mv -f combined.new combined.pem ||
				cannot "write $base/$label/combined.pem"
			;;
	esac
	set_permissions
}

# A private key has its public key inside, word for word, and openssl looks no deeper to print it. The parts are that
# public key in base64, once for each of the three ways to fall into groups of three bytes.
holds_public_key() { # file, parts
	inside='' text='' whole=''
	while IFS= read -r line; do
		case $line in
			-----BEGIN*'PRIVATE KEY-----') inside=yes ;;
			-----END*'PRIVATE KEY-----') whole=$inside && break ;;
			*) text=$text${inside:+$line} ;;
		esac
	done <"$1"
	for part in $2; do
		case $whole$text in
			yes*"$part"*)
				text=
				return
				;;
		esac
	done
	text=
	return 1
}

compare_public_key() { # public key
	need_openssl
	public=$(openssl pkey -in privkey.pem -pubout) || fail 10 "the key $base/$label/privkey.pem is gone"
	[ "$public" = "$1" ] || fail 12 "the certificate does not belong to the key $base/$label/privkey.pem"
}

# Owner and mode as the operator says, else as they were, else 0644, and 0600 where a key is inside.
set_permissions() {
	names=''
	each_file add_names
	set -f
	IFS=$newline
	told=$(stat -L -c '%u:%g %a' -- $names) || cannot "look at the files in $base/$label and their paths"
	unset IFS
	set +f
	each_file set_permissions_of
}

# Two names, and so two lines of stat, for each file: its own, and what it takes the place of.
add_names() { # path, target
	former=$2
	if [ -e "$1" ]; then
		former=$1
	fi
	names=$names$2$newline$former$newline
}

set_permissions_of() { # path, target
	is=${told%%"$newline"*}
	told=${told#*"$newline"}
	was=${told%%"$newline"*}
	told=${told#*"$newline"}
	wanted=${was#* }
	case $2 in
		privkey.pem | combined.pem)
			note_exposed "$1" "$wanted"
			wanted=${mode:-$wanted}
			;;
	esac
	[ "${was% *}" = "${is% *}" ] || chown -- "${was% *}" "$2" || cannot "give $base/$label/$2 to ${was% *}"
	[ -z "$owner$group" ] || chown -- "$owner${group:+:$group}" "$2" || cannot "give $2 to $owner:$group"
	[ "$wanted" = "${is#* }" ] || chmod -- "$wanted" "$2" || cannot "set the mode of $base/$label/$2"
}

# A service may need its key as open as it was, so that it stays so; but somebody is told, unless the route says so.
note_exposed() { # path, mode
	case $2 in
		*[4-7]) [ -n "$mode" ] || ! is_reachable || printf 'exposed=%s %s\n' "$2" "$1" ;;
	esac
}

note_exposed_now() { # path, target
	case $2 in
		privkey.pem | combined.pem)
			if [ -e "$1" ]; then
				note_exposed "$1" "$(stat -L -c %a -- "$1")"
			fi
			;;
	esac
}

# Whether every user may enter the folders that ours is in.
is_reachable() {
	folder=${base%/*}
	while [ -n "$folder" ]; do
		case $(stat -L -c %a -- "$folder") in
			*[1357]) folder=${folder%/*} ;;
			*) return 1 ;;
		esac
	done
}

# Sets "unlinked" unless every path is our link. One readlink for all of them, where it takes several names.
find_unlinked() {
	unlinked='' names='' links=''
	each_file add_link
	[ -z "$unlinked" ] || return 0
	set -f
	IFS=$newline
	if [ "$(readlink -- $names 2>/dev/null)$newline" != "$links" ]; then
		each_file note_unlinked
	fi
	unset IFS
	set +f
}

add_link() { # path, target
	[ -L "$1" ] || unlinked=yes
	names=$names$1$newline
	links=$links$base/current/$2$newline
}

note_unlinked() { is_linked "$1" "$2" || unlinked=yes; }
note_existing() { if [ -e "$1" ]; then existing=yes; fi; }
note_changed() { if [ -e "$1" ] && ! cmp -s "$1" "$base/current/$2"; then changed=yes; fi; }
copy_original() { if [ -e "$1" ]; then cp -aL -- "$1" "$picture$new/$2"; fi; }

# One ln and one mv where all paths are beside our folder and have our names.
link_paths() {
	names='' links='' odd=''
	each_file add_missing_link
	if [ -n "$odd" ]; then
		each_file link_path
		return
	fi
	set -f
	IFS=$newline
	ln -sfn -- $links "$base/" && mv -f -- $names "${base%/*}/"
	linked=$?
	unset IFS
	set +f
	return "$linked"
}

add_missing_link() { # path, target
	if ! is_linked "$1" "$2"; then
		names=$names$base/$2$newline
		links=$links$base/current/$2$newline
		[ "$1" = "${base%/*}/$2" ] || odd=yes
	fi
}

link_path() {
	if ! is_linked "$1" "$2"; then
		aside=${1%/*}/.${1##*/}.ottr
		ln -sfn -- "$base/current/$2" "$aside" && mv -fT -- "$aside" "$1"
	fi
}

# Turn the paths into links. What is read through them is the same before, meanwhile and afterwards: the files are
# copied into a generation of their own, then "current" leads there, and only then each path is replaced.
convert() {
	picture='' existing='' changed=''
	if [ -n "$unlinked" ]; then
		each_file note_existing
		if [ -n "$existing" ]; then
			case $current in
				original*) each_file note_changed ;;
				*) changed=yes ;;
			esac
			[ -z "$changed" ] || take_picture
		fi
	fi
	names=''
	each_file add_read
	set -f
	IFS=$newline
	sync_files $names
	unset IFS
	set +f
	[ -z "$picture" ] || show_picture
	[ -z "$unlinked" ] || link_paths || cannot "replace a file by a link to $base/current"
}

# What the service will read, and what it would read again after going back: these are on the disk first.
add_read() { # path, target
	names=$names$base/$label/$2$newline
	if [ -n "$picture" ] && [ -e "$picture$new/$2" ]; then
		names=$names$picture$new/$2$newline
	fi
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
	# Where nothing is bound nothing leads there: no need to make it aside.
	new=${current:+.new}
	if ! is_empty_folder "$picture$new"; then
		if [ -e "$picture$new" ]; then
			rm -rf -- "$picture$new" || cannot "remove $picture$new"
		fi
		umask 022
		mkdir -- "$picture$new" || cannot "make $picture$new"
		umask 077
	fi
	names='' odd='' alias=''
	each_file add_existing
	if [ -n "$odd$alias" ] || ! link_originals; then
		copy_originals || cannot "keep the former files in $picture$new"
	fi
}

is_empty_folder() { # path
	[ -d "$1" ] && set -- "$1"/* && ! [ -e "$1" ]
}

# A second name for a file is on the disk as soon as the folder is. Its first name is taken by our link in a moment.
link_originals() {
	set -f
	IFS=$newline
	cp -al -- $names "$picture$new/" 2>/dev/null
	linked=$?
	unset IFS
	set +f
	[ "$linked" = 0 ] || rm -f -- "$picture$new"/*
	return "$linked"
}

copy_originals() {
	if [ -n "$odd" ]; then
		each_file copy_original
		return
	fi
	set -f
	IFS=$newline
	cp -aL -- $names "$picture$new/"
	copied=$?
	unset IFS
	set +f
	return "$copied"
}

# Sets "odd" where a file has another name than ours: all others are taken by one program; "alias" where a path is a
# link of the operator's, and the file stays in use elsewhere.
add_existing() { # path, target
	if [ -e "$1" ]; then
		names=$names$1$newline
		[ "${1##*/}" = "$2" ] || odd=yes
		[ ! -L "$1" ] || alias=yes
	fi
}

show_picture() {
	if [ -n "$new" ]; then
		rm -rf -- "$picture" && mv -fT -- "$picture$new" "$picture" || cannot "keep the former files in $picture"
	fi
	switch_to "${picture##*/}" || cannot "switch $base/current"
}

is_installed() { # leaf
	[ -z "$unlinked" ] && [ "$current" = "$label" ] && ! is_reload_owed && [ "$(cat "$base/$label/cert.pem")" = "$1" ]
}

# With the last three arguments a dead-man timer is started before anything is bound.
install_certificate() { # leaf, chain, public key, its parts[, seconds, nonce, end of the timer's program]
	take_lock_of_label
	if [ "$#" -gt 4 ]; then
		start_timer "$5" "$6" "$7"
	fi
	read_current
	find_unlinked
	if is_installed "$1"; then
		return
	fi
	write_certificate "$@"
	convert
	owed=
	if is_reload_owed; then
		owed=yes
	fi
	if [ "$current" != "$label" ]; then
		printf '%s\n' "$current" >"$base/$label/before" || cannot "write to $base/$label"
	fi
	owe_reload || cannot "write to $base"
	if [ "$current" != "$label" ]; then
		switch_to "$label" || cannot "switch $base/current"
	fi
	if ! run_for_service test_command; then
		words=$(show_output)
		go_back ''
		# The service has not been told anything, so it need not be told of the way back.
		[ -n "$owed" ] || settle_reload
		fail 12 "the service's own test refuses the new certificate: $words"
	fi
	if ! run_for_service reload_service; then
		words=$(show_output)
		go_back ''
		if run_for_service reload_service; then
			settle_reload
		fi
		fail 12 "the service could not be reloaded: $words"
	fi
	settle_reload
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

# The dead-man timer: a program on the host that waits and then does what way_back.sh does, and "armed" as its licence,
# which names it. It looks before it sleeps: stop_timer() may have come before it could be recognized as the timer.
start_timer() { # seconds, nonce, end of the program
	stop_timer
	if [ -e "$base/$label/fired" ]; then
		rm -f -- "$base/$label/fired"
	fi
	{
		printf '%s\n' "trap '' HUP PIPE" '{ read -r licence <"${0%/*}/armed"; } 2>/dev/null'
		printf '%s\n' '[ "$licence" = "$2" ] && sleep "$1" || exit 0' "$way_back" "$3"
	} >"$base/$label/deadman.sh" &&
		printf '%s\n' "$2" >"$base/$label/armed" || cannot "write to $base/$label"
	if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1 &&
		systemd-run --quiet --no-ask-password --unit="$label" --on-active="$1" --timer-property=AccuracySec=1s \
			sh "$base/$label/deadman.sh" 0 "$2" >/dev/null 2>&1 9>&-; then
		return
	fi
	detach=
	if command -v setsid >/dev/null 2>&1; then
		detach=setsid
	fi
	(
		trap - HUP PIPE
		umask "$service_umask"
		exec $detach sh "$base/$label/deadman.sh" "$1" "$2" </dev/null >/dev/null 2>&1 9>&-
	) &
	printf '%s\n' "$!" >"$base/$label/timer"
}

# A timer that cannot be found is harmless without its licence.
stop_timer() {
	[ -e "$base/$label/deadman.sh" ] || return 0
	true >"$base/$label/armed" || rm -f -- "$base/$label/armed"
	end_timer
	rm -f -- "$base/$label/armed" "$base/$label/timer" "$base/$label/deadman.sh" "$base/$label"/claim-*
}

end_timer() {
	if [ -d /run/systemd/system ]; then
		systemctl stop "$label.timer" >/dev/null 2>&1
	fi
	if [ -s "$base/$label/timer" ]; then
		read -r pid <"$base/$label/timer"
		command=
		{ read -r command <"/proc/$pid/cmdline"; } 2>/dev/null
		# Another process may have the number by now.
		case $command in
			*"$base/$label/deadman.sh"*) kill -s TERM -- "-$pid" 2>/dev/null || kill -s TERM "$pid" 2>/dev/null ;;
		esac
	fi
}

disarm() {
	[ -d "$base/$label" ] || return 0
	licence=
	{ read -r licence <"$base/$label/armed"; } 2>/dev/null
	if [ -n "$licence" ] && claim "$licence"; then
		end_timer
		return 0
	fi
	take_lock
	if [ -e "$base/$label/fired" ]; then
		read_current
		[ "$current" = "$label" ] ||
			fail 12 "the dead-man timer has gone off: the host is back at its former certificate"
	fi
	stop_timer
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
	each_file note_exposed_now
	date '+clock=%s'
}
