#!/usr/bin/env bash
# Faults that take a tracer, a disk of one's own, or root: each row prints its id and "ok", "failed"
# or "skipped", and at the end comes how many were skipped and why. Ends with status 1 if a row
# failed, or, with CI set, if one was skipped for want of a program or of root: only what the kernel
# forbids may go untested there.
#
#   tests/faults.sh [--markdown] [ID...]
#
# Letters and numbers are those of the table of faults in broker/ARCHITECTURE.md, N those of
# broker/src/home/nats/faults.md. The programs are those in the folder TESTS_PROGRAMS, else those of a
# release build. Needs strace and curl; as root also ext4, XFS, loop devices, networks of its own,
# python3 and nats-server.
set -uo pipefail
cd "$(dirname "$0")/.."

markdown=
wanted=()
for argument in "$@"; do
    case $argument in
        --markdown) markdown=1 ;;
        -*) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
        *) wanted+=("$argument") ;;
    esac
done

PATH=$PATH:/usr/sbin:/sbin
target=${CARGO_TARGET_DIR:-target}
if [[ -z ${TESTS_PROGRAMS:-} ]]; then
    cargo build --offline --release --quiet -p broker -p publisher -p subscriber || exit 1
    TESTS_PROGRAMS=$target/release
fi
cargo build --offline --quiet -p broker -p tests --bins || exit 1
programs=$(cd "$TESTS_PROGRAMS" && pwd) || exit 1
export TESTS_PROGRAMS=$programs
broker=$programs/broker
debug=$(cd "$target/debug" && pwd)
chaos=$debug/chaos
here=$PWD/tests

# One row.

work=$(mktemp -d)
# Ids of the rows that were skipped, by reason.
declare -A skipped=()

