#!/usr/bin/env python3
"""Makes the vectors of this folder without any Passmate program.

Needs Python's `cryptography`. `make.py --check` compares instead of writing.
"""
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = pathlib.Path(__file__).parent
NUMBER = bytes(range(8))
KEY = bytes(range(100, 132))
IV = bytes(range(200, 216))
PLAINTEXTS = {
    "one_record": b'{"version":2,"purpose":"sync_copy","records":{"A191DB4A34124CAB":'
    b'[["meta","path","web/example.org",1700000001],["user","user","alice",1700000002]]}}',
    "lines_and_purged": b'{"version":2,"purpose":"sync_copy","purged":{"A191DB4A34124CAB":'
    b'[["user","password",1700000003]]},"records":{"A191DB4A34124CAB":'
    b'[["meta","path","web/example.org",1700000001],'
    b'["user","notes",["one","two"],1700000002]]}}',
}


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def text(number, key):
    packed = number + key
    digits = (packed + crc16(packed).to_bytes(2, "big")).hex().upper()
    return "folder-" + "-".join(digits[at : at + 6] for at in range(0, 84, 6))


def derive(key, label):
    return hmac.new(key, label, hashlib.sha256).digest()


def copy(plaintext, number=NUMBER, key=KEY, version=1):
    padded = plaintext + b" " * (-len(plaintext) % 4096)
    encryptor = Cipher(algorithms.AES(derive(key, b"aes_data_key")), modes.CBC(IV)).encryptor()
    sealed = IV + encryptor.update(padded) + encryptor.finalize()
    tag = derive(derive(key, b"mac_key"), sealed)
    return b"pmcopy\0" + bytes([version]) + number + sealed + tag


def files():
    good = {name: copy(plaintext) for name, plaintext in PLAINTEXTS.items()}
    one = good["one_record"]
    flipped = bytearray(one)
    flipped[40] ^= 1
    bad = {
        "other_key": copy(PLAINTEXTS["one_record"], number=bytes(8)),
        "same_number_other_key": copy(PLAINTEXTS["one_record"], key=bytes(32)),
        "version_2": copy(PLAINTEXTS["one_record"], version=2),
        "flipped_bit": bytes(flipped),
        "cut_in_number": one[:12],
        "cut_in_btoken": one[:-16],
        "no_copy": b"scrypt" + one[6:],
    }
    errors = {
        "other_key": "other_key",
        "version_2": "version_unknown",
        "no_copy": "not_a_copy",
    }
    index = {
        "key": text(NUMBER, KEY),
        "number": NUMBER.hex(),
        "key_bytes": KEY.hex(),
        "good": {name: PLAINTEXTS[name].decode() for name in good},
        "bad": {name: errors.get(name, "damaged") for name in bad},
    }
    all_files = {f"{name}.pmcopy": data for name, data in good.items()}
    all_files |= {f"bad_{name}.pmcopy": data for name, data in bad.items()}
    all_files["index.json"] = (json.dumps(index, indent=1) + "\n").encode()
    return all_files


def main():
    for name, data in files().items():
        path = HERE / name
        if "--check" not in sys.argv:
            path.write_bytes(data)
        elif path.read_bytes() != data:
            sys.exit(f"{path} is not what make.py makes")


main()
