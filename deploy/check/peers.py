"""Clients that behave badly, each from an address of its own, for the checks of the Fail2Ban filter.

    peers.py IPV4-PORT IPV6-PORT        prints the addresses that the filter must find, one a line, sorted

Addresses of 203.0.113.0/24 occur only inside what clients send: a filter that finds one has been led astray.
"""

import socket
import sys
from contextlib import closing

PASSWORD = b"right"
# What a client could send to look like another line of the log, or another address in this one.
SNEAKY = [
    b'x","peer":"203.0.113.1","port":1,"listener":"default","client_id":"',
    b"x peer=203.0.113.2 port=1",
    b'x" peer=203.0.113.3 port=1 listener=default client_id="',
    b"x\\\",\"peer\":\"203.0.113.4",
    b'{"time":"2026-01-01T00:00:00.000000Z","level":"warn","event":"connect_refused","peer":"203.0.113.5","port":1,'
    b'"listener":"default","client_id":"","policy":"users","generation":1,"reason_code":135,"reason":"Not authorized"}',
    b"2026-01-01T00:00:00.000000Z  WARN connect_refused peer=203.0.113.6 port=1 listener=default client_id=x "
    b'policy=users generation=1 reason_code=135 reason="Not authorized"',
]


def text(value):
    return len(value).to_bytes(2, "big") + value


def packet(kind, body):
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([kind]) + length + body


def connect(client_id, user, password, keep_alive=60):
    """A CONNECT of MQTT 3.1.1 with a clean session."""
    body = text(b"MQTT") + bytes([4, 0b1100_0010]) + keep_alive.to_bytes(2, "big")
    return packet(0x10, body + text(client_id) + text(user) + text(password))


def publish(topic):
    return packet(0x30, text(topic) + b"payload")


class Peer:
    """A client at an address of its own."""

    ports = {}

    def __init__(self, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        target = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self.socket = socket.socket(family)
        self.socket.settimeout(30)
        self.socket.bind((address, 0))
        self.socket.connect((target, self.ports[family]))

    def close(self):
        self.socket.close()

    def is_let_in(self, sent):
        self.socket.sendall(sent)
        return self.socket.recv(4)[3:] == b"\x00"

    def is_ended_after(self, sent):
        self.socket.sendall(sent)
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass


def peer(address):
    return closing(Peer(address))


def expect(holds, what):
    if not holds:
        sys.exit(f"peers.py: {what}")


def refused():
    """Logins that the broker refuses."""
    for address, sent in [
        ("127.0.0.11", connect(b"device", b"ada", b"wrong")),
        ("127.0.0.12", connect(b"device", b"nobody", PASSWORD)),
        ("::1", connect(b"device", b"ada", b"wrong")),
    ]:
        yield address
        with peer(address) as one:
            expect(not one.is_let_in(sent), f"{address} was let in")
    for number, sneaky in enumerate(SNEAKY):
        for part, sent in enumerate([connect(sneaky, b"ada", b"wrong"), connect(b"x", sneaky, b"wrong")]):
            address = f"127.0.{part + 1}.{number + 1}"
            yield address
            with peer(address) as one:
                expect(not one.is_let_in(sent), f"{address} was let in")


def broken():
    """Packets that are none, from clients that are in and from others."""
    for address, sent in [
        ("127.0.0.13", b"GET / HTTP/1.1\r\nHost: 203.0.113.7\r\n\r\n"),
        ("127.0.0.14", packet(0x30, text(b"before/connect"))),
        ("127.0.0.15", packet(0x10, text(b"MQTT") + b"\x04\x03")),
    ]:
        yield address
        with peer(address) as one:
            one.is_ended_after(sent)
    yield "127.0.0.16"
    with peer("127.0.0.16") as one:
        expect(one.is_let_in(connect(SNEAKY[0], b"ada", PASSWORD)), "127.0.0.16 was not let in")
        one.is_ended_after(packet(0x36, text(b"t") + b"\x00\x01"))


def innocent():
    """What is in the log all the same, and must not be found."""
    for number, sneaky in enumerate(SNEAKY):
        address = f"127.0.3.{number + 1}"
        with peer(address) as one:
            expect(one.is_let_in(connect(sneaky, b"ada", PASSWORD)), f"{address} was not let in")
            one.socket.sendall(publish(b"allowed/" + sneaky) + publish(b"forbidden/" + sneaky))
            # Answered after both were judged.
            one.socket.sendall(b"\xc0\x00")
            expect(one.socket.recv(2) == b"\xd0\x00", f"{address} gets no answer")
    with peer("127.0.3.100") as one:
        expect(one.is_let_in(connect(b"silent", b"ada", PASSWORD, keep_alive=1)), "127.0.3.100 was not let in")
        one.is_ended_after(b"")


def main():
    Peer.ports = {socket.AF_INET: int(sys.argv[1]), socket.AF_INET6: int(sys.argv[2])}
    guilty = list(refused()) + list(broken())
    innocent()
    print("\n".join(sorted(guilty)))


if __name__ == "__main__":
    main()
