#!/usr/bin/env python3
"""Writes the exports of Google Authenticator, Aegis and 2FAS, after the public descriptions of their formats.

Aegis: docs/vault.md of the app. 2FAS: the backup code of its Android app. Google Authenticator: the message that its
QR codes hold. Needs `cryptography`."""
import base64, hashlib, json, pathlib, urllib.parse
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent
PASSWORD = "import sample".encode()
SECRET = b"Hello!\xde\xad\xbe\xef"
BASE32 = base64.b32encode(SECRET).decode().rstrip("=")
LONG = b"12345678901234567890"
LONG32 = base64.b32encode(LONG).decode()


def write(name, text):
    (HERE / name).write_text(text)


def write_json(name, value):
    write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


# Google Authenticator


def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def message(*fields):
    out = b""
    for tag, value in fields:
        if isinstance(value, int):
            out += varint(tag << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(tag << 3 | 2) + varint(len(value)) + value
    return out


def account(secret, name, issuer, algorithm=1, digits=1, kind=2, *more):
    return 1, message((1, secret), (2, name), (3, issuer), (4, algorithm), (5, digits), (6, kind), *more)


def address(accounts, size, index, batch, quote=urllib.parse.quote):
    data = base64.b64encode(message(*accounts, (2, 1), (3, size), (4, index), (5, batch))).decode()
    return "otpauth-migration://offline?data=" + quote(data)


one = address([account(SECRET, "Shop:bob@shop.example", "Shop"),
               account(LONG, "no issuer", "", 2, 2, 2, (7, 0), (8, "an id of a newer version"))], 2, 0, 77)
two = address([account(LONG, "Bank: ünïcode / 1", "Bänk", 3, 2, 1, (7, 41))], 2, 1, 77)
write("google-authenticator.txt", f"{two}\n{one}\n")

# The second of three QR codes is missing, one is twice, one is cut off, and codes of unknown kinds.
first = address([account(SECRET, "a", "Same"), account(LONG, "a", "Same")], 3, 0, -5, urllib.parse.quote_plus)
third = address([account(SECRET, "old", "MD5", 4), account(b"", "empty", "Empty"),
                 account(SECRET, b"caf\xe9", "Latin", 0, 0, 0), account(SECRET, "kind", "Kind", 1, 1, 7),
                 account(SECRET, "negative", "Negative", 1, 1, 1, (7, -1))], 3, 2, -5,
                lambda data: data.replace("+", "-").replace("/", "_").rstrip("="))
write("google-authenticator-odd.txt", f"scanned on Monday\r\n{third}\r\n{first}\r\n\r\n{first}\r\n{one[:60]}\r\n")

# Aegis

GROUPS = [{"uuid": "8d1e0000-0000-4000-8000-000000000001", "name": "Work"},
          {"uuid": "8d1e0000-0000-4000-8000-000000000002", "name": "Ünï"}]


def aegis(kind, number, name, issuer, info, **more):
    return {"type": kind, "uuid": f"3ae60000-0000-4000-8000-{number:012}", "name": name, "issuer": issuer, "note": "",
            "favorite": False, "icon": None, "info": info, "groups": [], **more}


db = {"version": 3, "entries": [
    aegis("totp", 1, "bob", "Shop", {"secret": BASE32, "algo": "SHA1", "digits": 6, "period": 30},
          note="two\nlines", favorite=True, groups=[group["uuid"] for group in GROUPS]),
    aegis("hotp", 2, "counted", "Bank", {"secret": LONG32, "algo": "SHA256", "digits": 8, "counter": 5},
          groups=[GROUPS[1]["uuid"]]),
    aegis("steam", 3, "gordon", "Steam", {"secret": BASE32, "algo": "SHA1", "digits": 5, "period": 30}),
    aegis("totp", 4, "60 seconds", "", {"secret": LONG32, "algo": "SHA512", "digits": 7, "period": 60}),
    aegis("motp", 5, "m", "mOTP", {"secret": "e3152afee62599c8", "algo": "MD5", "digits": 6, "period": 10,
                                   "pin": "1234"}),
    aegis("yandex", 6, "y", "Yandex", {"secret": LONG32, "algo": "SHA256", "digits": 8, "period": 30, "pin": "1234"}),
], "groups": GROUPS, "icons_optimized": True}
write_json("aegis.json", {"version": 1, "header": {"slots": None, "params": None}, "db": db})


def seal(key, nonce, plaintext):
    sealed = AESGCM(key).encrypt(nonce, plaintext, None)
    return sealed[:-16], {"nonce": nonce.hex(), "tag": sealed[-16:].hex()}


def slot(number, kind, key, wrapping, **more):
    sealed, params = seal(wrapping, bytes([number]) * 12, key)
    return {"type": kind, "uuid": f"51070000-0000-4000-8000-{number:012}", "key": sealed.hex(), "key_params": params,
            **more}


def password_slot(number, key, password):
    salt, cost = bytes(range(number, number + 32)), {"n": 32768, "r": 8, "p": 1}
    derived = hashlib.scrypt(password, salt=salt, dklen=32, maxmem=1 << 26, **cost)
    return slot(number, 1, key, derived, **cost, salt=salt.hex(), repaired=True)


key = bytes(range(32))
sealed, params = seal(key, bytes(12), json.dumps(db).encode())
slots = [slot(1, 2, key, bytes(32)), password_slot(2, key, b"another password"), password_slot(3, key, PASSWORD)]
write_json("aegis-encrypted.json", {"version": 1, "header": {"slots": slots, "params": params},
                                    "db": base64.b64encode(sealed).decode()})
# Version 2 of the database, with the name of one group; members that are missing, null or of another type.
write_json("aegis-odd.json", {"version": 1, "header": {"slots": None, "params": None}, "db": {"version": 2, "entries": [
    {"type": "totp", "uuid": "x", "name": "Shop:bob", "group": "Old group", "info": {"secret": BASE32.lower() + "===="}},
    {"type": "totp", "name": "no id", "issuer": None, "note": None, "info": {"secret": BASE32, "digits": "6"}},
    {"type": "hotp", "name": "no counter", "issuer": "A", "info": {"secret": BASE32, "counter": None}},
    {"type": "totp", "name": "no info", "issuer": "B"},
    {"type": "later", "name": "later", "issuer": "C", "info": {"secret": BASE32}},
    None]}})

# 2FAS


def service(number, name, secret, otp, **more):
    return {"name": name, "secret": secret, "updatedAt": 1_700_000_000_000 + number, "otp": otp,
            "order": {"position": number}, "icon": {"selected": "Label", "label": {"text": "SH", "backgroundColor": "Red"}},
            **more}


services = [
    service(0, "My shop", BASE32, {"link": "otpauth://totp/x", "label": "bob", "account": "bob@shop.example",
                                   "issuer": "Shop", "digits": 6, "period": 30, "algorithm": "SHA1",
                                   "tokenType": "TOTP", "source": "Link"}, groupId="8d1e-1"),
    service(1, "Bank", LONG32, {"label": "Bank:counted", "digits": 8, "counter": 7, "algorithm": "SHA512",
                                "tokenType": "HOTP", "source": "Manual"}),
    service(2, "Steam", BASE32, {"account": "gordon", "issuer": "Steam", "digits": 5, "period": 30,
                                 "algorithm": "SHA1", "tokenType": "STEAM", "source": "Manual"}),
]
outer = {"services": services, "groups": [{"id": "8d1e-1", "name": "Wörk", "isExpanded": True, "updatedAt": 1}],
         "updatedAt": 1_700_000_000_000, "schemaVersion": 4, "appVersionCode": 5000029, "appVersionName": "5.4.9",
         "appOrigin": "android"}
write_json("2fas.2fas", outer)


def seal_2fas(number, plaintext):
    salt, nonce = bytes([number]) * 256, bytes([number]) * 12
    derived = hashlib.pbkdf2_hmac("sha256", PASSWORD, salt, 10000)
    parts = AESGCM(derived).encrypt(nonce, plaintext, None), salt, nonce
    return ":".join(base64.b64encode(part).decode() for part in parts)


write_json("2fas-encrypted.2fas", {**outer, "services": [], "servicesEncrypted": seal_2fas(1, json.dumps(services).encode()),
                                   "reference": seal_2fas(2, b"a text that the app knows")})
# An older schema, and members that are missing or of another type.
write_json("2fas-odd.2fas", {"services": [
    {"name": "Old", "secret": BASE32.lower(), "type": "Unknown", "otp": {"account": "", "issuer": None}},
    {"name": "No otp", "secret": BASE32},
    {"name": "No secret", "otp": {}},
    {"name": "Hash", "secret": BASE32, "otp": {"algorithm": "SHA384"}},
    {"name": "Kind", "secret": BASE32, "otp": {"tokenType": "LATER"}},
    7], "schemaVersion": 1})
