#!/usr/bin/env python3
"""Makes the vectors of this folder without any Passmate program.

Needs only Python, whose zlib does the compression. `make.py --check` compares instead of writing.
"""
import json
import pathlib
import sys
import zlib

HERE = pathlib.Path(__file__).parent


def vault(records):
    members = ",".join(
        f'"{number:016X}":[["meta","path","web/{number}.example.org",{1700000000 + number}],'
        f'["user","user","alice",1700000000],["user","password","{number * 7919:08x}",1700000001]]'
        for number in range(records)
    )
    text = '{"version":2,"purpose":"sync_copy","records":{' + members + "}}"
    return text.encode()


def deflate(document, level=9, strategy=zlib.Z_DEFAULT_STRATEGY):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    return packer.compress(document) + packer.flush()


def padded(packed, len_min=0):
    len_min = max(len_min, len(packed))
    return packed + b" " * (-(-len_min // 4096) * 4096 - len(packed))


def packed(document, deflated=None, length=None, version=1):
    deflated = deflate(document) if deflated is None else deflated
    length = len(document) if length is None else length
    return b"pmpack\0" + bytes([version]) + length.to_bytes(4, "big") + deflated


def files():
    vault_40 = vault(40)
    stored = deflate(vault_40, level=0)
    fixed = deflate(vault_40, strategy=zlib.Z_FIXED)
    # 64 times as long as one page of 4096 bytes, and a byte more.
    blanks = 64 * 4096 - len(vault_40)
    good = {
        "records_40": padded(packed(vault_40)),
        "records_500": padded(packed(vault(500))),
        "stored_blocks": padded(packed(vault_40, stored)),
        "fixed_codes": padded(packed(vault_40, fixed)),
        "not_padded": packed(vault_40),
        "expands_64_times": padded(packed(vault_40 + b" " * blanks)),
    }
    desktop = b'{"1":[["PATH",1500000000,"web/site"]]}'
    one = deflate(vault_40)
    bad = {
        "expands_too_far": padded(packed(vault_40 + b" " * (blanks + 1))),
        "length_above_all_limits": padded(packed(vault_40, length=256 * 1024 * 1024 + 1)),
        "length_too_small": padded(packed(vault_40, length=len(vault_40) - 1)),
        "length_too_large": padded(packed(vault_40, length=len(vault_40) + 1)),
        "length_zero": padded(packed(vault_40, length=0)),
        "version_0": padded(packed(vault_40, version=0)),
        "version_2": padded(packed(vault_40, version=2)),
        "cut_in_head": packed(vault_40)[:10],
        "cut_in_stream": packed(vault_40)[: 12 + len(one) // 2],
        "no_stream": padded(packed(vault_40, b"")),
        "no_deflate": padded(packed(vault_40, b"\xff" * 100)),
        "text_after_stream": padded(packed(vault_40) + b"{}"),
        "zeros_after_stream": packed(vault_40) + bytes(16),
        "zlib_header": padded(packed(vault_40, zlib.compress(vault_40))),
        "packed_twice": padded(packed(padded(packed(vault_40)))),
        "desktop": padded(packed(desktop)),
        "not_json": padded(packed(b"somewhat" * 100)),
        "not_utf8": padded(packed(vault_40.replace(b"alice", b"al\xffce"))),
    }
    made = {f"{name}.plaintext": data for name, data in good.items()}
    made |= {f"bad_{name}.plaintext": data for name, data in bad.items()}
    index = {
        "good": {name: 500 if name == "records_500" else 40 for name in good},
        "bad": sorted(bad),
        "newer": ["version_2"],
    }
    made["index.json"] = (json.dumps(index, indent=1) + "\n").encode()
    return made


for name, data in files().items():
    path = HERE / name
    if "--check" in sys.argv:
        assert path.read_bytes() == data, name
    else:
        path.write_bytes(data)
