#!/usr/bin/env python3
"""Lays out 1password.1pux after 1Password's description of the format."""
import json, pathlib, zipfile

HERE = pathlib.Path(__file__).parent


def field(title, **value):
    return {"title": title, "id": "id", "value": value, "indexAtSource": 0, "guarded": False, "multiline": False}


def item(number, title, **parts):
    details = {"loginFields": [], "notesPlain": "", "sections": [], "passwordHistory": []}
    details.update(parts.pop("details", {}))
    overview = {"subtitle": "", "title": title, "url": "", "tags": []}
    overview.update(parts.pop("overview", {}))
    return {"uuid": f"item{number:022}", "favIndex": 0, "createdAt": 1700000000, "updatedAt": 1700000000 + number,
            "state": "active", "categoryUuid": "001", "details": details, "overview": overview, **parts}


def login(value, name, designation, kind):
    return {"value": value, "id": "", "name": name, "fieldType": kind, "designation": designation}


ITEMS = [
    item(1, "and/or", favIndex=1, details={
        "loginFields": [login("alice", "email", "username", "T"), login("correct horse 🔑", "password", "password", "P"),
                        login("yes", "remember", "", "C")],
        "notesPlain": "line one\nline two",
        "sections": [{"title": "Security", "name": "s", "fields": [
            field("PIN", concealed="1234"), field("one-time password", totp="otpauth://totp/x?secret=JBSWY3DPEHPK3PXP"),
            field("mail", email={"email_address": "a@example.org", "provider": None}), field("since", date=1700000000),
            field("", string="untitled"), field("other", reference="item0"), field("scan", file={"fileName": "a.png"}),
            field("home", address={"street": "Street 1", "city": "Town", "country": "de", "zip": "", "state": ""})]}],
        "passwordHistory": [{"value": "old", "time": 1600000000}]},
        overview={"url": "https://example.org", "tags": ["work", "home"],
                  "urls": [{"label": "website", "url": "https://example.org"}, {"label": "", "url": "https://example.com"}]}),
    item(2, "password only", categoryUuid="005", details={"password": "p"}),
    item(3, "archived", state="archived", details={"notesPlain": "n"}),
    item(4, "document", details={"documentAttributes": {"fileName": "x", "documentId": "d", "decryptedSize": 1}}),
]
EXPORT = {"accounts": [{"attrs": {"accountName": "Alice", "name": "Alice", "email": "a@example.org", "uuid": "A", "domain": "https://my.1password.com/"},
                        "vaults": [{"attrs": {"uuid": "V", "desc": "", "avatar": "", "name": "Private", "type": "P"}, "items": ITEMS}]}]}

with zipfile.ZipFile(HERE / "1password.1pux", "w", zipfile.ZIP_DEFLATED) as archive:
    for name, text in [("export.attributes", '{"version":3,"description":"1Password Unencrypted Export","createdAt":1700000000}'),
                       ("export.data", json.dumps(EXPORT, ensure_ascii=False)), ("files/d__x", "attached")]:
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
