"""An object store for tests: moto on a free port of 127.0.0.1, with faults on demand.

    python s3_store.py FOLDER [--auth] [--tls CERTIFICATE KEY]

It has a bucket `vaults`, prints its port, then with --auth an access key and its secret, and ends
when its standard input does. It also gives away credentials as a machine and a container do. FOLDER/fault holds faults, one a line: KIND METHOD TEXT [MORE]. A fault
meets requests with this method whose path and query contain the text; FOLDER/hit is written when
one does. The kinds are:

    answer METHOD TEXT STATUS CODE    an error of S3, or a page of a web server without a code
    hang METHOD TEXT                  no answer until the fault is gone
    lost METHOD TEXT                  it is done, and the answer is an error
    endless METHOD TEXT               an error without end
    flip METHOD TEXT                  one bit is wrong: of what is sent (GET) or stored (PUT)
    cut METHOD TEXT                   the answer ends in the middle
    short METHOD TEXT                 half of the object, as if it were all
    huge METHOD TEXT                  an object that no disk has room for, of which nothing comes
"""

import io
import json
import os
import sys
import threading
import time

folder = sys.argv[1]
has_auth = "--auth" in sys.argv
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0" if has_auth else "inf"
os.environ["S3_IGNORE_SUBDOMAIN_BUCKETNAME"] = "true"

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


def fault_of(method, target):
    try:
        with open(os.path.join(folder, "fault")) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        kind, wanted, text, *more = line.split()
        if wanted == method and text in target:
            return kind, more
    return None


def error_of(status, code):
    if not code:
        return [("Content-Type", "text/html")], b"<html>Sign in to the console</html>"
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>AKIA wJalr</Message></Error>"
    return [("Content-Type", "application/xml")], text.encode()


def given_at(path, environ):
    """What a service for credentials answers, if the path is one of such a service."""
    if path == "/latest/api/token":
        return b"session"
    has_session = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") == "session"
    has_token = environ.get("HTTP_AUTHORIZATION") == "container-token"
    roles = "/latest/meta-data/iam/security-credentials/"
    if path == roles and has_session:
        return b"backup"
    if path == roles + "backup" and has_session or path == "/credentials" and has_token:
        pair = {"AccessKeyId": "ASIAGIVEN", "SecretAccessKey": "wJalrGiven", "Token": "secret-token"}
        return json.dumps(pair | {"Expiration": "2099-01-01T00:00:00Z"}).encode()
    return None


def flipped(body):
    body = bytearray(body)
    body[len(body) // 2] ^= 1
    return bytes(body)


class Faulty:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        method = environ["REQUEST_METHOD"]
        target = environ["PATH_INFO"] + "?" + environ.get("QUERY_STRING", "")
        given = given_at(environ["PATH_INFO"], environ)
        if given is not None:
            start_response("200 OK", [("Content-Length", str(len(given)))])
            return [given]
        if "Action=AssumeRoleWithWebIdentity" in target:
            # AWS takes it from the query, moto from the body alone.
            query = environ["QUERY_STRING"].encode()
            environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
            environ.update({"wsgi.input": io.BytesIO(query), "CONTENT_LENGTH": str(len(query))})
        fault = fault_of(method, target)
        if fault is None:
            return self.app(environ, start_response)
        kind, more = fault
        if kind in ("hang", "answer", "endless", "huge"):
            # What was sent is read, so that the connection is not reset.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        open(os.path.join(folder, "hit"), "w").close()
        if kind == "hang":
            while fault_of(method, target):
                time.sleep(0.05)
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        if kind == "answer":
            headers, body = error_of(more[0], more[1] if len(more) > 1 else "")
            start_response(f"{more[0]} x", headers + [("Content-Length", str(len(body)))])
            return [body]
        if kind == "huge":
            headers = [("Content-Length", str(10**15)), ("ETag", '"x"')]
            start_response("200 OK", headers + [("Last-Modified", "Fri, 27 Nov 2026 00:00:00 GMT")])
            return [b""]
        if kind == "endless":
            start_response("403 x", [])
            return (b"x" * 65536 for _ in iter(int, 1))
        if kind == "flip" and method == "PUT":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(flipped(body))
            return self.app(environ, start_response)
        answer = {}

        def keep(status, headers, exc_info=None):
            answer.update(status=status, headers=headers)

        body = b"".join(self.app(environ, keep))
        headers = answer["headers"]
        if kind == "lost":
            headers, body = error_of(503, "SlowDown")
            start_response("503 x", headers + [("Content-Length", str(len(body)))])
            return [body]
        if kind == "flip":
            body = flipped(body)
        else:
            body = body[: len(body) // 2]
        if kind == "short":
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start_response(answer["status"], headers)
        return [body]


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


def end_with_input():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
from moto.s3.models import s3_backends

account = "123456789012"
s3_backends[account]["aws"].create_bucket("vaults", "us-east-1")
lines = []
if has_auth:
    from moto.iam.models import iam_backends

    iam = iam_backends[account]["aws"]
    iam.create_user("us-east-1", "backup")
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::vaults/denied*"}
    policy = {"Version": "2012-10-17", "Statement": [allow, deny]}
    iam.put_user_policy("backup", "backup", json.dumps(policy))
    key = iam.create_access_key("backup")
    lines = [key.access_key_id, key.secret_access_key]
tls = None
if "--tls" in sys.argv:
    at = sys.argv.index("--tls")
    tls = (sys.argv[at + 1], sys.argv[at + 2])
app = Faulty(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet, ssl_context=tls)
print("\n".join([str(server.server_port), *lines, "ready"]), flush=True)
server.serve_forever()
