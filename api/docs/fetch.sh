#!/bin/sh
# Gathers Swagger UI for the page at /docs into one folder (default: .cache/docs of the source tree).
# Does nothing when the folder already holds what package-lock.json names.
# Usage: fetch.sh [folder]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../.cache/docs}
mkdir -p "$out"
stamp=$(cat "$here/package-lock.json" "$here/fetch.sh" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi
command -v npm >/dev/null || { echo "fetch.sh: npm is missing (apt-get install npm)" >&2; exit 1; }
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/"
(cd "$work" && npm ci --no-progress --loglevel=error >&2)
for file in swagger-ui.css swagger-ui-bundle.js LICENSE; do
  mv "$work/node_modules/swagger-ui-dist/$file" "$out/$file"
done
echo "$stamp" >"$out/stamp"
