#!/usr/bin/env python3
"""A Passmate client that shares nothing with the programs of this repository.

It was written from docs/protocol.md only, and uses only Python's standard library. As a program, it
checks that a server does what that page says, and prints one line for each check:

    passmate_client.py CERTIFICATE HOST LAYOUT_1_PORT LAYOUT_2_PORT

The exit code is 0 if all checks succeed. This client does not encrypt: a btoken is any bytes.
"""

import os
import socket
import ssl
import struct
import sys
import time

CLIENT_HELLO = b"passmate-server-protocol"
SERVER_HELLO = b"passmate-protocol-server"
BANNER_MAX = 32 * 1024
BTOKEN_MAX = 2 * 1024 * 1024

CLEAN = "clean"  # the server sent close_notify
CUT = "cut"  # the stream ended without one


class Cut(Exception):
    """The server ended the connection before it sent all expected bytes."""


class Connection:
    """One connection. `one_by_one` sends every byte in a TLS record of its own."""

    def __init__(self, certificate, address, layout, tls="1.3", one_by_one=False):
        context = ssl.create_default_context(cafile=certificate)
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls]
        context.minimum_version = context.maximum_version = version
        tcp = socket.create_connection(address, timeout=20)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without this option, Python treats an end without close_notify as a clean end.
        self.tls = context.wrap_socket(tcp, server_hostname="localhost", suppress_ragged_eofs=False)
        assert self.tls.version() == "TLSv" + tls
        self.layout = layout
        self.one_by_one = one_by_one
        self.banner = None

    def send(self, data):
        if self.one_by_one:
            for index in range(len(data)):
                self.tls.sendall(data[index : index + 1])
        else:
            self.tls.sendall(data)

    def receive(self, length):
        data = bytearray()
        while len(data) < length:
            try:
                more = self.tls.recv(length - len(data))
            except (ssl.SSLEOFError, ConnectionResetError) as error:
                raise Cut(f"after {len(data)} of {length} bytes") from error
            if not more:
                raise Cut(f"closed cleanly after {len(data)} of {length} bytes")
            data += more
        return bytes(data)

    def receive_number(self):
        return struct.unpack(">I", self.receive(4))[0]

    def end(self):
        """How the server ends the connection, and what it sent before that."""
        data = bytearray()
        while True:
            try:
                more = self.tls.recv(65536)
            except ssl.SSLEOFError:
                return CUT, bytes(data)
            if not more:
                return CLEAN, bytes(data)
            data += more

    def greet(self, ahead=b""):
        """Exchanges the hellos and reads the banner. `ahead` is sent together with the hello."""
        self.send(CLIENT_HELLO + ahead)
        self.take_greeting()

    def take_greeting(self):
        assert self.receive(24) == SERVER_HELLO
        if self.layout == 2:
            assert self.receive(2) == b"\x00\x02"
        length = self.receive_number()
        assert length <= BANNER_MAX
        self.banner = self.receive(length).decode("utf-8")

    def close(self):
        self.tls.close()


def create_request(token, btoken):
    return b"c" + token + struct.pack(">I", len(btoken)) + btoken


def update_request(account, token):
    return b"u" + account + token


def reset_request(account, token):
    return b"r" + account + token


