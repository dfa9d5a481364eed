#!/usr/bin/env bash
# Has nft check the rulesets, then lets them guard a broker in a network of its own: two network namespaces, one for the
# broker and one for its clients. So that it does not depend on the machine's speed, that part has smaller limits.
set -euo pipefail
cd "$(dirname "$0")/.."
. check/broker.sh

# Root stands for the machine's own programs, nobody for the broker's user, which need not exist here.
sed -e 's/^define dmz_broker = .*/define dmz_broker = 65534/' -e 's/198\.51\.100\.2 /192.0.2.11 /' nftables/dmz.nft >"$WORK/dmz.nft"
nft -c -f "$WORK/dmz.nft"
nft -c -f nftables/sluice.nft

inside=sluice-$$ outside=peers-$$
for name in "$inside" "$outside"; do
    ip netns add "$name"
    at_exit "ip netns del $name"
done
ip -n "$inside" link add door type veth peer name road netns "$outside"
ip -n "$inside" addr add 192.0.2.1/24 dev door
ip -n "$inside" addr add 2001:db8::1/64 dev door nodad
ip -n "$inside" link set door up
for number in 11 12 13 14; do
    ip -n "$outside" addr add "192.0.2.$number/24" dev road
done
for prefix in 0 11 12; do
    ip -n "$outside" addr add "2001:db8:0:$prefix::2/64" dev road nodad
done
ip -n "$outside" link set road up
ip -n "$inside" -6 route add 2001:db8::/32 dev door

sed -e 's|rate over 10/second burst 30 packets|rate over 1/minute burst 5 packets|' \
    -e 's|ct count over 100|ct count over 3|' nftables/sluice.nft >"$WORK/small.nft"
# Twice: it takes its own place.
ip netns exec "$inside" nft -f "$WORK/small.nft"
ip netns exec "$inside" nft -f "$WORK/small.nft"

dir=$(broker_dir nftables)
cat >"$dir/sluice.toml" <<END
[[listener]]
name = "four"
address = "192.0.2.1:1883"
[[listener]]
name = "six"
address = "[2001:db8::1]:1883"
[admin]
socket = "admin.sock"
END
start_broker "$dir" ip netns exec "$inside"
ip netns exec "$outside" python3 check/connections.py "$inside"
ip netns exec "$inside" nft delete table inet sluice
ip netns exec "$inside" nft -f "$WORK/dmz.nft"
ip netns exec "$inside" nft -f "$WORK/dmz.nft"
ip netns exec "$outside" python3 check/dmz.py "$inside"
echo "nftables: rates, connections, load balancers, refusals and the DMZ hold"
