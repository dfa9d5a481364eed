#!/usr/bin/env bash
# Lets clients misbehave, and fail2ban-regex find them in the log that the broker wrote: all of them and nobody else, in
# both formats, and as syslog writes them. Then has Fail2Ban read filter and jail as it would at its start.
set -euo pipefail
cd "$(dirname "$0")/.."
. check/broker.sh

config() {
    cat <<END
[[listener]]
name = "four"
address = "127.0.0.1:0"
[[listener]]
name = "six"
address = "[::1]:0"
[[listener]]
name = "tls"
address = "127.0.0.1:0"
tls = { certificate = "chain.pem", key = "key.pem" }
[[listener]]
name = "lan"
address = "127.0.0.1:0"
allow = ["10.0.0.0/8"]
[[listener]]
name = "small"
address = "127.0.0.1:0"
connections_max = 1
[admin]
socket = "admin.sock"
[log]
format = "$1"
[policy.users.settings]
users = [{ name = "ada", password = "$hash", rules = [{ allow = "all", topic = "allowed/#" }] }]
END
}

# The port of a listener, from the log.
port_of() {
    sed -n "s/.*listening.*\b$2\b.*:\([0-9]\{1,5\}\)\"\{0,1\}}\{0,1\}\$/\1/p" "$1"
}

found() {
    fail2ban-regex -o '<ip>' "$1" "fail2ban/filter.d/sluice.conf[mode=$2]" | sort
}

hash=$(echo right | "$SLUICE" passwd)
for format in json human; do
    dir=$(broker_dir "fail2ban-$format")
    config "$format" >"$dir/sluice.toml"
    openssl req -x509 -newkey ed25519 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
    chown 65534 "$dir/key.pem"
    start_broker "$dir"
    expected=$(python3 check/peers.py "$(port_of "$dir/log" four)" "$(port_of "$dir/log" six)" | LC_ALL=C sort)
    # From 127.0.0.1: what is no TLS on a port that wants it.
    printf 'GET / HTTP/1.1\r\n\r\n' >"/dev/tcp/127.0.0.1/$(port_of "$dir/log" tls)"
    wait_for "$dir/log" tls_handshake_failed
    # From 127.0.0.1: where it may not connect.
    : >"/dev/tcp/127.0.0.1/$(port_of "$dir/log" lan)"
    # A listener that somebody else has filled is nobody's fault.
    exec {held}<>"/dev/tcp/127.0.0.1/$(port_of "$dir/log" small)"
    : >"/dev/tcp/127.0.0.1/$(port_of "$dir/log" small)"
    wait_for "$dir/log" denied
    wait_for "$dir/log" listener_connections_max
    exec {held}>&-
    stop_broker
    same "found in the $format log" "$expected" "$(found "$dir/log" normal | LC_ALL=C sort)"
    more=$(printf '%s\n127.0.0.1\n127.0.0.1' "$expected" | LC_ALL=C sort)
    same "found by the aggressive mode" "$more" "$(found "$dir/log" aggressive | LC_ALL=C sort)"
    # As syslog writes it; as the journal shows it but for the time, which is not in its text.
    sed 's/^/2026-01-01T00:00:00.000000+00:00 host sluice[123]: /' "$dir/log" >"$dir/syslog"
    same "found in syslog's file" "$expected" "$(found "$dir/syslog" normal | LC_ALL=C sort)"
    echo "fail2ban: $(echo "$expected" | wc -l) of $(grep -c . "$dir/log") lines found, $format"
done

# Fail2Ban's own files, with ours among them.
cp -r /etc/fail2ban "$WORK/fail2ban"
rm -f "$WORK"/fail2ban/jail.d/*
cp -r fail2ban/. "$WORK/fail2ban"
fail2ban-client -c "$WORK/fail2ban" --test
