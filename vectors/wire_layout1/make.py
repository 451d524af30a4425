#!/usr/bin/env python3
"""Lays out the layout-1 vectors from fixed inputs, by the tables of docs/protocol.md.

    make.py           write the vectors beside this file
    make.py --check   exit 1 if what lies here differs

No Passmate program takes part: the bytes are put together here, row by row.
"""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).parent
CLIENT_HELLO = b"passmate-server-protocol"
SERVER_HELLO = b"passmate-protocol-server"
BANNER = "Grüße vom Testserver\nbtoken-max 64\n".encode()
BTOKEN_MAX = 64
ACCOUNT = bytes.fromhex("00a1b2c3d4e5f600")
OTHER = bytes.fromhex("0102030405060708")
NEW = bytes.fromhex("8000000000000001")
TOKEN = bytes(range(32))
WRONG_TOKEN = bytes(range(31)) + b"\xff"
OLD_BTOKEN = b"the btoken that is stored"
NEW_BTOKEN = b"the btoken after the merge, \x00 and \xff included"

CLIENT, SERVER = "client", "server"


def u32(number):
    return struct.pack(">I", number)


def sends(who, *rows):
    return {"from": who, "hex": b"".join(rows).hex()}


def ends(who, how):
    return {"from": who, "event": how}


GRACE = {"from": SERVER, "event": "grace_passed"}
CLEAN = ends(SERVER, "close_notify")
CUT = ends(SERVER, "cut")
GREETING = [sends(CLIENT, CLIENT_HELLO), sends(SERVER, SERVER_HELLO, u32(len(BANNER)), BANNER)]
BEFORE = {ACCOUNT: (TOKEN, OLD_BTOKEN)}
UPDATED = {ACCOUNT: (TOKEN, NEW_BTOKEN)}


def create(length, btoken=b""):
    return sends(CLIENT, b"c", TOKEN, u32(length), btoken)


def credentials(action, account=ACCOUNT, token=TOKEN):
    return sends(CLIENT, action, account, token)


FETCH = [credentials(b"u"), sends(SERVER, u32(len(OLD_BTOKEN)), OLD_BTOKEN)]
UPLOAD = sends(CLIENT, u32(len(NEW_BTOKEN)), NEW_BTOKEN)

