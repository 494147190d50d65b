"""Verifies Standard Webhooks signatures: one JSON object a line in, "ok" or why not a line out.

{"headers": {...}, "body": "...", "secret": "whsec_..."}. With the `standardwebhooks` library (PyPI)
where it is installed or verify_webhook.sh has fetched it, else as the published specification says (no code of ours is used): HMAC-SHA256
with the base64-decoded secret over "id.timestamp.body", `v1,` and base64, several signatures
separated by blanks, the timestamp within five minutes.
"""
import base64
import glob
import hashlib
import hmac
import json
import os
import sys
import time

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = glob.glob(os.path.join(root, ".cache", "python", "standardwebhooks-*.whl"))


def by_specification(headers, body, secret):
    names = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = names["webhook-timestamp"]
    if abs(time.time() - int(stamp)) > 300:
        raise ValueError("the timestamp is too old or too new")
    signed = f"{names['webhook-id']}.{stamp}.{body}".encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    for part in names["webhook-signature"].split(" "):
        version, _, signature = part.partition(",")
        if version == "v1" and hmac.compare_digest(signature, expected):
            return
    raise ValueError("no signature matches")


def by_library(headers, body, secret):
    standardwebhooks.Webhook(secret).verify(body, headers)


try:
    import standardwebhooks

    verify = by_library
except ImportError:
    verify = by_specification

for line in sys.stdin:
    case = json.loads(line)
    try:
        verify(case["headers"], case["body"], case["secret"])
        print("ok", flush=True)
    except Exception as error:
        print(f"refused: {error}", flush=True)