# What is still there of a row: brokers, mounts, files.
tidy() {
    local line
    for line in $(jobs -p) ${pid:-}; do kill -9 "$line" 2>/dev/null || true; done
    while read -r line; do umount -l "$line" 2>/dev/null || true; done \
        < <(awk -v dir="${dir:-$work}/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r)
}
trap 'tidy; rm -rf "$work"' EXIT

# Most rows wait for a disk or a clock: so many run at once. Those of a table keep their order.
rows_max=3
[[ -z $markdown ]] || rows_max=1

# row ID DESCRIPTION FUNCTION [NEED...]: runs the function in a shell and a directory of its own.
# What it prints last is what there is to tell.
row() {
    local id=$1 description=$2 function=$3 need
    shift 3
    if ((${#wanted[@]})) && [[ " ${wanted[*]} " != *" $id "* ]]; then return; fi
    for need in "$@"; do
        "has_$need" && continue
        if (($? == 1)) && [[ -n ${CI:-} ]]; then touch "$work/failed"; fi
        skipped[$why]+=" $id"
        report "$id" "$description" skipped "$why"
        return
    done
    while (($(jobs -rp | wc -l) >= rows_max)); do wait -n; done
    try "$id" "$description" "$function" &
}

try() {
    local id=$1 description=$2 function=$3 outcome=ok detail
    mkdir -p "$work/$id"
    # Not as a condition: in one, bash would not end the shell at the first failure.
    (
        trap tidy EXIT
        dir=$work/$id data=$dir/data port=0 under=() options=() pid=
        segment=$data/journal-00000001
        set -e
        "$function"
    ) >"$work/$id.out" 2>"$work/$id.err"
    if (($?)); then
        outcome=failed
        touch "$work/failed"
    fi
    detail=$(tail -n 1 "$work/$id.out")
    report "$id" "$description" "$outcome" "$detail"
    if [[ $outcome == failed ]]; then
        tail -n 20 "$work/$id.out" "$work/$id.err" "$work/$id/errors" 2>/dev/null | sed 's/^/    /' >&2
    fi
}

report() {
    if [[ -n $markdown ]]; then
        printf '| %s | %s | %s | %s |\n' "$1" "$2" "$4" "$3"
    else
        printf '%-5s %-8s %s%s\n' "$1" "$3" "$2" "${4:+ ($4)}"
    fi
}

fail() {
    echo "$*" >&2
    exit 1
}

# What rows need: status 1 where a program or root is missing, which must not be where CI is set,
# and 2 where the kernel forbids it, or the container. $why says which.
needs() {
    why="there is no $1"
    command -v "$1" >/dev/null
}
# Tries whether COMMAND is allowed.
may() {
    local said
    said=$("$@" 2>&1) && return
    said=${said##*$'\n'}
    why="not allowed here: ${said:-$1 fails}"
    return 2
}
has_root() {
    why="not root"
    ((EUID == 0)) || return 1
    mkdir -p "$work/probe"
    may mount -t tmpfs tmpfs "$work/probe" && umount "$work/probe"
}
has_strace() { needs strace && may strace -qq -o /dev/null true; }
has_loop() { needs losetup && has_root && may losetup -f; }
has_ext4() { needs mkfs.ext4 && has_loop; }
has_xfs() {
    needs mkfs.xfs && has_loop || return
    grep -qw xfs /proc/filesystems || may modprobe xfs
}
has_network() {
    needs ip && needs unshare && has_root && may unshare -n ip link set lo up
}
has_python() { needs python3; }
has_nats() { PATH=$PATH:$target/libraries/python/bin needs nats-server; }
has_compiler() { needs cc; }

# A broker, and who talks to it.

# Starts a broker, and waits for its first line or its end. Gives $pid and $url.
start() {
    local line
    exec {output}< <(exec "${under[@]}" "$broker" --port "$port" --data "$data" \
        "${options[@]}" 2>>"$dir/errors")
    pid=$!
    read -r -t 30 line <&"$output" || return 1
    url=${line#*http://}
    url=http://${url%% *}
}

stop() {
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    exec {output}<&-
    pid=
}

# Waits for the broker's own end, and gives its status.
end() {
    local status=0
    for _ in {1..1000}; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    kill -0 "$pid" 2>/dev/null && fail "the broker goes on"
    wait "$pid" || status=$?
    exec {output}<&-
    pid=
    return "$status"
}

# Attaches a tracer to the running broker: trace OPTION...
trace() {
    strace -f -o "$dir/trace" -p "$pid" "$@" 2>"$dir/attached" &
    for _ in {1..500}; do
        grep -q attached "$dir/attached" && return
        sleep 0.01
    done
    fail "strace did not attach: $(cat "$dir/attached")"
}

body() {
    printf '{"topic":"t","publisher":"ann","epoch":0,"sequence":%d,"message":"m %d"}' "$1" "$1"
}

# Publishes m NUMBER for each number on one connection, and prints one status for each.
publish() {
    local arguments=() number
    for number in "$@"; do
        if ((${#arguments[@]})); then arguments+=(--next); fi
        arguments+=(-s -m 20 -o /dev/null -w '%{http_code}\n' -d "$(body "$number")" "$url/publish")
    done
    curl "${arguments[@]}" || true
}

messages() { curl -s -m 20 "$url/messages?topic=t"; }

# The messages m 0 to m COUNT-1.
expected() { for ((number = 0; number < $1; number++)); do echo "m $number"; done; }

# check ACKNOWLEDGED SENT: starts a broker on what is there now. All that was acknowledged is there,
# in order and once; then all is sent again, and is there once.
check() {
    local count
    under=()
    start || fail "the next start: $(tail -n 1 "$dir/errors")"
    messages >"$dir/list"
    count=$(wc -l <"$dir/list")
    ((count >= $1 && count <= $2)) || fail "$count messages, $1 acknowledged, $2 sent"
    expected "$count" | cmp - "$dir/list" || fail "not the messages that were sent"
    if (($2)) && publish $(seq 0 $(($2 - 1))) | grep -vqx 200; then
        fail "a repetition was refused"
    fi
    messages | cmp - <(expected "$2") || fail "not once each"
    stop
}

# Disks.

mounted() {
    mkdir -p "$dir/disk"
    mount "$@" "$dir/disk"
    data=$dir/disk/data segment=$data/journal-00000001
}
small_disk() { mounted -t tmpfs -o "size=$1" tmpfs; }
ext4_disk() {
    truncate -s "$1" "$dir/image"
    mkfs.ext4 -q -F "$dir/image"
    mounted -o loop "$dir/image"
}
xfs_disk() {
    truncate -s 320M "$dir/image"
    mkfs.xfs -q -f "$dir/image"
    mounted -o loop "$dir/image"
}

# A disk whose power can be cut. EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same call; 2 says
# that not even the file system's own journal is flushed.
power_switch() {
    cat >"$dir/power" <<END
#!/bin/sh
case \$1 in
    cut) exec python3 -c 'import fcntl, os, struct
fcntl.ioctl(os.open("$dir/disk", os.O_RDONLY), 0x8004587d, struct.pack("I", 2))' ;;
    mend) umount "$dir/disk" && exec mount -o loop "$dir/image" "$dir/disk" ;;
esac
END
    chmod +x "$dir/power"
}

# K: kills at a system call.

# at_every_call PREPARE ACKNOWLEDGED SENT: prepares a directory and kills a start on it before its
# first call of each kind, then before its second, until a start comes up. Each time the next start
# must be right.
at_every_call() {
    local call number status kills=0
    for call in mkdir openat flock pread64 pwrite64 ftruncate fdatasync fsync rename unlink; do
        status=1
        for ((number = 1; status; number++)); do
            rm -rf "$data"
            "$1"
            under=(strace -D -f -qq -o /dev/null -e "trace=$call"
                -e "inject=$call:signal=KILL:when=$number")
            status=0
            start || status=$?
            stop
            if ((status == 0)); then continue; fi
            kills=$((kills + 1))
            check "$2" "$3"
        done
    done
    echo "$kills kills"
}

torn_journal() {
    if [[ ! -d $dir/torn ]]; then
        under=()
        start
        publish 0 1 2 3 4 >/dev/null
        stop
        truncate -s -3 "$segment"
        mv "$data" "$dir/torn"
    fi
    cp -r "$dir/torn" "$data"
}
k08() { at_every_call torn_journal 4 5; }

# Segments that hold little but a topic that was deleted just before the kill.
journal_to_clean() {
    options=(--segment 65536)
    if [[ ! -d $dir/garbage ]]; then
        local lines
        under=()
        start
        publish 0 1 2 >/dev/null
        lines=$(head -c 60000 /dev/zero | tr '\0' x | fold -w 1000)
        for _ in {1..8}; do
            curl -s --data-binary @- "$url/topics/gone" <<<"$lines" >/dev/null
        done
        publish 3 4 >/dev/null
        curl -s -X DELETE "$url/topics/gone"
        stop
        mv "$data" "$dir/garbage"
    fi
    cp -r "$dir/garbage" "$data"
}
# Bytes of all segments.
journal_size() { cat "$data"/journal-[0-9]* | wc -c; }
# The broker is killed before the first call of each kind, then before its second, until it lives
# and has cleaned. Each time the next start must be right.
k09() {
    local call number kills=0 died cleaned look
    for call in openat pread64 pwrite64 fdatasync fsync rename unlink; do
        died=1
        for ((number = 1; died; number++)); do
            rm -rf "$data"
            journal_to_clean
            under=(strace -D -f -qq -o /dev/null -e "trace=$call"
                -e "inject=$call:signal=KILL:when=$number")
            died=0 cleaned=0
            start || died=1
            # It may still be killed after the last segment is clean.
            for ((look = 0; !died && cleaned < 5; look++)); do
                ((look < 600)) || fail "it was not cleaned: $(journal_size) bytes"
                sleep 0.05
                if (($(journal_size) < 70000)); then cleaned=$((cleaned + 1)); fi
                kill -0 "$pid" 2>/dev/null || died=1
            done
            stop
            ((died)) || continue
            kills=$((kills + 1))
            check 5 5
        done
    done
    echo "$kills kills"
}

k10() { at_every_call : 0 3; }

# A start that was killed between making the directory and syncing its parent must not leave the
# next one to acknowledge messages in a directory that a power cut takes away.
k10_parent() {
    under=(strace -D -f -qq -o /dev/null -e inject=fsync:signal=KILL:when=1)
    if start; then fail "it came up"; fi
    stop
    under=(strace -D -f -qq -y -o "$dir/calls" -e trace=fsync)
    start
    stop
    grep -q "fsync([0-9]*<$dir>)" "$dir/calls" || fail "the parent was not synced"
}

# kill_at CALL OPTION...: three messages are there; then the broker is killed at the n-th such call
# of the connection that publishes four more.
kill_at() {
    local call=$1 number statuses kills=0
    shift
    for number in 1 2 3; do
        rm -rf "$data"
        under=()
        start
        publish 0 1 2 >/dev/null
        trace -e "trace=$call" -e "inject=$call:signal=KILL:when=$number" "$@"
        statuses=$(publish 3 4 5 6)
        if end; then fail "it was not killed"; fi
        check $((3 + $(grep -cx 200 <<<"$statuses"))) 7
        kills=$((kills + 1))
    done
    echo "$kills kills"
}
k02() { kill_at pwrite64 -P "$segment"; }
k04() { kill_at fdatasync; }
k06() { kill_at sendto; }

# A reader waits for the message whose sync never happens.
k04_reader() {
    local looks=0
    start
    publish 0 >/dev/null
    curl -s -m 20 "$url/messages?topic=t&from=1&wait=10" >"$dir/seen" &
    until [[ $(curl -s -m 20 "$url/metrics") == *$'\nbroker_subscriptions 1\n'* ]]; do
        ((looks++ < 500)) || fail "nobody reads"
        sleep 0.01
    done
    trace -e trace=fdatasync -e inject=fdatasync:signal=KILL:when=1
    publish 1 >/dev/null
    if end; then fail "it was not killed"; fi
    [[ ! -s $dir/seen ]] || fail "a reader saw: $(cat "$dir/seen")"
    check 1 2
}

# E: errors.

# error_at CALL ERROR OPTION...: the n-th call of a connection fails once; its publish is refused,
# and all others are stored. The refused one is repeated with the same number.
error_at() {
    local call=$1 error=$2 number statuses
    shift 2
    for number in 1 2 3; do
        rm -rf "$data"
        start
        trace -e "trace=$call" -e "inject=$call:error=$error:when=$number" "$@"
        # The calls of each thread are counted apart: all are to come from one connection.
        statuses=$(publish $(seq 0 $((number - 1))) $(seq $((number - 1)) 4))
        [[ $(sed -n "${number}p" <<<"$statuses") == 507 ]] || fail "answered" $statuses
        (($(grep -cx 200 <<<"$statuses") == 5)) || fail "answered" $statuses
        messages | cmp - <(expected 5)
        stop
        check 5 5
    done
    echo "at call 1, 2 and 3"
}
e01() { error_at pwrite64 ENOSPC -P "$segment"; }
e10() { error_at pwrite64 EIO -P "$segment"; }
e15_quota() { error_at pwrite64 EDQUOT -P "$segment"; }

# interrupted CALL: the call is interrupted once, and repeated.
e07() {
    local call
    for call in pwrite64 fdatasync; do
        rm -rf "$data"
        start
        trace -e "trace=$call" -e "inject=$call:error=EINTR:when=2"
        [[ $(publish 0 1 2 3 | sort -u) == 200 ]] || fail "$call"
        grep -q INJECTED "$dir/trace" || fail "nothing was interrupted"
        stop
        check 4 4
    done
}

e08() {
    local number statuses
    for number in 1 2 3; do
        rm -rf "$data"
        start
        trace -e trace=fdatasync,exit_group -e "inject=fdatasync:error=EIO:when=$number"
        statuses=$(publish 0 1 2 3)
        if end; then fail "it ended as if nothing had happened"; fi
        (($(grep -cx 200 <<<"$statuses") == number - 1)) || fail "answered $statuses"
        if sed '0,/INJECTED/d' "$dir/trace" | grep fdatasync; then fail "it was synced again"; fi
        check $((number - 1)) 4
    done
    echo "at sync 1, 2 and 3: no answer, no second sync"
}

# refused_start OPTION...: a start with this error is refused, names the file, and changes nothing.
refused_start() {
    under=()
    start
    publish 0 1 2 >/dev/null
    stop
    cp "$segment" "$dir/before"
    under=(strace -D -f -qq -o "$dir/trace" "$@")
    if start; then fail "it came up"; fi
    if end; then fail "it ended as if nothing had happened"; fi
    cmp "$segment" "$dir/before"
    tail -n 1 "$dir/errors" | grep -qF "$data" || fail "said: $(tail -n 1 "$dir/errors")"
    check 3 3
}
e11() { refused_start -P "$segment" -e trace=pread64 -e inject=pread64:error=EIO:when=1; }
# The first is that of the parent, the second the directory's own.
e13() {
    local number
    for number in 1 2; do
        rm -rf "$data"
        refused_start -e trace=fsync -e "inject=fsync:error=EIO:when=$number"
    done
}

# What a cleaning writes fails: the old segments go on, and are cleaned when it fails no more.
e12() {
    local call
    for call in pwrite64:error=ENOSPC pwrite64:error=EIO fdatasync:error=EIO; do
        rm -rf "$data"
        journal_to_clean
        touch "$segment.tmp"
        under=(strace -D -f -qq -o "$dir/trace" -P "$segment.tmp" -e "trace=${call%%:*}"
            -e "inject=$call:when=1")
        start
        for _ in {1..100}; do
            (($(journal_size) < 70000)) && break
            sleep 0.1
        done
        grep -q INJECTED "$dir/trace" || fail "nothing failed"
        (($(journal_size) < 70000)) || fail "it was not cleaned: $(journal_size) bytes"
        messages | cmp - <(expected 5)
        stop
        check 5 5
    done
}

# A full disk: a deletion makes room, without a restart.
e12_full() {
    local status=200 count=0 lines
    small_disk 1M
    options=(--segment 65536)
    start
    publish 0 1 2 >/dev/null
    lines=$(head -c 20000 /dev/zero | tr '\0' x | fold -w 1000)
    while [[ $status == 200 ]]; do
        status=$(curl -s -o /dev/null -w '%{http_code}' --data-binary @- "$url/topics/gone" <<<"$lines")
        count=$((count + 1))
    done
    [[ $status == 507 ]] || fail "full, it answered $status"
    status=$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "$url/topics/gone")
    [[ $status == 204 ]] || fail "the deletion was answered $status"
    for _ in {1..100}; do
        status=$(publish 3)
        [[ $status == 507 ]] || break
        sleep 0.1
    done
    [[ $status == 200 ]] || fail "after the deletion it answered $status"
    messages | cmp - <(expected 4)
    stop
    check 4 4
    echo "$count publishes of 20 KB, then a deletion"
}

# A sync that takes two seconds: whoever gave up has a message that is stored later, and reads go
# on meanwhile.
delayed_sync() {
    start
    publish 0 >/dev/null
    trace -e trace=fdatasync -e inject=fdatasync:delay_enter=2000000
    if curl -s -m 0.5 -o /dev/null -d "$(body 1)" "$url/publish"; then
        fail "it was answered too soon"
    fi
}
e18() {
    local answered=0
    delayed_sync
    for _ in {1..20}; do
        if [[ $(messages) == "m 0" ]]; then answered=$((answered + 1)); fi
    done
    ((answered > 0)) || fail "a reader saw what was not synced"
    for _ in {1..500}; do
        [[ $(messages) == "m 0" ]] || break
        sleep 0.02
    done
    [[ $(messages) == $'m 0\nm 1' ]]
    stop
    check 2 2
}
e19() {
    delayed_sync
    curl -s -m 20 -d "$(body 1)" "$url/publish" >"$dir/copy"
    grep -q '"duplicate":true' "$dir/copy" || fail "the copy was answered $(cat "$dir/copy")"
    [[ $(messages) == $'m 0\nm 1' ]]
    stop
    check 2 2
}
r05() {
    local began=${EPOCHREALTIME/./} copy
    delayed_sync
    curl -s -m 20 -o /dev/null -d "$(body 1)" "$url/publish" &
    copy=$!
    wait "$copy"
    # The first sync is under way for two seconds from before the copy was sent.
    ((${EPOCHREALTIME/./} - began >= 2000000)) || fail "a copy was answered before the sync"
    stop
    check 2 2
}

# A subscriber that does not read, and syncs that take a fifth of a second each: whoever publishes
# waits for the disk and for nobody else.
s04() {
    local began
    start
    exec {deaf}<>"/dev/tcp/127.0.0.1/${url##*:}"
    echo '{"command":"subscribe","topic":"t"}' >&"$deaf"
    head -c 8000000 /dev/zero | tr '\0' x | fold -w 100000 >"$dir/lines"
    for _ in 1 2; do
        curl -s -m 20 -o /dev/null --data-binary "@$dir/lines" "$url/topics/t"
    done
    trace -e trace=fdatasync -e inject=fdatasync:delay_enter=200000
    began=${EPOCHREALTIME/./}
    [[ $(publish 0 1 2 3 4 | sort -u) == 200 ]] || fail "a publish was refused"
    local took=$(((${EPOCHREALTIME/./} - began) / 1000))
    # Five syncs take a second; a socket that is full is never waited for.
    ((took >= 1000 && took < 10000)) || fail "five publishes took $took ms"
    exec {deaf}<&-
    echo "five publishes in $took ms"
}

e02() {
    local status=200 count=0 full
    small_disk 64k
    start
    while [[ $status == 200 ]]; do
        status=$(curl -s -o /dev/null -w '%{http_code}' \
            -d "{\"topic\":\"t\",\"message\":\"m $count\"}" "$url/publish")
        count=$((count + 1))
    done
    full=$((count - 1))
    [[ $status == 507 ]] || fail "full, it answered $status"
    messages | cmp - <(expected "$full")
    [[ $(curl -s -o /dev/null -w '%{http_code}' "$url/livez") == 200 ]]
    mount -o remount,size=1M "$dir/disk"
    [[ $(curl -s -o /dev/null -w '%{http_code}' \
        -d "{\"topic\":\"t\",\"message\":\"m $full\"}" "$url/publish") == 200 ]]
    messages | cmp - <(expected "$count")
    stop
    start
    messages | cmp - <(expected "$count")
    echo "$full messages until it was full, and more once it was larger"
}

# The disk under received.txt.
e02_received() {
    local looks=0
    small_disk 64k
    data=$dir/data
    start
    echo t >"$dir/disk/topic.txt"
    (cd "$dir/disk" && exec "$programs/subscriber" --broker "${url#http://}" 2>"$dir/told") &
    head -c 200000 /dev/zero | tr '\0' x | fold -w 99 |
        curl -s -m 20 -o /dev/null --data-binary @- "$url/topics/t"
    until grep -q "^subscriber: the disk is full: received.txt" "$dir/told"; do
        ((looks++ < 500)) || fail "it said: $(cat "$dir/told")"
        sleep 0.05
    done
    mount -o remount,size=1M "$dir/disk"
    until messages | cmp -s - "$dir/disk/received.txt"; do
        ((looks++ < 1000)) || fail "it did not go on"
        sleep 0.05
    done
    (($(grep -c . "$dir/told") <= 2)) || fail "it said: $(cat "$dir/told")"
}

e03() {
    local status=200 count=0 line
    ext4_disk 2M
    start
    line=$(head -c 4000 /dev/zero | tr '\0' x)
    while [[ $status == 200 ]]; do
        status=$(curl -s -m 20 -o /dev/null -w '%{http_code}' \
            -d "{\"topic\":\"t\",\"message\":\"$line\"}" "$url/publish" || true)
        count=$((count + 1))
    done
    count=$((count - 1))
    [[ $status == 507 || $status == 000 ]] || fail "full, it answered $status"
    stop
    start
    [[ $(messages | wc -l) == "$count" ]] || fail "$(messages | wc -l) of $count messages"
    echo "$count messages of 4,000 bytes, then $status"
}

e05() {
    small_disk 200k
    # It becomes larger a second after it was full.
    (
        until [[ $(stat --file-system --format=%a "$dir/disk") == 0 ]]; do sleep 0.05; done
        sleep 1
        exec mount -o remount,size=64M "$dir/disk"
    ) &
    "$chaos" --seconds 5 --data "$data" --markdown | tee "$dir/counts"
    grep -q "refusals" "$dir/counts" || fail "the disk was never full"
}

# Read-only, at the start and in flight; and a directory of somebody else.
e15() {
    ext4_disk 16M
    start
    publish 0 1 2 >/dev/null
    stop
    mount -o remount,ro "$dir/disk"
    if start; then fail "it came up on a read-only disk"; fi
    tail -n 1 "$dir/errors" | grep -q "Read-only file system" || fail "$(tail -n 1 "$dir/errors")"
    mount -o remount,rw "$dir/disk"
    chmod 700 "$data"
    under=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    if start; then fail "it came up in a directory of somebody else"; fi
    tail -n 1 "$dir/errors" | grep -q "Permission denied" || fail "$(tail -n 1 "$dir/errors")"
    check 3 3
}

e15_flight() {
    local statuses name
    ext4_disk 16M
    mount -o remount,errors=remount-ro "$dir/disk"
    name=$(basename "$(findmnt -no SOURCE "$dir/disk")")
    start
    publish 0 1 2 >/dev/null
    echo 1 >"/sys/fs/ext4/$name/trigger_fs_error"
    statuses=$(publish 3 4 5)
    if grep -qx 200 <<<"$statuses"; then fail "acknowledged on a read-only disk"; fi
    if kill -0 "$pid" 2>/dev/null; then messages | cmp - <(expected 3); fi
    stop
    umount "$dir/disk"
    e2fsck -fy "$dir/image" >/dev/null 2>&1 || true
    mount -o loop "$dir/image" "$dir/disk"
    check 3 6
    echo "answered $(sort -u <<<"$statuses" | tr '\n' ' ')"
}

e16() {
    ext4_disk 16M
    power_switch
    start
    publish 0 1 2 >/dev/null
    "$dir/power" cut
    if publish 3 4 5 | grep -qx 200; then fail "acknowledged without a disk"; fi
    if end; then fail "it ended as if nothing had happened"; fi
    "$dir/power" mend
    check 3 6
}

# A file system without locks: nothing is begun on it.
l06() {
    under=(strace -D -f -qq -o /dev/null -e trace=flock -e inject=flock:error=EOPNOTSUPP)
    if start; then fail "it came up"; fi
    if end; then fail "it ended as if nothing had happened"; fi
    tail -n 1 "$dir/errors" | grep -q "cannot lock .*not supported" ||
        fail "$(tail -n 1 "$dir/errors")"
    [[ ! -e $data/journal ]] || fail "there is a journal"
}

l02() {
    start
    mkdir "$dir/disk"
    mount --bind "$data" "$dir/disk"
    publish 0 >/dev/null
    if "$broker" --port 0 --data "$dir/disk" 2>"$dir/second"; then fail "two brokers"; fi
    grep -q "in use" "$dir/second" || fail "$(cat "$dir/second")"
    [[ $(publish 1) == 200 ]]
    stop
    check 2 2
}

# F: clients.

# The kernel says so of a client that left before it was accepted, if it says anything.
f11() {
    local error
    for error in ECONNABORTED EINTR; do
        rm -rf "$data"
        under=(strace -D -f -qq -o "$dir/calls" -e trace=accept4
            -e "inject=accept4:error=$error:when=1..3")
        start
        [[ $(publish 0 1 2 | sort -u) == 200 ]] || fail "$error"
        stop
        (($(grep -c INJECTED "$dir/calls") >= 3)) || fail "nothing failed"
        check 3 3
    done
}

# Buffers of 8 KiB, or these sessions would take the memory of the machine before they are full.
f19() {
    ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    local count=$(($(ulimit -n) - 200))
    ((count < 9900)) || count=9900
    unshare -n sh -c 'ip link set lo up
        sysctl -qw net.ipv4.tcp_wmem="4096 8192 8192" net.ipv4.tcp_rmem="4096 8192 8192"
        exec "$@"' sh python3 "$here/faults/deaf.py" "$broker" "$count"
}

# A host on the other end of a cable that is pulled: nothing comes from it any more, not even an
# end. A comment is sent to it every 15 seconds, and TCP gives up.
f20() {
    unshare -n bash -euc '
        ip link set lo up
        unshare -n sleep 300 & away=$!
        "$0" --port 9000 --host 0.0.0.0 >/dev/null & broker=$!
        trap "kill -9 \$(jobs -p)" EXIT
        there() { nsenter -n -t "$away" "$@"; }
        connections() { ss -Htn state established "sport = :9000" | wc -l; }
        threads() { ls "/proc/$broker/task" | wc -l; }
        until [[ $(readlink /proc/$away/ns/net) != $(readlink /proc/self/ns/net) ]]; do
            sleep 0.1
        done
        ip link add here type veth peer name there
        ip link set there netns "$away"
        ip addr add 10.0.0.1/24 dev here && ip link set here up
        there ip addr add 10.0.0.2/24 dev there && there ip link set there up
        sysctl -qw net.ipv4.tcp_retries2=3
        until curl -s -o /dev/null http://127.0.0.1:9000/livez; do sleep 0.1; done
        for _ in 1 2 3; do
            nsenter -n -t "$away" curl -sN "http://10.0.0.1:9000/events?topic=t" >/dev/null &
        done
        until (($(connections) == 3)); do sleep 0.1; done
        before=$(threads)
        there ip link set there down
        for _ in {1..900}; do
            (($(threads) > before - 3)) || break
            sleep 0.1
        done
        (($(threads) <= before - 3))
        curl -s http://127.0.0.1:9000/livez >/dev/null
        echo "3 streams, found after $SECONDS s"' "$broker"
}

# C: power cuts.

power_cuts() {
    power_switch
    "$chaos" --seconds 12 --data "$data" --power "$dir/power" --markdown
}
c01() { ext4_disk 256M && power_cuts; }
c02() { xfs_disk && power_cuts; }

# The power goes as soon as the answer is there: no process is started in between.
c03() {
    local rounds=25 number
    ext4_disk 64M
    power_switch
    for ((number = 0; number < rounds; number++)); do
        start
        python3 - "$dir/disk" "${url#http://}" "$(body "$number")" <<'END'
import fcntl, os, socket, struct, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
host, port = sys.argv[2].rsplit(":", 1)
body = sys.argv[3].encode()
with socket.create_connection((host, int(port))) as broker:
    broker.sendall(b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                   % (len(body), body))
    answer = broker.recv(4096)
    fcntl.ioctl(disk, 0x8004587d, struct.pack("I", 2))
assert answer.startswith(b"HTTP/1.1 200 "), answer
END
        stop
        "$dir/power" mend
    done
    check "$rounds" "$rounds"
    echo "$rounds power cuts, each right after an answer"
}

# While a directory is made, and while a journal is cleaned.
c04() {
    local round
    ext4_disk 64M
    power_switch
    for round in {1..12}; do
        rm -rf "$data"
        options=()
        ((round % 2)) || journal_to_clean
        sync -f "$dir/disk"
        (
            exec {output}< <(exec "$broker" --port 0 --data "$data" "${options[@]}" \
                2>>"$dir/errors")
            # Half of them while it cleans.
            sleep "0.$((round % 4 ? 0 : 1))0$((round % 10))"
            "$dir/power" cut
            # It may have ended by itself, which is right.
            kill -9 $! 2>/dev/null || true
            wait $! || true
        ) 2>/dev/null
        "$dir/power" mend
        if ((round % 2)); then check 0 2; else check 5 5; fi
    done
    echo "12 power cuts"
}

# A cluster of NATS as the home of topics.
n35() {
    ext4_disk 512M
    power_switch
    "$chaos" --nats --seconds 20 --data "$data" --power "$dir/power" --markdown
}

# A disk that says it has synced and has not: what looks for losses must find some.
c10() {
    ext4_disk 64M
    power_switch
    "$chaos" --seconds 3 --data "$data" --power "$dir/power" --loss --markdown \
        --under "strace -D -f -qq -o /dev/null -e trace=fdatasync,fsync -e inject=fdatasync,fsync:retval=0"
}

# J: the wall clock goes ten years back and forth, between two calls, and stands before 1970.
j01() {
    local offset
    cat >"$dir/clock.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    static long calls;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *years = getenv("CLOCK_YEARS");
    /* A publish asks twice: each of the two is to jump now and then. */
    if (clock == CLOCK_REALTIME && years && calls++ % 3 == 0)
        time->tv_sec += atol(years) * 31556952L;
    return result;
}
END
    cc -shared -fPIC -o "$dir/clock.so" "$dir/clock.c" -ldl
    # A static program would not load it.
    local first=0 broker=$debug/broker
    for offset in -10 10 -80 10; do
        under=(env "LD_PRELOAD=$dir/clock.so" "CLOCK_YEARS=$offset")
        start
        [[ $(publish $(seq "$first" $((first + 4))) | sort -u) == 200 ]] || fail "$offset years"
        curl -s -m 20 "$url/messages?topic=t&from=$((first + 5))&wait=1" >/dev/null
        first=$((first + 5))
        messages | cmp - <(expected "$first")
        stop
    done
    check "$first" "$first"
    start
    # Thirteen digits that begin with 2 are later than 2033.
    curl -s -m 20 "$url/messages?topic=t&format=json" | grep -q '"time":2[0-9]\{12\}' ||
        fail "the clock did not jump"
}

[[ -n $markdown ]] && printf '| id | fault | runs and counts | outcome |\n|---|---|---|---|\n'
row K02 "killed before a write of the journal" k02 strace
row K04 "killed between the write and its sync" k04 strace
row K04r "no reader sees what was not synced" k04_reader strace
row K06 "killed when it is visible and not answered" k06 strace
row K08 "start killed at every call on a torn journal" k08 strace
row K09 "broker killed at every call of a cleaning" k09 strace
row K10 "start killed at every call in a new directory" k10 strace
row K10p "and the directory is durable all the same" k10_parent strace
row E01 "no space at the n-th write" e01 strace
row E02 "a full disk, then a larger one" e02 root
row E02r "a full disk under received.txt, then a larger one" e02_received root
row E03 "a full ext4" e03 ext4
row E05 "kills on a full disk" e05 root
row E07 "interrupted writes and syncs" e07 strace
row E08 "an error of the n-th sync" e08 strace
row E10 "an error of the n-th write" e10 strace
row E11 "an error of a read at the start" e11 strace
row E12 "an error while cleaning" e12 strace
row E12f "a full disk has a way out: a deletion" e12_full root
row E13 "an error of the directory's sync at the start" e13 strace
row E15 "a read-only disk, a foreign directory, at the start" e15 ext4
row E15f "a disk that becomes read-only" e15_flight ext4
row E15q "a quota that is used up" e15_quota strace
row E16 "the file system is shut down under the broker" e16 ext4 python
row E18 "a sync of two seconds: reads go on" e18 strace
row E19 "who gave up during it finds a duplicate" e19 strace
row R05 "a copy waits for the same sync" r05 strace
row S04 "syncs that stall and a subscriber that does not read" s04 strace
row L02 "a second broker through a bind mount" l02 root
row L06 "a file system without locks" l06 strace
row F11 "accept fails" f11 strace
row F19 "thousands of sessions stop reading at once" f19 network python
row F20 "hosts vanish without a word" f20 network
row C01 "power cuts under load, ext4" c01 ext4 python
row C02 "power cuts under load, XFS" c02 xfs python
row C03 "power cuts right after an answer" c03 ext4 python
row C04 "power cuts while creating and cleaning" c04 ext4 python
row N35 "power cuts of all servers of a cluster that syncs before it answers" n35 ext4 python nats
row C10 "a disk that lies: losses are found" c10 ext4 python strace
row J01 "a wall clock that jumps by years" j01 compiler

wait
for why in "${!skipped[@]}"; do
    read -ra ids <<<"${skipped[$why]}"
    echo "rows skipped: ${#ids[@]} (${ids[*]}): $why" >&2
done
[[ ! -e $work/failed ]]
