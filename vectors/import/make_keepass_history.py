#!/usr/bin/env python3
"""Writes keepassxc-history.kdbx and its key file keepassxc-history.keyx by keepassxc-cli 2.7.4: it
imports XML, and edits an entry twice, which makes its history. Each run makes other random bytes."""
import base64
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).parent
PASSWORD = "import sample"
SOURCE, FILE, KEY = (HERE / f"keepassxc-history.{end}" for end in ("source.xml", "kdbx", "keyx"))


def uuid(number):
    return base64.b64encode(bytes([number]) * 16).decode()


def entry(number, strings, more="", expiry=None):
    strings = "".join(f"<String><Key>{key}</Key><Value>{value}</Value></String>" for key, value in strings)
    expires = "<Expires>False</Expires>"
    if expiry:
        expires = f"<Expires>True</Expires><ExpiryTime>{expiry}</ExpiryTime>"
    times = f"<Times><CreationTime>2020-01-01T00:00:00Z</CreationTime><LastModificationTime>2020-01-02T00:00:00Z</LastModificationTime>{expires}</Times>"
    return f"<Entry><UUID>{uuid(number)}</UUID>{more}{times}{strings}</Entry>"


def keepassxc(words, answers):
    subprocess.run(["keepassxc-cli", *words], input="\n".join(answers) + "\n", text=True, check=True)


ENTRIES = [
    entry(2, [("Title", "main"), ("UserName", "alice"), ("Password", "first"), ("URL", "https://a.example"),
              ("KP2A_URL", "https://b.example"), ("KP2A_URL_1", "https://c.example"),
              ("otp", "otpauth://totp/main:alice?secret=JBSWY3DPEHPK3PXP&amp;period=60&amp;digits=8&amp;issuer=main&amp;algorithm=SHA256")],
          "<Tags>work;home</Tags>", "2030-06-01T12:30:00Z"),
    entry(3, [("Title", "other"), ("UserName", "{REF:U@I:02020202020202020202020202020202}"), ("Password", "{REF:P@T:main}")]),
    entry(4, [("Title", "steam"), ("TOTP Seed", "JBSWY3DPEHPK3PXP"), ("TOTP Settings", "30;S")],
          expiry="2030-01-01T00:00:00Z"),
    entry(5, [("Title", "passkey"), ("URL", "https://d.example"), ("KPEX_PASSKEY_USERNAME", "alice"),
              ("KPEX_PASSKEY_CREDENTIAL_ID", "AAECAwQFBgcICQoLDA0ODw"),
              ("KPEX_PASSKEY_PRIVATE_KEY_PEM", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n"),
              ("KPEX_PASSKEY_RELYING_PARTY", "d.example"), ("KPEX_PASSKEY_USER_HANDLE", "-_8"),
              ("KPEX_PASSKEY_FLAG_BE", "1"), ("KPEX_PASSKEY_FLAG_BS", "1")]),
]
SOURCE.write_text(f"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<KeePassFile><Meta/><Root><Group><UUID>{uuid(1)}</UUID><Name>db</Name>{''.join(ENTRIES)}</Group></Root></KeePassFile>\n")
for file in (FILE, KEY):
    file.unlink(missing_ok=True)
keepassxc(["import", "--set-key-file", str(KEY), "-p", "-t", "100", str(SOURCE), str(FILE)], [PASSWORD, PASSWORD])
for password in ("second", "third"):
    time.sleep(1.1)  # A change within a second of the last one makes no version.
    keepassxc(["edit", "-q", "-k", str(KEY), "-p", str(FILE), "main"], [PASSWORD, password])
SOURCE.unlink()
