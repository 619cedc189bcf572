#!/bin/sh
# A worker of a remote bot of deia, in shell: runs a program for each task, one after the other.
#
#   DEIA_URL=http://127.0.0.1:8000 DEIA_KEY=deia_... ./worker.sh far-1 tr a-z A-Z
#
# The program gets the content on standard input, and its standard output is the output. Exit
# code 65 means that no worker can do the task, 75 that none should be sent for a while; another
# one than 0 fails the attempt. SIGTERM lets it finish what it has; a second one ends it at once.
# Needs curl, jq and setsid.
set -u
url=${DEIA_URL:-http://127.0.0.1:8000}
bot=$1
shift
# Workers of one bot need different names: a worker that dies is charged for what it held.
name=$(uname -n)/$$-$(date +%s)
umask 077
dir=$(mktemp -d)
beats= program= curl= asks= stopping=
end() {
    [ -z "$beats" ] || kill "$beats"
    [ -z "$program" ] || kill -- "-$program"
    rm -rf "$dir"
}
# A shell handles signals while it waits, but not while a program runs in the foreground.
stop() {
    [ -z "$stopping" ] || exit 143
    stopping=1
    [ -z "$asks" ] || [ -z "$curl" ] || kill "$curl"
}
trap end EXIT
trap stop INT TERM
# Arguments of a program are seen by all users of the machine; a file is not.
printf 'Authorization: Bearer %s\n' "$DEIA_KEY" >"$dir/key"

# Says whether the worker itself lives: heartbeats must not go on without it.
is_alive() { kill -0 $$ 2>/dev/null; }

# Waits for the end of a program in the background, whatever signals come meanwhile.
await() {
    wait "$1"
    code=$?
    while kill -0 "$1" 2>/dev/null; do
        wait "$1"
        code=$?
    done
    return "$code"
}

# Sends the JSON in the file $2.sent until there is an answer, which goes to the file $2: every
# request may be repeated. Fails when the hive refuses, or when a worker that stops asks for tasks.
post() {
    while is_alive; do
        curl --silent --max-time 30 --header @"$dir/key" \
            --header 'Content-Type: application/json' --data-binary @"$2.sent" \
            --output "$2" --write-out '%{http_code}' "$url$1" >"$2.status" &
        curl=$!
        await "$curl" || echo 000 >"$2.status"
        curl=
        case $(cat "$2.status") in
        2??) return 0 ;;
        429) ;;
        4??) return 1 ;;
        esac
        [ -z "$asks" ] || [ -z "$stopping" ] || return 1
        sleep 1
    done
    return 1
}

# Reports about the task; $2 is a filter of jq that adds to the lease.
report() {
    jq -c --rawfile output "$dir/output" --rawfile error "$dir/error" "{attempt, lease_token} + $2" \
        "$dir/task" >"$dir/$1.sent" && post "/api/v1/tasks/$id/$1" "$dir/$1"
}

# Asks for a task, and waits $1 milliseconds for it.
lease() {
    jq -n -c --argjson wait "$1" --arg worker "$name" --arg request "$request" \
        '{max: 1, wait_ms: $wait, $worker, $request}' >"$dir/leased.sent"
    echo '{}' >"$dir/leased"
    asks=1
    post "/api/v1/bots/$bot/lease" "$dir/leased"
    set -- "$?"
    asks=
    return "$1"
}

# Sends heartbeats, and ends the program once the task was cancelled or lost.
beat() {
    while sleep "$(jq .heartbeat_seconds "$dir/task")" && is_alive; do
        report heartbeat '{}' && [ "$(jq .cancel "$dir/heartbeat")" = false ] && continue
        touch "$dir/over"
        kill -- "-$program"
        return
    done
}

work() {
    id=$(jq -r .id "$dir/task")
    rm -f "$dir/over"
    jq -j .content "$dir/task" >"$dir/content"
    : >"$dir/output" >"$dir/error"
    # In a session of its own: all that the program starts can be ended with it.
    setsid "$@" <"$dir/content" >"$dir/output" 2>"$dir/error" &
    program=$!
    beat &
    beats=$!
    await "$program"
    kill "$beats" 2>/dev/null
    wait "$beats" 2>/dev/null
    program= beats=
    case $code in
    0) report complete '{output: $output}' || jq -r .detail "$dir/complete" >&2; return ;;
    65) class=permanent ;;
    75) class=overloaded ;;
    *) class=internal ;;
    esac
    [ -e "$dir/over" ] && set -- 'the task was cancelled or lost' || set -- "exit code $code"
    report fail "{error: (\"$1: \" + \$error[-2000:]), class: \"$class\", exit_code: $code}" ||
        jq -r .detail "$dir/fail" >&2
}

request=0
while [ -z "$stopping" ]; do
    request=$((request + 1))
    # A request that was cut off may have been given a task. The same one is given it again.
    lease 20000 || { [ -n "$stopping" ] && lease 0; } || {
        [ -n "$stopping" ] || { cat "$dir/leased" >&2; exit 1; }
    }
    jq -e -c '.tasks[0] // empty' "$dir/leased" >"$dir/task" && work "$@"
done
