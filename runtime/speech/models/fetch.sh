#!/bin/sh
# Gathers what the speech engines need at run time into one folder (default: .cache/models of the
# source tree): the ONNX runtime library, three models, the vocabulary and the licences.
# Does nothing when the folder already holds what package-lock.json names.
# Usage: fetch.sh [folder]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../../.cache/models}
mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
stamp=$(cat "$here/package-lock.json" "$here/vocab.mjs" "$here/fetch.sh" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi
command -v npm >/dev/null || { echo "fetch.sh: npm is missing (apt-get install npm)" >&2; exit 1; }
work=$(mktemp -d "$(dirname "$out")/models.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/"
(cd "$work" && npm ci --no-progress --loglevel=error >&2)
from=$work/node_modules
mkdir "$work/out"
moonshine=$from/@moonshine-ai/moonshine-js/dist/model/tiny/quantized
mv "$moonshine/encoder_model.onnx" "$work/out/moonshine_encoder.onnx"
mv "$moonshine/decoder_model_merged.onnx" "$work/out/moonshine_decoder.onnx"
mv "$from/@ricky0123/vad-web/dist/silero_vad_v5.onnx" "$work/out/silero_vad.onnx"
mv "$from/sherpa-onnx-linux-x64/libonnxruntime.so" "$work/out/"
node "$here/vocab.mjs" "$from/llama-tokenizer-js/llama-tokenizer.js" "$work/out/vocab.bin"
for package in @moonshine-ai/moonshine-js @ricky0123/vad-web llama-tokenizer-js \
  sherpa-onnx-linux-x64; do
  node -p "const p = require('$from/$package/package.json'); [p.name, p.version, p.license].join(' ')"
done >"$work/out/NOTICE"
echo "$stamp" >"$work/out/stamp"
rm -rf "$out.old"
[ ! -e "$out" ] || mv "$out" "$out.old"
mv "$work/out" "$out"
rm -rf "$out.old"
