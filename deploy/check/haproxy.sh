#!/usr/bin/env bash
# Has haproxy check the configuration, then puts it in front of a running broker, with only names, ports and servers
# changed: clients talk through it, in the clear and with TLS that it does not see through. What this broker does not
# offer (the PROXY protocol, a health endpoint: `sluice check` tells) is left out, and it is said so.
set -euo pipefail
cd "$(dirname "$0")/.."
. check/broker.sh

haproxy -c -q -f haproxy/haproxy.cfg

dir=$(broker_dir haproxy)
# Whether the broker understands this configuration, without regard to its addresses.
understands() {
    printf '%s\n' "$1" >"$WORK/probe.toml"
    "$SLUICE" check --config "$WORK/probe.toml" >/dev/null 2>&1
}
from_proxy='proxy_protocol = true
trusted_proxies = ["127.0.0.1/32"]'
listener='[[listener]]
name = "probe"
address = "127.0.0.1:0"'
health='[health]
address = "127.0.0.1:9883"'
# The machine of the check may allow few files.
edits=(-e 's/maxconn 100000/maxconn 100/' -e '/sluice2/d' -e 's/bind :1883/bind 127.0.0.1:21883/' -e 's/bind :8883/bind 127.0.0.1:28883/'
    -e 's/192.0.2.11:1883/127.0.0.1:31883/' -e 's/192.0.2.11:8883/127.0.0.1:38883/')
if ! understands "$listener
$from_proxy"; then
    echo "haproxy: without the PROXY protocol, which this broker does not have"
    edits+=(-e 's/ send-proxy-v2//')
    from_proxy=
fi
if ! understands "$health"; then
    echo "haproxy: without health checks, for which this broker has no endpoint"
    edits+=(-e '/httpchk/d' -e '/http-check/d' -e 's/check port [0-9]* inter 2s fall 3 rise 2//')
    health=
fi
sed "${edits[@]}" haproxy/haproxy.cfg >"$WORK/haproxy.cfg"

openssl req -x509 -newkey ed25519 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
chown 65534 "$dir/key.pem"
install -m 644 "$dir/chain.pem" "$WORK/ca.pem"
cat >"$dir/sluice.toml" <<END
[[listener]]
name = "mqtt"
address = "127.0.0.1:31883"
$from_proxy
[[listener]]
name = "mqtts"
address = "127.0.0.1:38883"
tls = { certificate = "chain.pem", key = "key.pem" }
$from_proxy
$health
[admin]
socket = "admin.sock"
# Whoever comes through a load balancer is no client of this machine.
[policy.users.settings]
users = [{ name = "ada", password = "$(echo right | "$SLUICE" passwd)", rules = [{ allow = "all", topic = "#" }] }]
END
start_broker "$dir"
haproxy -db -f "$WORK/haproxy.cfg" >"$WORK/haproxy.log" 2>&1 &
at_exit "kill $! 2>/dev/null || true"

# A message is kept and fetched, by clients with these arguments.
passes() {
    until_done timeout 20 mosquitto_pub -A 127.0.0.21 -u ada -P right -i speaks -q 1 -t passed -r -m "through $*" "$@"
    same "what passes the load balancer" "through $*" \
        "$(timeout 20 mosquitto_sub -A 127.0.0.21 -u ada -P right -i listens -t passed -C 1 "$@")"
}
passes -h 127.0.0.1 -p 21883
passes -h localhost -p 28883 --cafile "$WORK/ca.pem"

peers=$(sed -n 's/.*"client_connected","peer":"\([^"]*\)".*/\1/p' "$dir/log" | sort -u)
if [ -n "$from_proxy" ]; then
    same "who the broker says its clients are" 127.0.0.21 "$peers"
    if timeout 20 mosquitto_pub -h 127.0.0.1 -p 31883 -u ada -P right -t passed -m "not through it" 2>/dev/null; then
        echo "a client came past the load balancer" >&2
        exit 1
    fi
else
    same "who the broker says its clients are" 127.0.0.1 "$peers"
fi
echo "haproxy: messages pass in the clear and with TLS"
