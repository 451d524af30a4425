#!/usr/bin/env python3
"""Puts bitwarden.json under a password, as Bitwarden's export page does. Needs `cryptography` and `argon2-cffi`."""
import base64, hashlib, hmac, json, pathlib
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = pathlib.Path(__file__).parent
PASSWORD = "import sample ä".encode()
SALT = base64.b64encode(bytes(range(16))).decode()


def expand(key, info):
    return hmac.new(key, info + b"\x01", hashlib.sha256).digest()


def seal(key, iv, plaintext):
    padder = padding.PKCS7(128).padder()
    padded = padder.update(plaintext) + padder.finalize()
    encryptor = Cipher(algorithms.AES(expand(key, b"enc")), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    tag = hmac.new(expand(key, b"mac"), iv + ciphertext, hashlib.sha256).digest()
    return "2." + "|".join(base64.b64encode(part).decode() for part in (iv, ciphertext, tag))


def write(name, key, costs):
    plain = (HERE / "bitwarden.json").read_bytes()
    file = {"encrypted": True, "passwordProtected": True, "salt": SALT, **costs}
    file["encKeyValidation_DO_NOT_EDIT"] = seal(key, bytes(16), b"00000000-0000-4000-8000-00000000000a")
    file["data"] = seal(key, bytes(range(16)), plain)
    (HERE / name).write_text(json.dumps(file, indent=2) + "\n")


write("bitwarden-pbkdf2.json", hashlib.pbkdf2_hmac("sha256", PASSWORD, SALT.encode(), 5000),
      {"kdfType": 0, "kdfIterations": 5000})
salt = hashlib.sha256(SALT.encode()).digest()
write("bitwarden-argon2.json", hash_secret_raw(PASSWORD, salt, 2, 16 * 1024, 4, 32, Type.ID),
      {"kdfType": 1, "kdfIterations": 2, "kdfMemory": 16, "kdfParallelism": 4})