class Suite:
    def __init__(self, certificate, host, ports):
        self.certificate, self.host, self.ports = certificate, host, ports
        self.checked = 0

    def connect(self, layout, **options):
        address = (self.host, self.ports[layout])
        return Connection(self.certificate, address, layout, **options)

    def greeted(self, layout, **options):
        connection = self.connect(layout, **options)
        connection.greet()
        return connection

    def ok(self, name):
        self.checked += 1
        print("ok", self.checked, name, flush=True)

    # The three actions.

    def create(self, layout, token, btoken, **options):
        connection = self.greeted(layout, **options)
        connection.send(create_request(token, btoken))
        account = connection.receive(8)
        assert account != bytes(8)
        assert connection.end() == (CLEAN, b"")
        return account

    def fetch(self, layout, account, token, **options):
        """Fetches the btoken and closes the connection without an update."""
        connection = self.greeted(layout, **options)
        connection.send(update_request(account, token))
        btoken = connection.receive(connection.receive_number())
        connection.close()
        return btoken

    def update(self, layout, account, token, expected, btoken, reading, **options):
        connection = self.greeted(layout, **options)
        connection.send(update_request(account, token))
        assert connection.receive(connection.receive_number()) == expected
        upload = struct.pack(">I", len(btoken)) + btoken
        if reading == "client sends the number":
            connection.send(upload + account)
            assert connection.end() == (CLEAN, b"")
        else:
            connection.send(upload)
            assert connection.end() == (CLEAN, account)

    def reset(self, layout, account, token, **options):
        connection = self.greeted(layout, **options)
        connection.send(reset_request(account, token))
        assert connection.end() == (CLEAN, account if layout == 2 else b"")

    def check_refused(self, layout, request, **options):
        """A refusal is an end without close_notify and without a further byte."""
        connection = self.greeted(layout, **options)
        connection.send(request)
        assert connection.end() == (CUT, b"")

    # The checks, in the order of docs/protocol.md.

    def check_actions(self, layout, tls, one_by_one):
        options = {"tls": tls, "one_by_one": one_by_one}
        way = f"layout {layout}, TLS {tls}, {'byte by byte' if one_by_one else 'all at once'}"
        token = os.urandom(32)
        small = os.urandom(300)
        account = self.create(layout, token, small, **options)
        self.ok(f"create: {way}")
        assert self.fetch(layout, account, token, **options) == small
        self.ok(f"fetch: {way}")
        readings = ["server sends the number"]
        if layout == 1:
            readings.append("client sends the number")
        stored = small
        for reading in readings:
            new = os.urandom(700)
            self.update(layout, account, token, stored, new, reading, **options)
            stored = new
            assert self.fetch(layout, account, token, **options) == stored
            self.ok(f"update, the {reading}: {way}")
        self.reset(layout, account, token, **options)
        self.check_refused(layout, update_request(account, token), **options)
        self.ok(f"reset: {way}")

    def check_one_account_in_both_layouts(self):
        token = os.urandom(32)
        account = self.create(1, token, b"one")
        self.update(2, account, token, b"one", b"two", "server sends the number")
        self.update(1, account, token, b"two", b"three", "client sends the number")
        assert self.fetch(2, account, token) == b"three"
        self.reset(1, account, token)
        self.check_refused(2, update_request(account, token))
        self.ok("both layouts serve the same accounts")

    def check_lengths(self):
        token = os.urandom(32)
        for layout in (1, 2):
            account = self.create(layout, token, b"")
            self.update(layout, account, token, b"", bytes(BTOKEN_MAX), "server sends the number")
            self.update(layout, account, token, bytes(BTOKEN_MAX), b"", "server sends the number")
            self.ok(f"btokens of 0 bytes and of 2 MiB are accepted: layout {layout}")
            for length in (BTOKEN_MAX + 1, 0xFFFFFFFF):
                self.check_refused(layout, b"c" + token + struct.pack(">I", length))
                connection = self.greeted(layout)
                connection.send(update_request(account, token))
                assert connection.receive(connection.receive_number()) == b""
                connection.send(struct.pack(">I", length))
                assert connection.end() == (CUT, b"")
            assert self.fetch(layout, account, token) == b""
            self.ok(f"a longer btoken is refused before a byte of it is sent: layout {layout}")

    def check_refusals(self):
        token = os.urandom(32)
        for layout in (1, 2):
            account = self.create(layout, token, b"kept")
            endings = set()
            for request in (
                update_request(account, os.urandom(32)),
                update_request(os.urandom(8), token),
                update_request(bytes(8), token),
                reset_request(account, os.urandom(32)),
                reset_request(os.urandom(8), token),
            ):
                connection = self.greeted(layout)
                connection.send(request)
                endings.add(connection.end())
            assert endings == {(CUT, b"")}
            self.ok(f"unknown account and wrong auth token end alike: layout {layout}")
            for byte in b"xCUR\x00\xff":
                self.check_refused(layout, bytes([byte]))
            self.ok(f"an unknown action is refused: layout {layout}")
            connection = self.connect(layout)
            connection.send(b"passmate-server-protocoL")
            assert connection.end() == (CUT, b"")
            connection = self.connect(layout)
            connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.end() == (CUT, b"")
            self.ok(f"a wrong hello gets no answer: layout {layout}")
            assert self.fetch(layout, account, token) == b"kept"

    def check_last_row(self):
        token = os.urandom(32)
        account = self.create(1, token, b"old")
        upload = struct.pack(">I", 3) + b"new"

        def uploaded():
            connection = self.greeted(1)
            connection.send(update_request(account, token))
            assert connection.receive(connection.receive_number()) == b"old"
            return connection

        connection = uploaded()
        connection.send(upload + os.urandom(8))
        assert connection.end() == (CUT, b"")
        assert self.fetch(1, account, token) == b"old"
        self.ok("another account number in the last row changes nothing")

        connection = uploaded()
        connection.send(upload + account[:5])
        connection.tls.shutdown(socket.SHUT_RDWR)
        time.sleep(0.8)
        assert self.fetch(1, account, token) == b"old"
        self.ok("a client that disconnects within the last row changes nothing")

        connection = uploaded()
        connection.send(upload)
        connection.tls.shutdown(socket.SHUT_RDWR)
        time.sleep(0.8)
        assert self.fetch(1, account, token) == b"old"
        self.ok("a client that disconnects before the last row and the grace period changes nothing")

        connection = uploaded()
        begun = time.monotonic()
        connection.send(upload)
        assert connection.end() == (CLEAN, account)
        assert time.monotonic() - begun >= 0.4
        assert self.fetch(1, account, token) == b"new"
        self.ok("a client that waits gets the number after the grace period")

    def check_pipelining(self):
        token = os.urandom(32)
        for layout in (1, 2):
            account = self.create(layout, token, b"old")
            connection = self.connect(layout)
            connection.greet(ahead=update_request(account, token) + struct.pack(">I", 3) + b"new")
            assert connection.receive(connection.receive_number()) == b"old"
            assert connection.end() == (CLEAN, account)
            assert self.fetch(layout, account, token) == b"new"
            connection = self.connect(layout)
            connection.greet(ahead=reset_request(account, token))
            assert connection.end()[0] == CLEAN
            self.ok(f"hello, action and everything after them may be one write: layout {layout}")

    def check_silence(self):
        connection = self.connect(1)
        connection.tls.settimeout(1)
        connection.send(CLIENT_HELLO[:23])
        try:
            connection.receive(1)
            raise AssertionError("the server answered before it had the whole hello")
        except TimeoutError:
            pass
        connection.tls.settimeout(20)
        connection.send(CLIENT_HELLO[23:])
        connection.take_greeting()
        self.ok("the server sends nothing before it has the whole hello")
        assert f"btoken-max {BTOKEN_MAX}" in connection.banner.splitlines()
        self.ok("the banner states the limit")

    def check_race(self):
        token = os.urandom(32)
        account = self.create(1, token, b"old")
        slow = self.greeted(1)
        slow.send(update_request(account, token))
        assert slow.receive(slow.receive_number()) == b"old"
        begun = time.monotonic()
        self.update(1, account, token, b"old", b"fast", "client sends the number")
        waited = time.monotonic() - begun
        assert 3 < waited < 8, waited
        slow.send(struct.pack(">I", 4) + b"slow" + account)
        assert slow.end() == (CUT, b"")
        assert self.fetch(1, account, token) == b"fast"
        self.ok(f"a stalled device delays another one by 5 s at most ({waited:.1f} s) and loses the race")

    def check_creates(self):
        token = os.urandom(32)
        accounts = {self.create(1, token, b"same") for _ in range(5)}
        assert len(accounts) == 5
        self.ok("every create makes a new account, even with the same auth token")

    def run(self):
        for layout in (1, 2):
            for tls in ("1.3", "1.2"):
                for one_by_one in (False, True):
                    self.check_actions(layout, tls, one_by_one)
        self.check_one_account_in_both_layouts()
        self.check_lengths()
        self.check_refusals()
        self.check_last_row()
        self.check_pipelining()
        self.check_silence()
        self.check_creates()
        self.check_race()
        print("all", self.checked, "checks succeeded")


if __name__ == "__main__":
    _, certificate, host, port_1, port_2 = sys.argv
    Suite(certificate, host, {1: int(port_1), 2: int(port_2)}).run()
