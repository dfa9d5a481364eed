"""Tries the ruleset of a DMZ from outside and from inside: what is named passes, and nothing else.

    dmz.py NAMESPACE        the network namespace with the ruleset, at 192.0.2.1; this one is 192.0.2.11 and more
"""

import socket
import subprocess
import sys

INSIDE, SERVICES, OTHERS = "192.0.2.1", "192.0.2.11", "192.0.2.12"
# What a client in the other namespace says: whether a connection comes about.
CLIENT = """
import os, socket, sys
os.setuid(int(sys.argv[3]))
one = socket.socket()
one.settimeout(0.9)
try:
    one.connect((sys.argv[1], int(sys.argv[2])))
except TimeoutError:
    sys.exit(3)
"""


def comes_out(address, user):
    command = ["ip", "netns", "exec", sys.argv[1], sys.executable, "-c", CLIENT, address, "443", user]
    code = subprocess.run(command, check=False).returncode
    return {0: True, 3: False}.get(code, f"ended with {code}")


def reaches(port):
    try:
        socket.create_connection((INSIDE, port), timeout=0.9).close()
        return True
    except OSError:
        return False


def expect(what, expected, found):
    if found != expected:
        sys.exit(f"dmz.py: {what}: {found}, not {expected}")


def main():
    expect("clients reach the broker", True, reaches(1883))
    # Nothing listens there: a refusal would come at once, and silence is the answer of the ruleset.
    one = socket.socket()
    one.settimeout(0.9)
    try:
        one.connect((INSIDE, 22))
        sys.exit("dmz.py: port 22 answers")
    except ConnectionRefusedError:
        sys.exit("dmz.py: port 22 refuses, and should be silent for this address")
    except TimeoutError:
        pass
    listening = [socket.create_server((address, 443)) for address in (SERVICES, OTHERS)]
    for who, user, address, expected in [
        ("the machine asks its services", "0", SERVICES, True),
        ("the broker asks the same", "65534", SERVICES, False),
        ("the machine asks somebody else", "0", OTHERS, False),
    ]:
        expect(who, expected, comes_out(address, user))
    for one in listening:
        one.close()


if __name__ == "__main__":
    main()
