#!/usr/bin/env python3
"""Writes KDBX samples with Twofish and with key files, by pykeepass 4.2.0: keepass-twofish.kdbx with
a password, keepass-raw-key.kdbx with a key file of 32 bytes and no password, and keepass-hex-key.kdbx
with a key file of 64 hex digits and a password. Each run makes other random bytes."""
import pathlib
from pykeepass import create_database

HERE = pathlib.Path(__file__).parent
(HERE / "keepass-raw.key").write_bytes(bytes(range(0xE0, 0x100)))
(HERE / "keepass-hex.key").write_text("".join(f"{byte:02x}" for byte in range(32)))


def write(name, cipher, password, key):
    kp = create_database(str(HERE / name), password=password, keyfile=key and str(HERE / key))
    kp.add_entry(kp.root_group, "entry", "alice", "correct horse 🔑")
    kp.kdbx.header.value.dynamic_header.cipher_id.data = cipher
    kp.save()


write("keepass-twofish.kdbx", "twofish", "import sample", None)
write("keepass-raw-key.kdbx", "aes256", None, "keepass-raw.key")
write("keepass-hex-key.kdbx", "aes256", "import sample", "keepass-hex.key")
