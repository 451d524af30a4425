#!/usr/bin/env python3
"""Writes exports in FIDO's Credential Exchange Format, after its published draft (version 1.0)."""
import base64, json, pathlib, zipfile

HERE = pathlib.Path(__file__).parent


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def field(kind, value, label=None, **more):
    return {"fieldType": kind, "value": value, **({"label": label} if label else {}), **more}


def item(number, title, *credentials, **more):
    return {"id": b64(bytes([number])), "creationAt": 1_600_000_000, "modifiedAt": 1_700_000_000 + number,
            "title": title, "credentials": list(credentials), **more}


def link(number):
    return {"item": b64(bytes([number]))}


PASSKEY = {"type": "passkey", "credentialId": b64(bytes(range(16))), "rpId": "shop.example", "username": "bob",
           "userDisplayName": "Bob Ö.", "userHandle": b64(b"\xff\xfe"), "key": b64(bytes(range(48))),
           "fido2Extensions": {"credBlob": b64(b"blob"), "payments": True}}

ITEMS = [
    item(1, "Shop", {"type": "basic-auth", "username": field("string", "bob"),
                     "password": field("concealed-string", "p\"w\\ü")},
         {"type": "totp", "secret": "JBSWY3DPEHPK3PXP", "period": 60, "digits": 8, "algorithm": "sha256",
          "username": "bob", "issuer": "Shop"},
         PASSKEY,
         {"type": "note", "content": field("string", "one\ntwo")},
         {"type": "custom-fields", "label": "Test", "fields": [
             field("concealed-string", "t", "Key"), field("boolean", "true", "active"), field("string", "no label")]},
         {"type": "custom-fields", "label": "Live", "fields": [
             field("concealed-string", "l", "Key"), field("year-month", "2030-12", "until")]},
         {"type": "file", "id": b64(b"f"), "name": "contract.pdf", "decryptedSize": 7, "integrityHash": b64(bytes(32))},
         {"type": "item-reference", "reference": link(2)},
         subtitle="my subtitle", favorite=True, tags=["one", "zwei ö"],
         scope={"urls": ["https://shop.example/login", "https://other.example"], "androidApps": [
             {"bundleId": "com.example.shop", "name": "Shop",
              "certificate": {"fingerprint": b64(bytes(32)), "hashAlg": "sha256"}}]},
         extensions=[{"name": "shared", "accessors": []}, {"name": "vendor.example/icon", "icon": 1}]),
    item(2, "Card", {"type": "credit-card", "number": field("concealed-string", "4111111111111111"),
                     "fullName": field("string", "B. Öb"), "cardType": field("string", "Visa"),
                     "verificationNumber": field("concealed-string", "123"), "pin": field("concealed-string", "9"),
                     "expiryDate": field("year-month", "2030-12"), "validFrom": field("year-month", "2020-01")}),
    item(3, "Me", {"type": "person-name", "title": field("string", "Dr"), "given": field("string", "Bob"),
                   "givenInformal": field("string", "Bobby"), "given2": field("string", "C."),
                   "surnamePrefix": field("string", "van"), "surname": field("string", "Öb"),
                   "surname2": field("string", "Zwei"), "credentials": field("string", "PhD"),
                   "generation": field("string", "III")},
         {"type": "address", "streetAddress": field("string", "Street 1\nDoor 2"), "postalCode": field("string", "1"),
          "city": field("string", "Town"), "territory": field("subdivision-code", "DE-BY"),
          "country": field("country-code", "DE"), "tel": field("string", "+49 1")},
         {"type": "passport", "issuingCountry": field("country-code", "DE"), "passportNumber": field("string", "P1"),
          "birthDate": field("date", "1983-04-01"), "expiryDate": field("date", "2031-01-31")},
         {"type": "drivers-license", "licenseNumber": field("string", "L1"), "licenseClass": field("string", "B"),
          "expiryDate": field("date", "2033-01-31")},
         {"type": "identity-document", "documentNumber": field("string", "D1"),
          "identificationNumber": field("string", "I1"), "sex": field("string", "x")}),
    item(4, "Key", {"type": "ssh-key", "keyType": "ssh-ed25519", "privateKey": b64(bytes(range(83))),
                    "keyComment": "bob@host", "creationDate": field("date", "2024-01-31"),
                    "keyGenerationSource": field("string", "https://host.example")}),
    item(5, "Wifi", {"type": "wifi", "ssid": field("string", "net"), "passphrase": field("concealed-string", "pw"),
                     "networkSecurityType": field("wifi-network-security-type", "wpa3-personal"),
                     "hidden": field("boolean", "false")}),
    item(6, "API", {"type": "api-key", "key": field("concealed-string", "k"), "username": field("string", "u"),
                    "keyType": field("string", "bearer"), "url": field("string", "https://api.example"),
                    "validFrom": field("date", "2024-01-31"), "expiryDate": field("date", "2025-01-31")}),
    item(7, "Generated", {"type": "generated-password", "password": "g"}),
    item(8, "Later", {"type": "later-credential", "secret": "x"}),
]
COLLECTIONS = [
    {"id": b64(b"c1"), "title": "Wörk / all", "items": [link(1), link(9)], "subCollections": [
        {"id": b64(b"c2"), "title": "Inner", "items": [link(2)], "subtitle": "of the inner one"}]},
    {"id": b64(b"c3"), "title": "Both", "items": [link(1), link(3)]},
]


