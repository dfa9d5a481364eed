#!/usr/bin/env bash
# Has haproxy check the configuration, then puts it in front of a running broker, with only names, ports and servers
# changed: it asks the broker for its health, and clients talk through it, in the clear and with TLS that it does not see
# through.
set -euo pipefail
cd "$(dirname "$0")/.."
. check/broker.sh

haproxy -c -q -f haproxy/haproxy.cfg

dir=$(broker_dir haproxy)
# The machine of the check may allow few files.
edits=(-e 's/maxconn 100000/maxconn 100/' -e '/sluice2/d' -e 's/bind :1883/bind 127.0.0.1:21883/' -e 's/bind :8883/bind 127.0.0.1:28883/'
    -e 's/192.0.2.11:1883/127.0.0.1:31883/' -e 's/192.0.2.11:8883/127.0.0.1:38883/')
sed "${edits[@]}" haproxy/haproxy.cfg >"$WORK/haproxy.cfg"

openssl req -x509 -newkey ed25519 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$dir/key.pem" -out "$dir/chain.pem" 2>/dev/null
chown 65534 "$dir/key.pem"
install -m 644 "$dir/chain.pem" "$WORK/ca.pem"
cat >"$dir/sluice.toml" <<END
[[listener]]
name = "mqtt"
address = "127.0.0.1:31883"
proxy_protocol = true
trusted_proxies = ["127.0.0.1/32"]
[[listener]]
name = "mqtts"
address = "127.0.0.1:38883"
tls = { certificate = "chain.pem", key = "key.pem" }
proxy_protocol = true
trusted_proxies = ["127.0.0.1/32"]
[health]
address = "127.0.0.1:9883"
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
same "who the broker says its clients are" 127.0.0.21 "$peers"
if timeout 20 mosquitto_pub -h 127.0.0.1 -p 31883 -u ada -P right -t passed -m "not through it" 2>/dev/null; then
    echo "a client came past the load balancer" >&2
    exit 1
fi
ask='import urllib.request as r; print(r.urlopen("http://127.0.0.1:9883/readyz", timeout=20).read().decode().strip())'
same "what the health check is told" ready "$(python3 -c "$ask")"
if grep "is DOWN" "$WORK/haproxy.log"; then
    echo "the load balancer takes the broker for dead" >&2
    exit 1
fi
echo "haproxy: the broker is healthy, messages pass in the clear and with TLS"
