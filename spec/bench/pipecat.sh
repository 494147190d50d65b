#!/bin/bash
# The same echo call in Pipecat (PyPI, pinned in spec/bench/pipecat/requirements.txt) and in a worker,
# driven by the same far end: memory and CPU of a call, delay of the echo. Both do the same work: Twilio's
# framing, voice activity (Pipecat's own choice, Silero; ours WebRTC's and keypad detection), a stereo
# recording synced each second.
#   spec/bench/pipecat.sh [CALLS [SECONDS]]
set -uo pipefail
cd "$(dirname "$0")/../.."
venv=$PWD/.cache/pipecat
want=spec/bench/pipecat/requirements.txt

if ! cmp -s "$want" "$venv/.installed"; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r "$want"; } >&2; then
    rm -rf "$venv"
    echo "skipped: Pipecat cannot be installed here (it needs PyPI)"
    exit 0
  fi
  cp "$want" "$venv/.installed"
fi
export CXB_BENCH_PEER="$venv/bin/python $PWD/spec/bench/pipecat/server.py"
exec build/bench/calls "${1:-4}" "${2:-15}"
