# shellcheck shell=bash
# Starts brokers for the checks beside this file; to be sourced. SLUICE is the binary, WORK a directory of the check's own
# that everybody may enter.

: "${SLUICE:?the path of the broker}" "${WORK:?a directory to work in}"

# What is to be done at the end, the last first, whatever the end is.
AT_EXIT=:
at_exit() {
    AT_EXIT="$1; $AT_EXIT"
    trap 'eval "$AT_EXIT"' EXIT
}

# Makes a directory for a broker that runs as nobody, like on a machine in service: not as root.
broker_dir() {
    local dir=$WORK/$1
    install -d -o 65534 -g 65534 -m 700 "$dir"
    echo "$dir"
}

# Starts a broker in DIR, with the sluice.toml that is there; its log goes to DIR/log. Further arguments are a command
# that runs it. Returns when it listens; its process identifier is in BROKER.
start_broker() {
    local dir=$1
    shift
    "$@" setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all \
        "$SLUICE" run --config "$dir/sluice.toml" >/dev/null 2>"$dir/log" &
    BROKER=$!
    at_exit "kill $BROKER 2>/dev/null || true"
    wait_for "$dir/log" admin_listening
}

# Ends it and waits until it has ended.
stop_broker() {
    kill "$BROKER"
    wait "$BROKER"
}

# Waits until a file has a line with this text, 30 seconds at most.
wait_for() {
    local tries=300
    until grep -q -- "$2" "$1" 2>/dev/null; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ]; then
            echo "'$2' is not in $1:" >&2
            cat "$1" >&2
            return 1
        fi
        sleep 0.1
    done
}

# Tries a command until it succeeds, a hundred times at most.
until_done() {
    local tries=100
    until "$@" 2>/dev/null; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ]; then
            "$@"
            return
        fi
        sleep 0.1
    done
}

# Ends the check unless both are the same.
same() {
    if [ "$2" != "$3" ]; then
        printf '%s:\nexpected:\n%s\nfound:\n%s\n' "$1" "$2" "$3" >&2
        return 1
    fi
}
