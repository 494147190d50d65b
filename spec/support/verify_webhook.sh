#!/bin/sh
# Fetches the reference library of Standard Webhooks (PyPI, a wheel without dependencies) for
# verify_webhook.py, once. Without it, or without a network, that does as the specification says.
cd "$(dirname "$0")/../.." || exit 1
wheel=.cache/python/standardwebhooks-1.1.0-py3-none-any.whl
[ -e "$wheel" ] && exit 0
requirement=$(mktemp)
echo "standardwebhooks==1.1.0 --hash=sha256:9a88d48a1f198be61517fc7ad328cf58ba02b73f0fbd8941d4213e9c0b6c2a61" >"$requirement"
timeout 60 python3 -m pip download -q --no-deps --require-hashes -d .cache/python -r "$requirement"
code=$?
rm -f "$requirement"
[ $code = 0 ] || echo "standardwebhooks cannot be fetched" >&2
exit 0
