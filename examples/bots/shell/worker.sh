#!/bin/sh
# A worker in shell: answers each task with its content in capitals, one after the other.
#
#   deia bot add shout --worker /path/to/worker.sh --launch
#
# Needs jq. The shell does not read while a task runs, so the greeting says that no pings are
# answered. A task that is cancelled or times out while it runs is not given up: the program
# is ended after bots.term_grace, and started again.
set -u

# The fields of a message, by a filter of jq. $line goes to its standard input: a variable may
# be longer than an argument of a program.
of() { printf '%s' "$line" | jq -r "$1"; }

printf '{"type":"hello","protocol":1,"max_concurrent":1,"pings":false}\n'

while IFS= read -r line; do
    case $(of .type) in
    task)
        id=$(of .id) attempt=$(of .attempt)
        # Whatever the work prints on standard error is in the bot's log.
        of .content | tr 'a-z' 'A-Z' |
            jq -Rsc --arg id "$id" --argjson attempt "$attempt" \
                '{type: "result", $id, $attempt, output: rtrimstr("\n")}'
        ;;
    shutdown) exit 0 ;;
    esac
done