# name, what it shows, steps after the greeting, accounts afterwards, what a client may conclude
CASES = [
    ("create", "create", [create(len(NEW_BTOKEN), NEW_BTOKEN), sends(SERVER, NEW), CLEAN],
     BEFORE | {NEW: (TOKEN, NEW_BTOKEN)}, "confirmed"),
    ("create_zero_length", "a btoken of no bytes is valid", [create(0), sends(SERVER, NEW), CLEAN],
     BEFORE | {NEW: (TOKEN, b"")}, "confirmed"),
    ("create_at_limit", "a btoken of exactly the limit is accepted",
     [create(BTOKEN_MAX, b"m" * BTOKEN_MAX), sends(SERVER, NEW), CLEAN], BEFORE | {NEW: (TOKEN, b"m" * BTOKEN_MAX)}, "confirmed"),
    ("create_too_long", "one byte more than the limit is cut before the body", [create(BTOKEN_MAX + 1), CUT], BEFORE, "failed"),
    ("create_length_ffffffff", "the longest length there is", [create(0xFFFFFFFF), CUT], BEFORE, "failed"),
    ("create_cut_in_btoken", "the client is gone in the middle of its btoken",
     [create(len(NEW_BTOKEN), NEW_BTOKEN[:10]), ends(CLIENT, "cut"), CUT], BEFORE, None),
    ("update_client_sends_last_row", "the document's reading: the client sends the account number last",
     [*FETCH, UPLOAD, sends(CLIENT, ACCOUNT), CLEAN], UPDATED, "confirmed"),
    ("update_in_one_write", "btoken and account number in one write, as our client does",
     [*FETCH, sends(CLIENT, u32(len(NEW_BTOKEN)), NEW_BTOKEN, ACCOUNT), CLEAN], UPDATED, "confirmed"),
    ("update_server_sends_last_row", "the other reading: after the grace the server sends the number",
     [*FETCH, UPLOAD, GRACE, sends(SERVER, ACCOUNT), CLEAN], UPDATED, "confirmed"),
    ("update_close_notify_for_last_row", "a close_notify of the client stands for the grace",
     [*FETCH, UPLOAD, ends(CLIENT, "close_notify"), sends(SERVER, ACCOUNT), CLEAN], UPDATED, "confirmed"),
    ("update_wrong_last_row", "another account number in the last row",
     [*FETCH, UPLOAD, sends(CLIENT, OTHER), CUT], BEFORE, "unknown"),
    ("update_part_of_last_row", "once a byte of the row came, the grace commits nothing",
     [*FETCH, UPLOAD, sends(CLIENT, ACCOUNT[:3]), GRACE, ends(CLIENT, "close_notify"), CUT], BEFORE, None),
    ("update_cut_before_last_row", "gone without a word before the grace: nothing is committed",
     [*FETCH, UPLOAD, ends(CLIENT, "cut"), CUT], BEFORE, None),
    ("update_left_after_fetch", "a client may only look", [*FETCH, ends(CLIENT, "close_notify"), CUT], BEFORE, None),
    ("update_cut_in_btoken", "the client is gone in the middle of its btoken",
     [*FETCH, sends(CLIENT, u32(len(NEW_BTOKEN)), NEW_BTOKEN[:10]), ends(CLIENT, "cut"), CUT], BEFORE, None),
    ("update_too_long", "one byte more than the limit", [*FETCH, sends(CLIENT, u32(BTOKEN_MAX + 1)), CUT], BEFORE, "unknown"),
    ("update_unknown_account", "no such account: cut without a byte", [credentials(b"u", OTHER), CUT], BEFORE, "failed"),
    ("update_wrong_token", "wrong auth token: as for an unknown account", [credentials(b"u", token=WRONG_TOKEN), CUT], BEFORE, "failed"),
    ("update_zero_account", "eight zeros are never an account", [credentials(b"u", bytes(8)), CUT], BEFORE, "failed"),
    ("reset", "reset", [credentials(b"r"), CLEAN], {}, "confirmed"),
    ("reset_unknown_account", "no such account", [credentials(b"r", OTHER), CUT], BEFORE, "unknown"),
    ("reset_wrong_token", "wrong auth token", [credentials(b"r", token=WRONG_TOKEN), CUT], BEFORE, "unknown"),
    ("unknown_action", "an action byte that is none", [sends(CLIENT, b"C"), CUT], BEFORE, None),
    ("left_before_action", "a client that only greets", [ends(CLIENT, "close_notify"), CUT], BEFORE, None),
]
CASES = [(name, about, GREETING + steps, after, outcome) for name, about, steps, after, outcome in CASES]
CASES.append(("wrong_hello", "another hello: cut without a byte",
              [sends(CLIENT, b"Passmate-server-protocol"), CUT], BEFORE, None))
CASES.append(("pipelined_update", "everything that the client sends, before the server said anything",
              [sends(CLIENT, CLIENT_HELLO, b"u", ACCOUNT, TOKEN, u32(len(NEW_BTOKEN)), NEW_BTOKEN, ACCOUNT),
               sends(SERVER, SERVER_HELLO, u32(len(BANNER)), BANNER, u32(len(OLD_BTOKEN)), OLD_BTOKEN), CLEAN],
              UPDATED, "confirmed"))


def accounts(kept):
    return {
        number.hex(): {"auth_token": token.hex(), "btoken": btoken.hex()} for number, (token, btoken) in kept.items()
    }


def case_json(name, about, steps, after, outcome):
    return json.dumps(
        {
            "about": about,
            "banner": BANNER.hex(),
            "btoken_max": BTOKEN_MAX,
            "new_account_no": NEW.hex(),
            "accounts_before": accounts(BEFORE),
            "steps": steps,
            "accounts_after": accounts(after),
            "client_concludes": outcome,
        },
        indent=1,
        ensure_ascii=False,
    ) + "\n"


def main():
    files = {case[0] + ".json": case_json(*case) for case in CASES}
    if "--check" not in sys.argv:
        for name, text in files.items():
            (HERE / name).write_text(text)
        return 0
    here = {path.name: path.read_text() for path in HERE.glob("*.json")}
    wrong = sorted(name for name in files.keys() | here.keys() if files.get(name) != here.get(name))
    for name in wrong:
        print(f"make.py: {name} is not what this script writes", file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
