#!/usr/bin/env bash
# What package.sh does inside its container: installs the package, looks at the service that it brings, has Fail2Ban keep
# somebody out who fails to log in, and removes all of it again.
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "package: $*" >&2
    systemctl --no-pager --full status sluice fail2ban >&2 || true
    journalctl --no-pager -u sluice -u fail2ban | tail -n 30 >&2
    tail -n 30 /var/log/fail2ban.log >&2 || true
    exit 1
}
# Waits until a command succeeds, a minute at most.
eventually() {
    local until=$((SECONDS + 60))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "it does not happen: $*"
        sleep 0.2
    done
}
logged() {
    journalctl --no-pager --output cat -u sluice | grep -q -- "$1"
}
main_pid() {
    systemctl show --value --property MainPID sluice
}

ip link set lo up
echo "--- install"
dpkg -i sluice.deb
systemctl is-active --quiet sluice || fail "the service does not run after the installation"
systemctl is-enabled --quiet sluice || fail "the service does not start by itself"
[ "$(stat -c '%U:%G %a' /etc/sluice/sluice.toml)" = "root:sluice 640" ] || fail "everybody can read the configuration"
sluice status
man -w sluice

echo "--- confined"
status=/proc/$(main_pid)/status
grep -q '^Uid:.*\b0\b' "$status" && fail "it runs as root"
grep -q '^NoNewPrivs:.1' "$status" || fail "it could get new privileges"
grep -q '^Seccomp:.2' "$status" || fail "no system call is filtered"
grep -q '^CapBnd:.0*$' "$status" || fail "it could have capabilities"
grep -q '^CapEff:.0*$' "$status" || fail "it has capabilities"
journalctl --no-pager --output cat -u sluice | grep -m 1 'confined"'
systemd-analyze --no-pager security sluice | tail -n 1
ls /var/lib/private/sluice
# Nothing that the filter of system calls refuses may be missed by the broker: it would be in the log.
logged '"level":"error"' && fail "it reports errors"

echo "--- reload"
hash=$(echo right | sluice passwd)
cat >>/etc/sluice/sluice.toml <<END
[policy.users.settings]
users = [{ name = "ada", password = "$hash", rules = [{ allow = "all", topic = "#" }] }]
END
sluice check --config /etc/sluice/sluice.toml
systemctl reload sluice
eventually logged '"event":"config_reloaded"'
mosquitto_pub -A 127.0.0.30 -i speaks -u ada -P right -q 1 -r -t kept -m "through the package"
[ "$(mosquitto_sub -i listens -u ada -P right -t kept -C 1 -W 20)" = "through the package" ] || fail "no message passes"

echo "--- certificate"
renew() {
    openssl req -x509 -newkey ed25519 -nodes -days 30 -subj "/CN=$1" -addext subjectAltName=DNS:localhost \
        -keyout key.pem -out chain.pem 2>/dev/null
    install -o root -g sluice -m 640 chain.pem key.pem /etc/sluice/tls/
}
shows() {
    openssl s_client -connect 127.0.0.1:8883 </dev/null 2>/dev/null | grep -q "^subject=CN = $1\$"
}
renew first
cat >>/etc/sluice/sluice.toml <<END
[[listener]]
name = "mqtts"
address = "127.0.0.1:8883"
tls = { certificate = "/etc/sluice/tls/chain.pem", key = "/etc/sluice/tls/key.pem" }
END
sluice check --config /etc/sluice/sluice.toml
systemctl restart sluice
shows first || fail "the certificate is not used"
renew second
systemctl reload sluice
eventually shows second

echo "--- a port below 1024"
mkdir -p /etc/systemd/system/sluice.service.d
cat >/etc/systemd/system/sluice.service.d/port.conf <<END
[Service]
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
PrivateUsers=no
END
cp /etc/sluice/sluice.toml before.toml
printf '[[listener]]\nname = "low"\naddress = "127.0.0.1:443"\n' >>/etc/sluice/sluice.toml
systemctl daemon-reload
systemctl restart sluice
mosquitto_pub -p 443 -u ada -P right -q 1 -t x -m x
rm -r /etc/systemd/system/sluice.service.d
cat before.toml >/etc/sluice/sluice.toml
systemctl daemon-reload

echo "--- watchdog"
mkdir -p /run/systemd/system/sluice.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/sluice.service.d/soon.conf
systemctl daemon-reload
systemctl restart sluice
before=$(main_pid)
kill -STOP "$before"
restarted() { [ "$(systemctl show --value --property NRestarts sluice)" -ge 1 ] && systemctl is-active --quiet sluice; }
eventually restarted
[ "$(main_pid)" != "$before" ] || fail "the watchdog did not bite"
rm -r /run/systemd/system/sluice.service.d
systemctl daemon-reload
systemctl restart sluice

echo "--- nftables"
doc=/usr/share/doc/sluice/examples
install -D -m 644 "$doc/sluice.nft" /etc/nftables.d/sluice.nft
echo 'include "/etc/nftables.d/*.nft"' >>/etc/nftables.conf
# With a whole machine closed the rest could not go on: that ruleset is read, and not put in force.
cp "$doc/dmz.nft" /etc/nftables.d
nft -c -f /etc/nftables.conf
rm /etc/nftables.d/dmz.nft
systemctl enable --quiet --now nftables
nft list chain inet sluice connect | grep -q 'ct count over 100' || fail "the ruleset is not in force"

echo "--- fail2ban"
cp -r "$doc"/fail2ban/. /etc/fail2ban/
# Here all clients are on the machine itself.
printf '[sluice]\nignoreip =\nignoreself = false\n' >/etc/fail2ban/jail.local
systemctl start fail2ban
eventually fail2ban-client status sluice
for _ in 1 2 3 4 5; do
    mosquitto_pub -A 127.0.0.31 -u ada -P wrong -t x -m x 2>/dev/null && fail "a wrong password was taken"
done
banned() { fail2ban-client get sluice banip | grep -qw 127.0.0.31; }
eventually banned
[ "$(fail2ban-client get sluice banip | tr -d ' \n')" = 127.0.0.31 ] || fail "others were banned as well"
kept_out() { ! timeout 5 mosquitto_pub -A 127.0.0.31 -u ada -P right -t x -m x; }
eventually kept_out
mosquitto_pub -A 127.0.0.30 -u ada -P right -t x -m x || fail "another address is kept out"
journalctl --no-pager --output cat -u sluice >log
[ "$(fail2ban-regex -o '<ip>' log sluice | sort -u)" = 127.0.0.31 ] || fail "fail2ban-regex finds others"
systemctl stop fail2ban

echo "--- remove"
dpkg --purge sluice
[ -e /etc/sluice/tls/key.pem ] || fail "a key that the package has not brought is gone"
for left in /usr/bin/sluice /etc/sluice/sluice.toml /etc/sluice/policies /var/lib/sluice /var/lib/private/sluice; do
    [ ! -e "$left" ] || fail "$left stays behind"
done
echo "package: installed, confined, reloaded, watched, guarded, and removed"
