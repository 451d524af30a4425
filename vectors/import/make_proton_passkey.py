#!/usr/bin/env python3
"""Lays out proton-passkey.json: an item with a passkey as Proton Pass exports it.

Proton's own library writes the private key as MessagePack in MessagePack. The key is the one of
`0x1234567890abcdef`, four times, on the curve P-256."""
import base64, json, pathlib


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, dict):
        return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
    if isinstance(value, str):
        return bytes([0xA0 | len(value)]) + value.encode()
    if isinstance(value, int):
        return bytes([value & 0xFF]) if -32 <= value < 128 else bytes([0xCC, value])
    head = bytes([0x90 | len(value)]) if len(value) < 16 else b"\xdc" + len(value).to_bytes(2, "big")
    return head + b"".join(map(pack, value))


def integer(value):
    return {"t": "int", "c": {"inner": list(value.to_bytes(16, "little"))}}


def data(text):
    return {"t": "bytes", "c": list(base64.urlsafe_b64decode(text + "="))}


PARAMETERS = [
    (-1, integer(1)),
    (-2, data("Rxw-dYxJBChbun5TEY7Q9SSt6wdX0lvS-Oew1236cUw")),
    (-3, data("3VIPesqKi5F6zDf1HejwybvjrYWDgucC3CWhLQn3qFg")),
    (-4, data("EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8")),
]
KEY = {
    "key": {
        "kty": {"t": "assign", "c": "EC2"},
        "kid": [],
        "alg": {"t": "assign", "c": "ES256"},
        "kops": [],
        "biv": [],
        "par": [[{"t": "int", "c": label}, value] for label, value in PARAMETERS],
    },
    "cid": [1, 2, 3],
    "rid": "example.org",
    "uhd": [4, 5],
    "cnt": None,
}
base64_of = lambda value: base64.b64encode(bytes(value)).decode()
PASSKEY = {
    "keyId": "1",
    "content": base64_of(pack({"c": list(pack(KEY)), "v": 1})),
    "domain": "example.org",
    "rpId": "example.org",
    "rpName": "Example",
    "userName": "alice",
    "userDisplayName": "Alice A",
    "credentialId": base64_of([0xFB, 0xFF]),
    "userHandle": base64_of([4, 5]),
    "createTime": 1700000000,
}
ITEM = {"itemId": "1", "shareId": "S", "state": 1, "data": {"metadata": {"name": "example", "note": ""},
        "extraFields": [], "type": "login", "content": {"itemUsername": "alice", "passkeys": [PASSKEY]}}}
EXPORT = {"encrypted": False, "vaults": {"S": {"name": "P", "items": [ITEM]}}}
file = pathlib.Path(__file__).parent / "proton-passkey.json"
file.write_text(json.dumps(EXPORT, indent=1) + "\n")
