#!/usr/bin/env python3
"""Writes the KDBX samples that keepassxc-cli cannot: Argon2 and ChaCha20, by pykeepass 4.2.0."""
import pathlib
from pykeepass import create_database
from pykeepass.kdbx_parsing.kdbx4 import kdf_uuids

HERE = pathlib.Path(__file__).parent


def write(name, cipher):
    kp = create_database(str(HERE / name), password="import sample")
    group = kp.add_group(kp.root_group, "Web")
    entry = kp.add_entry(group, "and/or", "alice", "correct horse 🔑", url="https://example.org/?a=1&b=2", notes="line one\nline two",
                         otp="otpauth://totp/x?secret=JBSWY3DPEHPK3PXP", tags=["work", "home"])
    entry.set_custom_property("PIN", "1234", protect=True)
    entry.set_custom_property("plain", "<open>")
    entry.add_attachment(kp.add_binary(b"\xff\x00 attached"), "note.bin")
    entry.save_history()
    entry.password = "second 🔑"
    kp.add_entry(kp.root_group, "", "bob", "p")
    header = kp.kdbx.header.value.dynamic_header
    header.cipher_id.data = cipher
    if cipher == "chacha20":
        header.kdf_parameters.data.dict["$UUID"].value = kdf_uuids["argon2id"]
        header.encryption_iv.data = header.encryption_iv.data[:12]
    kp.save()


write("pykeepass-aes.kdbx", "aes256")
write("pykeepass-chacha20.kdbx", "chacha20")
