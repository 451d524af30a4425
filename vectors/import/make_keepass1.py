#!/usr/bin/env python3
"""Writes keepass-1-twofish.kdb: the content of file-keepass-1.kdb under Twofish, with the key file
keepass-hex.key and the password "import sämple", which KeePass hashes in code page 1252."""
import hashlib
import pathlib
import struct
from Cryptodome.Cipher import AES
from pykeepass.kdbx_parsing.twofish import Twofish, MODE_CBC

HERE = pathlib.Path(__file__).parent


def transform(key, seed, rounds):
    cipher = AES.new(seed, AES.MODE_ECB)
    for _ in range(rounds):
        key = cipher.encrypt(key)
    return hashlib.sha256(key).digest()


old = (HERE / "file-keepass-1.kdb").read_bytes()
seed, iv, kdf_seed, rounds = old[16:32], old[32:48], old[88:120], struct.unpack("<I", old[120:124])[0]
key = hashlib.sha256(b"import sample").digest()
key = hashlib.sha256(seed + transform(key, kdf_seed, rounds)).digest()
padded = AES.new(key, AES.MODE_CBC, iv).decrypt(old[124:])
assert hashlib.sha256(padded[:-padded[-1]]).digest() == old[56:88]

key = hashlib.sha256("import sämple".encode("cp1252")).digest()
key = hashlib.sha256(key + bytes.fromhex((HERE / "keepass-hex.key").read_text())).digest()
key = hashlib.sha256(seed + transform(key, kdf_seed, 1000)).digest()
new = old[:8] + struct.pack("<I", 1 | 8) + old[12:120] + struct.pack("<I", 1000)
(HERE / "keepass-1-twofish.kdb").write_bytes(new + Twofish.new(key, MODE_CBC, iv).encrypt(padded))
