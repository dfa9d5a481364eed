"""Opens connections through the ruleset of nftables.sh, from several addresses.

    connections.py NAMESPACE        the network namespace with the ruleset
"""

import socket
import subprocess
import sys


def connection(source):
    """A connection from this address, or None when it is dropped or refused."""
    family, target = (socket.AF_INET6, "2001:db8::1") if ":" in source else (socket.AF_INET, "192.0.2.1")
    one = socket.socket(family)
    # A SYN that was dropped is sent again after a second.
    one.settimeout(0.9)
    one.bind((source, 0))
    try:
        one.connect((target, 1883))
    except (TimeoutError, ConnectionError):
        one.close()
        return None
    return one


def opened(source, count):
    """How many of so many connections at the same time came about."""
    every = [one for one in (connection(source) for _ in range(count)) if one]
    for one in every:
        one.close()
    return len(every)


def nft(*words):
    namespace = sys.argv[1]
    subprocess.run(["ip", "netns", "exec", namespace, "nft", *words], check=True)


def expect(what, expected, found):
    if found != expected:
        sys.exit(f"connections.py: {what}: {found}, not {expected}")


def main():
    # Three at a time, as an address may.
    expect("connections of one address", 3, opened("192.0.2.11", 5))
    expect("connections of one IPv6 network", 3, opened("2001:db8:0:11::2", 5))
    # Five packets have been counted: the rate of those two is used up, that of others is not.
    expect("an address that was too fast", 0, opened("192.0.2.11", 1))
    expect("a network that was too fast", 0, opened("2001:db8:0:11::2", 1))
    expect("another address", 1, opened("192.0.2.12", 1))
    expect("another network", 1, opened("2001:db8:0:12::2", 1))
    nft("add", "element", "inet", "sluice", "balancers4", "{ 192.0.2.13 }")
    expect("a load balancer", 12, opened("192.0.2.13", 12))
    one = connection("192.0.2.14")
    nft("add", "element", "inet", "sluice", "refused4", "{ 192.0.2.14 timeout 1h }")
    expect("an address that is refused", 0, opened("192.0.2.14", 1))
    one.settimeout(0.9)
    one.sendall(b"\xc0\x00")
    try:
        expect("an open connection that is cut off", None, one.recv(16))
    except TimeoutError:
        pass
    nft("flush", "set", "inet", "sluice", "expected4")
    nft("add", "element", "inet", "sluice", "expected4", "{ 198.51.100.0/24 }")
    expect("an address that is not expected", 0, opened("192.0.2.12", 1))


if __name__ == "__main__":
    main()