def header(accounts, **more):
    return {"version": {"major": 1, "minor": 0}, "exporterRpId": "exporter.example",
            "exporterDisplayName": "Exporter", "timestamp": 1_700_000_000, "accounts": accounts, **more}


def account(name, collections, items):
    return {"id": b64(name.encode()), "username": name, "email": name + "@x.example", "collections": collections,
            "items": items}


file = json.dumps(header([account("bob", COLLECTIONS, ITEMS)]), indent=1, ensure_ascii=False) + "\n"
(HERE / "cxf.json").write_text(file)
with zipfile.ZipFile(HERE / "cxf.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(zipfile.ZipInfo("CXF/index.json", (2026, 1, 1, 0, 0, 0)), file)

# Two accounts; members that are missing, null or of another type, plain texts as an earlier draft had them.
ODD = [
    {"title": None, "scope": {"urls": ["https://me@no-title.example:8443/x", 7]}, "credentials": [
        {"type": "basic-auth", "username": "plain text", "password": None, "realm": field("string", "of a later version")},
        {"type": "totp", "secret": "JBSWY3DPEHPK3PXP"},
        {"type": "totp", "secret": "JBSWY3DPEHPK3PXP", "algorithm": "md5", "digits": 6},
        {"type": "totp", "secret": "!", "digits": "six"},
        {"type": "passkey", "rpId": "x.example"}, {"type": "passkey", "credentialId": "AA==", "rpId": "x", "key": "AA",
                                                   "username": None, "later": [1]},
        {"type": "ssh-key", "privateKey": "not base64!"}, {"type": "custom-fields"}, {"type": 7}, 7, None,
        {"type": "note", "content": "plain note"}, {"type": "generated-password", "password": "g"}]},
    {"id": 7, "title": "No credentials", "modifiedAt": "yesterday", "tags": None, "favorite": "true"},
    {"id": "AQ", "title": "Null", "credentials": None, "scope": None, "later": {"a": 1}},
    None,
]
(HERE / "cxf-odd.json").write_text(json.dumps(header([
    account("one", [{"title": "A", "items": None, "subCollections": [{"items": [{"item": "AQ"}]}]}], ODD),
    {"items": [{"id": "AQ", "title": "Of nobody", "credentials": []}]},
    {"username": "", "email": "third@x.example", "collections": {}},
], version=0), indent=1, ensure_ascii=False) + "\n")
