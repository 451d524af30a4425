"""Drives the original Passmate program (PyPI `passmate` 0.4.1) on a shared folder.

usage: original_passmate.py HOME SHARED HOST PASSPHRASE [PATH FIELD VALUE]...

Syncs from the folder, sets the fields, saves, and prints all records as JSON.
"""

import json
import pathlib
import sys
import time

from passmate.config import Config
from passmate.session import Record, SessionStarter


def main() -> None:
    home, shared, host, passphrase, *words = sys.argv[1:]
    home = pathlib.Path(home)
    config = Config({"primary_db": home / "local.pmdb", "shared_folder": pathlib.Path(shared), "host_id": host})
    with SessionStarter(config, passphrase, init=not config.primary_db.exists()) as session:
        messages = list(session.sync().messages())
        for path, field, value in zip(words[::3], words[1::3], words[2::3]):
            if path not in set(session):
                session[path] = Record()
            session[path][field] = value
        session.save()
        view = {path: {field: session[path][field] for field in session[path]} for path in session}
    print(json.dumps({"messages": messages, "view": view, "time": int(time.time())}))


main()
